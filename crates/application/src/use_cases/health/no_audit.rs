//! An audit that cannot even be opened, so that the rest can be looked at.

use async_trait::async_trait;
use backupctl_domain::{BackupRun, Failure, RunId, Stage};

use crate::ports::{AuditLog, AuditState, FailureCount, RunQuery};

/// Answers every call with the reason why there is none.
pub struct NoAudit(pub Failure);

#[async_trait]
impl AuditLog for NoAudit {
    async fn start_run(&self, _: &BackupRun) -> Result<(), Failure> {
        Err(self.0.clone())
    }

    async fn track_progress(&self, _: RunId, _: Stage) -> Result<(), Failure> {
        Err(self.0.clone())
    }

    async fn finish_run(&self, _: &BackupRun) -> Result<(), Failure> {
        Err(self.0.clone())
    }

    async fn find_runs(&self, _: &RunQuery) -> Result<Vec<BackupRun>, Failure> {
        Err(self.0.clone())
    }

    async fn latest_runs(&self) -> Result<Vec<BackupRun>, Failure> {
        Err(self.0.clone())
    }

    async fn count_failures(&self) -> Result<Vec<FailureCount>, Failure> {
        Err(self.0.clone())
    }

    async fn check(&self) -> Result<AuditState, Failure> {
        Err(self.0.clone())
    }

    async fn delete_run(&self, _: RunId) -> Result<bool, Failure> {
        Err(self.0.clone())
    }
}
