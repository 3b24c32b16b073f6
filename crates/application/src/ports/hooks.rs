//! The user's own commands around a backup.

use std::time::Duration;

use async_trait::async_trait;
use backupctl_domain::Failure;

use crate::context::StageContext;

/// Which hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HookKind {
    /// `hooks.pre_backup`.
    PreBackup,
    /// `hooks.post_backup`.
    PostBackup,
    /// `hooks.finally`.
    Finally,
}

impl HookKind {
    /// The key in the configuration, e.g. `hooks.pre_backup`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::PreBackup => "hooks.pre_backup",
            Self::PostBackup => "hooks.post_backup",
            Self::Finally => "hooks.finally",
        }
    }
}

/// A hook to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookCall {
    /// Which one.
    pub kind: HookKind,
    /// The command line, for `sh -c`.
    pub command: String,
    /// After how long it is ended.
    pub timeout: Duration,
    /// Added to the environment: `BACKUPCTL_PROJECT` and so on.
    pub env: Vec<(String, String)>,
}

/// What a hook has left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookOutput {
    /// The last lines of its output, stdout and stderr together, without secrets.
    pub tail: String,
}

/// Runs hooks.
///
/// Promises: a status other than 0 is `HOOK_FAILED` with the output's tail as detail; one that does
/// not end in time is `HOOK_TIMEOUT`, and its whole process group is ended; so it is on cancel.
#[async_trait]
pub trait HookExecutor: Send + Sync {
    /// Runs the hook to its end.
    async fn execute(&self, call: &HookCall, ctx: &StageContext) -> Result<HookOutput, Failure>;
}
