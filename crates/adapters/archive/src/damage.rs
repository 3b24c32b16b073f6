//! An archive that is not what was written: which file says so, and which one inside it was being read.

use std::io;

use backupctl_domain::{ErrorCode, Failure};

/// The remedy for what only another copy can help.
const REMEDY: &str = "restore from another archive (`backupctl snapshots` lists them), and check the \
                      disk: `dmesg` tells of input/output errors";

/// An archive that differs from what was written. `archive` is its whole path.
pub(crate) fn damaged(archive: &str, what: &str) -> Failure {
    Failure::new(ErrorCode::ChecksumMismatch, format!("{archive} is damaged: {what}"))
        .permanent()
        .with_remedy(REMEDY)
}

/// What an error while an archive is unpacked means. `inside` is the file that was being read.
pub(crate) fn while_reading(error: io::Error, archive: &str, inside: &str) -> Failure {
    let mut failure = match error.downcast::<Failure>() {
        Ok(failure) => failure,
        Err(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged(archive, "its end is missing"),
            _ => damaged(archive, &error.to_string()),
        },
    };
    if is_damage(&failure) && !inside.is_empty() {
        failure.message = format!("{} (while {inside} in it was read)", failure.message);
    }
    failure
}

/// Whether the failure says that the archive itself is not what it was.
pub(crate) fn is_damage(failure: &Failure) -> bool {
    matches!(failure.code, ErrorCode::ChecksumMismatch | ErrorCode::DecryptionFailed)
}

/// Whether it could not be read at all, which may be the disk's fault and not the archive's.
pub(crate) fn is_unreadable(failure: &Failure) -> bool {
    failure.code == ErrorCode::PathNotWritable
}
