//! Audit, channels, heartbeat and the fallback file being down: the backup keeps its status.

use backupctl_application::ports::{FallbackEntry, LockHolder};
use backupctl_application::use_cases::{RunAll, RunBackup, RunOutcome};
use backupctl_domain::{ErrorCode, RunStatus, Stage, StageOutcome, Trigger};
use backupctl_testkit::fakes::Inject;
use backupctl_testkit::{TestBench, project};
use std::sync::Arc;

use backupctl_application::context::{Observer, Silent};
use backupctl_application::ports::ConfigLoader;

use super::{failure, run};

#[tokio::test]
async fn with_the_audit_down_the_record_is_kept_once() {
    let bench = TestBench::new();
    bench.audit.down(&failure(ErrorCode::AuditUnavailable));
    let done = run(&bench, &project("shop").everything().build()).await;

    assert_eq!(done.status, RunStatus::Success);
    assert_eq!(done.stage(Stage::Audit).unwrap().outcome, StageOutcome::Failed);
    let entries = bench.fallback.entries();
    let [FallbackEntry::Audit { run: kept }] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((kept.run_id, kept.status), (done.run_id, RunStatus::Success));
    assert!(bench.journal.has("notify backup_success"));
}

#[tokio::test]
async fn with_a_channel_down_each_notice_is_kept_and_the_others_arrive() {
    let bench = TestBench::new();
    bench.slack.down(&failure(ErrorCode::NotifyFailed));
    let shop = project("shop").slack("https://slack.example/x").webhook("https://h.example");
    let done = run(&bench, &shop.build()).await;

    assert_eq!(done.status, RunStatus::Success);
    assert_eq!(done.stage(Stage::Notify).unwrap().outcome, StageOutcome::Failed);
    assert_eq!(bench.webhook.notices().len(), 2, "started and success");
    let kept: Vec<_> = bench
        .fallback
        .entries()
        .into_iter()
        .map(|e| match e {
            FallbackEntry::Notification { channel, notice, .. } => {
                format!("{channel} {}", notice.kind.event())
            }
            FallbackEntry::Audit { .. } => "audit".to_owned(),
            FallbackEntry::GlobalNotification { .. } => "global".to_owned(),
        })
        .collect();
    assert_eq!(kept, ["slack backup_started", "slack backup_success"]);
}

#[tokio::test]
async fn a_failing_heartbeat_is_told_in_the_record_alone() {
    let bench = TestBench::new();
    bench.monitor.down(&failure(ErrorCode::HeartbeatFailed));
    let done = run(&bench, &project("shop").everything().build()).await;
    assert_eq!(done.status, RunStatus::Success);
    assert_eq!(done.stage(Stage::Heartbeat).unwrap().outcome, StageOutcome::Failed);
    assert!(bench.fallback.entries().is_empty());
}

#[tokio::test]
async fn with_everything_of_the_infrastructure_down_the_backup_is_still_made() {
    let bench = TestBench::new();
    bench.audit.down(&failure(ErrorCode::AuditUnavailable));
    bench.webhook.down(&failure(ErrorCode::NotifyFailed));
    bench.monitor.down(&failure(ErrorCode::HeartbeatFailed));
    bench.fallback.down(&failure(ErrorCode::DiskFull));
    bench.lock.fail_always("release", failure(ErrorCode::PathNotWritable));
    let done = run(&bench, &project("shop").everything().build()).await;

    assert_eq!(done.status, RunStatus::Success);
    assert_eq!(done.snapshots.len(), 1);
    assert_eq!(done.stage(Stage::Unlock).unwrap().outcome, StageOutcome::Failed);
}

#[tokio::test]
async fn a_down_heartbeat_monitor_hears_of_a_failure_never_of_an_up() {
    let bench = TestBench::new();
    bench.repository.fail_always("store", failure(ErrorCode::RepoWrongPassword));
    run(&bench, &project("shop").everything().build()).await;
    assert!(bench.journal.has("heartbeat down") && !bench.journal.has("heartbeat up"));
}

