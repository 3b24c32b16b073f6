//! The texts are those of the contract, letter by letter.

use super::*;
use crate::{
    DumpInfo, ErrorCode, Failure, RunError, SnapshotId, SnapshotInfo, StageRecord, Trigger,
};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn berlin() -> TimeZone {
    TimeZone::get("Europe/Berlin").unwrap()
}

fn project(name: &str) -> ProjectName {
    ProjectName::new(name).unwrap()
}

fn end() -> Timestamp {
    at("2026-03-17T23:01:24Z")
}

fn begun() -> BackupRun {
    BackupRun::start(
        "a1b2c3d4-1111-4222-8333-444455556666".parse().unwrap(),
        project("vinsware"),
        Trigger::Scheduled,
        at("2026-03-17T23:00:05Z"),
        "host",
        "0.1.0",
        1234,
    )
}

fn with_snapshot(mut run: BackupRun) -> BackupRun {
    run.dump = Some(DumpInfo {
        file: "/b/vinsware/x.dump.zst".to_owned(),
        bytes: 152_253_030,
        raw_bytes: 900_000_000,
        checksum: "blake3:00".to_owned(),
        engine: "postgres".to_owned(),
        tool_version: "pg_dump 15.18".to_owned(),
    });
    run.snapshots.push(SnapshotInfo {
        id: SnapshotId::new("abc12345deadbeef").unwrap(),
        tags: vec!["backupctl:combined".to_owned(), "project:vinsware".to_owned()],
        bytes_added: 1,
        files_new: 1,
        files_changed: 0,
        files_unmodified: 0,
        destination: None,
        archive: None,
    });
    run
}

fn succeeded() -> BackupRun {
    let mut run = with_snapshot(begun());
    run.repository_bytes = Some(1_932_735_283);
    run.finish(end(), None);
    run
}

fn stage(stage: Stage, outcome: StageOutcome) -> StageRecord {
    StageRecord {
        stage,
        started_at: Some(end()),
        finished_at: Some(end()),
        outcome,
        attempts: 1,
        message: None,
    }
}

fn failed(at_stage: Option<Stage>, failure: &Failure, retries: u32) -> BackupRun {
    let mut run = begun();
    let error = RunError { retries, retries_allowed: 3, ..RunError::new(at_stage, failure) };
    run.finish(at("2026-03-17T23:02:15Z"), Some(error));
    run
}

