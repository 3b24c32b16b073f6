//! The dump file itself: whole, readable and unchanged, or not.

use super::Explanation;

pub(super) const INCOMPLETE: Explanation = Explanation {
    meaning: "The dump tool ended without an error, yet the dump lacks something that the \
              database's catalog shows. The message names what is missing.",
    causes: &[
        "the dump user has no rights on some tables, and the tool passes over them in silence",
        "triggers or routines need a grant of their own (MySQL, MariaDB)",
        "`database.options.extra_args` limits the dump to a schema or some tables",
        "something was created while the dump was being made",
    ],
    remedy: "grant the dump user access to what the message names, or leave it out on purpose with \
             `database.options.exclude_tables`",
};

pub(super) const EMPTY: Explanation = Explanation {
    meaning: "The dump tool ended without an error and wrote nothing at all.",
    causes: &[
        "`database.options.extra_args` makes the tool write elsewhere, or only print something",
        "a wrapper script stands in the tool's place in PATH and swallows its output",
        "the server closed the connection before the first byte",
    ],
    remedy: "run the dump tool by hand with the same user and compare, and remove output options \
             from `database.options.extra_args`",
};

pub(super) const TRUNCATED: Explanation = Explanation {
    meaning: "The dump begins well and ends before its end: the closing mark of its format is not \
              there. It cannot be relied upon and was not stored.",
    causes: &[
        "the dump tool or the database's session was ended on the way",
        "the disk ran full, or a quota was reached, while the file was being written",
        "`database.options.extra_args` suppresses the trailer (`--compact`, `--skip-comments`)",
        "the file was changed by somebody else before it was verified",
    ],
    remedy: "look at the database's log and at the free space of `base_dir`, drop options that \
             suppress the trailer, and run `backupctl run PROJECT` again",
};

pub(super) const CORRUPT: Explanation = Explanation {
    meaning: "The dump was read back whole, and the engine's own reader cannot make sense of it.",
    causes: &[
        "memory or disk of this machine returns other bytes than were written",
        "the database itself is damaged, and the tool dumped the damage",
        "`database.options.extra_args` sets an output format that was not expected",
    ],
    remedy: "check the database itself (`PRAGMA integrity_check`, `pg_amcheck`, `mysqlcheck`), \
             then this machine's disk and memory with `smartctl` and its kernel log",
};

pub(super) const CHECKSUM_MISMATCH: Explanation = Explanation {
    meaning: "The file on disk is not the one that was written: its checksum, read back, is \
              another.",
    causes: &[
        "the disk, its controller or the memory changes bytes",
        "another program writes in `base_dir`, or cleans up in it",
        "the network share under `base_dir` lost writes",
    ],
    remedy: "check the disk under `base_dir` (`smartctl -a`, `dmesg`), keep other programs out of \
             that folder, and run `backupctl run PROJECT` again",
};

pub(super) const TIMEOUT: Explanation = Explanation {
    meaning: "The dump took longer than `database.dump_timeout_minutes` and was ended. Its partial \
              file was removed.",
    causes: &[
        "the dump waits for a lock that another transaction holds",
        "the database has grown beyond what the limit allows for",
        "the server or the network is much slower than usual",
    ],
    remedy: "look for blocking transactions on the server, or raise \
             `database.dump_timeout_minutes`",
};
