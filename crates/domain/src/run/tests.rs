//! The record, and its form as the `--json` contract.

use serde_json::json;

use super::*;

fn run() -> BackupRun {
    BackupRun::start(
        "a1b2c3d4-0000-4000-8000-000000000000".parse().unwrap(),
        ProjectName::new("vinsware").unwrap(),
        Trigger::CatchUp,
        "2026-03-17T23:00:05Z".parse().unwrap(),
        "host",
        "0.1.0",
        1234,
    )
}

#[test]
fn short_ids_are_eight_characters() {
    assert_eq!(run().run_id.short(), "a1b2c3d4");
    assert_eq!(SnapshotId::new("abc12345ffff").unwrap().short(), "abc12345");
    assert_eq!(SnapshotId::new("abcd").unwrap().short(), "abcd");
    for bad in ["", "abc", "latest", "abc1234g", &"a".repeat(65)] {
        assert_eq!(SnapshotId::new(bad), None, "{bad}");
    }
    let whole = SnapshotId::new("a".repeat(64)).unwrap();
    assert!(whole.matches(&SnapshotId::new("aaaaaaaa").unwrap()));
    assert!(!whole.matches(&SnapshotId::new("aaaaaaab").unwrap()));
}

#[test]
fn a_run_ends_as_its_error_says() {
    let mut good = run();
    good.current_stage = Some(Stage::Audit);
    good.finish("2026-03-17T23:01:24.5Z".parse().unwrap(), None);
    assert_eq!((good.status, good.current_stage), (RunStatus::Success, None));
    assert_eq!(good.duration, Some(Duration::from_millis(79_500)));

    let mut bad = run();
    let failure = Failure::new(ErrorCode::DumpEmpty, "pg_dump wrote nothing").with_detail("a\nb");
    bad.finish(bad.started_at, Some(RunError::new(Some(Stage::Dump), &failure)));
    assert_eq!(bad.status, RunStatus::Failed);
    let error = bad.error.unwrap();
    assert_eq!(error.message, "pg_dump wrote nothing: a; b");
    assert_eq!(error.remedy, failure.remedy);

    // A clock that was set back makes no negative duration.
    let mut odd = run();
    odd.finish("2026-03-17T22:00:00Z".parse().unwrap(), None);
    assert_eq!(odd.duration, Some(Duration::ZERO));
}

#[test]
fn a_record_is_written_as_the_contract_says_and_read_back() {
    let mut run = run();
    run.stages.push(StageRecord {
        stage: Stage::PreHook,
        started_at: None,
        finished_at: None,
        outcome: StageOutcome::Skipped,
        attempts: 0,
        message: Some("no hook".to_owned()),
    });
    run.snapshots.push(SnapshotInfo {
        id: SnapshotId::new("abc12345").unwrap(),
        tags: vec!["backupctl:combined".to_owned()],
        bytes_added: 1,
        files_new: 2,
        files_changed: 3,
        files_unmodified: 4,
        destination: None,
        archive: None,
    });
    let failure = Failure::new(ErrorCode::SshTimeout, "no answer");
    run.finish(
        "2026-03-17T23:01:24Z".parse().unwrap(),
        Some(RunError {
            retries: 3,
            retries_allowed: 3,
            ..RunError::new(Some(Stage::Sync), &failure)
        }),
    );
    let value = serde_json::to_value(&run).unwrap();
    assert_eq!(
        value,
        json!({
            "run_id": "a1b2c3d4-0000-4000-8000-000000000000",
            "project": "vinsware",
            "trigger": "catch_up",
            "status": "failed",
            "current_stage": null,
            "stages": [{
                "stage": "PreHook",
                "started_at": null,
                "finished_at": null,
                "outcome": "skipped",
                "attempts": 0,
                "message": "no hook",
            }],
            "warnings": [],
            "error": {
                "code": "SSH_TIMEOUT",
                "stage": "Sync",
                "message": "no answer",
                "remedy": failure.remedy,
                "retries": 3,
                "retries_allowed": 3,
            },
            "due_at": null,
            "started_at": "2026-03-17T23:00:05.000Z",
            "finished_at": "2026-03-17T23:01:24.000Z",
            "duration": 79.0,
            "dump": null,
            "assets": [],
            "destinations": [],
            "snapshots": [{
                "id": "abc12345",
                "tags": ["backupctl:combined"],
                "bytes_added": 1,
                "files_new": 2,
                "files_changed": 3,
                "files_unmodified": 4,
                "destination": null,
                "archive": null,
            }],
            "repository_bytes": null,
            "host": "host",
            "version": "0.1.0",
            "pid": 1234,
        })
    );
    assert_eq!(serde_json::from_value::<BackupRun>(value).unwrap(), run);
    for (trigger, name) in [
        (Trigger::Manual, "manual"),
        (Trigger::Scheduled, "scheduled"),
        (Trigger::CatchUp, "catch_up"),
        (Trigger::Retry, "retry"),
    ] {
        assert_eq!(json!(trigger), json!(name));
        assert_eq!(trigger.as_str(), name);
    }
}

#[test]
fn a_run_fails_by_what_is_required_and_by_being_stored_nowhere() {
    let record = |required: bool, stored: bool| DestinationRecord {
        name: DestinationName::new("box").unwrap(),
        kind: "restic".to_owned(),
        required,
        location: "/srv/repo".to_owned(),
        stored,
        attempts: 1,
        error: (!stored).then(|| RunError::new(None, &Failure::internal("x"))),
        removed: None,
        kept: None,
        bytes: None,
    };
    let [good, spare, bad, bad_spare] =
        [(true, true), (false, true), (true, false), (false, false)].map(|(r, s)| record(r, s));
    for (records, expected) in [
        (vec![good.clone(), spare.clone()], None),
        (vec![good.clone(), bad_spare.clone()], None),
        (vec![bad_spare.clone(), spare.clone()], None),
        (vec![bad_spare.clone(), good.clone(), bad.clone()], Some(2)),
        (vec![bad_spare.clone(), bad_spare.clone()], Some(0)),
        (vec![bad_spare, bad], Some(1)),
        (vec![], None),
    ] {
        assert_eq!(decisive_failure(&records), expected, "{records:?}");
    }
    // Retention that fails at a required one fails the run, though everything is stored.
    let pruned =
        DestinationRecord { error: Some(RunError::new(None, &Failure::internal("x"))), ..good };
    assert_eq!(decisive_failure(&[pruned]), Some(0));
}
