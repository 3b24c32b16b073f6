//! What could not be delivered, kept until it can.

use async_trait::async_trait;
use backupctl_domain::{BackupRun, Failure, Notice, ProjectName};
use jiff::Timestamp;
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
    /// A notice that belongs to no project and that one of everybody's channels did not take.
    GlobalNotification {
        /// The channel's kind, e.g. `webhook`.
        channel: String,
        /// Which of everybody's channels, counted from 0.
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
    /// What is still there, by its place and the reason.
    pub waiting: Vec<Waiting>,
    /// Lines that could not be read, moved to `fallback.rejected.jsonl`.
    pub rejected: usize,
}

/// Entries that wait for the same place, for the same reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The kind of the channel, e.g. `webhook`; `None` where records wait for the audit.
    pub channel: Option<String>,
    /// What went wrong last; names the host.
    pub reason: String,
    /// How many there are.
    pub count: usize,
    /// Whose they are, each once; none for what belongs to no project.
    pub projects: Vec<ProjectName>,
    /// When the oldest was made.
    pub oldest: Timestamp,
}

impl ReplayReport {
    /// Writes down that this entry could not be delivered.
    pub fn remains(&mut self, entry: &FallbackEntry, failure: &Failure) {
        self.remaining.push(failure.to_string());
        let (channel, project, made) = match entry {
            FallbackEntry::Audit { run } => (None, Some(&run.project), run.started_at),
            FallbackEntry::Notification { project, channel, notice, .. } => {
                (Some(channel), Some(project), notice.at)
            }
            FallbackEntry::GlobalNotification { channel, notice, .. } => {
                (Some(channel), None, notice.at)
            }
        };
        let same = |w: &&mut Waiting| w.channel.as_ref() == channel && w.reason == failure.message;
        if let Some(known) = self.waiting.iter_mut().find(same) {
            known.count += 1;
            known.oldest = known.oldest.min(made);
            if let Some(project) = project.filter(|p| !known.projects.contains(p)) {
                known.projects.push(project.clone());
            }
            return;
        }
        self.waiting.push(Waiting {
            channel: channel.cloned(),
            reason: failure.message.clone(),
            count: 1,
            projects: project.into_iter().cloned().collect(),
            oldest: made,
        });
    }
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
