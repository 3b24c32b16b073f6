//! What restic keeps of a repository on this machine: how much that is, and doing without.

use std::sync::Arc;

use backupctl_domain::{DestinationName, ErrorCode, Failure, Project, Stage};

use super::exclusive::exclusive;
use super::places::chosen;
use crate::World;
use crate::context::{Cancel, StageContext};
use crate::ports::{CacheKeeper, RepositoryCache};

/// The cache of one of a project's repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneCache {
    /// The destination.
    pub destination: DestinationName,
    /// What is there, or was.
    pub cache: RepositoryCache,
}

/// Measures the caches of a project's repositories, or of the one of that name. `INVALID_CONFIG` where
/// there is none that is cached.
pub async fn measure_cache(
    world: &World,
    project: &Project,
    destination: Option<&str>,
    cancel: &Cancel,
) -> Result<Vec<OneCache>, Failure> {
    let ctx = context(project, cancel);
    let mut all = Vec::new();
    for (destination, keeper) in keepers(world, project, destination)? {
        all.push(OneCache { destination, cache: keeper.cache(&ctx).await? });
    }
    Ok(all)
}

/// Removes those caches, under the project's lock: a run reads from them. The next run fetches again
/// what it needs.
pub async fn clear_cache(
    world: &World,
    project: &Project,
    destination: Option<&str>,
    cancel: &Cancel,
) -> Result<Vec<OneCache>, Failure> {
    let keepers = keepers(world, project, destination)?;
    let guard = exclusive(world, &project.name).await?;
    let ctx = context(project, cancel);
    let mut all = Vec::new();
    for (destination, keeper) in keepers {
        all.push(OneCache { destination, cache: keeper.clear_cache(&ctx).await? });
    }
    guard.release()?;
    Ok(all)
}

/// A destination, and what looks after its cache.
type Keeper = (DestinationName, Arc<dyn CacheKeeper>);

fn keepers(
    world: &World,
    project: &Project,
    destination: Option<&str>,
) -> Result<Vec<Keeper>, Failure> {
    let mut all = Vec::new();
    for at in chosen(project, destination)? {
        let storage = world.registries.storage(project, at)?;
        all.extend(storage.cache.clone().map(|keeper| (at.name.clone(), keeper)));
    }
    if all.is_empty() {
        let message = format!("project {} keeps no cache: archives need none", project.name);
        return Err(Failure::new(ErrorCode::InvalidConfig, message)
            .with_remedy("name a project with a restic repository"));
    }
    Ok(all)
}

fn context(project: &Project, cancel: &Cancel) -> StageContext {
    StageContext::new(Stage::Sync, cancel.clone(), Arc::new(project.redactor()))
}
