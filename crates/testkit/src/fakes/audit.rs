//! Run records in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backupctl_application::ports::{AuditLog, AuditState, FailureCount, RunQuery};
use backupctl_domain::{BackupRun, Failure, RunId, RunStatus, Stage};

use super::faults::injectable;
use super::{Core, Journal, locked};

/// An [`AuditLog`]. Operations: `start_run`, `track_progress`, `finish_run`, `find_runs`,
/// `latest_runs`, `count_failures`, `check`, `delete_run`.
pub struct FakeAudit {
    core: Core,
    runs: Mutex<Vec<BackupRun>>,
    absent: Mutex<bool>,
}

injectable!(FakeAudit);

impl FakeAudit {
    /// An empty log.
    pub fn new(journal: &Arc<Journal>) -> Self {
        let operations = &[
            "start_run",
            "track_progress",
            "finish_run",
            "find_runs",
            "latest_runs",
            "count_failures",
            "check",
            "delete_run",
        ];
        let core = Core::new(journal, operations);
        Self { core, runs: Mutex::default(), absent: Mutex::default() }
    }

    /// From now on there is no database yet.
    pub fn set_absent(&self) {
        *locked(&self.absent) = true;
    }

    /// Every record, in the order in which they were first written.
    pub fn runs(&self) -> Vec<BackupRun> {
        locked(&self.runs).clone()
    }

    /// The record of that run.
    pub fn run(&self, id: RunId) -> Option<BackupRun> {
        locked(&self.runs).iter().find(|r| r.run_id == id).cloned()
    }

    /// Puts a record there, as an earlier run would have left it.
    pub fn seed(&self, run: BackupRun) {
        let mut runs = locked(&self.runs);
        match runs.iter_mut().find(|r| r.run_id == run.run_id) {
            Some(old) => *old = run,
            None => runs.push(run),
        }
    }

    fn newest_first(&self) -> Vec<BackupRun> {
        let mut runs = self.runs();
        runs.reverse();
        runs.sort_by_key(|r| std::cmp::Reverse(r.started_at));
        runs
    }
}

#[async_trait]
impl AuditLog for FakeAudit {
    async fn start_run(&self, run: &BackupRun) -> Result<(), Failure> {
        self.core.call("start_run", format!("audit start {}", run.project), None).await?;
        self.seed(run.clone());
        Ok(())
    }

    async fn track_progress(&self, id: RunId, stage: Stage) -> Result<(), Failure> {
        self.core.call("track_progress", format!("track {stage}"), None).await?;
        if let Some(run) = locked(&self.runs).iter_mut().find(|r| r.run_id == id) {
            run.current_stage = Some(stage);
        }
        Ok(())
    }

    async fn finish_run(&self, run: &BackupRun) -> Result<(), Failure> {
        let event = format!("audit finish {} {}", run.project, run.status.as_str());
        self.core.call("finish_run", event, None).await?;
        self.seed(run.clone());
        Ok(())
    }

    async fn find_runs(&self, query: &RunQuery) -> Result<Vec<BackupRun>, Failure> {
        self.core.call("find_runs", "audit find", None).await?;
        let prefix = query.id_prefix.as_ref().map(|p| p.replace('-', "").to_lowercase());
        let matches = |run: &BackupRun| {
            query.project.as_ref().is_none_or(|p| *p == run.project)
                && query.status.is_none_or(|s| s == run.status)
                && prefix
                    .as_ref()
                    .is_none_or(|p| run.run_id.0.simple().to_string().starts_with(p.as_str()))
        };
        let limit = query.limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        Ok(self.newest_first().into_iter().filter(matches).take(limit).collect())
    }

    async fn latest_runs(&self) -> Result<Vec<BackupRun>, Failure> {
        self.core.call("latest_runs", "audit latest", None).await?;
        let mut latest: Vec<BackupRun> = Vec::new();
        for run in self.newest_first() {
            let newest = !latest.iter().any(|r| r.project == run.project);
            let newest_success = run.status == RunStatus::Success
                && !latest
                    .iter()
                    .any(|r| r.project == run.project && r.status == RunStatus::Success);
            if newest || newest_success {
                latest.push(run);
            }
        }
        Ok(latest)
    }

    async fn count_failures(&self) -> Result<Vec<FailureCount>, Failure> {
        self.core.call("count_failures", "audit count failures", None).await?;
        let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
        for run in self.runs() {
            let Some(error) = &run.error else { continue };
            *counts.entry((run.project.to_string(), error.code.to_string())).or_default() += 1;
        }
        let count = |((project, code), count)| FailureCount { project, code, count };
        Ok(counts.into_iter().map(count).collect())
    }

    async fn check(&self) -> Result<AuditState, Failure> {
        self.core.call("check", "check audit", None).await?;
        let exists = !*locked(&self.absent);
        Ok(AuditState { location: "sqlite:///fake/audit.db".to_owned(), exists })
    }

    async fn delete_run(&self, id: RunId) -> Result<bool, Failure> {
        self.core.call("delete_run", format!("audit delete {}", id.short()), None).await?;
        let mut runs = locked(&self.runs);
        let before = runs.len();
        runs.retain(|r| r.run_id != id);
        Ok(runs.len() < before)
    }
}
