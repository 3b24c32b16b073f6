//! One run that the daemon has made, from its launch to its record.
//!
//! Whatever becomes of the run's process, the slot that it was for ends with a record, and a failed one
//! is told. What the process did not do itself is done here.

use std::sync::{Arc, Mutex, PoisonError};

use backupctl_domain::{BackupRun, ErrorCode, Failure, Project, RunId, RunStatus, Trigger};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::{error, info, warn};

use super::control::{Reply, Shared};
use super::{Ports, board::Ask};
use crate::context::Silent;
use crate::ports::{Asked, Launch, LaunchObserver, Launched, ProjectEntry, RunQuery};
use crate::use_cases::run_backup::RunBackup;
use crate::use_cases::slots;

/// A run that is to be made.
pub(super) struct Job {
    pub ports: Ports,
    pub shared: Arc<Shared>,
    /// The project as it was known last: its schedule, and whom to tell.
    pub project: Project,
    /// What is wrong with it in the configuration, if anything is.
    pub fault: Option<Failure>,
    pub ask: Ask,
}

impl Job {
    /// Makes it.
    pub(super) async fn run(mut self) {
        // Nothing but a person asks for a run while the schedule is paused, however long it has waited.
        if self.ask.due_at.is_some() && self.is_paused().await {
            let due_at = self.ask.due_at;
            info!(project = %self.project.name, due_at = ?due_at, "paused: no run is made");
            self.tell(json!({"event": "not_made", "reason": "paused", "due_at": due_at}));
            if !self.ask.by_hand {
                return;
            }
            self.ask = Ask::by_hand(self.ask.reply.take());
        }
        let (trigger, due_at) = (self.ask.trigger, self.ask.due_at);
        let observer = Arc::new(Forward {
            shared: Arc::clone(&self.shared),
            project: self.project.name.to_string(),
            reply: Mutex::new(self.ask.reply.take()),
        });
        info!(
            project = %self.project.name, trigger = trigger.as_str(), due_at = ?due_at,
            "run launched"
        );
        let launched = if let Some(failure) = &self.fault {
            Launched::NotStarted(failure.clone())
        } else {
            let launch = Launch { project: self.project.name.clone(), trigger, due_at };
            self.ports.launcher.launch(&launch, &self.ports.cancel, observer.clone()).await
        };
        observer.answer(&launched);
        let accounted = self.account(launched).await;
        if let (true, Some(slot)) = (accounted, due_at)
            && let Err(failure) = slots::handled(&self.ports.world, &self.project.name, slot).await
        {
            warn!(project = %self.project.name, "the schedule's memory: {}", failure.full_message());
        }
    }

    async fn is_paused(&self) -> bool {
        let world = &self.ports.world;
        let memory = world.schedules.project(&self.project.name).await;
        memory.is_ok_and(|memory| memory.pause_at(world.clock.now()).is_some())
    }

    /// Sees to the record; whether the slot is dealt with.
    async fn account(&self, launched: Launched) -> bool {
        let ending = self.ports.cancel.reason().is_some();
        let name = &self.project.name;
        match launched {
            Launched::Finished(run) => log(&run),
            Launched::Folded => {
                info!(project = %name, "no run was needed");
                self.tell(json!({"event": "folded", "due_at": self.ask.due_at}));
            }
            // The next start finds the slot as it is.
            Launched::NotStarted(_) | Launched::Lost { run_id: None, .. } if ending => {
                return false;
            }
            Launched::NotStarted(failure) if failure.code == ErrorCode::UnknownProject => {
                // Taken out of the configuration a moment ago: nothing is promised any more.
                info!(project = %name, "no run: {}", failure.full_message());
            }
            Launched::NotStarted(failure) => self.refuse(&failure).await,
            Launched::Lost { run_id: None, why } => self.refuse(&lost(&why)).await,
            Launched::Lost { run_id: Some(id), why } => self.put_right(id, &why).await,
        }
        true
    }

