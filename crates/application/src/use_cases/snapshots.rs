//! The snapshots of a project.

use std::sync::Arc;

use backupctl_domain::{ErrorCode, Failure, Project, ProjectName, Stage};

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

/// Less of an id would match by chance, and nothing at all any snapshot.
pub const SHORTEST_ID: usize = 4;

/// `SNAPSHOT_NOT_FOUND` for what is too short for the id of a snapshot.
pub fn check_id(project: &ProjectName, id: &str) -> Result<(), Failure> {
    if id.len() >= SHORTEST_ID {
        return Ok(());
    }
    let message = format!("{id:?} is too short for a snapshot's id");
    Err(Failure::new(ErrorCode::SnapshotNotFound, message).with_remedy(format!(
        "name at least {SHORTEST_ID} characters of an id of `backupctl snapshots {project}`"
    )))
}

/// The one snapshot whose id is or begins with `id`; `SNAPSHOT_NOT_FOUND` for none and for several.
pub fn pick<'s>(
    all: &'s [Snapshot],
    project: &ProjectName,
    id: &str,
) -> Result<&'s Snapshot, Failure> {
    check_id(project, id)?;
    let found: Vec<&Snapshot> = all.iter().filter(|s| s.id.as_str().starts_with(id)).collect();
    if let [snapshot] = found[..] {
        return Ok(snapshot);
    }
    let message = match found.len() {
        0 => format!("project {project} has no snapshot {id}"),
        n => format!("{n} snapshots of project {project} begin with {id}"),
    };
    Err(Failure::new(ErrorCode::SnapshotNotFound, message)
        .with_remedy(format!("list what there is with `backupctl snapshots {project}`")))
}
