//! What a killed run has left, and what could not be delivered.

use std::sync::Arc;
use std::time::Duration;

use backupctl_application::ports::{
    ConfigLoader, FallbackEntry, LockHolder, ProjectEntry, RunQuery,
};
use backupctl_application::use_cases::{RecoverReport, RecoverStartup};
use backupctl_domain::{DumpName, ErrorCode, Project, RunStatus, Stage};
use backupctl_testkit::builders::{self, archive, at, restic};
use backupctl_testkit::fakes::{Inject, RepositoryLock};
use backupctl_testkit::{TestBench, project};

use super::{failure, run};

async fn recover(bench: &TestBench, projects: &[Project]) -> RecoverReport {
    bench.config.set_projects(projects.iter().cloned());
    let config: Arc<dyn ConfigLoader> = bench.config.clone();
    let entries: Vec<ProjectEntry> = config.load().await.unwrap().projects;
    RecoverStartup::new(bench.world(), config, None).execute(&entries, &bench.cancel).await
}

fn shop() -> Project {
    project("shop").webhook("https://hooks.example/one").build()
}

const DEAD: LockHolder = LockHolder { pid: Some(999_999), started: None, recovering: false };

#[tokio::test]
async fn an_orphaned_run_is_failed_told_and_cleaned_up_after() {
    let bench = TestBench::new();
    let orphan = builders::run("shop").in_stage(Stage::Sync).build();
    bench.audit.seed(orphan.clone());
    bench.lock.set_stale(&orphan.project, DEAD);
    bench.children.leave(1);
    let dir = bench.base_dir().join("shop");
    std::fs::create_dir_all(&dir).unwrap();
    let name = |run: &str| DumpName {
        project: orphan.project.clone(),
        time: at("2026-03-18T00:00:05Z").to_zoned(jiff::tz::TimeZone::UTC).datetime(),
        run: run.to_owned(),
        ext: "dump.zst".to_owned(),
    };
    let own = name(&orphan.run_id.short());
    let kept =
        [dir.join(own.to_string()), dir.join(name("0000aaaa").partial()), dir.join("notes.txt")];
    for path in kept.iter().chain([&dir.join(own.partial())]) {
        std::fs::write(path, "x").unwrap();
    }

    let report = recover(&bench, &[shop()]).await;

    let run = bench.audit.run(orphan.run_id).unwrap();
    assert_eq!(run.status, RunStatus::Failed);
    let error = run.error.clone().unwrap();
    assert_eq!((error.code, error.stage), (ErrorCode::Interrupted, Some(Stage::Sync)));
    assert_eq!(report.orphans, [orphan.run_id]);
    assert_eq!(report.children_ended, 1);
    assert_eq!(report.partials, [dir.join(own.partial())]);
    assert!(kept.iter().all(|p| p.exists()), "only the dead run's own partial goes");
    bench.journal.assert_order(&[
        "lock recover shop",
        "notify backup_failed webhook",
        "audit finish shop failed",
        "remove_partials shop",
        "unlock_stale",
        "lock release shop",
    ]);

    let again = recover(&bench, &[shop()]).await;
    assert!(again.is_empty(), "{again:?}");
    assert_eq!(bench.journal.count("notify"), 1, "told once");
}

#[tokio::test]
async fn what_is_left_of_an_archive_is_no_lock_of_a_repository() {
    let bench = TestBench::new();
    bench.audit.seed(builders::run("shop").in_stage(Stage::Sync).build());
    bench.archives.set_lock(Some(RepositoryLock::Stale));
    let both = [restic("/srv/repositories/shop"), archive("/mnt/usb")];
    let shop = project("shop").destinations(both).build();
    let report = recover(&bench, std::slice::from_ref(&shop)).await;
    assert_eq!(report.archives_cleared, [(shop.name.clone(), "/mnt/usb".to_owned())]);
    assert_eq!(report.repositories_unlocked, []);
}

#[tokio::test]
async fn a_run_that_goes_on_is_left_alone() {
    let bench = TestBench::new();
    let going = builders::run("shop").in_stage(Stage::Dump).build();
    bench.audit.seed(going.clone());
    bench
        .lock
        .set_held(&going.project, LockHolder { pid: Some(4711), started: None, recovering: false });
    let report = recover(&bench, &[shop()]).await;
    assert!(report.is_empty(), "{report:?}");
    assert_eq!(bench.audit.run(going.run_id).unwrap().status, RunStatus::Started);
}

#[tokio::test]
async fn a_run_that_ended_while_the_audit_was_down_is_no_orphan() {
    let bench = TestBench::new();
    let finished = builders::run("shop").success(Duration::from_secs(79)).build();
    let mut started = finished.clone();
    started.status = RunStatus::Started;
    bench.audit.seed(started);
    bench.fallback.seed(FallbackEntry::Audit { run: Box::new(finished.clone()) });

    let report = recover(&bench, &[shop()]).await;

    assert!(report.orphans.is_empty());
    assert_eq!(report.delivered, 1);
    assert_eq!(bench.audit.run(finished.run_id).unwrap().status, RunStatus::Success);
    assert!(!bench.journal.has("notify"), "no false alarm");
}

