//! The stages in order: progress, skips, retries, the timeout alert. No business rule of its own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backupctl_domain::plan;
use backupctl_domain::sync::SyncPart;
use backupctl_domain::{
    BackupRun, Failure, Notice, Project, Redactor, RetryDecision, RunError, RunId, SnapshotId,
    Stage, StageOutcome, StageRecord, Trigger, evaluate_retry,
};
use jiff::Timestamp;
use tracing::{info, warn};

use super::redacted;
use crate::World;
use crate::context::{Cancel, Observer, RunEvent, interrupted};
use crate::ports::{EncryptedFile, StoredSnapshot};
use crate::use_cases::deliver;

/// How long a call that was told to stop may take to do so before the run goes on without it.
const STOP_GRACE: Duration = Duration::from_secs(90);

/// What the tasks of one run share.
pub(super) struct Shared {
    pub(super) world: Arc<World>,
    pub(super) project: Project,
    pub(super) redactor: Arc<Redactor>,
    pub(super) cancel: Cancel,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) run_id: RunId,
    pub(super) started_at: Timestamp,
    pub(super) active: Mutex<Active>,
    pub(super) timeout_told: AtomicBool,
    /// Whether the timer, and not a step boundary, is telling.
    pub(super) alarm_rings: AtomicBool,
}

/// The timer of the timeout alert. It goes when the stages end, be it by a panic.
struct Alarm(tokio::task::JoinHandle<()>);

impl Drop for Alarm {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What changes while the run goes on.
pub(super) struct Active {
    pub(super) run: BackupRun,
    /// The last successful run and the last ones of any end, for estimates and parents.
    pub(super) history: Vec<BackupRun>,
    /// The dump file as the next stage finds it.
    pub(super) dump: Option<PathBuf>,
    /// The encrypted file, once written, while the plain one may still be there.
    pub(super) encrypted: Option<EncryptedFile>,
    /// The asset paths that are there, once Sync has looked.
    pub(super) assets: Option<Vec<PathBuf>>,
    /// What Sync has to store at each destination, and how far it has got.
    pub(super) parts: Vec<Option<Vec<Part>>>,
    /// Whether `PreHook` was reached, so that `hooks.finally` is due.
    pub(super) hooks_begun: bool,
    /// Whether step 10 reached the audit.
    pub(super) audited: bool,
    /// Asset paths that held files at the last backup and do not now.
    pub(super) assets_lost: Vec<String>,
}

/// One snapshot on its way.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) content: SyncPart,
    pub(super) stored: Option<StoredSnapshot>,
    pub(super) proven: bool,
}

impl Active {
    pub(super) fn new(run: BackupRun) -> Self {
        Self {
            run,
            history: Vec::new(),
            dump: None,
            encrypted: None,
            assets: None,
            parts: Vec::new(),
            hooks_begun: false,
            audited: false,
            assets_lost: Vec::new(),
        }
    }
}

