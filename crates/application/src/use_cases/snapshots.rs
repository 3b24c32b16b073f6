//! The snapshots of a project.

use std::path::Path;
use std::sync::Arc;

use backupctl_domain::{DestinationName, ErrorCode, Failure, Project, ProjectName, Stage};

use super::places::ask;
use crate::World;
use crate::context::{Cancel, StageContext};
use crate::ports::Snapshot;

/// A snapshot and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The destination.
    pub destination: DestinationName,
    /// The snapshot.
    pub snapshot: Snapshot,
}

/// What a project's destinations hold.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The snapshots of all that answered, newest first.
    pub snapshots: Vec<Located>,
    /// The destinations that did not, and why.
    pub silent: Vec<(DestinationName, Failure)>,
}

/// This project's snapshots at all destinations or the one of that name, newest first, at most `limit`
/// of each. An error only where no destination could be asked.
pub async fn list_snapshots(
    world: &World,
    project: &Project,
    destination: Option<&str>,
    limit: Option<usize>,
    cancel: &Cancel,
) -> Result<Listing, Failure> {
    let ctx = StageContext::new(Stage::Sync, cancel.clone(), Arc::new(project.redactor()));
    let (held, silent) = ask(world, project, destination, &ctx).await?;
    let located = held.into_iter().flat_map(|of| {
        let newest = of.snapshots.into_iter().take(limit.unwrap_or(usize::MAX));
        newest.map(|snapshot| Located { destination: of.at.name.clone(), snapshot })
    });
    let mut snapshots: Vec<Located> = located.collect();
    // Stable: those of one destination keep their order.
    snapshots.sort_by_key(|s| std::cmp::Reverse(s.snapshot.time));
    let silent = silent.into_iter().map(|(at, failure)| (at.name.clone(), failure)).collect();
    Ok(Listing { snapshots, silent })
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

/// Whether `id` is a snapshot's id or the beginning of it, or the name of the archive file that it is.
pub(super) fn is_named(snapshot: &Snapshot, id: &str) -> bool {
    let file = snapshot.archive.as_deref().and_then(Path::file_name);
    snapshot.id.as_str().starts_with(id) || file.is_some_and(|file| file == id)
}

/// The one snapshot whose id is or begins with `id`, or that is the archive file of that name;
/// `SNAPSHOT_NOT_FOUND` for none and for several. What one run has stored at several destinations may
/// have one id: the first of them then.
pub fn pick<'s>(
    all: &'s [Snapshot],
    project: &ProjectName,
    id: &str,
) -> Result<&'s Snapshot, Failure> {
    check_id(project, id)?;
    let found: Vec<&Snapshot> = all.iter().filter(|s| is_named(s, id)).collect();
    if let [snapshot, others @ ..] = &found[..]
        && others.iter().all(|other| other.id == snapshot.id)
    {
        return Ok(snapshot);
    }
    let message = match found.len() {
        0 => format!("project {project} has no snapshot {id}"),
        n => format!("{n} snapshots of project {project} begin with {id}"),
    };
    Err(Failure::new(ErrorCode::SnapshotNotFound, message)
        .with_remedy(format!("list what there is with `backupctl snapshots {project}`")))
}
