//! The snapshots of a project.

use std::sync::Arc;

use backupctl_domain::{Failure, Project, Stage};

use crate::World;
use crate::context::{Cancel, StageContext};
use crate::ports::Snapshot;

/// This project's snapshots, newest first, at most `limit`.
pub async fn list_snapshots(
    world: &World,
    project: &Project,
    limit: Option<usize>,
    cancel: &Cancel,
) -> Result<Vec<Snapshot>, Failure> {
    let (storage, _) = (world.registries.storage)(project)?;
    let ctx = StageContext::new(Stage::Sync, cancel.clone(), Arc::new(project.redactor()));
    let mut snapshots = storage.snapshots(&ctx).await?;
    snapshots.truncate(limit.unwrap_or(usize::MAX));
    Ok(snapshots)
}
