//! Where run records are kept.

use async_trait::async_trait;
use backupctl_domain::{BackupRun, Failure, ProjectName, RunId, RunStatus, Stage};

/// Which records to find.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunQuery {
    /// Only this project's.
    pub project: Option<ProjectName>,
    /// Only those that stand so.
    pub status: Option<RunStatus>,
    /// Only those whose id, with or without dashes, begins so.
    pub id_prefix: Option<String>,
    /// At most so many, the newest; all if `None`.
    pub limit: Option<u32>,
}

/// How many runs of a project have failed for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureCount {
    /// The project's name, as it was when the runs were made.
    pub project: String,
    /// The code, as it was written: another version may have written one that this one lacks.
    pub code: String,
    /// How many.
    pub count: u64,
}

/// Where run records are kept, and whether that place is there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditState {
    /// Its address, without a password.
    pub location: String,
    /// Whether it is there; one that is not is made by the first record.
    pub exists: bool,
}

/// Keeps run records.
///
/// Promises: a record written by `finish_run` is read back equal; `finish_run` and `start_run` may
/// be called again with the same id (replay) and leave one record; an unreachable store is
/// `AUDIT_UNAVAILABLE`, within seconds.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Writes the record of a run that begins.
    async fn start_run(&self, run: &BackupRun) -> Result<(), Failure>;
    /// Notes which stage a run is in. Unknown ids are passed over.
    async fn track_progress(&self, id: RunId, stage: Stage) -> Result<(), Failure>;
    /// Writes the whole record, over an earlier one of the same id.
    async fn finish_run(&self, run: &BackupRun) -> Result<(), Failure>;
    /// The records that match, newest first.
    async fn find_runs(&self, query: &RunQuery) -> Result<Vec<BackupRun>, Failure>;
    /// The newest record of each project that has one, and its newest success, in one question.
    async fn latest_runs(&self) -> Result<Vec<BackupRun>, Failure>;
    /// How many records of failed runs there are, by project and code, in the order of both.
    async fn count_failures(&self) -> Result<Vec<FailureCount>, Failure>;
    /// That the store answers, has the schema of this version, and takes a record, of which none is
    /// left. One that is not there yet is not made.
    async fn check(&self) -> Result<AuditState, Failure>;
    /// Removes a record; false where there was none.
    async fn delete_run(&self, id: RunId) -> Result<bool, Failure>;
}
