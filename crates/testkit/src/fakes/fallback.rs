//! The fallback file in memory.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backupctl_application::ports::{FallbackEntry, FallbackWriter, ReplayReport, ReplaySink};
use backupctl_domain::Failure;

use super::faults::injectable;
use super::{Core, Journal, locked};

/// A [`FallbackWriter`]. Operations: `append`, `replay`, `pending`.
pub struct FakeFallback {
    core: Core,
    entries: Mutex<Vec<FallbackEntry>>,
    replaying: tokio::sync::Mutex<()>,
    unreadable: Mutex<usize>,
}

injectable!(FakeFallback);

impl FakeFallback {
    /// An empty one.
    pub fn new(journal: &Arc<Journal>) -> Self {
        Self {
            core: Core::new(journal, &["append", "replay", "entries", "pending"]),
            entries: Mutex::default(),
            replaying: tokio::sync::Mutex::default(),
            unreadable: Mutex::default(),
        }
    }

    /// What waits now, oldest first.
    pub fn entries(&self) -> Vec<FallbackEntry> {
        locked(&self.entries).clone()
    }

    /// Puts an entry there, as an earlier run would have left it.
    pub fn seed(&self, entry: FallbackEntry) {
        locked(&self.entries).push(entry);
    }

    /// The next replay finds so many lines that it cannot read.
    pub fn seed_unreadable(&self, lines: usize) {
        *locked(&self.unreadable) = lines;
    }
}

#[async_trait]
impl FallbackWriter for FakeFallback {
    async fn append(&self, entry: &FallbackEntry) -> Result<(), Failure> {
        let event = match entry {
            FallbackEntry::Audit { run } => format!("fallback audit {}", run.project),
            FallbackEntry::Notification { notice, channel, .. }
            | FallbackEntry::GlobalNotification { notice, channel, .. } => {
                format!("fallback notification {} {channel}", notice.kind.event())
            }
        };
        self.core.call("append", event, None).await?;
        self.seed(entry.clone());
        Ok(())
    }

    async fn replay(&self, sink: &dyn ReplaySink) -> Result<ReplayReport, Failure> {
        self.core.call("replay", "fallback replay", None).await?;
        let _alone = self.replaying.lock().await;
        let mut report = ReplayReport {
            rejected: std::mem::take(&mut *locked(&self.unreadable)),
            ..ReplayReport::default()
        };
        let waiting = Self::entries(self);
        let mut left = Vec::new();
        for entry in &waiting {
            match sink.deliver(entry).await {
                Ok(()) => report.delivered += 1,
                Err(failure) => {
                    report.remains(entry, &failure);
                    left.push(entry.clone());
                }
            }
        }
        // Only what was there at the beginning is replaced: what came meanwhile stays.
        locked(&self.entries).splice(..waiting.len(), left);
        Ok(report)
    }

    async fn entries(&self) -> Result<Vec<FallbackEntry>, Failure> {
        self.core.call("entries", "fallback entries", None).await?;
        Ok(Self::entries(self))
    }

    async fn pending(&self) -> Result<usize, Failure> {
        self.core.call("pending", "fallback pending", None).await?;
        Ok(locked(&self.entries).len())
    }
}
