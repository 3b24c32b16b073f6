//! Retention now: what a run does at Prune and Cleanup, without a run.

use std::sync::Arc;

use backupctl_domain::retention::KeepPolicy;
use backupctl_domain::{Failure, Project, Stage, plan};

use super::exclusive::{exclusive, freed_stale_lock};
use crate::World;
use crate::context::{Cancel, StageContext};
use crate::ports::{CleanupReport, PruneReport, RemoteStorage};

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
    let guard = exclusive(world, &project.name, cancel).await?;
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

/// The local part.
pub(super) async fn remove_old_dumps(
    world: &World,
    project: &Project,
) -> Result<CleanupReport, Failure> {
    let now = world.clock.now().to_zoned(world.settings.timezone.clone());
    let days = project.retention.local_days;
    world.cleanup.cleanup(&project.name, days, now.datetime()).await
}