impl Shared {
    /// Works on what changes. The lock is never held across an await.
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Active) -> T) -> T {
        // A panic in a stage poisons the mutex at most between two plain assignments.
        f(&mut self.active.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn snapshot(&self) -> BackupRun {
        self.with(|a| a.run.clone())
    }

    /// Goes through stages 1 to 9; returns why the run failed, if it did.
    pub(super) async fn work(self: Arc<Self>) -> Option<RunError> {
        let mut alarm = self.project.timeout.map(|limit| {
            let shared = Arc::clone(&self);
            Alarm(tokio::spawn(async move {
                shared.world.clock.sleep(limit).await;
                shared.alarm_rings.store(true, Ordering::SeqCst);
                shared.tell_timeout(limit).await;
            }))
        });
        let error = self.stages().await;
        // An alert on its way is let through; one that is not due is called off. (The clock of the
        // boundaries may have jumped ahead of the timer's: then the timer still sleeps.)
        if let Some(Alarm(task)) = &mut alarm
            && self.alarm_rings.load(Ordering::SeqCst)
        {
            let _ = task.await;
        }
        error
    }

    async fn stages(&self) -> Option<RunError> {
        self.notify_started().await;
        self.load_history().await;
        if matches!(self.with(|a| a.run.trigger), Trigger::Scheduled | Trigger::CatchUp)
            && let Some(error) = self.preflight().await
        {
            return Some(error);
        }
        for stage in Stage::WORK {
            if let Err(why) = self.cancel.check() {
                return Some(RunError::new(Some(stage), &why));
            }
            if stage == Stage::PreHook {
                self.with(|a| a.hooks_begun = true);
            }
            if let Some(reason) = plan::skip_reason(stage, &self.project) {
                self.skip(stage, reason);
                continue;
            }
            if let Err(error) = self.run_stage(stage).await {
                self.tidy_up_after(&error).await;
                return Some(error);
            }
        }
        None
    }

    /// What is due although the backup is not stored everywhere: old copies go where it is. A disk that
    /// is away for weeks must not fill the others.
    async fn tidy_up_after(&self, error: &RunError) {
        let stored = self.with(|a| a.run.destinations.iter().any(|d| d.stored));
        let interrupted = error.code == backupctl_domain::ErrorCode::Interrupted;
        if error.stage != Some(Stage::Sync) || !stored || interrupted {
            return;
        }
        for stage in [Stage::Prune, Stage::Cleanup] {
            if self.cancel.check().is_err() {
                return;
            }
            if let Some(reason) = plan::skip_reason(stage, &self.project) {
                self.skip(stage, reason);
            } else if let Err(failure) = self.run_stage(stage).await {
                self.note_warning(&format!("{stage}: {}: {}", failure.code, failure.message));
            }
        }
    }

    /// Runs one stage with its retries.
    async fn run_stage(&self, stage: Stage) -> Result<(), RunError> {
        self.enter(stage).await;
        if matches!(stage, Stage::Sync | Stage::Prune) {
            return self.run_at_destinations(stage).await;
        }
        match self.tried(stage, 0).await {
            Ok((message, retries)) => {
                self.finish_stage(stage, self.world.clock.now(), retries + 1, Ok(message));
                Ok(())
            }
            Err((failure, retries)) => Err(self.fail(stage, retries, failure)),
        }
    }

    /// A stage with its retries, of which there were so many; at one destination, by its place, where
    /// the stage works at them.
    pub(super) async fn tried(
        &self,
        stage: Stage,
        place: usize,
    ) -> Result<(Option<String>, u32), (Failure, u32)> {
        let policy = self.world.settings.retry;
        let mut retries = 0;
        loop {
            self.observer.event(&RunEvent::StageStarted { stage, attempt: retries + 1 });
            let failure = match self.attempt_or_stop(stage, place).await {
                Ok(message) => return Ok((message, retries)),
                Err(failure) => redacted(&self.redactor, failure),
            };
            match evaluate_retry(policy, stage, &failure, retries) {
                RetryDecision::RetryAfter(delay) => {
                    retries += 1;
                    warn!(
                        run.id = %self.run_id, stage = stage.name(), error.code = %failure.code,
                        retry = retries, "stage failed, next try in {delay:?}: {}",
                        failure.full_message()
                    );
                    self.observer.event(&RunEvent::Retry {
                        stage,
                        retry: retries,
                        of: policy.count,
                        delay,
                        failure,
                    });
                    tokio::select! {
                        why = self.cancel.cancelled() => return Err((interrupted(why), retries)),
                        () = self.world.clock.sleep(delay) => {}
                    }
                }
                RetryDecision::Fail => return Err((failure, retries)),
            }
        }
    }

    pub(super) fn fail(&self, stage: Stage, retries: u32, failure: Failure) -> RunError {
        let snapshot = self.with(|a| a.run.main_snapshot().cloned());
        self.fail_with(stage, retries, failure, snapshot.as_ref())
    }

    /// A stage has failed, which has left that snapshot in peace.
    pub(super) fn fail_with(
        &self,
        stage: Stage,
        retries: u32,
        failure: Failure,
        snapshot: Option<&SnapshotId>,
    ) -> RunError {
        let failure = plan::with_snapshot_note(stage, failure, snapshot);
        let error = self.error_of(stage, retries, &failure);
        self.finish_stage(stage, self.world.clock.now(), retries + 1, Err(failure));
        error
    }

    /// A stage's failure as a record has it.
    pub(super) fn error_of(&self, stage: Stage, retries: u32, failure: &Failure) -> RunError {
        let mut error = RunError::new(Some(stage), failure);
        if retries > 0 {
            error.retries = retries;
            error.retries_allowed = self.world.settings.retry.count;
        }
        error
    }

    /// One attempt; a call that does not stop when told is left behind after a while.
    async fn attempt_or_stop(&self, stage: Stage, place: usize) -> Result<Option<String>, Failure> {
        let attempt = self.attempt(stage, place);
        tokio::pin!(attempt);
        let why = tokio::select! {
            biased;
            done = &mut attempt => return done,
            why = self.cancel.cancelled() => why,
        };
        tokio::select! {
            biased;
            done = &mut attempt => match done {
                // It had just succeeded: the next stage's check ends the run.
                Ok(message) => Ok(message),
                Err(_) => Err(interrupted(why)),
            },
            () = self.world.clock.sleep(STOP_GRACE) => Err(interrupted(why)),
        }
    }

    async fn attempt(&self, stage: Stage, place: usize) -> Result<Option<String>, Failure> {
        match stage {
            Stage::PreHook => self.pre_hook().await,
            Stage::Dump => self.dump().await,
            Stage::Verify => self.verify().await,
            Stage::Encrypt => self.encrypt().await,
            Stage::Sync => self.sync(place).await,
            Stage::Prune => self.prune(place).await,
            Stage::Cleanup => self.cleanup().await,
            Stage::PostHook => self.post_hook().await,
            other => Err(Failure::internal(format!("stage {other} is not part of the work"))),
        }
    }

    /// The start of every step: the record knows where the run is, and a timeout is told at the
    /// latest here.
    pub(super) async fn enter(&self, stage: Stage) {
        let now = self.world.clock.now();
        info!(run.id = %self.run_id, project = %self.project.name, stage = stage.name(), "stage");
        self.with(|a| {
            a.run.current_stage = Some(stage);
            a.run.stages.retain(|s| s.stage != stage);
            a.run.stages.push(StageRecord {
                stage,
                started_at: Some(now),
                finished_at: None,
                outcome: StageOutcome::Ok,
                attempts: 0,
                message: None,
            });
        });
        if let Err(failure) = self.world.audit.track_progress(self.run_id, stage).await {
            warn!(
                run.id = %self.run_id, stage = stage.name(), error.code = %failure.code,
                "progress not recorded: {}", failure.message
            );
        }
        if let Some(limit) = self.project.timeout.filter(|limit| self.elapsed(now) > *limit) {
            self.tell_timeout(limit).await;
        }
    }

    pub(super) fn finish_stage(
        &self,
        stage: Stage,
        at: Timestamp,
        attempts: u32,
        result: Result<Option<String>, Failure>,
    ) {
        let (outcome, message) = match result {
            Ok(message) => (StageOutcome::Ok, message),
            Err(failure) => {
                warn!(
                    run.id = %self.run_id, stage = stage.name(), error.code = %failure.code,
                    attempts, "stage failed: {}", failure.full_message()
                );
                (StageOutcome::Failed, Some(failure.full_message()))
            }
        };
        let record = self.with(|a| {
            let started = a.run.stage(stage).and_then(|s| s.started_at).unwrap_or(at);
            let record = StageRecord {
                stage,
                started_at: Some(started),
                finished_at: Some(at),
                outcome,
                attempts,
                message,
            };
            a.run.stages.retain(|s| s.stage != stage);
            a.run.stages.push(record.clone());
            record
        });
        self.observer.event(&RunEvent::StageFinished { record });
    }

    pub(super) fn skip(&self, stage: Stage, reason: &str) {
        info!(run.id = %self.run_id, project = %self.project.name, "[SKIP] {stage} — {reason}");
        let record = StageRecord {
            stage,
            started_at: None,
            finished_at: None,
            outcome: StageOutcome::Skipped,
            attempts: 0,
            message: Some(reason.to_owned()),
        };
        self.with(|a| a.run.stages.push(record.clone()));
        self.observer.event(&RunEvent::StageFinished { record });
    }

    /// Notes something that does not fail the run: in its record, to its watchers, to the log.
    pub(super) fn note_warning(&self, message: &str) {
        let message = self.redactor.redact(message);
        warn!(run.id = %self.run_id, project = %self.project.name, "{message}");
        self.with(|a| a.run.warnings.push(message.clone()));
        self.observer.event(&RunEvent::Warning { message });
    }

    /// A warning that people are told of at once.
    pub(super) async fn warn_people(&self, message: &str) {
        self.note_warning(message);
        let notice = Notice::warning(
            &self.snapshot(),
            &self.redactor.redact(message),
            self.world.clock.now(),
        );
        deliver::notify(&self.world, &self.project, &notice).await;
    }

    /// The one timeout warning of a run, from the timer or from a step boundary.
    async fn tell_timeout(&self, limit: Duration) {
        if self.timeout_told.swap(true, Ordering::SeqCst) {
            return;
        }
        let now = self.world.clock.now();
        let elapsed = self.elapsed(now).max(limit);
        let run = self.snapshot();
        let stage = run.current_stage.unwrap_or(Stage::NotifyStarted);
        self.note_warning(&format!(
            "still running after {} (timeout_minutes: {})",
            backupctl_domain::human::minutes(elapsed),
            limit.as_secs() / 60
        ));
        let notice = Notice::timeout(&run, elapsed, limit, stage, now);
        deliver::notify(&self.world, &self.project, &notice).await;
    }

    async fn notify_started(&self) {
        let stage = Stage::NotifyStarted;
        if let Some(reason) = plan::skip_reason(stage, &self.project) {
            self.skip(stage, reason);
        } else {
            self.enter(stage).await;
            self.observer.event(&RunEvent::StageStarted { stage, attempt: 1 });
            let notice = Notice::started(&self.snapshot(), &self.world.settings.timezone);
            let problems = deliver::notify(&self.world, &self.project, &notice).await;
            self.finish_told(stage, &problems);
        }
        self.beat_start().await;
    }

    /// Ends a telling stage: failed when a channel failed, which the run survives.
    pub(super) fn finish_told(&self, stage: Stage, problems: &[String]) {
        let result = if problems.is_empty() {
            Ok(None)
        } else {
            Err(Failure::new(backupctl_domain::ErrorCode::NotifyFailed, problems.join("; ")))
        };
        self.finish_stage(stage, self.world.clock.now(), 1, result);
    }
}
