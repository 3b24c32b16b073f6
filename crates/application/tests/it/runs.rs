//! Recorded runs acted upon: found, judged, deleted, aborted; and the daemon told to reload.

use std::sync::Arc;
use std::time::Duration;

use backupctl_application::ports::BackupLock as _;
use backupctl_application::ports::{ConfigLoader, Ended, Heartbeat, LockHolder, LockState};
use backupctl_application::use_cases::{
    AbortRun, Aborted, RecoverStartup, check_retry, delete_run, find_run, reload,
};
use backupctl_domain::{BackupRun, ErrorCode, Failure, Project, RunStatus, SnapshotId, Stage};
use backupctl_testkit::builders::{self, name};
use backupctl_testkit::fakes::Inject;
use backupctl_testkit::{TestBench, project};

use super::failure;

const MINUTE: Duration = Duration::from_mins(1);

fn shop() -> Project {
    project("shop").webhook("https://hooks.example/one").uptime_kuma("https://kuma", "t").build()
}

fn going() -> BackupRun {
    builders::run("shop").in_stage(Stage::Dump).build()
}

fn holder(run: &BackupRun) -> LockHolder {
    LockHolder { pid: Some(run.pid), started: None, recovering: false }
}

async fn abort_in(
    bench: &TestBench,
    world: Arc<backupctl_application::World>,
    id: &str,
) -> Result<Aborted, Failure> {
    bench.config.set_projects([shop()]);
    let config: Arc<dyn ConfigLoader> = bench.config.clone();
    let entries = config.load().await.unwrap().projects;
    let recover = RecoverStartup::new(Arc::clone(&world), Arc::clone(&config), None);
    AbortRun::new(world, config, recover).execute(id, &entries, MINUTE, &bench.cancel).await
}

async fn abort(bench: &TestBench, run: &BackupRun) -> Result<Aborted, Failure> {
    abort_in(bench, bench.world(), &run.run_id.short()).await
}

#[tokio::test]
async fn a_run_is_found_by_the_beginning_of_its_id() {
    let bench = TestBench::new();
    let ids = ["aabbccdd-0000-4000-8000-000000000001", "aabbccdd-1000-4000-8000-000000000001"];
    for id in ids {
        bench.audit.seed(builders::run("shop").id(id).build());
    }
    let world = bench.world();
    for id in [ids[1], "aabbccdd1", "aabbccdd-1", "AABBCCDD-1"] {
        assert_eq!(find_run(&world, id).await.unwrap().run_id.to_string(), ids[1], "{id}");
    }
    for (id, said) in [
        ("aabbccdd", "2 runs"),
        ("12345678", "no run's id"),
        ("aab", "4 or more"),
        ("", "4 or more"),
        ("----", "4 or more"),
        ("latest", "is no run's id"),
    ] {
        let refused = find_run(&world, id).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::UnknownProject, "{id}");
        assert!(refused.message.contains(said), "{id}: {}", refused.message);
    }
}

#[tokio::test]
async fn only_a_failed_run_is_made_again_or_deleted() {
    let bench = TestBench::new();
    let world = bench.world();
    let took = Duration::from_secs(3);
    let failed =
        builders::run("shop").failed(Stage::Dump, ErrorCode::DbAuthFailed, "no", took).build();
    let success = builders::run("shop").success(took).build();
    let going = going();
    for run in [&failed, &success, &going] {
        bench.audit.seed(run.clone());
    }
    check_retry(&failed).unwrap();
    assert_eq!(check_retry(&success).unwrap_err().code, ErrorCode::InvalidConfig);
    let refused = check_retry(&going).unwrap_err();
    assert_eq!(refused.code, ErrorCode::BackupInProgress);
    assert!(refused.remedy.contains("runs abort"), "{}", refused.remedy);

    for (run, code) in [(&success, ErrorCode::InvalidConfig), (&going, ErrorCode::BackupInProgress)]
    {
        let refused = delete_run(&world, &run.run_id.to_string()).await.unwrap_err();
        assert_eq!(refused.code, code);
        assert!(bench.audit.run(run.run_id).is_some(), "its record stays");
    }
    let deleted = delete_run(&world, &failed.run_id.to_string()).await.unwrap();
    assert_eq!((deleted.run, deleted.notes.len()), (failed.clone(), 0));
    assert!(bench.audit.run(failed.run_id).is_none());
    let again = delete_run(&world, &failed.run_id.to_string()).await.unwrap_err();
    assert_eq!(again.code, ErrorCode::UnknownProject);
}

