//! Which archives there are, and what is known of each.

use std::path::{Path, PathBuf};

use backupctl_adapter_stream::Watch;
use backupctl_application::ports::{FileSystem, Snapshot};
use backupctl_domain::retention::Proof;
use backupctl_domain::tag::Tag;
use backupctl_domain::{ArchiveName, ErrorCode, Failure, SnapshotId};

use crate::Inner;
use crate::failure::{path_failure, visible, write_failure};
use crate::folder::{Folder, Found};
use crate::manifest::Opening;
use crate::memory::Known;

/// An archive's id.
pub(crate) fn id_of(name: &ArchiveName) -> Result<SnapshotId, Failure> {
    name.id(|text| blake3::hash(text.as_bytes()).to_hex().to_string())
        .ok_or_else(|| Failure::internal("an archive's id is no id"))
}

impl Inner {
    /// The folder, if it is there. A disk without it is a new one.
    pub(crate) fn open_folder(&self) -> Result<Option<Folder>, Failure> {
        let path = &self.settings.target.path;
        match Folder::open(path) {
            Ok(folder) => {
                let device = self.memory.read().device;
                Ok(Some(folder.on(device.as_deref().and_then(visible))))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let unknown = self.memory.read().archives.is_empty();
                if self.settings.target.require_mount || unknown {
                    return Ok(None);
                }
                let path = path.display();
                let message = format!("the folder {path} is gone, and it held archives");
                Err(Failure::new(ErrorCode::NotMounted, message)
                    .with_remedy(format!("mount the disk that holds {path}")))
            }
            Err(e) => Err(path_failure(&e, path)),
        }
    }

    /// This project's archives, newest first.
    pub(crate) fn archives(&self, folder: &Folder) -> Result<Vec<Found>, Failure> {
        let listed = folder.list(&self.settings.project);
        listed.map(|(found, _)| found).map_err(|e| write_failure(e, folder, None))
    }

    /// The archive of that id; two that it fits are none.
    pub(crate) fn find(&self, id: &SnapshotId) -> Result<Option<(Folder, Found)>, Failure> {
        let Some(folder) = self.open_folder()? else { return Ok(None) };
        let mut fitting = Vec::new();
        for found in self.archives(&folder)? {
            if id_of(&found.name)?.matches(id) {
                fitting.push(found);
            }
        }
        let only = if fitting.len() == 1 { fitting.pop() } else { None };
        Ok(only.map(|found| (folder, found)))
    }

    /// The failure of an id that no archive has.
    pub(crate) fn not_found(&self, id: &SnapshotId) -> Failure {
        let message = format!("there is no archive {} in {}", id.short(), self.location());
        Failure::new(ErrorCode::SnapshotNotFound, message).with_remedy(format!(
            "see which archives there are: `backupctl snapshots {}`",
            self.settings.project
        ))
    }

    pub(crate) fn snapshots(&self, watch: &Watch) -> Result<Vec<Snapshot>, Failure> {
        watch.check()?;
        let Some(folder) = self.open_folder()? else { return Ok(Vec::new()) };
        let mut remembered = self.memory.read().archives;
        let mut all = Vec::new();
        for found in self.archives(&folder)? {
            watch.check()?;
            let known = remembered.remove(&found.name.to_string());
            all.push(self.snapshot(&folder, &found, known)?);
        }
        Ok(all)
    }

    fn snapshot(
        &self,
        folder: &Folder,
        found: &Found,
        known: Option<Known>,
    ) -> Result<Snapshot, Failure> {
        let project = self.settings.project.clone();
        let tags = [Tag::Combined, Tag::Project(project)];
        let time = found.name.time.to_zoned(self.settings.timezone.clone());
        let mut proof = known.as_ref().map_or(Proof::Unproven, |known| known.proof_of(found));
        let host = known.as_ref().map(|known| known.host.clone()).unwrap_or_default();
        let (dump, assets) = match known {
            Some(known) => (known.dump.map(|(name, _)| name), known.assets),
            // What cannot be looked into is listed all the same.
            None => match self.opening(folder, found) {
                Some(opening) if self.settings.project.as_str() != opening.project => {
                    proof = Proof::Damaged;
                    (None, Vec::new())
                }
                Some(Opening { dump, assets, .. }) => (dump, assets),
                None => (None, Vec::new()),
            },
        };
        if found.gap().is_some() {
            proof = Proof::Damaged;
        }
        let mut paths: Vec<PathBuf> = dump.iter().map(|name| Path::new("/").join(name)).collect();
        paths.extend(assets);
        Ok(Snapshot {
            id: id_of(&found.name)?,
            time: time.map(|time| time.timestamp()).map_err(|e| {
                Failure::internal(format!("the time of {} is none: {e}", found.name))
            })?,
            tags: tags.iter().map(Tag::to_string).collect(),
            paths,
            host,
            bytes: Some(found.bytes),
            archive: Some(folder.path().join(found.name.to_string())),
            proof: Some(proof),
        })
    }

    /// How many archives there are and how much room.
    pub(crate) fn detail(&self, system: &FileSystem) -> Result<String, Failure> {
        let count = match self.open_folder()? {
            Some(folder) => self.archives(&folder)?.len(),
            None => 0,
        };
        let archives = if count == 1 { "archive" } else { "archives" };
        let free = backupctl_domain::ByteSize(system.free_bytes);
        Ok(format!("{count} {archives}, {free} free on {}", system.kind))
    }
}
