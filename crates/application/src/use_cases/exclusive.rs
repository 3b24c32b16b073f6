//! Work on a project's snapshots and files outside a run: nothing else may be at them meanwhile.

use backupctl_domain::project::ProjectName;
use backupctl_domain::{ErrorCode, Failure};
use tracing::{info, warn};

use super::run_all::in_progress;
use crate::World;
use crate::context::{Cancel, StageContext};
use crate::ports::{Acquired, LockGuard, LockState, RemoteStorage};

/// Takes the project's lock; `BACKUP_IN_PROGRESS` while a run has it.
///
/// It is taken as a recovery takes it, since this is no backup either: a run that comes meanwhile
/// waits for it instead of giving up, and so does this where a recovery has it.
pub(super) async fn exclusive(
    world: &World,
    project: &ProjectName,
    cancel: &Cancel,
) -> Result<Box<dyn LockGuard>, Failure> {
    let stale = matches!(world.lock.state(project).await?, LockState::Stale(_));
    let acquired = match world.lock.acquire_to_recover(project).await? {
        Acquired::Busy(holder) if holder.recovering => {
            world.lock.acquire_or_queue(project, cancel).await?
        }
        other => other,
    };
    let guard = match acquired {
        Acquired::Locked(guard) => guard,
        Acquired::Busy(holder) | Acquired::Folded(holder) => {
            return Err(in_progress(project.as_str(), holder));
        }
    };
    // The lock file was all that told of a dead run's programs, and it is ours now.
    if stale {
        world.children.end_orphans(project).await?;
    }
    Ok(guard)
}

/// On `REPO_LOCKED`: removes locks whose processes are gone; true where that freed one.
pub(super) async fn freed_stale_lock(
    storage: &dyn RemoteStorage,
    failure: &Failure,
    ctx: &StageContext,
) -> bool {
    if failure.code != ErrorCode::RepoLocked {
        return false;
    }
    match storage.unlock_stale(ctx).await {
        Ok(true) => {
            info!("removed a stale lock of the repository");
            true
        }
        Ok(false) => false,
        Err(failure) => {
            warn!("looking for stale locks: {}", failure.message);
            false
        }
    }
}