#[tokio::test]
async fn what_a_deleted_record_leaves_behind_is_said() {
    let bench = TestBench::new();
    let took = Duration::from_secs(3);
    let failed = builders::run("shop")
        .failed(Stage::Prune, ErrorCode::RepoLocked, "locked", took)
        .with(|r| {
            r.snapshots = vec![backupctl_domain::SnapshotInfo {
                id: SnapshotId::new("1a2b3c4d").unwrap(),
                tags: Vec::new(),
                bytes_added: 0,
                files_new: 0,
                files_changed: 0,
                files_unmodified: 0,
                destination: None,
                archive: None,
            }];
        })
        .build();
    bench.audit.seed(failed.clone());
    let deleted = delete_run(&bench.world(), &failed.run_id.short()).await.unwrap();
    assert!(deleted.notes[0].contains("1a2b3c4d"), "{:?}", deleted.notes);
}

#[tokio::test]
async fn a_run_that_ends_when_asked_has_told_its_end_itself() {
    let bench = TestBench::new();
    let run = going();
    bench.audit.seed(run.clone());
    bench.lock.set_held(&run.project, holder(&run));
    let (audit, mut ended) = (bench.audit.clone(), run.clone());
    let cause =
        backupctl_domain::RunError::new(Some(Stage::Dump), &failure(ErrorCode::Interrupted));
    ended.finish(builders::at("2026-03-18T01:00:00Z"), Some(cause));
    bench.processes.at_end(&run.project, move || audit.seed(ended.clone()));

    let aborted = abort(&bench, &run).await.unwrap();

    assert_eq!((aborted.ended, aborted.run.status), (Ended::Asked, RunStatus::Failed));
    assert!(aborted.recovered.is_empty(), "{:?}", aborted.recovered);
    assert!(!bench.journal.has("notify") && !bench.journal.has("heartbeat"), "nothing twice");
}

#[tokio::test]
async fn what_a_killed_run_has_left_is_put_right_and_told_everywhere() {
    let bench = TestBench::new();
    let run = going();
    bench.audit.seed(run.clone());
    bench.lock.set_held(&run.project, holder(&run));
    bench.processes.stubborn();
    bench.children.leave(2);

    let aborted = abort(&bench, &run).await.unwrap();

    assert_eq!(aborted.ended, Ended::Killed);
    assert_eq!(aborted.recovered.children_ended, 2);
    let error = aborted.run.error.unwrap();
    assert_eq!((error.code, error.stage), (ErrorCode::Interrupted, Some(Stage::Dump)));
    bench.journal.assert_order(&[
        &format!("end holder shop {}", run.pid),
        "lock recover shop",
        "end_orphans shop",
        "notify backup_failed webhook",
        "audit finish shop failed",
        "remove_partials shop",
        "lock release shop",
        "heartbeat down",
    ]);
    let beats = bench.monitor.heartbeats();
    assert!(
        matches!(&beats[..], [Heartbeat::Down { message, .. }] if message.starts_with("INTERRUPTED"))
    );
    assert_eq!(bench.lock.state(&name("shop")).await.unwrap(), LockState::Free);
}

#[tokio::test]
async fn a_run_whose_process_is_gone_is_ended_too() {
    let bench = TestBench::new();
    let run = going();
    bench.audit.seed(run.clone());
    bench.lock.set_stale(&run.project, holder(&run));
    let aborted = abort(&bench, &run).await.unwrap();
    assert_eq!((aborted.ended, aborted.run.status), (Ended::Gone, RunStatus::Failed));
    assert_eq!(bench.journal.count("notify backup_failed"), 1);
}

