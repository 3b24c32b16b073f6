//! Run records: written, followed, found, removed.

use std::sync::Arc;

use backupctl_application::ports::{AuditLog, FailureCount, RunQuery};
use backupctl_domain::{
    BackupRun, DumpInfo, ErrorCode, Failure, RunError, RunId, RunStatus, SnapshotId, SnapshotInfo,
    Stage, StageOutcome, StageRecord, Trigger,
};
use jiff::{Timestamp, ToSpan};
use uuid::Uuid;

use crate::builders::name;

fn moment(second: i64) -> Timestamp {
    let base: Timestamp = "2026-03-18T00:00:05.123Z".parse().unwrap();
    base + second.seconds()
}

/// A run that began at that second and goes on.
pub fn started_run(project: &str, second: i64) -> BackupRun {
    BackupRun::start(
        RunId(Uuid::new_v4()),
        name(project),
        Trigger::CatchUp,
        moment(second),
        "host",
        "1.2.3",
        4711,
    )
}

/// A run that began at that second and has ended, with something in every field.
pub fn finished_run(project: &str, second: i64, status: RunStatus) -> BackupRun {
    let mut run = started_run(project, second);
    run.stages.push(StageRecord {
        stage: Stage::Dump,
        started_at: Some(moment(second)),
        finished_at: Some(moment(second + 1)),
        outcome: StageOutcome::Ok,
        attempts: 2,
        message: Some("größer als \"vorher\"\n'; DROP TABLE backup_runs; --".to_owned()),
    });
    run.stages.push(StageRecord {
        stage: Stage::Encrypt,
        started_at: None,
        finished_at: None,
        outcome: StageOutcome::Skipped,
        attempts: 0,
        message: None,
    });
    run.warnings.push("Asset path not found: /srv/a, b".to_owned());
    run.dump = Some(DumpInfo {
        file: "/var/lib/backupctl/p/p_backup.dump.zst".to_owned(),
        bytes: 152_253_030,
        raw_bytes: u64::MAX,
        checksum: format!("blake3:{}", "ab".repeat(32)),
        engine: "postgres".to_owned(),
        tool_version: "pg_dump 15.18".to_owned(),
    });
    run.snapshots.push(SnapshotInfo {
        id: SnapshotId::new("0123456789abcdef").unwrap(),
        tags: vec!["project:p".to_owned()],
        bytes_added: 1,
        files_new: 2,
        files_changed: 3,
        files_unmodified: 4,
        destination: None,
        archive: None,
    });
    run.repository_bytes = Some(1 << 40);
    let error = (status == RunStatus::Failed).then(|| {
        let failure = Failure::new(ErrorCode::RepoLocked, "locked").with_remedy("unlock it");
        RunError { retries: 3, retries_allowed: 3, ..RunError::new(Some(Stage::Sync), &failure) }
    });
    run.finish(moment(second) + 79_123.milliseconds(), error);
    run
}

fn query() -> RunQuery {
    RunQuery::default()
}

async fn assert_found(log: &dyn AuditLog, query: &RunQuery, expected: &[&BackupRun]) {
    let found = log.find_runs(query).await.unwrap();
    assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query:?}");
}

/// Holds an empty audit log to its promises.
pub async fn audit_log(log: Arc<dyn AuditLog>) {
    assert_found(&*log, &query(), &[]).await;
    assert_eq!(log.latest_runs().await.unwrap(), []);
    assert_eq!(log.count_failures().await.unwrap(), []);
    assert!(!log.check().await.unwrap().location.is_empty());
    a_run_is_followed_from_start_to_end(&*log).await;
    runs_are_found_by_what_is_asked(&*log).await;
    the_latest_are_one_newest_and_one_success_a_project(&*log).await;
    failures_are_counted_by_project_and_code(&*log).await;
    let kept = log.find_runs(&query()).await.unwrap();
    assert!(log.check().await.unwrap().exists);
    assert_eq!(log.find_runs(&query()).await.unwrap(), kept, "a check leaves no record");
}

async fn a_run_is_followed_from_start_to_end(log: &dyn AuditLog) {
    let run = started_run("life", 1);
    log.start_run(&run).await.unwrap();
    log.start_run(&run).await.unwrap();
    assert_found(log, &query(), &[&run]).await;

    log.track_progress(run.run_id, Stage::Dump).await.unwrap();
    log.track_progress(run.run_id, Stage::Sync).await.unwrap();
    let mut in_sync = run.clone();
    in_sync.current_stage = Some(Stage::Sync);
    assert_found(log, &query(), &[&in_sync]).await;
    assert_eq!(log.latest_runs().await.unwrap(), [in_sync]);
    let unknown = started_run("life", 2).run_id;
    log.track_progress(unknown, Stage::Dump).await.unwrap();

    for status in [RunStatus::Failed, RunStatus::Success] {
        let mut end = finished_run("life", 1, status);
        end.run_id = run.run_id;
        log.finish_run(&end).await.unwrap();
        log.finish_run(&end).await.unwrap();
        assert_found(log, &query(), &[&end]).await;
    }

    assert!(log.delete_run(run.run_id).await.unwrap());
    assert!(!log.delete_run(run.run_id).await.unwrap());
    assert_found(log, &query(), &[]).await;

    let replayed = finished_run("life", 3, RunStatus::Failed);
    log.finish_run(&replayed).await.unwrap();
    assert_found(log, &query(), &[&replayed]).await;
    log.delete_run(replayed.run_id).await.unwrap();
}

