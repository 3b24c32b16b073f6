//! One run of a project at a time.

use async_trait::async_trait;
use backupctl_domain::{Failure, ProjectName};
use jiff::Timestamp;

use crate::context::Cancel;

/// Who holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockHolder {
    /// Its process; `None` where the file does not tell.
    pub pid: Option<u32>,
    /// Since when; `None` where the file does not tell.
    pub started: Option<Timestamp>,
    /// Whether it makes no backup but puts right what a dead one has left: it is soon done.
    pub recovering: bool,
}

/// How a lock stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockState {
    /// Nobody holds it, and no file is left.
    Free,
    /// A file is left and no living process holds it.
    Stale(LockHolder),
    /// A living process holds it.
    Held(LockHolder),
}

/// What asking for a lock has brought.
pub enum Acquired {
    /// The lock.
    Locked(Box<dyn LockGuard>),
    /// Somebody else holds it.
    Busy(LockHolder),
    /// Somebody else holds it and another run already waits for it: this one is folded into that.
    Folded(LockHolder),
}

/// A held lock. Dropping it gives it back too, so that a panic does.
pub trait LockGuard: Send {
    /// Gives the lock back and removes its file.
    fn release(self: Box<Self>) -> Result<(), Failure>;
}

/// Locks projects.
///
/// Promises: what decides is a kernel lock, so that a crash frees it at once and a reused pid never
/// looks alive; `{base_dir}/{project}/.lock` holds `pid=` and `started=` lines for people.
#[async_trait]
pub trait BackupLock: Send + Sync {
    /// Takes the lock or says at once that it is [`Acquired::Busy`].
    async fn acquire(&self, project: &ProjectName) -> Result<Acquired, Failure>;
    /// The same for a recovery: whoever finds the lock taken is told so.
    async fn acquire_to_recover(&self, project: &ProjectName) -> Result<Acquired, Failure>;
    /// Waits for the lock. At most one waits a project; a further one is [`Acquired::Folded`].
    /// Cancelled while waiting: `INTERRUPTED`.
    async fn acquire_or_queue(
        &self,
        project: &ProjectName,
        cancel: &Cancel,
    ) -> Result<Acquired, Failure>;
    /// How the lock stands now.
    async fn state(&self, project: &ProjectName) -> Result<LockState, Failure>;
    /// Removes a stale lock file; false where the lock is free or held.
    async fn clear_stale(&self, project: &ProjectName) -> Result<bool, Failure>;
}
