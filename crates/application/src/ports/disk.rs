//! Disks: what is mounted, how much is free, how large a file may be.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use backupctl_domain::Failure;

/// The file system that a path is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// Where it is mounted. A part of it that is mounted onto itself, as sandboxes do it, is not told
    /// apart from the whole.
    pub mount_point: PathBuf,
    /// Whether it is the file system of `/`, wherever else that is mounted.
    pub is_root: bool,
    /// What is mounted there as the kernel names it, e.g. `/dev/sdb1`.
    pub device: String,
    /// Its type as the kernel names it, e.g. `ext4`, `vfat`.
    pub kind: String,
    /// Bytes that this user may still write.
    pub free_bytes: u64,
    /// Its whole size in bytes.
    pub total_bytes: u64,
    /// The largest file that it can hold, in bytes, where that is less than 2^60.
    pub max_file_bytes: Option<u64>,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

/// Tells about disks and paths. Every call follows symbolic links.
#[async_trait]
pub trait Disk: Send + Sync {
    /// The file system of `path`, or of its nearest existing parent.
    async fn file_system(&self, path: &Path) -> Result<FileSystem, Failure>;
    /// Whether something is there: `None` if not, else whether it is a folder without entries.
    async fn is_empty_dir(&self, path: &Path) -> Option<bool>;
    /// The size of a file in bytes; `None` where there is none.
    async fn file_size(&self, path: &Path) -> Option<u64>;
    /// Makes a folder and its parents, 0700 where they are new; proves that a file can be made in it
    /// when `probe` is set. `PATH_NOT_WRITABLE` otherwise.
    async fn ensure_dir(&self, path: &Path, probe: bool) -> Result<(), Failure>;
    /// Removes a folder where it is empty; true where it did. Anything else stays as it is.
    async fn remove_empty_dir(&self, path: &Path) -> bool;
}
