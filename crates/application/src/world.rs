//! Everything that a use case is given: the ports, and what holds for every run.

use std::path::PathBuf;
use std::sync::Arc;

use backupctl_domain::{ProjectName, RetryPolicy};
use jiff::tz::TimeZone;

use crate::ports::{
    AuditLog, BackupLock, ChildJournal, Clock, Disk, FallbackWriter, HookExecutor, LocalCleanup,
    Processes, ScheduleStore, Unpacker,
};
use crate::registry::Registries;

/// Who makes the runs: it goes into every record.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The machine's name.
    pub host: String,
    /// backupctl's version.
    pub version: String,
    /// This process.
    pub pid: u32,
}

/// What holds for every run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder of dumps, locks and fallback.
    pub base_dir: PathBuf,
    /// The time zone of file names and texts.
    pub timezone: TimeZone,
    /// How failed stages are retried.
    pub retry: RetryPolicy,
    /// Bytes that must remain free.
    pub min_free_bytes: u64,
    /// Whether other machines write to the same audit: their runs are none of ours to judge.
    pub audit_is_shared: bool,
}

impl Settings {
    /// The project's own folder: `{base_dir}/{project}`.
    pub fn project_dir(&self, project: &ProjectName) -> PathBuf {
        self.base_dir.join(project.as_str())
    }
}

/// The ports, wired. One for a process, shared by every use case.
pub struct World {
    /// Locks.
    pub lock: Arc<dyn BackupLock>,
    /// Run records.
    pub audit: Arc<dyn AuditLog>,
    /// Undelivered things.
    pub fallback: Arc<dyn FallbackWriter>,
    /// Hooks.
    pub hooks: Arc<dyn HookExecutor>,
    /// Old files.
    pub cleanup: Arc<dyn LocalCleanup>,
    /// Decompression for restores.
    pub unpacker: Arc<dyn Unpacker>,
    /// Left-over programs.
    pub children: Arc<dyn ChildJournal>,
    /// Other backupctl processes.
    pub processes: Arc<dyn Processes>,
    /// What is remembered of schedules.
    pub schedules: Arc<dyn ScheduleStore>,
    /// Disks.
    pub disk: Arc<dyn Disk>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Adapters by project.
    pub registries: Registries,
    /// What holds for every run.
    pub settings: Settings,
    /// Who makes the runs.
    pub identity: Identity,
}
