//! The remote repository.

use std::path::PathBuf;

use async_trait::async_trait;
use backupctl_domain::retention::KeepPolicy;
use backupctl_domain::sync::SyncPart;
use backupctl_domain::{Failure, ProjectName, SnapshotId, SnapshotInfo};
use jiff::Timestamp;

use crate::context::StageContext;

/// One snapshot to store.
#[derive(Debug, Clone)]
pub struct StoreRequest {
    /// What is in it.
    pub part: SyncPart,
    /// Patterns left out of the assets.
    pub exclude: Vec<String>,
    /// The last snapshot with the same tags, if one is known: what it holds unchanged is not read
    /// again.
    pub parent: Option<SnapshotId>,
}

/// A stored snapshot, not yet proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// What the record keeps of it.
    pub info: SnapshotInfo,
    /// Sources that could not be read.
    pub unread: Vec<String>,
    /// Files in it, of all kinds of change.
    pub files_total: u64,
}

/// A snapshot in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its whole id.
    pub id: SnapshotId,
    /// When the repository stored it.
    pub time: Timestamp,
    /// Its tags as stored.
    pub tags: Vec<String>,
    /// The paths that it was made of.
    pub paths: Vec<PathBuf>,
    /// The machine that it was made on.
    pub host: String,
    /// The bytes of all its files, where the repository tells at no cost.
    pub bytes: Option<u64>,
}

/// What retention has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Snapshots removed.
    pub removed: Vec<SnapshotId>,
    /// Snapshots kept.
    pub kept: u64,
    /// The repository's size in bytes afterwards, where that is known at no cost.
    pub repository_bytes: Option<u64>,
}

/// What to restore.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The folder to restore under; it exists.
    pub target: PathBuf,
    /// Only these paths of the snapshot (whole paths as in it); all if empty.
    pub include: Vec<PathBuf>,
}

/// What a restore has brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Files restored, counted on disk.
    pub files: u64,
    /// Their bytes, counted on disk.
    pub bytes: u64,
}

/// Stores, proves, thins out and restores snapshots of one project in one repository.
///
/// Promises: a snapshot id comes from the store itself; secrets are in no argv; a cancelled call
/// ends its processes and leaves no lock that a later run cannot remove.
#[async_trait]
pub trait RemoteStorage: Send + Sync {
    /// Stores one snapshot. Sources that could not be read are in the result, not an error.
    async fn store(
        &self,
        request: &StoreRequest,
        ctx: &StageContext,
    ) -> Result<StoredSnapshot, Failure>;
    /// Proves that the snapshot is in the repository and lists what the part demands: its dump file
    /// with its size, and each asset path. `SNAPSHOT_UNPROVEN` otherwise.
    async fn prove(
        &self,
        stored: &StoredSnapshot,
        part: &SyncPart,
        ctx: &StageContext,
    ) -> Result<(), Failure>;
    /// Applies the policy to this project's snapshots, grouped by tags, and frees the space.
    async fn prune(&self, keep: &KeepPolicy, ctx: &StageContext) -> Result<PruneReport, Failure>;
    /// This project's snapshots, newest first.
    async fn snapshots(&self, ctx: &StageContext) -> Result<Vec<Snapshot>, Failure>;
    /// Restores files of a snapshot. One that brings no file, or lacks a path that was asked for, is
    /// `SNAPSHOT_NOT_FOUND`.
    async fn restore(
        &self,
        request: &RestoreRequest,
        ctx: &StageContext,
    ) -> Result<RestoreReport, Failure>;
    /// Removes locks whose processes are gone, never a live one; true where one was removed.
    async fn unlock_stale(&self, ctx: &StageContext) -> Result<bool, Failure>;
}

/// What a repository says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryInfo {
    /// Its id, whole.
    pub id: String,
    /// The program and version that answered.
    pub tool: String,
    /// Its location, without secrets.
    pub location: String,
}

/// What is kept of a repository on this machine, so that it need not be fetched again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepositoryCache {
    /// Its folder, whether it is there or not.
    pub path: PathBuf,
    /// Files in it; 0 where there is no folder.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Looks after a repository itself.
#[async_trait]
pub trait RepositoryAdmin: Send + Sync {
    /// The program, found and new enough. Touches no repository. Returns its version.
    async fn check_tool(&self) -> Result<String, Failure>;
    /// Opens the repository with its password, read-only and without a lock.
    async fn check(&self, ctx: &StageContext) -> Result<RepositoryInfo, Failure>;
    /// Whether the first run creates the repository where there is none: it is configured so, and the
    /// location is not known to have held one before.
    fn creates_by_itself(&self) -> bool;
    /// Creates the repository; one that is there already is left alone. A location that held
    /// another repository before is refused.
    async fn init(&self, ctx: &StageContext) -> Result<(RepositoryInfo, bool), Failure>;
    /// Forgets one snapshot and frees its space.
    async fn forget(&self, snapshot: &SnapshotId, ctx: &StageContext) -> Result<(), Failure>;
    /// How the repository is reached, where that takes a program and files of its own (ssh and its
    /// key): that they are there and usable, without talking to anybody. `None` where it takes none.
    async fn check_access(&self) -> Result<Option<String>, Failure>;
    /// Measures the local cache of this repository on disk. Asks the repository who it is where that
    /// is not known here.
    async fn cache(&self, ctx: &StageContext) -> Result<RepositoryCache, Failure>;
    /// Removes that cache, and nothing that is not shown to be one; returns what was removed.
    async fn clear_cache(&self, ctx: &StageContext) -> Result<RepositoryCache, Failure>;
    /// The project whose snapshots this looks after.
    fn project(&self) -> &ProjectName;
}
