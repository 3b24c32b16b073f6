//! Other processes that hold the fake's locks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use backupctl_application::context::Cancel;
use backupctl_application::ports::{BackupLock, Ended, LockState, Processes};
use backupctl_domain::{Failure, ProjectName};
use jiff::Timestamp;

use super::faults::injectable;
use super::{Core, FakeLock, Journal, locked};

type AtEnd = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Plans {
    daemon: Option<u32>,
    stubborn: bool,
    at_end: HashMap<ProjectName, AtEnd>,
}

/// A [`Processes`] over a [`FakeLock`]. Operations: `end_holder`, `daemon`, `reload_daemon`.
pub struct FakeProcesses {
    core: Core,
    lock: Arc<FakeLock>,
    plans: Mutex<Plans>,
}

injectable!(FakeProcesses);

impl FakeProcesses {
    /// Every holder ends when it is asked to; no daemon runs.
    pub fn new(journal: &Arc<Journal>, lock: Arc<FakeLock>) -> Self {
        let core = Core::new(journal, &["end_holder", "daemon", "reload_daemon"]);
        Self { core, lock, plans: Mutex::default() }
    }

    /// Holders do not heed that they are asked, and have to be killed.
    pub fn stubborn(&self) {
        locked(&self.plans).stubborn = true;
    }

    /// What the holder of the project's lock does before it ends by itself.
    pub fn at_end(&self, project: &ProjectName, work: impl Fn() + Send + Sync + 'static) {
        locked(&self.plans).at_end.insert(project.clone(), Box::new(work));
    }

    /// A daemon runs with that number.
    pub fn set_daemon(&self, pid: u32) {
        locked(&self.plans).daemon = Some(pid);
    }
}

#[async_trait]
impl Processes for FakeProcesses {
    async fn end_holder(
        &self,
        project: &ProjectName,
        pid: u32,
        _patience: Duration,
        cancel: &Cancel,
    ) -> Result<Ended, Failure> {
        self.core.call("end_holder", format!("end holder {project} {pid}"), Some(cancel)).await?;
        let holder = match self.lock.state(project).await? {
            LockState::Held(holder) if holder.pid == Some(pid) => holder,
            _ => return Ok(Ended::Gone),
        };
        let plans = locked(&self.plans);
        if plans.stubborn {
            // The kernel frees a dead process's lock; its file stays.
            self.lock.set_stale(project, holder);
            return Ok(Ended::Killed);
        }
        if let Some(work) = plans.at_end.get(project) {
            work();
        }
        self.lock.set_free(project);
        Ok(Ended::Asked)
    }

    async fn daemon(&self) -> Result<Option<u32>, Failure> {
        self.core.call("daemon", "look for the daemon", None).await?;
        Ok(locked(&self.plans).daemon)
    }

    async fn daemon_since(&self) -> Result<Option<Timestamp>, Failure> {
        Ok(None)
    }

    async fn reload_daemon(&self) -> Result<Option<u32>, Failure> {
        self.core.call("reload_daemon", "reload the daemon", None).await?;
        Ok(locked(&self.plans).daemon)
    }
}
