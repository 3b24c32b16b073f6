//! One snapshot deleted, on purpose and never by accident.

use std::path::Path;
use std::sync::Arc;

use backupctl_domain::manifest::listed;
use backupctl_domain::retention::Proof;
use backupctl_domain::tag::Tag;
use backupctl_domain::{DestinationName, DumpName, ErrorCode, Failure, Project, Stage};
use tracing::info;

use super::exclusive::exclusive;
use super::places::{Held, ask, unasked};
use super::snapshots::pick;
use crate::World;
use crate::context::{Cancel, StageContext};
use crate::ports::Snapshot;

/// A deleted snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// What it was.
    pub snapshot: Snapshot,
    /// Where it was.
    pub destination: DestinationName,
    /// How many the project has left there.
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

    /// The snapshot that would be deleted: one of this project's, by its id or the beginning of it, at
    /// any destination or the one of that name. `SNAPSHOT_NOT_FOUND` where there is none or not one
    /// alone. Without `force`, `INVALID_CONFIG` (a use of the command that is refused) where nothing
    /// would be left there of what it holds.
    pub async fn find(
        &self,
        id: &str,
        destination: Option<&str>,
        force: bool,
    ) -> Result<Snapshot, Failure> {
        let (held, found) = self.look(id, destination).await?;
        self.check_left(&found, &held.snapshots, force)?;
        Ok(found)
    }

    /// Deletes it and frees its space, under the project's lock. What [`Forget::find`] refuses is
    /// refused here too: meanwhile retention may have removed the others.
    pub async fn execute(
        &self,
        id: &str,
        destination: Option<&str>,
        force: bool,
    ) -> Result<Forgotten, Failure> {
        let guard = exclusive(self.world, &self.project.name).await?;
        let (held, snapshot) = self.look(id, destination).await?;
        self.check_left(&snapshot, &held.snapshots, force)?;
        held.storage.admin.forget(&snapshot.id, &self.ctx).await?;
        info!(project = %self.project.name, snapshot = %snapshot.id, "forgotten");
        guard.release()?;
        let left = held.snapshots.len() - 1;
        Ok(Forgotten { snapshot, destination: held.at.name.clone(), left })
    }

    /// The destination that has it, with all that it has, and the snapshot itself.
    async fn look(
        &self,
        id: &str,
        destination: Option<&str>,
    ) -> Result<(Held<'a>, Snapshot), Failure> {
        let (held, silent) = ask(self.world, self.project, destination, &self.ctx).await?;
        let all: Vec<Snapshot> = held.iter().flat_map(|of| of.snapshots.clone()).collect();
        let found = pick(&all, &self.project.name, id).map_err(|mut failure| {
            failure.message.push_str(&unasked(&silent));
            failure
        })?;
        let found = found.clone();
        let here = |of: &Held<'_>| of.snapshots.iter().any(|s| s.id == found.id);
        let mut places: Vec<Held<'a>> = held.into_iter().filter(here).collect();
        if places.len() > 1 {
            let names: Vec<String> = places.iter().map(|of| of.at.name.to_string()).collect();
            let message = format!(
                "snapshot {} is at {} destinations: {}",
                found.id.short(),
                names.len(),
                listed(&names, 9)
            );
            return Err(Failure::new(ErrorCode::InvalidConfig, message)
                .with_remedy("name the one to delete it from with --destination"));
        }
        let at = places.pop();
        let at = at.ok_or_else(|| Failure::internal("the snapshot is at no destination"))?;
        Ok((at, found))
    }

    fn check_left(&self, found: &Snapshot, all: &[Snapshot], force: bool) -> Result<(), Failure> {
        match self.lost_with(found, all).filter(|_| !force) {
            Some(lost) => Err(self.only_one(found, &lost)),
            None => Ok(()),
        }
    }

    /// What the project would have no snapshot of any more.
    fn lost_with(&self, snapshot: &Snapshot, all: &[Snapshot]) -> Option<String> {
        let others: Vec<&Snapshot> = all.iter().filter(|s| s.id != snapshot.id).collect();
        if others.is_empty() {
            return Some(format!("project {} has", self.project.name));
        }
        // Of an archive that cannot be opened here nobody knows what is in it: every one is a whole copy.
        let whole = |s: &Snapshot| s.archive.is_some();
        if whole(snapshot) {
            let good = |s: &&Snapshot| whole(s) && s.proof != Some(Proof::Damaged);
            let left = others.iter().copied().any(|s| good(&s));
            let lost = format!("is a whole archive of project {}", self.project.name);
            return (!left && snapshot.proof != Some(Proof::Damaged)).then_some(lost);
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
