//! Programs that a dead run has left running, as a number.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use backupctl_application::ports::ChildJournal;
use backupctl_domain::{Failure, ProjectName};

use super::faults::injectable;
use super::{Core, Journal};

/// A [`ChildJournal`]. Operation: `end_orphans`.
pub struct FakeChildren {
    core: Core,
    left: AtomicUsize,
}

injectable!(FakeChildren);

impl FakeChildren {
    /// Nothing is left running.
    pub fn new(journal: &Arc<Journal>) -> Self {
        Self { core: Core::new(journal, &["end_orphans"]), left: AtomicUsize::new(0) }
    }

    /// So many programs are left running.
    pub fn leave(&self, programs: usize) {
        self.left.store(programs, Ordering::SeqCst);
    }
}

#[async_trait]
impl ChildJournal for FakeChildren {
    async fn end_orphans(&self, project: &ProjectName) -> Result<usize, Failure> {
        self.core.call("end_orphans", format!("end_orphans {project}"), None).await?;
        Ok(self.left.swap(0, Ordering::SeqCst))
    }
}
