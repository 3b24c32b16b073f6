//! What is remembered between runs: one small file a repository, and one for the programs.
//!
//! It saves processes (the version, the parent of the next snapshot) and protects a repository: a
//! location that held one is never initialised again by itself, since an unmounted disk looks just
//! like a repository that was never made. Losing these files costs time, never data; writing them
//! is best effort and never fails a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use backupctl_adapter_process::{while_locked, write_state};
use backupctl_domain::SnapshotId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::location::Location;

/// What is known of one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Remembered {
    /// Its location, for people who look at the file.
    pub(crate) location: String,
    /// Its id; 0.14 tells only the beginning when it makes one.
    pub(crate) id: Option<String>,
    /// What a local one is told apart by without restic: a hash of its encrypted configuration.
    pub(crate) mark: Option<String>,
    /// Made here and nothing stored yet: there can be no parent to look for.
    pub(crate) fresh: bool,
    /// A `forget --prune` failed: what it forgot may still take up space, which only a prune frees.
    pub(crate) prune_due: bool,
    /// Its size in bytes, as far as it was told.
    pub(crate) bytes: Option<u64>,
    /// The last snapshot of each set of tags.
    pub(crate) last: BTreeMap<String, String>,
}

/// The memory of one repository.
#[derive(Debug)]
pub(crate) struct Memory {
    dir: PathBuf,
    file: PathBuf,
    location: String,
}

impl Memory {
    pub(crate) fn new(state_dir: &Path, location: &Location) -> Self {
        let dir = state_dir.join("restic");
        let file = dir.join(file_name(location.text()));
        Self { dir, file, location: location.shown().to_owned() }
    }

    /// The file, for a remedy that names it.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// What is known; `None` where no repository was ever seen at the location. A file that cannot
    /// be read counts as seen: the careful side.
    pub(crate) fn read(&self) -> Option<Remembered> {
        read(&self.file)
    }

    /// The last snapshot with exactly these tags.
    pub(crate) fn last(&self, tags: &[String]) -> Option<SnapshotId> {
        self.read()?.last.get(&tag_key(tags)).and_then(|id| SnapshotId::new(id.as_str()))
    }

    /// Remembers the last snapshot with these tags.
    pub(crate) fn remember_last(&self, tags: &[String], id: &SnapshotId) {
        self.update(|known| {
            known.last.insert(tag_key(tags), id.as_str().to_owned());
        });
    }

    /// Changes what is known, under a lock so that no other process's change is lost.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Remembered)) {
        let written = while_locked(&self.dir, || {
            let mut known = self.read().unwrap_or_default();
            let before = known.clone();
            known.location.clone_from(&self.location);
            change(&mut known);
            if known == before && self.file.exists() { Ok(()) } else { write(&self.file, &known) }
        });
        if let Err(error) = written {
            tracing::warn!(file = %self.file.display(), %error, "repository memory not written");
        }
    }
}

/// A program by what changes when it is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownTool {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) modified: String,
    pub(crate) inode: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ToolVersion {
    #[serde(flatten)]
    tool: KnownTool,
    version: String,
}

const TOOLS: &str = "tools.json";

/// The version that this very program gave when it was asked.
pub(crate) fn tool_version(state_dir: &Path, tool: &KnownTool) -> Option<String> {
    let known: Vec<ToolVersion> = read(&state_dir.join("restic").join(TOOLS))?;
    known.into_iter().find(|entry| entry.tool == *tool).map(|entry| entry.version)
}

/// Remembers what it answered; an older answer for the same path goes.
pub(crate) fn remember_tool(state_dir: &Path, tool: KnownTool, version: &str) {
    let dir = state_dir.join("restic");
    let file = dir.join(TOOLS);
    let written = while_locked(&dir, || {
        let mut known: Vec<ToolVersion> = read(&file).unwrap_or_default();
        known.retain(|entry| entry.tool.path != tool.path && entry.tool.path.exists());
        known.push(ToolVersion { tool, version: version.to_owned() });
        write(&file, &known)
    });
    if let Err(error) = written {
        tracing::warn!(file = %file.display(), %error, "restic's version not remembered");
    }
}

fn tag_key(tags: &[String]) -> String {
    let mut tags = tags.to_vec();
    tags.sort_unstable();
    tags.join(",")
}

fn read<T: DeserializeOwned + Default>(file: &Path) -> Option<T> {
    match fs::read(file) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "repository memory not readable");
            Some(T::default())
        }
    }
}

fn write<T: Serialize>(file: &Path, value: &T) -> io::Result<()> {
    write_state(file, &serde_json::to_vec_pretty(value)?)
}

/// A name that people recognise and that two locations never share.
fn file_name(location: &str) -> String {
    let shown: String = location
        .rsplit(['/', ':', '@'])
        .find(|part| !part.is_empty())
        .unwrap_or("repository")
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
        .take(40)
        .collect();
    format!("repository-{shown}-{}.json", hash(location.as_bytes()))
}

/// FNV-1a: stable across versions and platforms, which std's hasher does not promise.
pub(crate) fn hash(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(dir: &Path, location: &str) -> Memory {
        Memory::new(dir, &Location::parse(location))
    }

    #[test]
    fn the_last_snapshot_is_kept_by_location_and_set_of_tags() {
        let dir = tempfile::tempdir().unwrap();
        let id = SnapshotId::new("0123abcd").unwrap();
        let (a, b) = ("a".to_owned(), "b".to_owned());
        assert_eq!(memory(dir.path(), "/r1").read(), None);
        memory(dir.path(), "/r1").remember_last(&[a.clone(), b.clone()], &id);
        assert_eq!(memory(dir.path(), "/r1").last(&[b, a.clone()]), Some(id));
        assert_eq!(memory(dir.path(), "/r1").last(&[a]), None);
        assert_eq!(memory(dir.path(), "/r2").read(), None);
    }

    #[test]
    fn a_damaged_file_still_says_that_something_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let memory = memory(dir.path(), "sftp:u@h:backups/app");
        memory.update(|known| known.bytes = Some(7));
        assert!(memory.file().to_string_lossy().contains("repository-app-"));
        fs::write(memory.file(), "{").unwrap();
        assert_eq!(memory.read(), Some(Remembered::default()));
    }

    #[test]
    fn a_replaced_program_is_asked_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("restic-binary");
        fs::write(&path, "x").unwrap();
        let tool = KnownTool { path, size: 1, modified: "1.0".to_owned(), inode: 2 };
        remember_tool(dir.path(), tool.clone(), "0.14.0");
        assert_eq!(tool_version(dir.path(), &tool), Some("0.14.0".to_owned()));
        let newer = KnownTool { modified: "2.0".to_owned(), ..tool };
        assert_eq!(tool_version(dir.path(), &newer), None);
    }
}
