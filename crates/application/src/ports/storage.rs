//! The remote repository.

use std::path::PathBuf;

use async_trait::async_trait;
use backupctl_domain::retention::{KeepPolicy, Proof};
use backupctl_domain::sync::SyncPart;
use backupctl_domain::{
    DumpInfo, ErrorCode, Failure, ProjectName, RunId, SnapshotId, SnapshotInfo,
};
use jiff::Timestamp;

use super::ToolInfo;
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
    /// The run that stores it.
    pub run: RunId,
    /// When that run started.
    pub started_at: Timestamp,
    /// What is recorded of the dump in it, if it has one.
    pub dump: Option<DumpInfo>,
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
    /// What was left out by design, in words, e.g. sockets.
    pub notes: Vec<String>,
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
    /// The bytes of all its files, where the repository tells at no cost; of an archive, its own.
    pub bytes: Option<u64>,
    /// The archive file that it is, whole path; `None` in a repository.
    pub archive: Option<PathBuf>,
    /// How far an archive is known to be good; `None` in a repository.
    pub proof: Option<Proof>,
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
    /// What was found on the way and should be known, e.g. a damaged archive.
    pub warnings: Vec<String>,
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
    /// What should be known of the snapshot, in words: e.g. what it was made without.
    pub notes: Vec<String>,
}

/// A snapshot that was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    /// Bytes read, as they are stored.
    pub bytes: u64,
    /// Files that were compared with what had been written; `None` where only the whole could be.
    pub files: Option<u64>,
    /// What the proof rests on, in words.
    pub how: String,
}

/// Stores, proves, thins out and restores snapshots of one project at one destination: a repository,
/// or a folder of archives.
///
/// Promises: a snapshot id comes from the store itself; secrets are in no argv; a cancelled call
/// ends its processes and leaves no lock, and no unfinished file, that a later run cannot remove.
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
    /// Reads a snapshot back whole and compares it with what was written. What is found to be damaged
    /// is remembered, so that retention does not count it as a copy. `CHECKSUM_MISMATCH`,
    /// `DECRYPTION_FAILED` or `REPO_CORRUPT`, with the name of the file, where it is not what was
    /// written; `SNAPSHOT_NOT_FOUND`.
    async fn verify(
        &self,
        snapshot: &SnapshotId,
        ctx: &StageContext,
    ) -> Result<VerifyReport, Failure>;
    /// Removes locks, or unfinished files, whose processes are gone, never those of a living one; true
    /// where one was removed. Called only while the project's lock is ours.
    async fn unlock_stale(&self, ctx: &StageContext) -> Result<bool, Failure>;
}

/// What a repository, or a folder of archives, says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryInfo {
    /// Its id, whole; `None` for a folder.
    pub id: Option<String>,
    /// Its location, without secrets.
    pub location: String,
    /// The program and version that answered; of a folder how many archives it holds and how much room
    /// there is.
    pub detail: String,
    /// What somebody should look at although it works.
    pub remark: Option<Remark>,
}

impl RepositoryInfo {
    /// All of it in one line.
    pub fn shown(&self) -> String {
        match self.id.as_deref() {
            Some(id) => {
                format!("{} at {}, by {}", id.get(..8).unwrap_or(id), self.location, self.detail)
            }
            None => format!("{}: {}", self.location, self.detail),
        }
    }
}

/// Something that works now and will not for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The code of the failure that it is going to be.
    pub code: ErrorCode,
    /// The facts.
    pub message: String,
    /// What to do.
    pub remedy: String,
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

/// Looks after a destination itself.
#[async_trait]
pub trait RepositoryAdmin: Send + Sync {
    /// The program that stores, found and new enough; `None` where none is needed. Touches no
    /// repository.
    async fn check_tool(&self) -> Result<Option<ToolInfo>, Failure>;
    /// Opens the repository with its password, read-only and without a lock; of a folder of archives,
    /// that its disk is mounted, writable, and has room for the next one. Writes nothing.
    async fn check(&self, ctx: &StageContext) -> Result<RepositoryInfo, Failure>;
    /// Whether the first run creates the repository where there is none: it is configured so, and the
    /// location is not known to have held one before.
    fn creates_by_itself(&self) -> bool;
    /// Creates the repository or folder; one that is there already is left alone. A location that held
    /// another repository before is refused.
    async fn init(&self, ctx: &StageContext) -> Result<(RepositoryInfo, bool), Failure>;
    /// Forgets one snapshot and frees its space.
    async fn forget(&self, snapshot: &SnapshotId, ctx: &StageContext) -> Result<(), Failure>;
    /// How the repository is reached, where that takes a program and files of its own (ssh and its
    /// key): that they are there and usable, without talking to anybody. `None` where it takes none.
    async fn check_access(&self) -> Result<Option<String>, Failure>;
    /// The project whose snapshots this looks after.
    fn project(&self) -> &ProjectName;
}

/// Looks after what is kept of a repository on this machine.
#[async_trait]
pub trait CacheKeeper: Send + Sync {
    /// Measures the local cache of this repository on disk. Asks the repository who it is where that
    /// is not known here.
    async fn cache(&self, ctx: &StageContext) -> Result<RepositoryCache, Failure>;
    /// Removes that cache, and nothing that is not shown to be one; returns what was removed.
    async fn clear_cache(&self, ctx: &StageContext) -> Result<RepositoryCache, Failure>;
}
