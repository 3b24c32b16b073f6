//! One snapshot deleted, on purpose and never by accident.

use std::path::Path;
use std::sync::Arc;

use backupctl_domain::tag::Tag;
use backupctl_domain::{DumpName, ErrorCode, Failure, Project, Stage};
use tracing::info;

use super::exclusive::exclusive;
use super::snapshots::pick;
use crate::World;
use crate::context::{Cancel, StageContext};
use crate::ports::Snapshot;

/// A deleted snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// What it was.
    pub snapshot: Snapshot,
    /// How many the project has left.
    pub left: usize,
}

/// Deletes snapshots of one project.
pub struct Forget<'a> {
    world: &'a World,
    project: &'a Project,
    ctx: StageContext,
}

impl<'a> Forget<'a> {
    /// A use case for one project, its secrets resolved as far as its repository needs them.
    pub fn new(world: &'a World, project: &'a Project, cancel: Cancel) -> Self {
        let ctx = StageContext::new(Stage::Prune, cancel, Arc::new(project.redactor()));
        Self { world, project, ctx }
    }

    /// The snapshot that would be deleted: one of this project's, by its id or the beginning of it.
    /// `SNAPSHOT_NOT_FOUND` where there is none or not one alone. Without `force`, `INVALID_CONFIG`
    /// (a use of the command that is refused) where nothing would be left of what it holds.
    pub async fn find(&self, id: &str, force: bool) -> Result<Snapshot, Failure> {
        let (storage, _) = (self.world.registries.storage)(self.project)?;
        let all = storage.snapshots(&self.ctx).await?;
        let found = pick(&all, &self.project.name, id)?;
        if !force && let Some(lost) = self.lost_with(found, &all) {
            return Err(self.only_one(found, &lost));
        }
        Ok(found.clone())
    }

    /// Deletes it and frees its space, under the project's lock. What [`Forget::find`] refuses is
    /// refused here too: meanwhile retention may have removed the others.
    pub async fn execute(&self, id: &str, force: bool) -> Result<Forgotten, Failure> {
        let (storage, admin) = (self.world.registries.storage)(self.project)?;
        let guard = exclusive(self.world, &self.project.name).await?;
        let all = storage.snapshots(&self.ctx).await?;
        let snapshot = pick(&all, &self.project.name, id)?.clone();
        if !force && let Some(lost) = self.lost_with(&snapshot, &all) {
            return Err(self.only_one(&snapshot, &lost));
        }
        admin.forget(&snapshot.id, &self.ctx).await?;
        info!(project = %self.project.name, snapshot = %snapshot.id, "forgotten");
        guard.release()?;
        Ok(Forgotten { snapshot, left: all.len() - 1 })
    }

    /// What the project would have no snapshot of any more.
    fn lost_with(&self, snapshot: &Snapshot, all: &[Snapshot]) -> Option<String> {
        let others: Vec<&Snapshot> = all.iter().filter(|s| s.id != snapshot.id).collect();
        if others.is_empty() {
            return Some(format!("project {} has", self.project.name));
        }
        if has_dump(snapshot) && !others.iter().any(|s| has_dump(s)) {
            return Some(format!("holds the database of project {}", self.project.name));
        }
        // One of a single asset path: those that are gone from the configuration count as well, the
        // others of the path were removed by retention and this is its last copy.
        let tags = snapshot.tags.iter().filter_map(|tag| Tag::parse(tag));
        let path = tags.into_iter().find_map(|tag| match tag {
            Tag::Assets(path) => Some(path),
            _ => None,
        })?;
        let holds = |s: &&Snapshot| s.paths.iter().any(|p| p == Path::new(&path));
        (!others.iter().any(holds)).then(|| format!("holds {path}"))
    }

    fn only_one(&self, snapshot: &Snapshot, lost: &str) -> Failure {
        Failure::new(
            ErrorCode::InvalidConfig,
            format!("snapshot {} is the only one that {lost}: it is kept", snapshot.id.short()),
        )
        .with_remedy(format!(
            "back up first with `backupctl run {}`, or add --force to be left without",
            self.project.name
        ))
    }
}

/// Whether a snapshot holds the database: by its tag, or by the name of a dump, be it of the tool before
/// or of the name that the project had once.
fn has_dump(snapshot: &Snapshot) -> bool {
    let is_db = |tag: &String| Tag::parse(tag) == Some(Tag::Db);
    snapshot.tags.iter().any(is_db) || snapshot.paths.iter().any(|path| DumpName::is_dump(path))
}