#[tokio::test]
async fn another_run_of_the_project_is_never_touched() {
    let bench = TestBench::new();
    let run = going();
    bench.audit.seed(run.clone());
    let other = LockHolder { pid: Some(run.pid + 1), ..holder(&run) };
    bench.lock.set_held(&run.project, other);
    let refused = abort(&bench, &run).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::BackupInProgress);
    assert!(refused.remedy.contains("recover shop"), "{}", refused.remedy);
    assert!(bench.lock.is_held(&run.project), "the other one goes on");
    assert!(!bench.journal.has("end_orphans"));

    bench.lock.set_held(&run.project, LockHolder { recovering: true, ..holder(&run) });
    bench.journal.clear();
    let refused = abort(&bench, &run).await.unwrap_err();
    assert!(refused.message.contains("recovery"), "{}", refused.message);
    assert!(!bench.journal.has("end holder"));
}

#[tokio::test]
async fn a_run_of_another_machine_or_one_that_has_ended_is_refused() {
    let bench = TestBench::new();
    let theirs = builders::run("shop")
        .in_stage(Stage::Dump)
        .with(|r| r.host = "elsewhere".to_owned())
        .build();
    bench.audit.seed(theirs.clone());
    let mut world = Arc::into_inner(bench.world()).unwrap();
    world.settings.audit_is_shared = true;
    let refused = abort_in(&bench, Arc::new(world), &theirs.run_id.short()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::BackupInProgress);
    assert!(refused.remedy.contains("on elsewhere"), "{}", refused.remedy);

    let done = builders::run("shop").success(MINUTE).build();
    bench.audit.seed(done.clone());
    let refused = abort(&bench, &done).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidConfig);
    assert!(refused.message.contains("nothing to abort"), "{}", refused.message);
    assert!(!bench.journal.has("end holder"));
}

#[tokio::test]
async fn a_project_that_left_the_configuration_is_ended_without_being_told() {
    let bench = TestBench::new();
    let run = builders::run("old").in_stage(Stage::Sync).build();
    bench.audit.seed(run.clone());
    bench.lock.set_stale(&run.project, holder(&run));
    let aborted = abort(&bench, &run).await.unwrap();
    assert_eq!(aborted.run.status, RunStatus::Failed);
    assert!(!bench.journal.has("notify"));
}

#[tokio::test]
async fn a_holder_that_cannot_be_ended_is_told() {
    let bench = TestBench::new();
    let run = going();
    bench.audit.seed(run.clone());
    bench.lock.set_held(&run.project, holder(&run));
    bench.processes.fail_always("end_holder", failure(ErrorCode::BackupInProgress));
    assert_eq!(abort(&bench, &run).await.unwrap_err().message, "injected");
    assert_eq!(bench.audit.run(run.run_id).unwrap().status, RunStatus::Started);
}

#[tokio::test]
async fn only_a_good_configuration_reaches_the_daemon() {
    let bench = TestBench::new();
    bench.config.set_projects([shop()]);
    let good = bench.config.load().await.unwrap();
    bench.config.add_broken("bad", "database.type", "is missing");
    let broken = bench.config.load().await.unwrap();
    for config in [&good, &broken] {
        let none = reload::reload(&*bench.processes, config).await.unwrap_err();
        assert_eq!(none.code, ErrorCode::DaemonNotRunning);
    }
    bench.processes.set_daemon(4712);
    let refused = reload::reload(&*bench.processes, &broken).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidConfig);
    assert!(!bench.journal.has("reload the daemon"));
    assert_eq!(reload::reload(&*bench.processes, &good).await.unwrap(), 4712);
    assert_eq!(bench.journal.count("reload the daemon"), 1);
}

#[tokio::test]
async fn a_waiting_run_that_takes_the_lock_at_once_is_told() {
    let bench = TestBench::new();
    let run = going();
    bench.audit.seed(run.clone());
    // The run has died, and the one that waited holds the lock by now.
    let next = LockHolder { pid: Some(4242), started: None, recovering: false };
    bench.lock.set_held(&name("shop"), next);
    let refused = abort(&bench, &run).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::BackupInProgress);
    assert!(refused.message.contains("taken at once by what had waited"), "{}", refused.message);
    assert!(refused.message.contains("4242"), "{}", refused.message);
    assert!(refused.remedy.contains("backupctl recover shop"), "{}", refused.remedy);
}
