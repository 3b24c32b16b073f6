//! Work on a project's snapshots and files outside a run: nothing else may be at them meanwhile.

use backupctl_domain::project::ProjectName;
use backupctl_domain::{ErrorCode, Failure};
use tracing::{info, warn};

use super::run_all::{abort_command, in_progress};
use crate::World;
use crate::context::StageContext;
use crate::ports::{Acquired, LockGuard, LockHolder, LockState, RemoteStorage};

/// Takes the project's lock; `BACKUP_IN_PROGRESS` at once where anybody has it, be it a run, a recovery
/// or work like this.
///
/// It is never waited for: one run alone may wait for a lock, and a further one is folded into it, which
/// must not be into something that makes no backup. It is taken as a recovery takes it, so that a run
/// that comes meanwhile waits for it instead of giving up.
pub(super) async fn exclusive(
    world: &World,
    project: &ProjectName,
) -> Result<Box<dyn LockGuard>, Failure> {
    let stale = matches!(world.lock.state(project).await?, LockState::Stale(_));
    let guard = match world.lock.acquire_to_recover(project).await? {
        Acquired::Locked(guard) => guard,
        Acquired::Busy(holder) | Acquired::Folded(holder) if holder.recovering => {
            return Err(put_right(project, holder));
        }
        Acquired::Busy(holder) | Acquired::Folded(holder) => {
            let abort = abort_command(world, project.as_str(), holder).await;
            let failure = in_progress(world, project.as_str(), holder).await;
            // This does not queue behind a run.
            return Err(failure.with_remedy(format!(
                "run this command again after the backup's end (`backupctl status {project}` shows \
                 its stage), or end one that hangs with {abort}"
            )));
        }
    };
    // The lock file was all that told of a dead run's programs, and it is ours now.
    if stale {
        world.children.end_orphans(project).await?;
    }
    Ok(guard)
}

fn put_right(project: &ProjectName, holder: LockHolder) -> Failure {
    let pid = holder.pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
    let message =
        format!("a recovery, prune, forget or cache of {project} has its lock now (pid {pid})");
    Failure::new(ErrorCode::BackupInProgress, message)
        .with_remedy("wait for its end, then run the command again")
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
