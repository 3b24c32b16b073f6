//! What could not be delivered, kept until it can.

use async_trait::async_trait;
use backupctl_domain::{BackupRun, Failure, Notice, ProjectName};
use serde::{Deserialize, Serialize};

/// One undelivered thing: a line of the fallback file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FallbackEntry {
    /// A run record that the audit did not take.
    Audit {
        /// The whole record.
        run: Box<BackupRun>,
    },
    /// A notice that a channel did not take.
    Notification {
        /// The project whose channel it was.
        project: ProjectName,
        /// The channel's kind, e.g. `webhook`.
        channel: String,
        /// Which of the project's channels, counted from 0.
        #[serde(default)]
        index: usize,
        /// The notice.
        notice: Notice,
    },
}

/// What a replay has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Delivered and gone from the file.
    pub delivered: usize,
    /// Still there, with the reason of the last failure of each.
    pub remaining: Vec<String>,
    /// Lines that could not be read, moved to `fallback.rejected.jsonl`.
    pub rejected: usize,
}

/// Delivers one entry; the replay removes it only when this succeeds.
#[async_trait]
pub trait ReplaySink: Send + Sync {
    /// Really delivers the entry.
    async fn deliver(&self, entry: &FallbackEntry) -> Result<(), Failure>;
}

/// Keeps undelivered entries.
///
/// Promises: an appended entry is on disk when `append` returns; `replay` delivers each once even
/// when two processes replay at once; an entry appended during a replay is not lost.
#[async_trait]
pub trait FallbackWriter: Send + Sync {
    /// Writes an entry.
    async fn append(&self, entry: &FallbackEntry) -> Result<(), Failure>;
    /// Tries to deliver every entry, oldest first.
    async fn replay(&self, sink: &dyn ReplaySink) -> Result<ReplayReport, Failure>;
    /// The entries that wait, oldest first; lines that cannot be read are passed over.
    async fn entries(&self) -> Result<Vec<FallbackEntry>, Failure>;
    /// How many entries wait.
    async fn pending(&self) -> Result<usize, Failure>;
}