    /// Records and tells a run that did not even begin.
    async fn refuse(&self, failure: &Failure) {
        let Ports { world, config, .. } = &self.ports;
        let use_case = RunBackup::new(Arc::clone(world));
        let (project, trigger) = (self.project.clone(), self.ask.trigger);
        let run = use_case
            .refuse(config.as_ref(), project, trigger, self.ask.due_at, failure, Arc::new(Silent))
            .await;
        self.ended(&run);
    }

    /// Has recovery see to a run whose process has died, and what it has left.
    async fn put_right(&self, id: RunId, why: &str) {
        let Ports { world, recovery, cancel, .. } = &self.ports;
        error!(project = %self.project.name, run.id = %id, "the run's process ended: {why}");
        recovery.execute(&[self.entry().await], cancel).await;
        let query =
            RunQuery { id_prefix: Some(id.to_string()), limit: Some(1), ..RunQuery::default() };
        match world.audit.find_runs(&query).await.map(|mut runs| runs.pop()) {
            Ok(Some(run)) if run.status == RunStatus::Started => {
                // Another process has the project's lock by now, and puts it right before it begins.
                warn!(project = %self.project.name, run.id = %id, "left to the run that goes on");
            }
            Ok(Some(run)) => self.ended(&run),
            // The audit has never heard of it.
            Ok(None) | Err(_) => self.refuse(&lost(why)).await,
        }
    }

    /// The project with all that the configuration says of it, of which the daemon keeps only a part.
    async fn entry(&self) -> ProjectEntry {
        let name = self.project.name.to_string();
        let loaded = self.ports.config.load().await;
        let found = loaded.ok().and_then(|loaded| {
            loaded.projects.into_iter().find(|entry| entry.name == name && entry.project.is_ok())
        });
        found.unwrap_or_else(|| ProjectEntry { name, project: Ok(self.project.clone()) })
    }

    fn ended(&self, run: &BackupRun) {
        log(run);
        self.tell(json!({"event": "finished", "run": run}));
    }

    fn tell(&self, event: Value) {
        self.shared.tell(Some(self.project.name.as_str()), event);
    }
}

fn log(run: &BackupRun) {
    let (project, trigger) = (&run.project, run.trigger.as_str());
    match &run.error {
        None => info!(project = %project, run.id = %run.run_id, trigger, "backup succeeded"),
        Some(error) => warn!(
            project = %project, run.id = %run.run_id, trigger, error.code = %error.code,
            "backup failed: {}", error.message
        ),
    }
}

fn lost(why: &str) -> Failure {
    Failure::new(
        ErrorCode::Interrupted,
        format!("the process of the run ended without a word of how it went: {why}"),
    )
    .with_remedy(
        "see the log of that time for what ended it (`journalctl -k` names what the kernel killed \
         for want of memory), then run the project again",
    )
}

/// Hands on what a run says, and tells who asked for it that it has begun.
struct Forward {
    shared: Arc<Shared>,
    project: String,
    reply: Mutex<Option<Reply>>,
}

impl Forward {
    fn reply(&self, answer: Result<Asked, Failure>) {
        let reply = self.reply.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reply) = reply {
            // Who asked may have stopped waiting.
            let _ = reply.send(answer);
        }
    }

    /// What to say to who asked where no begin was seen.
    fn answer(&self, launched: &Launched) {
        self.reply(match launched {
            Launched::Finished(run) => Ok(Asked::Started { run_id: run.run_id }),
            Launched::Folded => Ok(Asked::Folded),
            Launched::NotStarted(failure) => Err(failure.clone()),
            Launched::Lost { why, .. } => Err(lost(why)),
        });
    }
}

impl LaunchObserver for Forward {
    fn event(&self, event: &Value) {
        if event["event"] == "started"
            && let Ok(run_id) = RunId::deserialize(&event["run_id"])
        {
            self.reply(Ok(Asked::Started { run_id }));
        }
        self.shared.tell(Some(&self.project), event.clone());
    }
}

/// The event of a slot's run that has to wait for its turn.
pub(super) fn queued(trigger: Trigger, due_at: Option<Timestamp>) -> Value {
    json!({"event": "queued", "trigger": trigger, "due_at": due_at})
}
