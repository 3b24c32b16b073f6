//! Other backupctl processes of this machine, known by the locks that they hold.

use std::time::Duration;

use async_trait::async_trait;
use backupctl_domain::{Failure, ProjectName};
use jiff::Timestamp;

use crate::context::Cancel;

/// What became of a process that was to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// There was none: nobody holds the lock, or somebody else does.
    Gone,
    /// It ended when it was asked to, and has cleaned up after itself.
    Asked,
    /// It did not end in time and was killed: what it has left is to be put right.
    Killed,
}

/// Reaches the processes that hold backupctl's locks.
///
/// Promises: a signal goes to a process only while it is seen to hold the very lock in question, so
/// that a number that was given to another program since is never hit; waiting is done by the kernel.
#[async_trait]
pub trait Processes: Send + Sync {
    /// Ends the process `pid` if it holds the project's lock: asks it to (also one that was stopped),
    /// and kills it when `patience` has passed. Returns when it is gone. `BACKUP_IN_PROGRESS` where
    /// the lock is held and its holder cannot be told, or not be ended by this user.
    async fn end_holder(
        &self,
        project: &ProjectName,
        pid: u32,
        patience: Duration,
        cancel: &Cancel,
    ) -> Result<Ended, Failure>;
    /// The daemon's process, by the lock `{base_dir}/.daemon.lock`; `None` where none runs.
    async fn daemon(&self) -> Result<Option<u32>, Failure>;
    /// Since when the daemon runs; `None` where none does, or it does not tell.
    async fn daemon_since(&self) -> Result<Option<Timestamp>, Failure>;
    /// Tells the daemon to read its configuration again (SIGHUP); its process, `None` where none runs.
    async fn reload_daemon(&self) -> Result<Option<u32>, Failure>;
}