#[tokio::test]
async fn run_all_goes_on_after_a_failure_and_tells_a_part_from_a_whole() {
    let bench = TestBench::new();
    let projects =
        [project("one").build(), project("two").build(), project("off").disabled().build()];
    bench.config.set_projects(projects);
    bench.config.add_broken("three", "cron", "is no cron expression");
    bench.dumper.fail_once("dump", failure(ErrorCode::DbAuthFailed));
    let config: Arc<dyn ConfigLoader> = bench.config.clone();
    let entries = config.load().await.unwrap().projects;
    let all = RunAll::new(RunBackup::new(bench.world()), config);
    let silent = |_: &str| Arc::new(Silent) as Arc<dyn Observer>;
    let outcome = all.execute(entries, Trigger::Manual, false, &bench.cancel, &silent).await;

    let ended: Vec<_> =
        outcome.projects.iter().map(|p| (p.project.as_str(), p.succeeded())).collect();
    assert_eq!(ended, [("one", false), ("two", true), ("three", false)]);
    assert_eq!(outcome.exit_status(), 5);
}

#[tokio::test]
async fn a_lock_that_cannot_be_tried_is_a_failed_run_that_is_told() {
    let bench = TestBench::new();
    bench.lock.fail_always("acquire", failure(ErrorCode::PathNotWritable));
    let done = run(&bench, &project("shop").everything().build()).await;

    let error = done.error.unwrap();
    assert_eq!((error.code, error.stage), (ErrorCode::PathNotWritable, Some(Stage::Lock)));
    assert!(!bench.journal.has("dump"));
    bench.journal.assert_order(&[
        "audit finish shop failed",
        "notify backup_failed",
        "heartbeat down",
    ]);
}

#[tokio::test]
async fn a_secret_that_cannot_be_had_is_a_failed_run_that_is_told() {
    let bench = TestBench::new();
    let mut shop = project("shop").everything().build();
    let password = backupctl_domain::Secret::Command("vault read x".to_owned());
    *shop.destinations[0].secrets_mut()[0].1 = password;
    let config: Arc<dyn ConfigLoader> = bench.config.clone();
    let cannot = config.resolve_secrets(shop.clone()).await.unwrap_err();
    let use_case = RunBackup::new(bench.world());
    let silent = Arc::new(Silent);
    let run = use_case.refuse(config.as_ref(), shop, Trigger::Manual, None, &cannot, silent).await;

    assert_eq!(run.error.unwrap().code, ErrorCode::InvalidConfig);
    assert!(!bench.journal.has("dump") && !bench.journal.has("hook"));
    bench.journal.assert_order(&[
        "audit start shop",
        "audit finish shop failed",
        "notify backup_failed webhook",
        "heartbeat down",
    ]);
}

#[tokio::test]
async fn a_panic_while_closing_is_a_failed_run_whose_other_parts_are_told() {
    let bench = TestBench::new();
    bench.audit.panic_on("finish_run");
    let done = run(&bench, &project("shop").everything().build()).await;
    assert_ne!(done.status, RunStatus::Started);
    assert!(bench.journal.has("notify backup_success"), "the backup itself was made");
    assert!(bench.journal.has("heartbeat up"));
    assert!(bench.journal.has("lock release shop"));

    let bench = TestBench::new();
    bench.hooks.panic_on("finally");
    let done = run(&bench, &project("shop").everything().build()).await;
    assert_eq!(done.error.unwrap().code, ErrorCode::Internal);
    assert!(bench.journal.has("notify backup_failed"));
    assert!(bench.journal.has("heartbeat down"));
}

#[tokio::test]
async fn a_record_that_nobody_takes_is_told_in_the_run() {
    let bench = TestBench::new();
    bench.audit.down(&failure(ErrorCode::AuditUnavailable));
    bench.fallback.down(&failure(ErrorCode::DiskFull));
    let done = run(&bench, &project("shop").build()).await;
    assert_eq!(done.status, RunStatus::Success);
    assert!(done.warnings[0].contains("is lost"), "{:?}", done.warnings);
}

#[tokio::test]
async fn a_run_waits_for_a_recovery_and_gives_up_on_a_backup() {
    let bench = TestBench::new();
    let shop = project("shop").build();
    let holder = LockHolder { pid: Some(7), started: None, recovering: true };
    bench.lock.set_held(&shop.name, holder);
    let going = {
        let use_case = RunBackup::new(bench.world());
        tokio::spawn(use_case.execute_owned(super::request(&bench, &shop)))
    };
    bench.lock.queued(&shop.name).await;
    bench.lock.set_free(&shop.name);
    assert!(matches!(going.await.unwrap(), Ok(RunOutcome::Finished(_))));
}
