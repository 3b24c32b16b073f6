//! The use cases on the fakes of every port: what happens, in which order, whatever fails.

#![expect(clippy::unwrap_used, reason = "a broken assumption is to end the test")]

mod daemon;
mod destinations;
mod down;
mod dry_run;
mod health;
mod maintenance;
mod metrics;
mod order;
mod recovery;
mod restore;
mod restore_into;
mod runs;
mod schedule;
mod scheduled;
mod stages;
mod summary;
mod systemd;
mod watch;

use std::sync::Arc;

use backupctl_application::context::Observer;
use backupctl_application::use_cases::{RunBackup, RunOutcome, RunRequest};
use backupctl_domain::{BackupRun, ErrorCode, Failure, Project, Trigger};
use backupctl_testkit::TestBench;

/// Runs the project to its end.
async fn run(bench: &TestBench, project: &Project) -> BackupRun {
    match outcome(bench, project).await {
        Ok(RunOutcome::Finished(run)) => *run,
        other => panic!("no run came about: {other:?}"),
    }
}

/// Runs the project, whatever becomes of it.
async fn outcome(bench: &TestBench, project: &Project) -> Result<RunOutcome, Failure> {
    RunBackup::new(bench.world()).execute(request(bench, project)).await
}

fn request(bench: &TestBench, project: &Project) -> RunRequest {
    RunRequest {
        project: project.clone(),
        trigger: Trigger::Manual,
        due_at: None,
        wait: false,
        cancel: bench.cancel.clone(),
        observer: Arc::clone(&bench.observer) as Arc<dyn Observer>,
    }
}

fn code(run: &BackupRun) -> Option<ErrorCode> {
    run.error.as_ref().map(|e| e.code)
}

fn failure(code: ErrorCode) -> Failure {
    Failure::new(code, "injected")
}
