//! The backup of one project: lock, stages, and an end that is told whatever happened.
//!
//! [`RunBackup::execute`] holds the frame (lock, record, panic and signal safety); `pipeline` goes
//! through the stages; `stages` and `destinations` do the work of each; `closing` tells how it ended.

mod closing;
mod destinations;
mod pipeline;
mod preflight;
mod stages;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use backupctl_domain::schedule::memory::{Pause, ScheduleMemory};
use backupctl_domain::{
    BackupRun, ErrorCode, Failure, Project, Redactor, RunError, RunId, RunStatus, Stage, Trigger,
};
use jiff::Timestamp;
use tracing::{error, info, warn};

use crate::World;
use crate::context::{Cancel, Observer, RunEvent, StageContext};
use crate::ports::{Acquired, Change, ConfigLoader, LockHolder};
use crate::use_cases::deliver;
use crate::use_cases::status::is_ahead;
pub(super) use closing::down;
use pipeline::{Active, Shared};

/// One run that is asked for.
pub struct RunRequest {
    /// The project, its secrets resolved.
    pub project: Project,
    /// What made it start.
    pub trigger: Trigger,
    /// The slot of the schedule that it is for.
    pub due_at: Option<Timestamp>,
    /// Whether it waits for a run that is going on, instead of giving up at once.
    pub wait: bool,
    /// Tells it to stop.
    pub cancel: Cancel,
    /// Watches it.
    pub observer: Arc<dyn Observer>,
}

/// What became of it.
#[derive(Debug)]
pub enum RunOutcome {
    /// It was made; its record says how it ended.
    Finished(Box<BackupRun>),
    /// Another run holds the project's lock: nothing was done.
    Busy(LockHolder),
    /// Another run holds the lock and one waits already: nothing was done.
    Folded(LockHolder),
    /// The slot that it was for has been dealt with meanwhile: nothing was done.
    Handled,
    /// The schedule that asked for it has been paused meanwhile: nothing was done.
    Paused(Pause),
}

/// Makes backups.
#[derive(Clone)]
pub struct RunBackup {
    world: Arc<World>,
}

impl RunBackup {
    /// The ports that it works on.
    pub(super) fn world(&self) -> &World {
        &self.world
    }

    /// A use case on these ports.
    pub fn new(world: Arc<World>) -> Self {
        Self { world }
    }

    /// [`RunBackup::execute`] as a future that borrows nothing, for a task of its own.
    pub async fn execute_owned(self, request: RunRequest) -> Result<RunOutcome, Failure> {
        self.execute(request).await
    }

    /// The run of a project that could not even begin, e.g. for a secret that cannot be had: recorded
    /// as failed and told over every channel whose own secrets can be had.
    pub async fn refuse(
        &self,
        config: &dyn ConfigLoader,
        project: Project,
        trigger: Trigger,
        due_at: Option<Timestamp>,
        failure: &Failure,
        observer: Arc<dyn Observer>,
    ) -> BackupRun {
        let project = deliver::resolved_for_notice(config, project).await;
        let shared = self.shared(project, trigger, due_at, Cancel::new(), observer);
        shared.begin().await;
        let error = RunError::new(None, &redacted(&shared.redactor, failure.clone()));
        shared.finish_by_closing(Some(error)).await;
        shared.end(Ok(())).await
    }

