//! A running daemon in memory.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backupctl_application::ports::{Asked, DaemonControl, DaemonEvent, Readiness};
use backupctl_domain::{ErrorCode, Failure};
use tokio::sync::broadcast::{Receiver, Sender};

use super::faults::injectable;
use super::{Core, Journal, locked};

/// How many events a slow listener may be behind.
const BEHIND: usize = 16;

/// A [`DaemonControl`]. Operations: `run_now`.
pub struct FakeDaemon {
    core: Core,
    events: Mutex<Option<Sender<DaemonEvent>>>,
    readiness: Mutex<Readiness>,
    answer: Mutex<Asked>,
    projects: Mutex<Vec<String>>,
}

injectable!(FakeDaemon);

impl FakeDaemon {
    /// One that is ready, has no projects, and puts every run into the queue.
    pub fn new(journal: &Arc<Journal>) -> Self {
        Self {
            core: Core::new(journal, &["run_now"]),
            events: Mutex::new(Some(Sender::new(BEHIND))),
            readiness: Mutex::new(Readiness { is_ready: true, ..Readiness::default() }),
            answer: Mutex::new(Asked::Queued),
            projects: Mutex::default(),
        }
    }

    /// Sets the projects of which runs can be asked.
    pub fn set_projects<P: Into<String>>(&self, projects: impl IntoIterator<Item = P>) {
        *locked(&self.projects) = projects.into_iter().map(Into::into).collect();
    }

    /// Sets what comes of asking for a run.
    pub fn set_answer(&self, answer: Asked) {
        *locked(&self.answer) = answer;
    }

    /// Sets how it stands.
    pub fn set_readiness(&self, readiness: Readiness) {
        *locked(&self.readiness) = readiness;
    }

    /// Something happens.
    pub fn tell(&self, event: DaemonEvent) {
        if let Some(events) = &*locked(&self.events) {
            let _ = events.send(event);
        }
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        locked(&self.events).as_ref().map_or(0, Sender::receiver_count)
    }

    /// Nothing happens any more: who listens hears the end.
    pub fn fall_silent(&self) {
        locked(&self.events).take();
    }
}

#[async_trait]
impl DaemonControl for FakeDaemon {
    async fn run_now(&self, project: &str) -> Result<Asked, Failure> {
        self.core.call("run_now", format!("daemon run {project}"), None).await?;
        if !locked(&self.projects).iter().any(|known| known == project) {
            let message = format!("no project {project:?} is configured");
            return Err(Failure::new(ErrorCode::UnknownProject, message));
        }
        Ok(*locked(&self.answer))
    }

    fn events(&self) -> Receiver<DaemonEvent> {
        match &*locked(&self.events) {
            Some(events) => events.subscribe(),
            None => Sender::new(1).subscribe(),
        }
    }

    fn readiness(&self) -> Readiness {
        locked(&self.readiness).clone()
    }
}
