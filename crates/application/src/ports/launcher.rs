//! Making a run in a process of its own.

use std::sync::Arc;

use async_trait::async_trait;
use backupctl_domain::{BackupRun, Failure, ProjectName, RunId, Trigger};
use jiff::Timestamp;
use serde_json::Value;

use crate::context::Cancel;

/// A run that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The project.
    pub project: ProjectName,
    /// What makes it start.
    pub trigger: Trigger,
    /// The slot that it is for, where a schedule asks for it.
    pub due_at: Option<Timestamp>,
}

/// What became of it.
#[derive(Debug, Clone)]
pub enum Launched {
    /// A run was made; its record says how it ended.
    Finished(Box<BackupRun>),
    /// None was made, and none was needed: its slot has been dealt with, or another run waits already.
    Folded,
    /// None was made, for this reason, and no record says so.
    NotStarted(Failure),
    /// Its process ended without a word about how the run went: killed, or it crashed.
    Lost {
        /// The run, if it had begun.
        run_id: Option<RunId>,
        /// How the process ended, e.g. `killed by signal 9`, with its last words.
        why: String,
    },
}

/// Hears of a launched run. Called from any thread; must not block.
pub trait LaunchObserver: Send + Sync {
    /// An event of `run --json-stream`: an object with an `event` key.
    fn event(&self, event: &Value);
}

/// Makes runs in processes of their own, so that none can take the daemon down with it, the memory
/// of each goes with it, and each can be ended by itself.
///
/// Promises: the run queues behind one that holds the project's lock; a cancelled launch ends the
/// run's process as SIGTERM does, waits for it within a bound and then kills it with everything that
/// it has started; nothing of it is left when `launch` returns.
#[async_trait]
pub trait Launcher: Send + Sync {
    /// Makes the run and waits for its end.
    async fn launch(
        &self,
        launch: &Launch,
        cancel: &Cancel,
        observer: Arc<dyn LaunchObserver>,
    ) -> Launched;
}
