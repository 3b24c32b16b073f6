//! Retention now: what a run does at Prune and Cleanup, without a run.

use std::sync::Arc;

use backupctl_domain::manifest::listed;
use backupctl_domain::retention::KeepPolicy;
use backupctl_domain::{BackupRun, DestinationName, ErrorCode, Failure, Project, Stage, plan};

use super::exclusive::{exclusive, freed_stale_lock};
use super::places::chosen;
use crate::World;
use crate::context::{Cancel, StageContext};
use crate::ports::{CleanupReport, PruneReport, RemoteStorage, RunQuery};

/// What retention has removed.
#[derive(Debug, Clone, Default)]
pub struct PruneOutcome {
    /// At each destination, in order.
    pub destinations: Vec<PrunedAt>,
    /// Of the project's own folder.
    pub dumps: CleanupReport,
}

/// What retention has done at one destination.
#[derive(Debug, Clone)]
pub struct PrunedAt {
    /// The destination.
    pub name: DestinationName,
    /// Whether its failure is one of the whole.
    pub required: bool,
    /// What was removed, or why nothing could be.
    pub result: Result<PruneReport, Failure>,
}

impl PruneOutcome {
    /// The first failure of a destination that is required, where one failed.
    pub fn failure(&self) -> Option<&Failure> {
        let mut required = self.destinations.iter().filter(|at| at.required);
        required.find_map(|at| at.result.as_ref().err())
    }

    /// What was removed and kept everywhere: one report of all that succeeded.
    pub fn total(&self) -> PruneReport {
        let mut total = PruneReport::default();
        for report in self.destinations.iter().filter_map(|at| at.result.as_ref().ok()) {
            total.removed.extend(report.removed.iter().cloned());
            total.kept += report.kept;
            total.repository_bytes = match (total.repository_bytes, report.repository_bytes) {
                (Some(a), Some(b)) => Some(a + b),
                (a, b) => a.or(b),
            };
            total.warnings.extend(report.warnings.iter().cloned());
        }
        total
    }
}

/// Applies the project's retention to its snapshots at every destination, or the one of that name, and
/// then to its local dumps, under its lock.
///
/// The project's secrets must be resolved as far as its destinations need them. A destination that
/// fails keeps no other from being thinned out; an error where all failed. Dumps stay where one that is
/// required could not be thinned out: they may be all that there is. A destination that is asked for by
/// name is required.
pub async fn prune(
    world: &World,
    project: &Project,
    destination: Option<&str>,
    cancel: &Cancel,
) -> Result<PruneOutcome, Failure> {
    let places = chosen(project, destination)?;
    let ctx = StageContext::new(Stage::Prune, cancel.clone(), Arc::new(project.redactor()));
    let guard = exclusive(world, &project.name).await?;
    let mut outcome = PruneOutcome::default();
    for at in places {
        let thinned = async {
            let storage = world.registries.storage(project, at)?;
            thin_out(storage.remote.as_ref(), &at.keep, &ctx).await
        };
        let result = thinned.await;
        if let Err(failure) = &result
            && failure.code == ErrorCode::Interrupted
        {
            return Err(failure.clone());
        }
        let (name, required) = (at.name.clone(), at.required || destination.is_some());
        outcome.destinations.push(PrunedAt { name, required, result });
    }
    if outcome.destinations.iter().all(|at| at.result.is_err())
        && let Some(failure) = outcome.destinations.iter().find_map(|at| at.result.as_ref().err())
    {
        return Err(outcome.failure().unwrap_or(failure).clone());
    }
    if outcome.failure().is_none() && plan::skip_reason(Stage::Cleanup, project).is_none() {
        outcome.dumps = remove_old_dumps(world, project).await?;
    }
    guard.release()?;
    Ok(outcome)
}

/// The repository's part. A lock that a dead process has left there is removed.
pub(super) async fn thin_out(
    storage: &dyn RemoteStorage,
    keep: &KeepPolicy,
    ctx: &StageContext,
) -> Result<PruneReport, Failure> {
    match storage.prune(keep, ctx).await {
        Err(failure) if freed_stale_lock(storage, &failure, ctx).await => {
            storage.prune(keep, ctx).await
        }
        done => done,
    }
}

/// The local part. An old dump stays where its run's record says that it was not stored: one of a run
/// that failed at Sync is a copy that exists nowhere else. With the records out of reach, all stay.
pub(super) async fn remove_old_dumps(
    world: &World,
    project: &Project,
) -> Result<CleanupReport, Failure> {
    let now = world.clock.now().to_zoned(world.settings.timezone.clone()).datetime();
    let (name, days) = (&project.name, project.retention.local_days);
    let mut runs: Vec<String> =
        world.cleanup.expired(name, days, now).await?.into_iter().map(|dump| dump.run).collect();
    runs.sort();
    runs.dedup();
    let mut stored = Vec::new();
    let mut unknown = None;
    for run in runs {
        let query = RunQuery {
            project: Some(name.clone()),
            id_prefix: Some(run.clone()),
            ..RunQuery::default()
        };
        match world.audit.find_runs(&query).await {
            // Of one without a record nothing speaks against the age that the configuration sets.
            Ok(records) if records.is_empty() || records.iter().any(BackupRun::is_stored) => {
                stored.push(run);
            }
            Ok(_) => {}
            // The others would wait for the same.
            Err(failure) => {
                unknown = Some(failure.message);
                break;
            }
        }
    }
    let mut report = world.cleanup.cleanup(name, days, now, &stored).await?;
    if !report.kept.is_empty() {
        report.unknown = unknown;
    }
    Ok(report)
}

/// Which dumps stay although they are old, and why.
pub fn kept_text(report: &CleanupReport) -> String {
    let names = report.kept.iter().filter_map(|path| path.file_name()?.to_str());
    let names: Vec<String> = names.map(str::to_owned).collect();
    let why = match &report.unknown {
        Some(why) => format!("the records cannot be read ({why})"),
        None => "their runs' records say that they are not in the repository".to_owned(),
    };
    format!("old dumps kept, for {why}: {}", listed(&names, 5))
}