#[tokio::test]
async fn an_end_that_nobody_was_told_of_is_told() {
    let bench = TestBench::new();
    let shop = shop();
    bench.dumper.fail_always("dump", failure(ErrorCode::DbAuthFailed));
    let mut died = run(&bench, &shop).await;
    died.stages.retain(|s| s.stage <= Stage::Audit);
    bench.audit.seed(died.clone());
    bench.journal.clear();

    let report = recover(&bench, std::slice::from_ref(&shop)).await;
    assert_eq!(report.told, [died.run_id]);
    assert_eq!(bench.journal.count("notify backup_failed"), 1);
    assert!(recover(&bench, &[shop]).await.is_empty());
}

#[tokio::test]
async fn kept_entries_are_really_delivered_marked_late_and_once() {
    let bench = TestBench::new();
    bench.webhook.down(&failure(ErrorCode::NotifyFailed));
    bench.audit.fail_always("finish_run", failure(ErrorCode::AuditUnavailable));
    let done = run(&bench, &shop()).await;
    assert_eq!(bench.fallback.entries().len(), 3, "started, record, success");

    let report = recover(&bench, &[shop()]).await;
    assert_eq!((report.delivered, report.remaining.len()), (0, 3), "still down: nothing is lost");

    bench.webhook.heal();
    bench.audit.heal();
    let report = recover(&bench, &[shop()]).await;
    assert_eq!((report.delivered, report.remaining.len()), (3, 0));
    let notices = bench.webhook.notices();
    assert!(notices.iter().all(|n| n.delayed), "{notices:?}");
    assert!(notices[0].text.contains("Delayed: from 2026-03-18 00:00:05 (UTC)"));
    assert_eq!(bench.audit.run(done.run_id).unwrap().status, RunStatus::Success);
    assert!(recover(&bench, &[shop()]).await.is_empty());
}

#[tokio::test]
async fn unreadable_lines_are_reported() {
    let bench = TestBench::new();
    bench.fallback.seed(FallbackEntry::Audit { run: Box::new(builders::run("shop").build()) });
    bench.fallback.seed_unreadable(2);
    let report = recover(&bench, &[shop()]).await;
    assert_eq!(report.rejected, 2);
}

#[tokio::test]
async fn with_the_audit_down_recovery_says_so_and_goes_on() {
    let bench = TestBench::new();
    bench.audit.down(&failure(ErrorCode::AuditUnavailable));
    let report = recover(&bench, &[shop()]).await;
    assert_eq!(report.problems.len(), 1);
    let found = bench.world().audit.find_runs(&RunQuery::default()).await;
    assert!(found.is_err());
}

#[tokio::test]
async fn an_orphan_whose_channels_cannot_be_had_is_told_as_soon_as_they_can() {
    let bench = TestBench::new();
    let orphan = builders::run("shop").in_stage(Stage::Dump).build();
    bench.audit.seed(orphan.clone());
    bench.config.fail_times("resolve_secrets", failure(ErrorCode::InvalidConfig), 1);
    let report = recover(&bench, &[shop()]).await;
    assert_eq!(report.orphans, [orphan.run_id]);
    assert_eq!(report.problems.len(), 1);
    assert!(!bench.journal.has("notify"));
    assert_eq!(bench.audit.run(orphan.run_id).unwrap().status, RunStatus::Failed);

    let report = recover(&bench, &[shop()]).await;
    assert_eq!(report.told, [orphan.run_id]);
    assert_eq!(bench.journal.count("notify backup_failed"), 1);
}

#[tokio::test]
async fn runs_of_other_machines_in_a_shared_audit_are_left_alone() {
    let bench = TestBench::new();
    let theirs =
        builders::run("shop").in_stage(Stage::Dump).with(|r| r.host = "other".to_owned()).build();
    bench.audit.seed(theirs.clone());
    bench.config.set_projects([shop()]);
    let config: Arc<dyn ConfigLoader> = bench.config.clone();
    let entries = config.load().await.unwrap().projects;
    let mut world = Arc::into_inner(bench.world()).unwrap();
    world.settings.audit_is_shared = true;
    let recover = RecoverStartup::new(Arc::new(world), config, None);
    let report = recover.execute(&entries, &bench.cancel).await;
    assert!(report.is_empty(), "{report:?}");
    assert_eq!(bench.audit.run(theirs.run_id).unwrap().status, RunStatus::Started);
}

#[tokio::test]
async fn a_replay_does_not_keep_a_run_waiting_for_ever() {
    let bench = TestBench::new();
    bench.webhook.down(&failure(ErrorCode::NotifyFailed));
    run(&bench, &shop()).await;
    bench.webhook.heal();
    bench.config.set_projects([shop()]);
    let config: Arc<dyn ConfigLoader> = bench.config.clone();
    let hold = bench.config.hold("load");
    let entries: Vec<ProjectEntry> = Vec::new();
    let recover = RecoverStartup::new(bench.world(), config, None);
    let (report, ()) = tokio::join!(recover.execute(&entries, &bench.cancel), async {
        hold.entered().await;
        bench.clock.advance(Duration::from_mins(1));
        hold.release();
    });
    assert_eq!((report.delivered, report.remaining.len()), (1, 1), "{report:?}");
}

#[tokio::test]
async fn what_a_dead_restore_has_left_goes() {
    let bench = TestBench::new();
    let left = bench.base_dir().join("shop/.restore-999999-0");
    std::fs::create_dir_all(left.join("srv")).unwrap();
    std::fs::write(left.join("srv/shop.dump"), "in the clear").unwrap();
    let report = recover(&bench, &[shop()]).await;
    assert_eq!(report.partials, std::slice::from_ref(&left));
    assert!(!left.exists());
}