async fn runs_are_found_by_what_is_asked(log: &dyn AuditLog) {
    // Written out of order: the newest comes first by its start, not by its writing.
    let c = started_run("b", 30);
    let a = finished_run("a", 10, RunStatus::Failed);
    let b = finished_run("a", 20, RunStatus::Success);
    log.start_run(&c).await.unwrap();
    log.finish_run(&a).await.unwrap();
    log.finish_run(&b).await.unwrap();

    assert_found(log, &query(), &[&c, &b, &a]).await;
    let limited = RunQuery { limit: Some(2), ..query() };
    assert_found(log, &limited, &[&c, &b]).await;
    let of_a = RunQuery { project: Some(name("a")), ..query() };
    assert_found(log, &of_a, &[&b, &a]).await;
    let going_on = RunQuery { status: Some(RunStatus::Started), ..query() };
    assert_found(log, &going_on, &[&c]).await;
    let failed = RunQuery { project: Some(name("a")), status: Some(RunStatus::Failed), ..query() };
    assert_found(log, &failed, &[&a]).await;
    let none = RunQuery { project: Some(name("none")), ..query() };
    assert_found(log, &none, &[]).await;

    let whole = b.run_id.to_string();
    let bare = whole.replace('-', "");
    for prefix in [&whole[..8], &whole[..11], &whole, &bare, &bare[..20], &bare.to_uppercase()] {
        let by_id = RunQuery { id_prefix: Some(prefix.to_owned()), ..query() };
        assert_found(log, &by_id, &[&b]).await;
    }
    for prefix in ["xyz", "%", "_", &format!("{whole}0")] {
        let by_id = RunQuery { id_prefix: Some(prefix.to_owned()), ..query() };
        assert_found(log, &by_id, &[]).await;
    }
    for run in [a, b, c] {
        assert!(log.delete_run(run.run_id).await.unwrap());
    }
}

async fn the_latest_are_one_newest_and_one_success_a_project(log: &dyn AuditLog) {
    let mut expected = Vec::new();
    let mut second = 100;
    for (project, course) in [
        ("only-failed", &[RunStatus::Failed, RunStatus::Failed][..]),
        ("only-good", &[RunStatus::Success, RunStatus::Success]),
        ("recovering", &[RunStatus::Success, RunStatus::Failed, RunStatus::Success]),
        ("failing", &[RunStatus::Success, RunStatus::Success, RunStatus::Failed]),
        ("0-first", &[RunStatus::Success]),
        ("running", &[RunStatus::Failed, RunStatus::Success, RunStatus::Started]),
    ] {
        let mut runs = Vec::new();
        for status in course {
            second += 1;
            let run = match status {
                RunStatus::Started => started_run(project, second),
                status => finished_run(project, second, *status),
            };
            log.finish_run(&run).await.unwrap();
            runs.push(run);
        }
        let success = runs.iter().rposition(|r| r.status == RunStatus::Success);
        let newest = runs.len() - 1;
        expected.extend(success.filter(|s| *s != newest).map(|s| runs[s].clone()));
        expected.push(runs[newest].clone());
    }
    expected.reverse();
    assert_eq!(log.latest_runs().await.unwrap(), expected);
}

async fn failures_are_counted_by_project_and_code(log: &dyn AuditLog) {
    let before = log.count_failures().await.unwrap();
    assert!(before.iter().all(|c| c.code == "REPO_LOCKED" && c.count > 0), "{before:?}");
    for second in [300, 301] {
        log.finish_run(&finished_run("2-counted", second, RunStatus::Failed)).await.unwrap();
    }
    let mut other = finished_run("2-counted", 302, RunStatus::Failed);
    other.error.as_mut().unwrap().code = ErrorCode::DiskFull;
    log.finish_run(&other).await.unwrap();
    log.finish_run(&finished_run("2-counted", 303, RunStatus::Success)).await.unwrap();
    log.start_run(&started_run("2-counted", 304)).await.unwrap();

    let count = |code: &str, count| FailureCount {
        project: "2-counted".to_owned(),
        code: code.to_owned(),
        count,
    };
    let mut expected = vec![count("DISK_FULL", 1), count("REPO_LOCKED", 2)];
    expected.extend(before);
    assert_eq!(log.count_failures().await.unwrap(), expected);
}