    /// Makes one run, from lock to unlock.
    ///
    /// An `Err` means that waiting for the lock was interrupted; a run that failed, be it for a lock
    /// that could not be tried, is an `Ok` whose record says so.
    pub async fn execute(&self, request: RunRequest) -> Result<RunOutcome, Failure> {
        let RunRequest { project, trigger, due_at, wait, cancel, observer } = request;
        let world = &self.world;
        let acquired = if wait {
            world.lock.acquire_or_queue(&project.name, &cancel).await
        } else {
            match world.lock.acquire(&project.name).await {
                // No backup is going on: what holds the lock puts a dead one right, and is soon done.
                Ok(Acquired::Busy(holder)) if holder.recovering => {
                    world.lock.acquire_or_queue(&project.name, &cancel).await
                }
                other => other,
            }
        };
        let (guard, refused) = match acquired {
            Ok(Acquired::Locked(guard)) => (Some(guard), None),
            Ok(Acquired::Busy(holder)) => return Ok(RunOutcome::Busy(holder)),
            Ok(Acquired::Folded(holder)) => {
                info!(project = %project.name, "folded into the run that is already waiting");
                return Ok(RunOutcome::Folded(holder));
            }
            Err(failure) if failure.code == ErrorCode::Interrupted => return Err(failure),
            // A lock that cannot even be tried (a full or read-only disk) is a failed backup, and
            // somebody must hear of it.
            Err(failure) => (None, Some(failure)),
        };

        // Two processes may have been started for one slot, e.g. by a daemon that was killed and by
        // the one after it. Which comes second finds that out only when it has the lock.
        // And somebody may have paused the schedule while it waited.
        if guard.is_some()
            && matches!(trigger, Trigger::Scheduled | Trigger::CatchUp)
            && let Some(needless) = self.needless(&project, due_at).await
        {
            return Ok(needless);
        }

        let shared = self.shared(project, trigger, due_at, cancel, observer);
        shared.begin().await;

        // The stages run in tasks of their own: a panic in one ends that task alone, and what must
        // happen whatever happened — record, notice, heartbeat, unlock — still does.
        let error = if let Some(failure) = refused {
            Some(RunError::new(Some(Stage::Lock), &redacted(&shared.redactor, failure)))
        } else {
            let work = tokio::spawn({
                let shared = Arc::clone(&shared);
                async move { shared.work().await }
            });
            match work.await {
                Ok(error) => error,
                Err(panic) => Some(shared.panicked(&panic)),
            }
        };
        shared.finish_by_closing(error).await;

        let unlock = guard.map_or(Ok(()), crate::ports::LockGuard::release);
        Ok(RunOutcome::Finished(Box::new(shared.end(unlock).await)))
    }
}

impl RunBackup {
    /// Why the schedule wants no run any more: it is paused, or the slot has its run already. What
    /// cannot be known is not so: rather a backup too many.
    async fn needless(&self, project: &Project, due_at: Option<Timestamp>) -> Option<RunOutcome> {
        let memory = match self.world.schedules.project(&project.name).await {
            Ok(memory) => memory,
            Err(failure) => {
                warn!(project = %project.name, "{}", failure.full_message());
                return None;
            }
        };
        if let Some(pause) = memory.pause_at(self.world.clock.now()) {
            info!(project = %project.name, "paused meanwhile: no run is made");
            return Some(RunOutcome::Paused(pause));
        }
        due_at.filter(|slot| memory.needs_no_run(*slot))?;
        info!(project = %project.name, "the slot has been dealt with meanwhile");
        Some(RunOutcome::Handled)
    }

    fn shared(
        &self,
        project: Project,
        trigger: Trigger,
        due_at: Option<Timestamp>,
        cancel: Cancel,
        observer: Arc<dyn Observer>,
    ) -> Arc<Shared> {
        let world = &self.world;
        let mut run = BackupRun::start(
            RunId(uuid::Uuid::new_v4()),
            project.name.clone(),
            trigger,
            world.clock.now(),
            &world.identity.host,
            &world.identity.version,
            world.identity.pid,
        );
        run.due_at = due_at;
        Arc::new(Shared {
            world: Arc::clone(world),
            redactor: Arc::new(project.redactor()),
            project,
            cancel,
            observer,
            run_id: run.run_id,
            started_at: run.started_at,
            active: std::sync::Mutex::new(Active::new(run)),
            timeout_told: AtomicBool::new(false),
            alarm_rings: AtomicBool::new(false),
        })
    }
}

impl Shared {
    /// Tells how the run ended, in a task of its own, and tells it otherwise where that panics.
    async fn finish_by_closing(self: &Arc<Self>, error: Option<RunError>) {
        let closing = tokio::spawn({
            let shared = Arc::clone(self);
            async move { shared.close(error).await }
        });
        if let Err(panic) = closing.await {
            let failure = self.bug("closing the run panicked", &panic);
            self.close_after_panic(failure).await;
        }
    }

