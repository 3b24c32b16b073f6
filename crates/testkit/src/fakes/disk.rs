//! A disk that is as full, and as bare, as the test says.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backupctl_application::ports::{Disk, FileSystem};
use backupctl_domain::{ErrorCode, Failure};

use super::faults::injectable;
use super::{Core, Journal, locked};

const GIB: u64 = 1 << 30;

#[derive(Clone, Copy)]
enum Entry {
    Missing,
    EmptyDir,
    Dir,
    File(u64),
}

/// A [`Disk`]. Operations: `file_system`, `ensure_dir`.
///
/// What the test has declared holds first; then what is really there. Everything under `/srv` counts
/// as a folder with something in it until declared otherwise, so that a test needs no real assets.
/// Folders are really made under `/tmp` alone; elsewhere they are declared.
pub struct FakeDisk {
    core: Core,
    entries: Mutex<BTreeMap<PathBuf, Entry>>,
    system: Mutex<FileSystem>,
}

injectable!(FakeDisk);

impl FakeDisk {
    /// 100 GiB of ext4, half of it free.
    pub fn new(journal: &Arc<Journal>) -> Self {
        Self {
            core: Core::new(journal, &["file_system", "ensure_dir"]),
            entries: Mutex::default(),
            system: Mutex::new(FileSystem {
                mount_point: PathBuf::from("/"),
                is_root: true,
                device: "/dev/vda1".to_owned(),
                kind: "ext4".to_owned(),
                free_bytes: 50 * GIB,
                total_bytes: 100 * GIB,
                max_file_bytes: None,
                read_only: false,
            }),
        }
    }

    /// Changes what every path's file system says of itself.
    pub fn change_system(&self, change: impl FnOnce(&mut FileSystem)) {
        change(&mut locked(&self.system));
    }

    /// So many bytes are free.
    pub fn set_free(&self, bytes: u64) {
        self.change_system(|system| system.free_bytes = bytes);
    }

    /// Nothing is at that path, or below it.
    pub fn set_missing(&self, path: impl Into<PathBuf>) {
        locked(&self.entries).insert(path.into(), Entry::Missing);
    }

    /// An empty folder is at that path.
    pub fn set_empty_dir(&self, path: impl Into<PathBuf>) {
        locked(&self.entries).insert(path.into(), Entry::EmptyDir);
    }

    /// A folder with something in it is at that path.
    pub fn set_dir(&self, path: impl Into<PathBuf>) {
        locked(&self.entries).insert(path.into(), Entry::Dir);
    }

    /// A file of that size is at that path.
    pub fn set_file(&self, path: impl Into<PathBuf>, bytes: u64) {
        locked(&self.entries).insert(path.into(), Entry::File(bytes));
    }

    fn entry(&self, path: &Path) -> Entry {
        let entries = locked(&self.entries);
        if let Some(entry) = entries.get(path) {
            return *entry;
        }
        let gone = |p: &Path| matches!(entries.get(p), Some(Entry::Missing));
        if path.ancestors().any(gone) {
            return Entry::Missing;
        }
        match std::fs::metadata(path) {
            Ok(data) if data.is_dir() => match std::fs::read_dir(path).map(|mut d| d.next()) {
                Ok(None) => Entry::EmptyDir,
                _ => Entry::Dir,
            },
            Ok(data) => Entry::File(data.len()),
            Err(_) if path.starts_with("/srv") => Entry::Dir,
            Err(_) => Entry::Missing,
        }
    }
}

#[async_trait]
impl Disk for FakeDisk {
    async fn file_system(&self, path: &Path) -> Result<FileSystem, Failure> {
        self.core.call("file_system", format!("disk of {}", path.display()), None).await?;
        Ok(locked(&self.system).clone())
    }

    async fn is_empty_dir(&self, path: &Path) -> Option<bool> {
        match self.entry(path) {
            Entry::Missing => None,
            Entry::EmptyDir => Some(true),
            Entry::Dir | Entry::File(_) => Some(false),
        }
    }

    async fn file_size(&self, path: &Path) -> Option<u64> {
        match self.entry(path) {
            Entry::File(bytes) => Some(bytes),
            _ => None,
        }
    }

    async fn ensure_dir(&self, path: &Path, _probe: bool) -> Result<(), Failure> {
        self.core.call("ensure_dir", format!("ensure_dir {}", path.display()), None).await?;
        let refused = |why: &str| {
            let message = format!("folder {} cannot be used: {why}", path.display());
            Failure::new(ErrorCode::PathNotWritable, message)
        };
        if locked(&self.system).read_only {
            return Err(refused("the file system is mounted read-only"));
        }
        if matches!(self.entry(path), Entry::File(_)) {
            return Err(refused("it is a file"));
        }
        if path.starts_with("/tmp") {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|e| refused(&e.to_string()))?;
        } else if matches!(self.entry(path), Entry::Missing) {
            self.set_empty_dir(path);
        }
        Ok(())
    }

    async fn remove_empty_dir(&self, path: &Path) -> bool {
        if path.starts_with("/tmp") {
            return std::fs::remove_dir(path).is_ok();
        }
        let empty = matches!(self.entry(path), Entry::EmptyDir);
        if empty {
            locked(&self.entries).insert(path.to_owned(), Entry::Missing);
        }
        empty
    }
}
