//! Runs without processes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use backupctl_application::context::{Cancel, interrupted};
use backupctl_application::ports::{
    AuditLog, Clock, Launch, LaunchObserver, Launched, Launcher, ScheduleStore,
};
use backupctl_domain::schedule::memory::ScheduleMemory;
use backupctl_domain::{BackupRun, Failure, ProjectName, RunError, RunId};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

use super::faults::injectable;
use super::{Core, FakeAudit, FakeClock, FakeSchedules, Journal, locked};

/// What becomes of a project's runs.
#[derive(Debug, Clone)]
pub enum Fate {
    /// They succeed.
    Success,
    /// They fail with this, and their records say so.
    Failed(Failure),
    /// None is made, and none was needed.
    Folded,
    /// None is made, for this reason, and nothing says so.
    NotStarted(Failure),
    /// Their process dies; after the run has begun where that is so.
    Lost {
        /// Whether the run has begun.
        begun: bool,
    },
    /// They go on until they are told to stop, and then record that.
    Endless,
}

/// One launch as it was made.
#[derive(Debug, Clone)]
pub struct MadeLaunch {
    /// What was asked for.
    pub launch: Launch,
    /// When it began.
    pub began: Timestamp,
    /// When it ended; `None` while it goes on.
    pub ended: Option<Timestamp>,
}

/// A [`Launcher`] whose runs do what a run's process does to everybody else: it writes its record and
/// remembers its slot. Operation: `launch`; a failure planned for it is [`Launched::NotStarted`].
pub struct FakeLauncher {
    core: Core,
    clock: Arc<FakeClock>,
    audit: Arc<FakeAudit>,
    schedules: Arc<FakeSchedules>,
    fates: Mutex<HashMap<ProjectName, Fate>>,
    takes: Mutex<HashMap<ProjectName, Duration>>,
    made: watch::Sender<Vec<MadeLaunch>>,
}

injectable!(FakeLauncher);

impl FakeLauncher {
    /// Every run succeeds and takes no time.
    pub fn new(
        journal: &Arc<Journal>,
        clock: &Arc<FakeClock>,
        audit: &Arc<FakeAudit>,
        schedules: &Arc<FakeSchedules>,
    ) -> Self {
        Self {
            core: Core::new(journal, &["launch"]),
            clock: Arc::clone(clock),
            audit: Arc::clone(audit),
            schedules: Arc::clone(schedules),
            fates: Mutex::default(),
            takes: Mutex::default(),
            made: watch::Sender::default(),
        }
    }

    /// What becomes of this project's runs from now on.
    pub fn set_fate(&self, project: &ProjectName, fate: Fate) {
        locked(&self.fates).insert(project.clone(), fate);
    }

    /// How long this project's runs take from now on, by the clock of the bench.
    pub fn set_duration(&self, project: &ProjectName, takes: Duration) {
        locked(&self.takes).insert(project.clone(), takes);
    }

    /// Every launch so far, in the order of their begin.
    pub fn made(&self) -> Vec<MadeLaunch> {
        self.made.borrow().clone()
    }

    /// Waits until so many launches have begun.
    pub async fn begun(&self, count: usize) {
        let _ = self.made.subscribe().wait_for(|made| made.len() >= count).await;
    }

    /// Waits until so many launches have ended.
    pub async fn ended(&self, count: usize) {
        let enough = |made: &Vec<MadeLaunch>| {
            made.iter().filter(|launch| launch.ended.is_some()).count() >= count
        };
        let _ = self.made.subscribe().wait_for(enough).await;
    }

    /// How many launches went on at once at most.
    pub fn most_at_once(&self) -> usize {
        let made = self.made.borrow();
        let going_on_at = |at: Timestamp| {
            made.iter().filter(|l| l.began <= at && l.ended.is_none_or(|ended| ended > at)).count()
        };
        made.iter().map(|launch| going_on_at(launch.began)).max().unwrap_or(0)
    }

    async fn run(
        &self,
        launch: &Launch,
        fate: Fate,
        cancel: &Cancel,
        observer: &dyn LaunchObserver,
    ) -> Launched {
        match &fate {
            Fate::Folded => return Launched::Folded,
            Fate::NotStarted(failure) => return Launched::NotStarted(failure.clone()),
            Fate::Lost { begun: false } => {
                return Launched::Lost { run_id: None, why: "signal 9".to_owned() };
            }
            _ => {}
        }
        let mut run = self.begin(launch).await;
        observer.event(&json!({"event": "started", "run_id": run.run_id}));
        let takes = locked(&self.takes).get(&launch.project).copied();
        let work = async {
            match (&fate, takes) {
                (Fate::Endless, _) => std::future::pending().await,
                (_, Some(takes)) => self.clock.sleep(takes).await,
                (_, None) => {}
            }
        };
        let stopped = tokio::select! {
            () = work => None,
            why = cancel.cancelled() => Some(interrupted(why)),
        };
        let error = match (stopped, fate) {
            (Some(failure), _) | (None, Fate::Failed(failure)) => Some(failure),
            (None, Fate::Lost { .. }) => {
                let run_id = Some(run.run_id);
                return Launched::Lost { run_id, why: "signal 9".to_owned() };
            }
            (None, _) => None,
        };
        run.finish(self.clock.now(), error.map(|failure| RunError::new(None, &failure)));
        // An audit that is down keeps no run from its end.
        let _ = self.audit.finish_run(&run).await;
        observer.event(&json!({"event": "finished", "run": run}));
        Launched::Finished(Box::new(run))
    }

    async fn begin(&self, launch: &Launch) -> BackupRun {
        let mut run = BackupRun::start(
            RunId(Uuid::new_v4()),
            launch.project.clone(),
            launch.trigger,
            self.clock.now(),
            "testhost",
            "0.1.0",
            4712,
        );
        run.due_at = launch.due_at;
        let _ = self.audit.start_run(&run).await;
        if let Some(slot) = launch.due_at {
            let change = Box::new(move |memory: &mut ScheduleMemory| memory.begin(slot, slot));
            let _ = self.schedules.update_project(&launch.project, change).await;
        }
        run
    }
}

#[async_trait]
impl Launcher for FakeLauncher {
    async fn launch(
        &self,
        launch: &Launch,
        cancel: &Cancel,
        observer: Arc<dyn LaunchObserver>,
    ) -> Launched {
        let began = self.clock.now();
        let mut place = 0;
        self.made.send_modify(|made| {
            place = made.len();
            made.push(MadeLaunch { launch: launch.clone(), began, ended: None });
        });
        let event = format!("launch {} {}", launch.project, launch.trigger.as_str());
        let called = self.core.call("launch", event, Some(cancel)).await;
        let launched = if let Err(failure) = called {
            Launched::NotStarted(failure)
        } else {
            let fate = locked(&self.fates).get(&launch.project).cloned();
            self.run(launch, fate.unwrap_or(Fate::Success), cancel, &*observer).await
        };
        let now = self.clock.now();
        self.made.send_modify(|made| made[place].ended = Some(now));
        launched
    }
}
