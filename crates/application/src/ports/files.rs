//! The project's own folder: old dumps, left-over partials, unpacking for a restore.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use backupctl_domain::{DumpName, Failure, ProjectName, RunId};
use jiff::civil::DateTime;

use crate::context::StageContext;

/// What a cleanup has removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CleanupReport {
    /// The files removed.
    pub removed: Vec<PathBuf>,
    /// The bytes freed.
    pub freed_bytes: u64,
    /// Dumps that are old enough to go and stay, since they are not known to be stored.
    pub kept: Vec<PathBuf>,
    /// Why that is not known of them, where the records could not be asked.
    pub unknown: Option<String>,
}

/// Removes what backupctl itself has written to a project's folder, and nothing else.
#[async_trait]
pub trait LocalCleanup: Send + Sync {
    /// The finished dumps older than `local_days` at `now` (in the time zone of their names), but for
    /// the newest. Removes nothing.
    async fn expired(
        &self,
        project: &ProjectName,
        local_days: u32,
        now: DateTime,
    ) -> Result<Vec<DumpName>, Failure>;
    /// Removes those of them whose run, by its first 8 characters, is in `stored`; the others are told
    /// as kept.
    async fn cleanup(
        &self,
        project: &ProjectName,
        local_days: u32,
        now: DateTime,
        stored: &[String],
    ) -> Result<CleanupReport, Failure>;
    /// Removes the partial files of these runs. Called only while the project's lock is free or ours.
    async fn remove_partials(
        &self,
        project: &ProjectName,
        runs: &[RunId],
    ) -> Result<CleanupReport, Failure>;
    /// Removes one finished file, e.g. the plain dump once the encrypted one is in place. A file
    /// that is not there is no error.
    async fn remove_file(&self, path: &Path) -> Result<(), Failure>;
    /// Moves a restored file from deep below `root` to `to`, on the same file system, and removes the
    /// folders between that are empty then.
    async fn move_up(&self, from: &Path, to: &Path, root: &Path) -> Result<(), Failure>;
    /// Makes a private folder (0700) below the project's own, which goes with its guard.
    async fn scratch(&self, project: &ProjectName) -> Result<Box<dyn ScratchDir>, Failure>;
    /// Removes such folders whose process has died; those of living ones stay.
    async fn remove_left_scratch(&self, project: &ProjectName) -> Result<CleanupReport, Failure>;
}

/// A private folder for what is needed for a while. Dropping it removes it too, so that a panic does.
pub trait ScratchDir: Send + Sync {
    /// Where it is.
    fn path(&self) -> &Path;
    /// Removes it with all that is in it.
    fn remove(self: Box<Self>) -> Result<(), Failure>;
}

/// An unpacked file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackedFile {
    /// Where it is: the source's name without `.zst` or `.gz`.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Decompresses dump files for a restore.
#[async_trait]
pub trait Unpacker: Send + Sync {
    /// Decompresses `source` beside itself, atomically, and replaces a file that has the name; `None`
    /// for a name without `.zst` or `.gz`.
    async fn unpack(
        &self,
        source: &Path,
        ctx: &StageContext,
    ) -> Result<Option<UnpackedFile>, Failure>;
    /// The checksum of a file, in the form of `DumpInfo::checksum`.
    async fn checksum(&self, source: &Path, ctx: &StageContext) -> Result<String, Failure>;
}
