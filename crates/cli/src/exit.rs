//! How a command ends: exit statuses, and errors as people and machines read them.

use backupctl_adapters::domain::{ErrorCode, Failure, Stage};
use serde_json::json;

use crate::render::Out;

/// Exit statuses (spec: cli.md).
pub(crate) mod status {
    /// Success.
    pub(crate) const SUCCESS: u8 = 0;
    /// Failure.
    pub(crate) const FAILURE: u8 = 1;
    /// Configuration error, unknown project, bad usage.
    pub(crate) const USAGE: u8 = 3;
}

/// Why a command ends badly.
#[derive(Debug)]
pub(crate) struct CommandError {
    /// What went wrong.
    pub failure: Failure,
    /// The stage of a run, where it was one.
    pub stage: Option<Stage>,
    /// The exit status; the code's own unless told otherwise.
    pub exit: u8,
    /// Whether everything has been said already.
    pub silent: bool,
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        let exit = failure.code.exit_status();
        Self { failure, stage: None, exit, silent: false }
    }
}

impl CommandError {
    /// Ends with this status; the command has told all there is to tell.
    pub(crate) fn silent(exit: u8) -> Self {
        let failure = Failure::new(ErrorCode::Internal, "");
        Self { failure, stage: None, exit, silent: true }
    }

    /// The same error with another exit status.
    #[must_use]
    pub(crate) fn with_exit(mut self, exit: u8) -> Self {
        self.exit = exit;
        self
    }

    /// Tells the error: one JSON document on stdout, or lines on stderr.
    pub(crate) fn tell(&self, out: &Out) {
        if self.silent {
            return;
        }
        let f = &self.failure;
        if out.is_json() {
            out.json(&json!({"error": {
                "code": f.code,
                "message": f.full_message(),
                "stage": self.stage,
                "remedy": f.remedy,
            }}));
            return;
        }
        out.error(f.code, &f.full_message(), &f.remedy);
    }
}

/// What a command returns: its exit status, or why it ends badly.
pub(crate) type CommandResult = Result<u8, CommandError>;
