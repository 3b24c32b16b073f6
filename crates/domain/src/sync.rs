//! What one run stores: the parts, their tags and paths (spec: pipeline.md §3).

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::destination::SnapshotMode;
use crate::tag::Tag;
use crate::{ErrorCode, Failure, ProjectName};

/// One snapshot to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncPart {
    /// Its tags: the kind first, then the project.
    pub tags: Vec<Tag>,
    /// The dump file that must be in it with exactly this size, if it has one.
    pub dump: Option<(PathBuf, u64)>,
    /// The asset paths in it.
    pub assets: Vec<PathBuf>,
}

impl SyncPart {
    /// Every path of the part, the dump first.
    pub fn paths(&self) -> Vec<&Path> {
        let dump = self.dump.iter().map(|(path, _)| path.as_path());
        dump.chain(self.assets.iter().map(PathBuf::as_path)).collect()
    }

    /// The tags as restic takes them.
    pub fn tag_texts(&self) -> Vec<String> {
        self.tags.iter().map(Tag::to_string).collect()
    }
}

/// The snapshots that a run makes of its dump and its existing assets, the dump's first.
///
/// # Errors
///
/// `NOTHING_TO_BACK_UP` where there is nothing at all to store; the list is never empty.
pub fn sync_parts(
    project: &ProjectName,
    mode: SnapshotMode,
    dump: Option<(PathBuf, u64)>,
    assets: &[PathBuf],
) -> Result<Vec<SyncPart>, Failure> {
    if dump.is_none() && assets.is_empty() {
        return Err(Failure::new(
            ErrorCode::NothingToBackUp,
            format!("project {project} has no database and none of its asset paths exists"),
        )
        .with_remedy(format!(
            "correct `assets.paths` or add a `database`, then check with `backupctl run {project} \
             --dry-run`"
        )));
    }
    let project = Tag::Project(project.clone());
    Ok(match mode {
        SnapshotMode::Combined => {
            vec![SyncPart { tags: vec![Tag::Combined, project], dump, assets: assets.to_vec() }]
        }
        SnapshotMode::Separate => {
            let db = dump.map(|dump| SyncPart {
                tags: vec![Tag::Db, project.clone()],
                dump: Some(dump),
                assets: Vec::new(),
            });
            let assets = assets.iter().map(|path| SyncPart {
                tags: vec![Tag::Assets(path.to_string_lossy().into_owned()), project.clone()],
                dump: None,
                assets: vec![path.clone()],
            });
            db.into_iter().chain(assets).collect()
        }
    })
}
