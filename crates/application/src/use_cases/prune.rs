//! Retention now: what a run does at Prune and Cleanup, without a run.

use std::sync::Arc;

use backupctl_domain::manifest::listed;
use backupctl_domain::retention::KeepPolicy;
use backupctl_domain::{BackupRun, Failure, Project, Stage, plan};

use super::exclusive::{exclusive, freed_stale_lock};
use crate::World;
use crate::context::{Cancel, StageContext};
use crate::ports::{CleanupReport, PruneReport, RemoteStorage, RunQuery};

/// What retention has removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneOutcome {
    /// Of the repository.
    pub snapshots: PruneReport,
    /// Of the project's own folder.
    pub dumps: CleanupReport,
}

/// Applies the project's retention to its snapshots and then to its local dumps, under its lock.
///
/// The project's secrets must be resolved as far as its repository needs them. Dumps stay where the
/// repository could not be thinned out: they may be all that there is.
pub async fn prune(
    world: &World,
    project: &Project,
    cancel: &Cancel,
) -> Result<PruneOutcome, Failure> {
    let (storage, _) = (world.registries.storage)(project)?;
    let ctx = StageContext::new(Stage::Prune, cancel.clone(), Arc::new(project.redactor()));
    let guard = exclusive(world, &project.name).await?;
    let snapshots = thin_out(storage.as_ref(), &project.retention.keep, &ctx).await?;
    let dumps = match plan::skip_reason(Stage::Cleanup, project) {
        None => remove_old_dumps(world, project).await?,
        Some(_) => CleanupReport::default(),
    };
    guard.release()?;
    Ok(PruneOutcome { snapshots, dumps })
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
