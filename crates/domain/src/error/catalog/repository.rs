//! The restic repository, and what goes into a snapshot.

use super::Explanation;

pub(super) const NOT_INITIALIZED: Explanation = Explanation {
    meaning: "There is no restic repository at the location. It is not created in silence: an \
              unmounted disk looks exactly the same, and a new repository there would hide the \
              old one.",
    causes: &[
        "the repository was never created",
        "`restic.repository` or `restic.repository_path` is misspelt; storage boxes want a path \
         without a leading slash",
        "the disk that holds the repository is not mounted",
    ],
    remedy: "create it once with `backupctl init --project PROJECT`, or set \
             `restic.auto_init: true`; mount the disk first if it held a repository before",
};

pub(super) const WRONG_PASSWORD: Explanation = Explanation {
    meaning: "The repository exists, and none of its keys opens with this password.",
    causes: &[
        "`restic.password` or RESTIC_PASSWORD is not the one that the repository was created with",
        "`restic.password_file` or `restic.password_command` yields something else than meant; its \
         first line counts",
        "the location leads to another project's repository",
    ],
    remedy: "set `restic.password` (or `password_file`, `password_command`) to the password that \
             the repository was created with; no one can recover a lost one",
};

pub(super) const UNREACHABLE: Explanation = Explanation {
    meaning: "The place where the repository lies does not answer, so nothing can be said about \
              the repository itself.",
    causes: &[
        "the storage's server or the network is down",
        "the endpoint in `restic.repository` is wrong",
        "credentials in `restic.env` are missing, have expired or may not access that bucket",
        "the clock of this machine is off, and the storage rejects its signatures",
    ],
    remedy: "check that the host of `restic.repository` answers from this machine and that the \
             credentials in `restic.env` are right, then `backupctl run PROJECT --dry-run`",
};

pub(super) const LOCKED: Explanation = Explanation {
    meaning: "Another restic process holds a lock of the repository that excludes this step. Locks \
              of processes that are gone have been removed already where that could be proven.",
    causes: &[
        "another machine or person is working in the same repository, e.g. a check or a prune",
        "restic was killed on another host; its lock counts as stale only after 30 minutes",
        "two projects share one repository and their schedules overlap",
    ],
    remedy: "wait for the other restic, then run `backupctl recover PROJECT`; it uses \
             `restic unlock`, which removes stale locks only",
};

pub(super) const CORRUPT: Explanation = Explanation {
    meaning: "restic found data of the repository missing or damaged. Snapshots that need that \
              data cannot be restored whole.",
    causes: &[
        "the repository's disk or server lost or changed files",
        "files were deleted by hand, or by a clean-up job or lifecycle rule of the storage",
        "a copy of the repository was made while it was being written",
    ],
    remedy: "copy the repository before anything else, then see the damage with \
             `restic check --read-data` and follow with `restic repair index` (`rebuild-index` \
             before 0.16)",
};

pub(super) const SOURCE_INCOMPLETE: Explanation = Explanation {
    meaning: "A snapshot was stored, but some files of the assets could not be read and are not in \
              it, or only in part. The message names them.",
    causes: &[
        "files belong to another user and this process may not read them",
        "files were removed or replaced while they were being read",
        "the disk under the assets has read errors",
    ],
    remedy: "give backupctl read access to the paths in the message, list them in \
             `assets.exclude`, or accept gaps with `restic.allow_incomplete: true` or \
             `archive.allow_incomplete: true`",
};

pub(super) const NOTHING_TO_BACK_UP: Explanation = Explanation {
    meaning: "The project has no database, and none of its asset paths exists. A run that stores \
              nothing is never a success.",
    causes: &[
        "the disk that holds the assets is not mounted",
        "`assets.paths` names folders of another machine, or of inside a container",
        "neither `database` nor `assets.paths` is configured",
    ],
    remedy: "correct `assets.paths` or add a `database`, then check with \
             `backupctl run PROJECT --dry-run`",
};

pub(super) const SNAPSHOT_UNPROVEN: Explanation = Explanation {
    meaning: "restic ended without an error, but the snapshot could not be shown to hold the dump \
              with the size that was written.",
    causes: &[
        "`assets.exclude` or an ignore rule matches the dump file itself",
        "the dump file was removed or changed by another program during the transfer",
        "restic printed no summary, for instance because a wrapper script stands in its place",
    ],
    remedy: "check that no pattern of `assets.exclude` matches `base_dir` and that `restic.binary` \
             is restic itself, then run `backupctl run PROJECT` again",
};

pub(super) const SNAPSHOT_NOT_FOUND: Explanation = Explanation {
    meaning: "The repository holds no snapshot of this project with that id.",
    causes: &[
        "the id is misspelt, or too short to be one snapshot's alone",
        "retention removed the snapshot meanwhile",
        "the snapshot belongs to another project, or carries no `project:` tag of backupctl",
        "the project has not stored a snapshot yet",
    ],
    remedy: "choose an id from `backupctl snapshots PROJECT`, or `latest`",
};
