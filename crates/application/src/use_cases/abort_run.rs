//! Ends a run that hangs: its process, the programs of that, its partials and its lock
//! (spec: cli.md, `runs abort`).
//!
//! The process is asked first, for it ends, cleans up and tells best by itself. One that does not is
//! killed, and what it has left is put right as after a crash.

use std::sync::Arc;
use std::time::Duration;

use backupctl_domain::{BackupRun, ErrorCode, Failure, RunStatus};
use tracing::{info, warn};

use super::recover::{RecoverReport, RecoverStartup};
use super::run_backup::down;
use super::{deliver, runs};
use crate::World;
use crate::context::Cancel;
use crate::ports::{ConfigLoader, Ended, LockHolder, LockState, ProjectEntry, RunQuery};

/// What aborting a run has brought.
#[derive(Debug, Clone)]
pub struct Aborted {
    /// Its record, ended.
    pub run: BackupRun,
    /// How its process ended.
    pub ended: Ended,
    /// What had to be put right behind it.
    pub recovered: RecoverReport,
}

/// Aborts runs.
pub struct AbortRun {
    world: Arc<World>,
    config: Arc<dyn ConfigLoader>,
    recover: RecoverStartup,
}

impl AbortRun {
    /// A use case on these ports, putting right what is left by `recover`.
    pub fn new(world: Arc<World>, config: Arc<dyn ConfigLoader>, recover: RecoverStartup) -> Self {
        Self { world, config, recover }
    }

    /// Ends the run with this id or beginning of one; kills it when it has not ended by itself after
    /// `patience`. `entries` are the projects of the configuration.
    ///
    /// A run that has ended is `INVALID_CONFIG` (there is nothing to abort); one that another machine
    /// makes, or whose process cannot be told for sure, is `BACKUP_IN_PROGRESS`.
    pub async fn execute(
        &self,
        id: &str,
        entries: &[ProjectEntry],
        patience: Duration,
        cancel: &Cancel,
    ) -> Result<Aborted, Failure> {
        let world = &self.world;
        let run = runs::find_run(world, id).await?;
        self.check(&run).await?;
        info!(run.id = %run.run_id, project = %run.project, pid = run.pid, "run is aborted");
        let project = &run.project;
        let ended = world.processes.end_holder(project, run.pid, patience, cancel).await?;

        let mut now = self.record(&run).await?;
        let mut recovered = RecoverReport::default();
        if now.status == RunStatus::Started {
            let mut entries: Vec<ProjectEntry> =
                entries.iter().filter(|e| e.name == project.as_str()).cloned().collect();
            if entries.is_empty() {
                // It has left the configuration: nobody can be told, and it is ended all the same.
                entries.push(ProjectEntry { name: project.to_string(), project: Err(Vec::new()) });
            }
            recovered = self.recover.execute(&entries, cancel).await;
            now = self.record(&run).await?;
            if now.status == RunStatus::Started {
                return Err(self.left_over(&run, &recovered).await);
            }
            if recovered.orphans.contains(&run.run_id) {
                self.beat(&now, &entries).await;
            }
        }
        Ok(Aborted { run: now, ended, recovered })
    }

    async fn check(&self, run: &BackupRun) -> Result<(), Failure> {
        let id = run.run_id.short();
        if run.status != RunStatus::Started {
            let failed = run.error.as_ref().map_or_else(
                || "has succeeded".to_owned(),
                |error| format!("has failed already ({})", error.code),
            );
            return Err(Failure::new(
                ErrorCode::InvalidConfig,
                format!("run {id} of {} {failed}: there is nothing to abort", run.project),
            )
            .with_remedy(format!("see what goes on with `backupctl status {}`", run.project)));
        }
        let world = &self.world;
        if world.settings.audit_is_shared && run.host != world.identity.host {
            return Err(Failure::new(
                ErrorCode::BackupInProgress,
                format!(
                    "run {id} of {} is made on {}, and this is {}: its process is out of reach",
                    run.project, run.host, world.identity.host
                ),
            )
            .with_remedy(format!("run `backupctl runs abort {id}` on {}", run.host)));
        }
        if let LockState::Held(holder) = world.lock.state(&run.project).await?
            && holder.recovering
        {
            return Err(Failure::new(
                ErrorCode::BackupInProgress,
                format!("a recovery is putting {} right at this moment", run.project),
            )
            .with_remedy(format!("look again in a moment: `backupctl logs --run {id}`")));
        }
        Ok(())
    }

    async fn record(&self, run: &BackupRun) -> Result<BackupRun, Failure> {
        let id_prefix = Some(run.run_id.to_string());
        let query = RunQuery { id_prefix, ..RunQuery::default() };
        let mut found = self.world.audit.find_runs(&query).await?;
        Ok(found.pop().unwrap_or_else(|| run.clone()))
    }

    /// The process is gone and its record could not be ended: somebody else has the lock by now, or the
    /// record waits in the fallback file.
    async fn left_over(&self, run: &BackupRun, recovered: &RecoverReport) -> Failure {
        let (id, project) = (run.run_id.short(), &run.project);
        if let Ok(LockState::Held(next)) = self.world.lock.state(project).await {
            return overtaken(run, next);
        }
        let why = match recovered.problems.first() {
            Some(problem) => problem.clone(),
            None => "its record could not be written".to_owned(),
        };
        Failure::new(
            ErrorCode::BackupInProgress,
            format!(
                "the process of run {id} is gone, and what it has left is not put right: {why}"
            ),
        )
        .with_remedy(format!("let `backupctl recover {project}` do that when it can"))
    }

    /// Its monitor hears of the end, as it does from a run that ends by itself.
    async fn beat(&self, run: &BackupRun, entries: &[ProjectEntry]) {
        let Some(project) = entries.iter().find_map(|e| e.project.as_ref().ok()) else { return };
        let Some(error) = &run.error else { return };
        let project = deliver::resolved_for_notice(self.config.as_ref(), project.clone()).await;
        let sent = match self.world.registries.monitor(&project) {
            Ok(Some(monitor)) => {
                let took = run.duration.unwrap_or_default();
                monitor.send(&down(error, took)).await
            }
            Ok(None) => Ok(()),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = sent {
            warn!(run.id = %run.run_id, "the monitor was not told: {}", failure.full_message());
        }
    }
}

/// The process is gone, and who waited for its lock has it before anything could be put right.
fn overtaken(run: &BackupRun, next: LockHolder) -> Failure {
    let (id, project) = (run.run_id.short(), &run.project);
    let pid = next.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
    Failure::new(
        ErrorCode::BackupInProgress,
        format!(
            "run {id} is ended, and the lock of {project} was taken at once by what had waited for \
             it{pid}, such as `run --wait`: the record of {id} still says that it goes on"
        ),
    )
    .with_remedy(format!(
        "wait for the end of that (`backupctl status {project}`), then end the record with \
         `backupctl recover {project}`"
    ))
}
