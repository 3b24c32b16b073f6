//! What others in its process ask of the running daemon: its HTTP interface does.

use async_trait::async_trait;
use backupctl_domain::{Failure, RunId};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::broadcast;

/// Something that has happened in the daemon.
#[derive(Debug, Clone)]
pub struct DaemonEvent {
    /// When.
    pub at: Timestamp,
    /// Which project it is about; `None` for the daemon itself.
    pub project: Option<String>,
    /// The event: an object with an `event` key. Of a run, those of `run --json-stream`; of the
    /// daemon, e.g. `queued`, `folded`, `missed`, `overdue`, `recovered`, `reloaded`, `reload_failed`.
    pub event: Value,
}

/// What came of asking for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It has begun.
    Started {
        /// The run.
        run_id: RunId,
    },
    /// It waits for its turn: other projects run, or another run of this one does.
    Queued,
    /// A run of the project waits already, and this one is folded into it.
    Folded,
}

/// Whether the daemon can do its work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the start is through and the schedule is being kept.
    pub is_ready: bool,
    /// What is in the way, a line each; may be there although it is ready, e.g. a configuration that
    /// could not be loaded again.
    pub problems: Vec<String>,
    /// Since when the daemon has been running.
    pub since: Option<Timestamp>,
    /// How many runs go on.
    pub running: usize,
    /// How many wait for their turn.
    pub queued: usize,
}

/// The running daemon.
#[async_trait]
pub trait DaemonControl: Send + Sync {
    /// Asks for a run now (trigger `manual`). Returns once it has begun or is in the queue.
    /// `UNKNOWN_PROJECT`, or why none can be begun; `INTERRUPTED` when the daemon is ending.
    async fn run_now(&self, project: &str) -> Result<Asked, Failure>;
    /// Everything that happens from now on. Who is too slow misses events and is told so.
    fn events(&self) -> broadcast::Receiver<DaemonEvent>;
    /// How it stands.
    fn readiness(&self) -> Readiness;
}