fn refused() -> Failure {
    Failure::new(ErrorCode::SshConnectionRefused, "SSH connection refused")
        .with_remedy("check that `ssh.host` answers at `ssh.port`")
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

#[test]
fn started() {
    insta::assert_snapshot!(Notice::started(&begun(), &berlin()).text, @"
    🔄 Backup started for vinsware
    Run ID: a1b2c3d4
    Time: 2026-03-18 00:00:05 (Europe/Berlin)
    ");
    let utc = Notice::started(&begun(), &TimeZone::UTC).text;
    assert!(utc.ends_with("\nTime: 2026-03-17 23:00:05 (UTC)"), "{utc}");
}

#[test]
fn success() {
    insta::assert_snapshot!(Notice::finished(&succeeded(), end()).text, @"
    ✅ Backup completed for vinsware
    Run ID: a1b2c3d4
    Duration: 1m 19s
    Dump size: 145.2 MB
    Snapshot: abc12345
    Repository size: 1.8 GB
    ");
}

#[test]
fn success_leaves_out_what_does_not_exist() {
    let mut run = succeeded();
    run.dump = None;
    run.repository_bytes = None;
    insta::assert_snapshot!(Notice::finished(&run, end()).text, @"
    ✅ Backup completed for vinsware
    Run ID: a1b2c3d4
    Duration: 1m 19s
    Snapshot: abc12345
    ");
}

#[test]
fn failure_after_retries() {
    let notice = Notice::finished(&failed(Some(Stage::Sync), &refused(), 3), end());
    assert_eq!(notice.kind, NoticeKind::BackupFailed);
    insta::assert_snapshot!(notice.text, @"
    ❌ Backup failed for vinsware
    Run ID: a1b2c3d4
    Failed at stage: Sync (attempt 3/3)
    Duration: 2m 10s
    Error: SSH connection refused
    Code: SSH_CONNECTION_REFUSED
    Fix: check that `ssh.host` answers at `ssh.port`
    ");
}

#[test]
fn failure_without_retries() {
    let failure = Failure::new(ErrorCode::DbAuthFailed, "db.example.org:5432 refused user app")
        .with_detail("FATAL:  password authentication failed for user \"app\"\n");
    let run = failed(Some(Stage::Dump), &failure, 0);
    insta::assert_snapshot!(Notice::finished(&run, end()).text, @r#"
    ❌ Backup failed for vinsware
    Run ID: a1b2c3d4
    Failed at stage: Dump
    Duration: 2m 10s
    Error: db.example.org:5432 refused user app: FATAL:  password authentication failed for user "app"
    Code: DB_AUTH_FAILED
    Fix: correct `database.user` and `database.password` (or `password_file`), and allow this host on the server
    "#);
}

#[test]
fn failure_before_any_stage() {
    let failure = Failure::new(ErrorCode::Interrupted, "the process died").with_remedy("run it");
    insta::assert_snapshot!(Notice::finished(&failed(None, &failure, 0), end()).text, @"
    ❌ Backup failed for vinsware
    Run ID: a1b2c3d4
    Duration: 2m 10s
    Error: the process died
    Code: INTERRUPTED
    Fix: run it
    ");
}

#[test]
fn failure_after_the_snapshot_was_stored_names_it() {
    let failure = Failure::new(ErrorCode::RepoLocked, "the repository is locked by pid 7 on nas")
        .with_remedy("wait for it");
    let mut run = with_snapshot(failed(Some(Stage::Prune), &failure, 3));
    run.stages =
        vec![stage(Stage::Sync, StageOutcome::Ok), stage(Stage::Prune, StageOutcome::Failed)];
    insta::assert_snapshot!(Notice::finished(&run, end()).text, @"
    ❌ Backup failed for vinsware
    Run ID: a1b2c3d4
    Failed at stage: Prune (attempt 3/3)
    Duration: 2m 10s
    Error: the repository is locked by pid 7 on nas
    Code: REPO_LOCKED
    Fix: wait for it
    Snapshot: abc12345 (stored)
    ");
    // One part of a Sync that failed is not a backup to rely on.
    run.stages = vec![stage(Stage::Sync, StageOutcome::Failed)];
    assert!(!Notice::finished(&run, end()).text.contains("stored"));
}

#[test]
fn timeout() {
    let minutes = |m: u64| Duration::from_secs(m * 60);
    let notice = Notice::timeout(&begun(), minutes(32), minutes(30), Stage::Sync, end());
    assert_eq!(notice.kind.event(), "backup_warning");
    insta::assert_snapshot!(notice.text, @"
    ⚠️ Backup timeout warning for vinsware
    Run ID: a1b2c3d4
    Elapsed: 32m (timeout: 30m)
    Current stage: Sync (6/11)
    The backup is still running and has not been killed.
    ");
    assert_eq!(notice.data["stage"], "Sync");
    assert_eq!(notice.data["elapsed"], 1920);
    assert_eq!(notice.data["timeout"], 1800);
}

#[test]
fn missing_asset() {
    let notice =
        Notice::warning(&begun(), "Asset path not found: /data/vinsware/missing-dir", end());
    assert_eq!(notice.kind, NoticeKind::BackupWarning);
    insta::assert_snapshot!(notice.text, @"
    ⚠️ Backup warning for vinsware
    Run ID: a1b2c3d4
    Asset path not found: /data/vinsware/missing-dir
    ");
}

#[test]
fn overdue() {
    let now = at("2026-03-20T08:00:00Z");
    let day = Duration::from_hours(24);
    let last = Some(at("2026-03-17T23:01:24Z"));
    let notice = Notice::overdue(&project("vinsware"), last, day, now, &berlin());
    insta::assert_snapshot!(notice.text, @"
    ⚠️ Backup overdue for vinsware
    Last success: 2026-03-18 00:01:24 (Europe/Berlin) (2 days ago)
    Expected every: 24h
    ");
    insta::assert_snapshot!(pretty(&notice.webhook_body()), @r#"
    {
      "event": "backup_warning",
      "project": "vinsware",
      "text": "⚠️ Backup overdue for vinsware\nLast success: 2026-03-18 00:01:24 (Europe/Berlin) (2 days ago)\nExpected every: 24h",
      "data": {
        "runId": null,
        "runUuid": null,
        "project": "vinsware",
        "status": "overdue",
        "duration": null,
        "dumpSize": null,
        "snapshotId": null,
        "repositorySize": null,
        "startedAt": null,
        "finishedAt": null,
        "lastSuccess": "2026-03-17T23:01:24.000Z",
        "expectedEvery": 86400
      }
    }
    "#);
    let never = Notice::overdue(&project("vinsware"), None, day / 16, now, &berlin());
    insta::assert_snapshot!(never.text, @"
    ⚠️ Backup overdue for vinsware
    Last success: never
    Expected every: 1h 30m
    ");
}

fn entry(name: &str, last: DayResult) -> SummaryEntry {
    SummaryEntry { project: name.to_owned(), last }
}

fn good(name: &str, secs: u64) -> SummaryEntry {
    entry(name, DayResult::Success { duration: Duration::from_secs(secs) })
}

#[test]
fn daily_summary() {
    let failed = DayResult::Failed {
        stage: Some(Stage::Dump),
        message: "connection refused\nIs the server running?".to_owned(),
    };
    let entries = [good("vinsware", 79), good("project-x", 85), entry("project-y", failed)];
    let notice = Notice::daily_summary(&entries, at("2026-03-18T07:00:00Z"), &berlin());
    insta::assert_snapshot!(notice.text, @"
    📊 Daily Backup Summary — 2026-03-18
    ✅ vinsware — success (1m 19s)
    ✅ project-x — success (1m 25s)
    ❌ project-y — failed (Dump: connection refused)
    2 of 3 backups succeeded. 1 failure requires attention.
    ");
    insta::assert_snapshot!(pretty(&notice.webhook_body()), @r#"
    {
      "event": "daily_summary",
      "project": null,
      "text": "📊 Daily Backup Summary — 2026-03-18\n✅ vinsware — success (1m 19s)\n✅ project-x — success (1m 25s)\n❌ project-y — failed (Dump: connection refused)\n2 of 3 backups succeeded. 1 failure requires attention.",
      "data": {
        "date": "2026-03-18",
        "succeeded": 2,
        "failed": 1,
        "total": 3,
        "projects": [
          {
            "project": "vinsware",
            "status": "success",
            "line": "✅ vinsware — success (1m 19s)"
          },
          {
            "project": "project-x",
            "status": "success",
            "line": "✅ project-x — success (1m 25s)"
          },
          {
            "project": "project-y",
            "status": "failed",
            "line": "❌ project-y — failed (Dump: connection refused)"
          }
        ]
      }
    }
    "#);
}

#[test]
fn daily_summary_of_a_day_on_which_nothing_ran() {
    let entries = [entry("vinsware", DayResult::NoRun), entry("project-x", DayResult::NoRun)];
    let notice = Notice::daily_summary(&entries, at("2026-03-18T07:00:00Z"), &berlin());
    insta::assert_snapshot!(notice.text, @"
    📊 Daily Backup Summary — 2026-03-18
    ⚠️ vinsware — no run
    ⚠️ project-x — no run
    0 of 2 backups succeeded. 2 failures require attention.
    ");
}

#[test]
fn daily_summary_of_good_days_bad_starts_and_nobody() {
    let say = |entries: &[SummaryEntry]| {
        Notice::daily_summary(entries, at("2026-03-18T07:00:00Z"), &berlin()).text
    };
    insta::assert_snapshot!(say(&[good("vinsware", 79)]), @"
    📊 Daily Backup Summary — 2026-03-18
    ✅ vinsware — success (1m 19s)
    1 of 1 backups succeeded.
    ");
    let unknown = DayResult::Failed { stage: None, message: "the process died".to_owned() };
    insta::assert_snapshot!(say(&[entry("vinsware", unknown)]), @"
    📊 Daily Backup Summary — 2026-03-18
    ❌ vinsware — failed (the process died)
    0 of 1 backups succeeded. 1 failure requires attention.
    ");
    insta::assert_snapshot!(say(&[]), @"
    📊 Daily Backup Summary — 2026-03-18
    0 of 0 backups succeeded. No project is enabled.
    ");
}

#[test]
fn the_webhook_body_of_a_success() {
    insta::assert_snapshot!(pretty(&Notice::finished(&succeeded(), end()).webhook_body()), @r#"
    {
      "event": "backup_success",
      "project": "vinsware",
      "text": "✅ Backup completed for vinsware\nRun ID: a1b2c3d4\nDuration: 1m 19s\nDump size: 145.2 MB\nSnapshot: abc12345\nRepository size: 1.8 GB",
      "data": {
        "runId": "a1b2c3d4",
        "runUuid": "a1b2c3d4-1111-4222-8333-444455556666",
        "project": "vinsware",
        "status": "success",
        "trigger": "scheduled",
        "duration": 79,
        "dumpSize": 152253030,
        "snapshotId": "abc12345",
        "repositorySize": 1932735283,
        "startedAt": "2026-03-17T23:00:05.000Z",
        "finishedAt": "2026-03-17T23:01:24.000Z",
        "failedStage": null,
        "error": null,
        "code": null,
        "remedy": null,
        "warnings": []
      }
    }
    "#);
}

#[test]
fn the_webhook_body_of_a_failure() {
    let run = failed(Some(Stage::Sync), &refused(), 3);
    insta::assert_snapshot!(pretty(&Notice::finished(&run, end()).webhook_body()), @r#"
    {
      "event": "backup_failed",
      "project": "vinsware",
      "text": "❌ Backup failed for vinsware\nRun ID: a1b2c3d4\nFailed at stage: Sync (attempt 3/3)\nDuration: 2m 10s\nError: SSH connection refused\nCode: SSH_CONNECTION_REFUSED\nFix: check that `ssh.host` answers at `ssh.port`",
      "data": {
        "runId": "a1b2c3d4",
        "runUuid": "a1b2c3d4-1111-4222-8333-444455556666",
        "project": "vinsware",
        "status": "failed",
        "trigger": "scheduled",
        "duration": 130,
        "dumpSize": null,
        "snapshotId": null,
        "repositorySize": null,
        "startedAt": "2026-03-17T23:00:05.000Z",
        "finishedAt": "2026-03-17T23:02:15.000Z",
        "failedStage": "Sync",
        "error": "SSH connection refused",
        "code": "SSH_CONNECTION_REFUSED",
        "remedy": "check that `ssh.host` answers at `ssh.port`",
        "warnings": []
      }
    }
    "#);
}

#[test]
fn the_webhook_body_of_a_start_has_null_for_what_is_not_known_yet() {
    insta::assert_snapshot!(pretty(&Notice::started(&begun(), &berlin()).webhook_body()), @r#"
    {
      "event": "backup_started",
      "project": "vinsware",
      "text": "🔄 Backup started for vinsware\nRun ID: a1b2c3d4\nTime: 2026-03-18 00:00:05 (Europe/Berlin)",
      "data": {
        "runId": "a1b2c3d4",
        "runUuid": "a1b2c3d4-1111-4222-8333-444455556666",
        "project": "vinsware",
        "status": "started",
        "trigger": "scheduled",
        "duration": null,
        "dumpSize": null,
        "snapshotId": null,
        "repositorySize": null,
        "startedAt": "2026-03-17T23:00:05.000Z",
        "finishedAt": null,
        "failedStage": null,
        "error": null,
        "code": null,
        "remedy": null,
        "warnings": []
      }
    }
    "#);
}

#[test]
fn a_delayed_notice_says_so_once_with_its_original_time() {
    let notice = Notice::finished(&succeeded(), end());
    assert_eq!(notice.webhook_body().get("delayed"), None);
    let late = notice.into_delayed(&berlin()).into_delayed(&berlin());
    insta::assert_snapshot!(late.text, @"
    ✅ Backup completed for vinsware
    Run ID: a1b2c3d4
    Duration: 1m 19s
    Dump size: 145.2 MB
    Snapshot: abc12345
    Repository size: 1.8 GB
    Delayed: from 2026-03-18 00:01:24 (Europe/Berlin)
    ");
    let body = late.webhook_body();
    assert_eq!(body["delayed"], true);
    assert_eq!(body["originalTime"], "2026-03-17T23:01:24.000Z");
    assert_eq!(body["data"]["runId"], "a1b2c3d4");
    // What waits in the fallback file comes back the same.
    let text = serde_json::to_string(&late).unwrap();
    assert_eq!(serde_json::from_str::<Notice>(&text).unwrap(), late);
}

#[test]
fn events_have_the_names_of_the_contract() {
    let kinds = [
        (NoticeKind::BackupStarted, "backup_started"),
        (NoticeKind::BackupSuccess, "backup_success"),
        (NoticeKind::BackupFailed, "backup_failed"),
        (NoticeKind::BackupWarning, "backup_warning"),
        (NoticeKind::DailySummary, "daily_summary"),
    ];
    for (kind, name) in kinds {
        assert_eq!(kind.event(), name);
        assert_eq!(json!(kind), json!(name));
    }
}
