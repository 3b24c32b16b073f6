//! The end of a run, whatever happened before: finally hook, audit, notice, heartbeat.

use std::sync::Arc;
use std::time::Duration;

use backupctl_domain::{
    Failure, Notice, RunError, RunStatus, Stage, StageOutcome, StageRecord, plan,
};
use tracing::{info, warn};

use super::pipeline::Shared;
use crate::context::RunEvent;
use crate::ports::{Heartbeat, HookKind};
use crate::use_cases::deliver;

/// How long `hooks.finally` may take when the run was told to stop: somebody waits for its end.
const FINALLY_AFTER_INTERRUPT: Duration = Duration::from_mins(1);

/// A heartbeat's text is kept to this many characters.
const HEARTBEAT_TEXT: usize = 200;

/// The heartbeat of a run that failed so.
pub(crate) fn down(error: &RunError, took: Duration) -> Heartbeat {
    let text = format!("{}: {}", error.code, error.message);
    Heartbeat::Down { message: text.chars().take(HEARTBEAT_TEXT).collect(), took }
}

impl Shared {
    pub(super) async fn close(self: Arc<Self>, error: Option<RunError>) {
        if let Some(error) = &error {
            self.skip_unreached(error);
            self.settle_files(error).await;
        }
        self.finally_hook(error.as_ref()).await;

        let now = self.world.clock.now();
        self.with(|a| a.run.finish(now, error));
        let run = self.snapshot();
        if let Some(error) = &run.error {
            tracing::error!(
                run.id = %run.run_id, project = %run.project, error.code = %error.code,
                "backup failed: {}", error.message
            );
        } else {
            info!(
                run.id = %run.run_id, project = %run.project,
                duration_ms = run.duration.unwrap_or_default().as_millis(), "backup succeeded"
            );
        }

        self.audit().await;
        self.tell().await;
        self.record_told().await;
        self.beat().await;
    }

    /// Records that the end was told before a monitor is waited for: a process that dies there must
    /// not be told of a second time. Without a monitor the record is about to be completed anyway.
    async fn record_told(&self) {
        if self.project.monitor.is_none() || !self.with(|a| a.audited) {
            return;
        }
        let run = self.snapshot();
        if let Err(failure) = self.world.audit.finish_run(&run).await {
            warn!(run.id = %run.run_id, "not recorded that the end was told: {}", failure.message);
        }
    }

    /// Every numbered stage of the work that was not reached is listed as skipped.
    fn skip_unreached(&self, error: &RunError) {
        let reason = match error.stage {
            Some(stage) => format!("not reached: {stage} failed"),
            None => "not reached".to_owned(),
        };
        for stage in [Stage::NotifyStarted].into_iter().chain(Stage::WORK) {
            let recorded = self.with(|a| a.run.stage(stage).cloned());
            match recorded {
                None if error.stage == Some(stage) => {
                    let at = self.world.clock.now();
                    let failure = Failure::new(error.code, error.message.clone());
                    self.finish_stage(stage, at, 0, Err(failure));
                }
                None => self.skip(stage, &reason),
                // A stage that a panic left without an end has failed.
                Some(StageRecord { finished_at: None, started_at: Some(_), .. }) => {
                    let at = self.world.clock.now();
                    let failure = Failure::new(error.code, error.message.clone());
                    self.finish_stage(stage, at, 1, Err(failure));
                }
                Some(_) => {}
            }
        }
    }

    /// What a failed run leaves on disk: no partial, no dump that was proven bad, and no plain one
    /// where an encrypted one was asked for.
    async fn settle_files(&self, error: &RunError) {
        self.discard_condemned_dump(error).await;
        if error.stage == Some(Stage::Encrypt) {
            self.discard_plain_dump().await;
        }
        let project = &self.project.name;
        if let Err(failure) = self.world.cleanup.remove_partials(project, &[self.run_id]).await {
            warn!(run.id = %self.run_id, "partial files may be left: {}", failure.full_message());
        }
    }

