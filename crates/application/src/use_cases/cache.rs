//! What restic keeps of a repository on this machine: how much that is, and doing without.

use std::sync::Arc;

use backupctl_domain::{Failure, Project, Stage};

use super::exclusive::exclusive;
use crate::World;
use crate::context::{Cancel, StageContext};
use crate::ports::RepositoryCache;

/// Measures the cache of a project's repository.
pub async fn measure_cache(
    world: &World,
    project: &Project,
    cancel: &Cancel,
) -> Result<RepositoryCache, Failure> {
    let (_, admin) = (world.registries.storage)(project)?;
    admin.cache(&context(project, cancel)).await
}

/// Removes the cache of a project's repository, under the project's lock: a run reads from it. The
/// next run fetches again what it needs.
pub async fn clear_cache(
    world: &World,
    project: &Project,
    cancel: &Cancel,
) -> Result<RepositoryCache, Failure> {
    let (_, admin) = (world.registries.storage)(project)?;
    let guard = exclusive(world, &project.name).await?;
    let removed = admin.clear_cache(&context(project, cancel)).await?;
    guard.release()?;
    Ok(removed)
}

fn context(project: &Project, cancel: &Cancel) -> StageContext {
    StageContext::new(Stage::Sync, cancel.clone(), Arc::new(project.redactor()))
}
