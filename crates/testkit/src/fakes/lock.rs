//! A lock in memory, with a queue of one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backupctl_application::context::{Cancel, interrupted};
use backupctl_application::ports::{Acquired, BackupLock, LockGuard, LockHolder, LockState};
use backupctl_domain::{Failure, ProjectName};
use tokio::sync::watch;

use super::faults::injectable;
use super::{Core, Journal, locked};

#[derive(Default)]
struct Entry {
    state: Option<LockState>,
    waiting: bool,
}

/// A [`BackupLock`]. Operations: `acquire`, `acquire_to_recover`, `acquire_or_queue`, `state`, `clear_stale`, `release`.
pub struct FakeLock {
    core: Arc<Core>,
    shared: Arc<Shared>,
    holder: LockHolder,
}

struct Shared {
    entries: Mutex<HashMap<ProjectName, Entry>>,
    changes: watch::Sender<u64>,
}

injectable!(FakeLock);

impl FakeLock {
    /// A lock that everybody finds free.
    pub fn new(journal: &Arc<Journal>) -> Self {
        let operations = &[
            "acquire",
            "acquire_to_recover",
            "acquire_or_queue",
            "state",
            "clear_stale",
            "release",
        ];
        Self {
            core: Arc::new(Core::new(journal, operations)),
            shared: Arc::new(Shared { entries: Mutex::default(), changes: watch::Sender::new(0) }),
            holder: LockHolder { pid: Some(std::process::id()), started: None, recovering: false },
        }
    }

    /// Another process holds the project's lock, until [`FakeLock::set_free`].
    pub fn set_held(&self, project: &ProjectName, holder: LockHolder) {
        self.shared.set(project, Some(LockState::Held(holder)));
    }

    /// A process that died has left its file.
    pub fn set_stale(&self, project: &ProjectName, holder: LockHolder) {
        self.shared.set(project, Some(LockState::Stale(holder)));
    }

    /// Nobody holds the project's lock any more.
    pub fn set_free(&self, project: &ProjectName) {
        self.shared.set(project, None);
    }

    /// Whether somebody holds the project's lock now.
    pub fn is_held(&self, project: &ProjectName) -> bool {
        matches!(self.shared.state(project), Some(LockState::Held(_)))
    }

    /// Waits until a call waits for the project's lock.
    pub async fn queued(&self, project: &ProjectName) {
        let mut changes = self.shared.changes.subscribe();
        let waiting = || locked(&self.shared.entries).get(project).is_some_and(|e| e.waiting);
        let _ = changes.wait_for(|_| waiting()).await;
    }

    fn guard(&self, project: &ProjectName) -> Acquired {
        Acquired::Locked(Box::new(FakeGuard {
            core: Arc::clone(&self.core),
            shared: Arc::clone(&self.shared),
            project: project.clone(),
            given_back: false,
        }))
    }
}

impl Shared {
    fn state(&self, project: &ProjectName) -> Option<LockState> {
        locked(&self.entries).get(project).and_then(|e| e.state)
    }

    fn set(&self, project: &ProjectName, state: Option<LockState>) {
        locked(&self.entries).entry(project.clone()).or_default().state = state;
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// Takes the lock unless it is held; then says by whom.
    fn take(&self, project: &ProjectName, holder: LockHolder) -> Result<(), LockHolder> {
        let mut entries = locked(&self.entries);
        let entry = entries.entry(project.clone()).or_default();
        if let Some(LockState::Held(other)) = entry.state {
            return Err(other);
        }
        entry.state = Some(LockState::Held(holder));
        Ok(())
    }

    fn set_waiting(&self, project: &ProjectName, waiting: bool) {
        locked(&self.entries).entry(project.clone()).or_default().waiting = waiting;
        self.changed();
    }
}

#[async_trait]
impl BackupLock for FakeLock {
    async fn acquire(&self, project: &ProjectName) -> Result<Acquired, Failure> {
        self.core.call("acquire", format!("lock acquire {project}"), None).await?;
        Ok(match self.shared.take(project, self.holder) {
            Ok(()) => self.guard(project),
            Err(holder) => Acquired::Busy(holder),
        })
    }

    async fn acquire_to_recover(&self, project: &ProjectName) -> Result<Acquired, Failure> {
        self.core.call("acquire_to_recover", format!("lock recover {project}"), None).await?;
        let holder = LockHolder { recovering: true, ..self.holder };
        Ok(match self.shared.take(project, holder) {
            Ok(()) => self.guard(project),
            Err(holder) => Acquired::Busy(holder),
        })
    }

    async fn acquire_or_queue(
        &self,
        project: &ProjectName,
        cancel: &Cancel,
    ) -> Result<Acquired, Failure> {
        let event = format!("lock acquire_or_queue {project}");
        self.core.call("acquire_or_queue", event, Some(cancel)).await?;
        let Err(holder) = self.shared.take(project, self.holder) else {
            return Ok(self.guard(project));
        };
        if std::mem::replace(
            &mut locked(&self.shared.entries).entry(project.clone()).or_default().waiting,
            true,
        ) {
            return Ok(Acquired::Folded(holder));
        }
        self.shared.changed();
        // Gives the place in the queue back also where the caller drops the future.
        let _place = Place { shared: &self.shared, project };
        let mut changes = self.shared.changes.subscribe();
        loop {
            if self.shared.take(project, self.holder).is_ok() {
                return Ok(self.guard(project));
            }
            tokio::select! {
                _ = changes.changed() => {}
                why = cancel.cancelled() => return Err(interrupted(why)),
            }
        }
    }

    async fn state(&self, project: &ProjectName) -> Result<LockState, Failure> {
        self.core.call("state", format!("lock state {project}"), None).await?;
        Ok(self.shared.state(project).unwrap_or(LockState::Free))
    }

    async fn clear_stale(&self, project: &ProjectName) -> Result<bool, Failure> {
        self.core.call("clear_stale", format!("lock clear_stale {project}"), None).await?;
        let stale = matches!(self.shared.state(project), Some(LockState::Stale(_)));
        if stale {
            self.shared.set(project, None);
        }
        Ok(stale)
    }
}

struct Place<'a> {
    shared: &'a Shared,
    project: &'a ProjectName,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.set_waiting(self.project, false);
    }
}

struct FakeGuard {
    core: Arc<Core>,
    shared: Arc<Shared>,
    project: ProjectName,
    given_back: bool,
}

impl FakeGuard {
    fn give_back(&mut self) -> Result<(), Failure> {
        if std::mem::replace(&mut self.given_back, true) {
            return Ok(());
        }
        // The lock is free whatever the call says: the kernel frees it with its file.
        self.shared.set(&self.project, None);
        self.core.call_now("release", format!("lock release {}", self.project))
    }
}

impl LockGuard for FakeGuard {
    fn release(mut self: Box<Self>) -> Result<(), Failure> {
        self.give_back()
    }
}

impl Drop for FakeGuard {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = self.give_back();
        } else if !std::mem::replace(&mut self.given_back, true) {
            self.shared.set(&self.project, None);
            self.core.journal().record(format!("lock release {}", self.project));
        }
    }
}