    async fn finally_hook(&self, error: Option<&RunError>) {
        let stage = Stage::FinallyHook;
        let Some(command) = self.project.hooks.finally.as_deref() else { return };
        if !self.with(|a| a.hooks_begun) {
            self.skip(stage, "the run ended before its hooks");
            return;
        }
        self.enter(stage).await;
        self.observer.event(&RunEvent::StageStarted { stage, attempt: 1 });
        let failed_at = error.and_then(|e| e.stage).unwrap_or(stage);
        let mut call = self.hook_call(HookKind::Finally, command, failed_at, error.map(|e| e.code));
        if self.cancel.reason().is_some() {
            call.timeout = call.timeout.min(FINALLY_AFTER_INTERRUPT);
        }
        let result = self.world.hooks.execute(&call, &self.closing_context(stage)).await;
        if let Err(failure) = &result {
            self.note_warning(&format!("hooks.finally: {}", failure.full_message()));
        }
        let result = result.map(|o| Some(o.tail).filter(|t| !t.is_empty()));
        self.finish_stage(stage, self.world.clock.now(), 1, result);
    }

    async fn audit(&self) {
        let stage = Stage::Audit;
        self.begin_closing(stage).await;
        // The record says of its own writing that it went well: where it does not, it is not the
        // record that anybody reads.
        let now = self.world.clock.now();
        let mut record = self.snapshot();
        record.stages.retain(|s| s.stage != stage);
        record.stages.push(StageRecord {
            stage,
            started_at: Some(now),
            finished_at: Some(now),
            outcome: StageOutcome::Ok,
            attempts: 1,
            message: None,
        });
        let result = match self.world.audit.finish_run(&record).await {
            Ok(()) => {
                self.with(|a| a.audited = true);
                Ok(None)
            }
            Err(failure) => Err(failure),
        };
        let failed = result.is_err();
        self.finish_stage(stage, self.world.clock.now(), 1, result);
        if failed && let Some(lost) = deliver::keep_record(&self.world, &self.snapshot()).await {
            self.note_warning(&lost);
        }
    }

    /// The end of a run whose closing panicked: what has not been done of it is done, each part by
    /// itself, so that the bug in one does not silence the others.
    pub(super) async fn close_after_panic(self: &Arc<Self>, failure: Failure) {
        let now = self.world.clock.now();
        if self.with(|a| a.run.status) == RunStatus::Started {
            let error = RunError::new(Some(Stage::Audit), &failure);
            self.with(|a| a.run.finish(now, Some(error)));
        }
        let open =
            |stage| self.with(|a| a.run.stage(stage).is_none_or(|s| s.finished_at.is_none()));
        let parts = [open(Stage::Audit), open(Stage::Notify), open(Stage::Heartbeat)];
        for (part, open) in parts.into_iter().enumerate() {
            if !open {
                continue;
            }
            let shared = Arc::clone(self);
            let task = tokio::spawn(async move {
                match part {
                    0 => shared.audit().await,
                    1 => shared.tell().await,
                    _ => shared.beat().await,
                }
            });
            if let Err(panic) = task.await {
                tracing::error!(run.id = %self.run_id, "closing the run: {panic}");
            }
        }
    }

    async fn tell(&self) {
        let stage = Stage::Notify;
        if let Some(reason) = plan::skip_reason(stage, &self.project) {
            self.skip(stage, reason);
            return;
        }
        self.begin_closing(stage).await;
        let notice = Notice::finished(&self.snapshot(), self.world.clock.now());
        let problems = deliver::notify(&self.world, &self.project, &notice).await;
        self.finish_told(stage, &problems);
    }

    async fn beat(&self) {
        let stage = Stage::Heartbeat;
        if let Some(reason) = plan::skip_reason(stage, &self.project) {
            self.skip(stage, reason);
            return;
        }
        self.begin_closing(stage).await;
        let run = self.snapshot();
        let took = run.duration.unwrap_or_default();
        let heartbeat = match &run.error {
            None => Heartbeat::Up { message: format!("backup of {} succeeded", run.project), took },
            Some(error) => down(error, took),
        };
        let result = match self.world.registries.monitor(&self.project) {
            Ok(Some(monitor)) => monitor.send(&heartbeat).await,
            Ok(None) => Ok(()),
            Err(failure) => Err(failure),
        };
        self.finish_stage(stage, self.world.clock.now(), 1, result.map(|()| None));
    }

    /// Enters a closing stage. The run has ended by now: its record shows no current stage, only
    /// the audit's progress does.
    async fn begin_closing(&self, stage: Stage) {
        self.enter(stage).await;
        self.with(|a| a.run.current_stage = None);
        self.observer.event(&RunEvent::StageStarted { stage, attempt: 1 });
    }
}
