//! The thirteen steps, in their order, with their skips.

use backupctl_domain::{RunStatus, Secret, Stage, StageOutcome};
use backupctl_testkit::fakes::Inject;
use backupctl_testkit::{TestBench, project};

use super::{code, failure, outcome, request, run};
use backupctl_application::use_cases::{RunBackup, RunOutcome};
use backupctl_domain::ErrorCode;

#[tokio::test]
async fn a_whole_run_takes_every_step_in_order() {
    let bench = TestBench::new();
    let done = run(&bench, &project("shop").everything().build()).await;

    assert_eq!(done.status, RunStatus::Success, "{:?}", done.error);
    bench.journal.assert_order(&[
        "lock acquire shop",
        "audit start shop",
        "track NotifyStarted",
        "notify backup_started webhook",
        "heartbeat start",
        "track PreHook",
        "hook pre_backup",
        "track Dump",
        "dump",
        "track Verify",
        "verify",
        "track Encrypt",
        "encrypt",
        "remove_file",
        "track Sync",
        "store backupctl:combined,project:shop",
        "prove backupctl:combined,project:shop",
        "track Prune",
        "prune",
        "track Cleanup",
        "cleanup",
        "track PostHook",
        "hook post_backup",
        "track FinallyHook",
        "hook finally",
        "track Audit",
        "audit finish shop success",
        "track Notify",
        "notify backup_success webhook",
        "track Heartbeat",
        "heartbeat up",
        "lock release shop",
    ]);
    assert_eq!(bench.journal.only(&["heartbeat"]), ["heartbeat start", "heartbeat up"]);
}

#[tokio::test]
async fn the_record_lists_the_thirteen_numbered_steps() {
    let bench = TestBench::new();
    let done = run(&bench, &project("shop").build()).await;

    let stages: Vec<Stage> = done.stages.iter().map(|s| s.stage).collect();
    assert_eq!(stages, Stage::RECORDED);
    let skipped: Vec<Stage> = done
        .stages
        .iter()
        .filter(|s| s.outcome == StageOutcome::Skipped)
        .map(|s| s.stage)
        .collect();
    assert_eq!(
        skipped,
        [
            Stage::NotifyStarted,
            Stage::PreHook,
            Stage::Encrypt,
            Stage::PostHook,
            Stage::Notify,
            Stage::Heartbeat
        ]
    );
    assert_eq!(bench.audit.run(done.run_id), Some(done), "the audit holds the whole record");
}

#[tokio::test]
async fn a_failed_run_lists_all_steps_too_and_tells_what_was_not_reached() {
    let bench = TestBench::new();
    bench.dumper.fail_always("dump", failure(ErrorCode::DbAuthFailed));
    let done = run(&bench, &project("shop").everything().build()).await;

    assert_eq!(code(&done), Some(ErrorCode::DbAuthFailed));
    let numbered: Vec<Stage> =
        done.stages.iter().map(|s| s.stage).filter(|s| s.number().is_some()).collect();
    assert_eq!(numbered, Stage::RECORDED);
    let sync = done.stage(Stage::Sync).unwrap();
    assert_eq!(sync.outcome, StageOutcome::Skipped);
    assert_eq!(sync.message.as_deref(), Some("not reached: Dump failed"));
    assert!(!bench.journal.has("store"));
    bench.journal.assert_order(&[
        "hook finally",
        "audit finish shop failed",
        "notify backup_failed webhook",
        "heartbeat down",
        "lock release shop",
    ]);
}

#[tokio::test]
async fn without_a_database_its_steps_are_skipped() {
    let bench = TestBench::new();
    let done = run(&bench, &project("files").no_database().age("age1fake").build()).await;

    assert_eq!(done.status, RunStatus::Success);
    for stage in [Stage::Dump, Stage::Verify, Stage::Encrypt, Stage::Cleanup] {
        assert_eq!(done.stage(stage).unwrap().outcome, StageOutcome::Skipped, "{stage}");
    }
    assert!(done.dump.is_none());
}

#[tokio::test]
async fn a_second_run_at_the_same_time_does_nothing() {
    let bench = TestBench::new();
    let shop = project("shop").build();
    let hold = bench.dumper.hold("dump");
    let first = tokio::spawn(RunBackup::new(bench.world()).execute_owned(request(&bench, &shop)));
    hold.entered().await;

    let second = outcome(&bench, &shop).await;
    assert!(matches!(second, Ok(RunOutcome::Busy(_))), "{second:?}");
    assert_eq!(bench.journal.count("audit start"), 1);

    hold.release();
    assert!(matches!(first.await.unwrap(), Ok(RunOutcome::Finished(_))));
}

#[tokio::test]
async fn every_hook_is_given_the_variables_that_it_names_and_shows_none() {
    let bench = TestBench::new();
    let token = ("TOKEN".to_owned(), Secret::value("hunter2"));
    let shop = project("shop").everything().pre_backup("echo got $TOKEN");
    let done = run(&bench, &shop.with(|p| p.hooks.env = vec![token]).build()).await;

    let executed = bench.hooks.executed();
    assert_eq!(executed.len(), 3);
    for call in &executed {
        assert_eq!(call.env.last(), Some(&("TOKEN".to_owned(), "hunter2".to_owned())));
        assert!(!call.command.contains("hunter2"));
    }
    let record = serde_json::to_string(&done).unwrap();
    assert!(!record.contains("hunter2") && record.contains("got ***"), "{record}");
}

#[tokio::test]
async fn a_failing_finally_hook_is_a_warning() {
    let bench = TestBench::new();
    bench.hooks.fail_always("finally", failure(ErrorCode::HookFailed));
    let done = run(&bench, &project("shop").finally("x").build()).await;

    assert_eq!(done.status, RunStatus::Success);
    assert_eq!(done.warnings.len(), 1);
    assert_eq!(done.stage(Stage::FinallyHook).unwrap().outcome, StageOutcome::Failed);
}
