//! File work off the runtime's threads, and its failures.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use backupctl_adapter_process::failure_from_io;
use backupctl_domain::{ErrorCode, Failure};

/// Runs file work on a blocking thread; a panic goes on in the caller.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Failure::internal(format!("file work was given up: {error}"))),
        },
    }
}

/// The failure of work on our own files: whatever has no code of its own makes the place unusable.
pub(crate) fn unusable(error: io::Error, path: &Path, what: &str) -> Failure {
    let failure = failure_from_io(error, path, what);
    match failure.code {
        ErrorCode::Internal => Failure::new(ErrorCode::PathNotWritable, failure.message),
        _ => failure,
    }
}

/// Makes a folder and its missing parents, 0700.
pub(crate) fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
