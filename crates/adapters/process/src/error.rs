//! Why a program has no outcome of its own, and what that is as a failure of a run.

use std::io;
use std::path::Path;
use std::time::Duration;

use backupctl_application::context::{Interrupt, interrupted};
use backupctl_domain::{ErrorCode, Failure};

use crate::output::{Output, last_lines};
use crate::program;

/// Lines of a program's stderr that a failure carries.
const DETAIL_LINES: usize = 10;

/// Why a program has no outcome of its own.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It is not installed, or not where it was said to be.
    #[error("{program} is not installed or not in PATH")]
    Missing {
        /// The program as asked for.
        program: String,
    },
    /// It is there and cannot be started.
    #[error("{program} cannot be started: {source}")]
    Start {
        /// The program as asked for.
        program: String,
        /// The system's answer.
        source: io::Error,
    },
    /// It could not be started in its container.
    #[error("{}", .0.message)]
    Container(Box<Failure>),
    /// It did not end in time and was ended with its group.
    #[error("{program} did not end within {} s and was ended", limit.as_secs())]
    TimedOut {
        /// The program as asked for.
        program: String,
        /// The time it had.
        limit: Duration,
        /// The last part of its stderr, without secrets.
        stderr: String,
    },
    /// The run was told to stop; the program was ended with its group.
    #[error("interrupted by {}", .0.name())]
    Interrupted(Interrupt),
    /// Our side of its pipe failed (e.g. the disk is full); the program was ended with its group.
    #[error("{0}")]
    Pipe(io::Error, Option<Box<Output>>),
}

impl ProcessError {
    /// The failure that this is for a run; a timeout is `on_timeout`, since what it means depends on
    /// what the program was doing.
    #[must_use]
    pub fn into_failure(self, on_timeout: ErrorCode) -> Failure {
        let message = self.to_string();
        match self {
            Self::Missing { program } => {
                Failure::new(ErrorCode::ToolMissing, message).with_remedy(program::remedy(&program))
            }
            Self::Container(failure) => *failure,
            Self::Interrupted(why) => interrupted(why),
            Self::TimedOut { stderr, .. } => {
                Failure::new(on_timeout, message).with_detail(last_lines(&stderr, DETAIL_LINES))
            }
            Self::Start { program, source } => {
                if source.kind() == io::ErrorKind::PermissionDenied {
                    Failure::new(ErrorCode::ToolMissing, message).with_remedy(format!(
                        "make {program} executable for this user, or name another program"
                    ))
                } else {
                    Failure::internal(message)
                }
            }
            Self::Pipe(error, output) => {
                let detail = output.map(|o| o.last_lines(DETAIL_LINES)).unwrap_or_default();
                Failure::new(code_of(&error), message).with_detail(detail)
            }
        }
    }
}

/// The failure behind a failed file operation: `{what} {path}: {error}`, e.g. with `cannot write` as
/// `what`.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "fits `map_err`, which hands over the error")]
pub fn failure_from_io(error: io::Error, path: &Path, what: &str) -> Failure {
    Failure::new(code_of(&error), format!("{what} {}: {error}", path.display()))
}

fn code_of(error: &io::Error) -> ErrorCode {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded => ErrorCode::DiskFull,
        Kind::FileTooLarge => ErrorCode::FsFileTooLarge,
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => ErrorCode::PathNotWritable,
        _ => ErrorCode::Internal,
    }
}
