//! Before a run can begin: configuration, project names, the project's lock, installed programs.

use super::Explanation;

pub(super) const INVALID_CONFIG: Explanation = Explanation {
    meaning: "The configuration cannot be used as it is. The message names file, line, project \
              and key; the other projects of the same file still run.",
    causes: &[
        "a key is misspelt or stands at the wrong level (the nearest known key is suggested)",
        "`${VAR}` names an environment variable that neither the environment nor `.env` sets",
        "a required key is missing: a project needs `name`, `retention` must keep something, \
         `restic.repository` or `restic.repository_path` must be set",
        "a value has the wrong form: a cron expression without 5 fields, a port that is no number",
    ],
    remedy: "correct the key that the message names, then check with `backupctl config validate`",
};

pub(super) const UNKNOWN_PROJECT: Explanation = Explanation {
    meaning: "No project of that name is in the configuration file that was read.",
    causes: &[
        "the name is misspelt; names are lower-case letters, digits and dashes",
        "another configuration file was read than the one in mind: `--config`, then \
         `$BACKUPCTL_CONFIG`, then the first default location that exists",
        "the project was removed or renamed; its old runs and snapshots carry the old name",
    ],
    remedy: "list the configured projects with `backupctl config validate`, and give the file with \
             `--config PATH` if it is another one",
};

pub(super) const BACKUP_IN_PROGRESS: Explanation = Explanation {
    meaning: "Another run holds this project's lock, so nothing was started. The message says \
              since when and which process it is.",
    causes: &[
        "the scheduled run is at work at this moment",
        "somebody else has started `backupctl run` for the same project",
        "an earlier run hangs, in a hook or in a dump without `database.dump_timeout_minutes`",
    ],
    remedy: "wait for the running backup (`backupctl status PROJECT` shows its stage), queue \
             behind it with `backupctl run PROJECT --wait`, or end one that hangs with `backupctl \
             runs abort ID`",
};

pub(super) const TOOL_MISSING: Explanation = Explanation {
    meaning: "A program that this project needs is not installed, or not where this process looks \
              for it. The message names the program and the PATH that was searched.",
    causes: &[
        "the package is not installed on this machine, though it may be on another one",
        "the program is installed, but systemd or cron starts backupctl with a shorter PATH than a \
         login shell has",
        "`restic.binary` points to a file that does not exist or is not executable",
    ],
    remedy: "install the program (Debian: `apt install restic postgresql-client`) or add its \
             folder to PATH, then check with `backupctl run PROJECT --dry-run`",
};

pub(super) const TOOL_TOO_OLD: Explanation = Explanation {
    meaning: "A program is installed, but its version lacks something that the backup depends on. \
              The message names the version found and the oldest one that works.",
    causes: &[
        "the distribution ships an old version, e.g. a restic before 0.14",
        "an older copy stands earlier in PATH than the new one",
        "`restic.binary` still points to the old copy after an upgrade",
    ],
    remedy: "upgrade the program to at least the version in the message, or set `restic.binary` to \
             the newer copy",
};