    /// The end of the first phase: the run is known to the audit and to its watchers.
    async fn begin(&self) {
        let run = self.snapshot();
        info!(
            run.id = %run.run_id, project = %run.project, trigger = run.trigger.as_str(),
            "backup started"
        );
        self.observer.event(&RunEvent::Started { run_id: run.run_id });
        if let Err(failure) = self.world.audit.start_run(&run).await {
            warn!(
                run.id = %run.run_id, error.code = %failure.code,
                "the audit does not know of this run yet: {}", failure.full_message()
            );
        }
        if let Some(slot) = run.due_at {
            let now = run.started_at;
            self.remember(Box::new(move |memory| memory.begin(slot, now))).await;
        }
    }

    /// Remembers something of the project's schedule. A run does not fail for it.
    async fn remember(&self, change: Change<ScheduleMemory>) {
        let schedules = &self.world.schedules;
        if let Err(failure) = schedules.update_project(&self.project.name, change).await {
            warn!(
                run.id = %self.run_id, error.code = %failure.code,
                "the schedule's memory: {}", failure.full_message()
            );
        }
    }

    fn panicked(&self, panic: &tokio::task::JoinError) -> RunError {
        let stage = self.with(|a| a.run.current_stage);
        RunError::new(stage, &self.bug("the run panicked", panic))
    }

    fn bug(&self, what: &str, panic: &tokio::task::JoinError) -> Failure {
        let failure = redacted(&self.redactor, Failure::internal(format!("{what}: {panic}")));
        error!(run.id = %self.run_id, "{}", failure.message);
        failure
    }

    /// Step 13's record, and the whole record once more now that every step has ended.
    async fn end(&self, unlock: Result<(), Failure>) -> BackupRun {
        let now = self.world.clock.now();
        self.finish_stage(Stage::Unlock, now, 1, unlock.map(|()| None));
        let run = self.snapshot();
        let at = run.started_at;
        let succeeded = (run.status == RunStatus::Success).then_some(at);
        // What is at a destination is there, whatever became of the others.
        let stored = run.destinations.iter().filter(|d| d.stored);
        let stored: Vec<String> = stored.map(|d| d.name.to_string()).collect();
        if succeeded.is_some() || !stored.is_empty() {
            self.remember(Box::new(move |memory| {
                // What a clock that was ahead has dated does not hide what comes after it.
                let past = |known: &Timestamp| !is_ahead(*known, at);
                memory.last_success = memory.last_success.filter(past).max(succeeded);
                for name in stored {
                    let known = memory.stored.get(&name).copied().filter(past);
                    memory.stored.insert(name, known.map_or(at, |known| known.max(at)));
                }
            }))
            .await;
        }
        // The record stands since step 10; this adds how the steps behind it went. When the audit
        // was down then, the fallback file has the record, and nothing is written twice.
        if self.with(|a| a.audited)
            && let Some(lost) = deliver::record(&self.world, &run).await
        {
            warn!(run.id = %run.run_id, "last steps not recorded: {lost}");
        }
        run
    }

    fn context(&self, stage: Stage) -> StageContext {
        StageContext {
            stage,
            cancel: self.cancel.clone(),
            observer: Arc::clone(&self.observer),
            redactor: Arc::clone(&self.redactor),
        }
    }

    /// A context for what is done although the run was told to stop. A second signal ends the process.
    fn closing_context(&self, stage: Stage) -> StageContext {
        StageContext { cancel: Cancel::new(), ..self.context(stage) }
    }

    fn elapsed(&self, now: Timestamp) -> std::time::Duration {
        std::time::Duration::try_from(now.duration_since(self.started_at)).unwrap_or_default()
    }
}

/// The redactor's work on a failure's texts, for ports that could not do it themselves.
fn redacted(redactor: &Redactor, mut failure: Failure) -> Failure {
    failure.message = redactor.redact(&failure.message);
    failure.detail = redactor.redact(&failure.detail);
    failure
}
