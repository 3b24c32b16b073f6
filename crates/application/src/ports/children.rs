//! Programs that outlived a backupctl that was killed.

use async_trait::async_trait;
use backupctl_domain::{Failure, ProjectName};

/// Ends what a dead run has left running. Called only while the project's lock is ours.
#[async_trait]
pub trait ChildJournal: Send + Sync {
    /// Ends the process groups that runs of this project had started and that are still alive;
    /// returns how many. A group whose number was given to another program since is left alone.
    async fn end_orphans(&self, project: &ProjectName) -> Result<usize, Failure>;
}
