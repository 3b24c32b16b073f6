//! Work outside a run: retention now, one snapshot deleted, caches; never beside a run.

use std::time::Duration;

use backupctl_application::ports::{ConfigLoader, LockHolder};
use backupctl_application::use_cases::{
    Forget, Forgotten, clear_cache, each_project, kept_text, measure_cache, prune,
};
use backupctl_domain::retention::KeepPolicy;
use backupctl_domain::{ErrorCode, Failure, Project, Stage};
use backupctl_testkit::builders::name;
use backupctl_testkit::fakes::{Inject, RepositoryLock};
use backupctl_testkit::{TestBench, project};

use super::{failure, run};

const HOLDER: LockHolder = LockHolder { pid: Some(99), started: None, recovering: false };

/// Keeps one snapshot, and local dumps for a day.
fn shop() -> Project {
    project("shop").retention(1, KeepPolicy { last: 1, ..KeepPolicy::default() }).build()
}

/// Four runs a day apart, under a policy that keeps them all.
async fn four_runs(bench: &TestBench) {
    let keep = KeepPolicy { last: 10, ..KeepPolicy::default() };
    let generous = project("shop").retention(100, keep).build();
    for _ in 0..4 {
        run(bench, &generous).await;
        bench.clock.advance(Duration::from_hours(24));
    }
}

#[tokio::test]
async fn pruning_removes_what_retention_does_not_keep_here_and_there() {
    let bench = TestBench::new();
    four_runs(&bench).await;
    let newest = bench.repository.all().pop().unwrap();

    let outcome = prune(&bench.world(), &shop(), None, &bench.cancel).await.unwrap();

    assert_eq!((outcome.total().removed.len(), outcome.total().kept), (3, 1));
    assert_eq!(bench.repository.all(), [newest]);
    assert_eq!(outcome.dumps.removed.len(), 3, "the newest stays, whatever its age");
    assert!(outcome.dumps.freed_bytes > 0);
    assert!(outcome.dumps.removed.iter().all(|path| !path.exists()));
    bench.journal.assert_order(&["lock recover shop", "prune", "cleanup", "lock release shop"]);
}

#[tokio::test]
async fn a_dump_whose_run_failed_at_sync_stays_whatever_its_age() {
    let bench = TestBench::new();
    bench.repository.fail_always("store", failure(ErrorCode::RepoCorrupt));
    let keep = KeepPolicy { last: 10, ..KeepPolicy::default() };
    let failed = run(&bench, &project("shop").retention(100, keep).build()).await;
    assert_eq!(super::code(&failed), Some(ErrorCode::RepoCorrupt));
    bench.repository.heal();
    bench.clock.advance(Duration::from_hours(24));
    four_runs(&bench).await;

    let outcome = prune(&bench.world(), &shop(), None, &bench.cancel).await.unwrap();

    assert_eq!(outcome.dumps.removed.len(), 3);
    let kept = failed.dump.unwrap().file;
    assert_eq!(outcome.dumps.kept, [std::path::PathBuf::from(&kept)]);
    assert!(std::path::Path::new(&kept).exists());
    // A run keeps it too, and says so.
    let next = run(&bench, &shop()).await;
    let cleanup = next.stages.iter().find(|s| s.stage == Stage::Cleanup).unwrap();
    assert!(cleanup.message.as_ref().unwrap().contains("records say"), "{cleanup:?}");
    assert!(std::path::Path::new(&kept).exists());
}

#[tokio::test]
async fn without_records_no_dump_goes() {
    let bench = TestBench::new();
    four_runs(&bench).await;
    let before = bench.work.names("base/shop");
    bench.audit.fail_always("find_runs", failure(ErrorCode::AuditUnavailable));
    let outcome = prune(&bench.world(), &shop(), None, &bench.cancel).await.unwrap();
    assert_eq!((outcome.dumps.removed.len(), outcome.dumps.kept.len()), (0, 3));
    assert!(kept_text(&outcome.dumps).contains("cannot be read (injected)"));
    assert_eq!(bench.work.names("base/shop"), before);
}

#[tokio::test]
async fn dumps_stay_where_the_repository_could_not_be_thinned_out() {
    let bench = TestBench::new();
    four_runs(&bench).await;
    bench.repository.fail_always("prune", failure(ErrorCode::RepoUnreachable));
    let before = bench.work.names("base/shop");
    let refused = prune(&bench.world(), &shop(), None, &bench.cancel).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::RepoUnreachable);
    assert_eq!(bench.work.names("base/shop"), before);
    assert!(!bench.lock.is_held(&name("shop")), "the lock is given back");
}

#[tokio::test]
async fn a_lock_that_a_dead_restic_has_left_is_removed_and_a_living_ones_is_not() {
    let bench = TestBench::new();
    four_runs(&bench).await;
    bench.repository.set_lock(Some(RepositoryLock::Stale));
    let outcome = prune(&bench.world(), &shop(), None, &bench.cancel).await.unwrap();
    assert_eq!(outcome.total().removed.len(), 3);

    bench.repository.set_lock(Some(RepositoryLock::Live));
    let refused = prune(&bench.world(), &shop(), None, &bench.cancel).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::RepoLocked);
}

#[tokio::test]
async fn nothing_is_done_beside_a_run() {
    let bench = TestBench::new();
    run(&bench, &shop()).await;
    run(&bench, &shop()).await;
    let snapshot = bench.repository.all()[0].id.as_str().to_owned();
    bench.lock.set_held(&name("shop"), HOLDER);
    let (world, shop, cancel) = (bench.world(), shop(), &bench.cancel);
    let before = bench.journal.events().len();
    let refused: [Failure; 3] = [
        prune(&world, &shop, None, cancel).await.unwrap_err(),
        forget(&bench, &shop, &snapshot, true).await.unwrap_err(),
        clear_cache(&world, &shop, None, cancel).await.unwrap_err(),
    ];
    for refused in refused {
        assert_eq!(refused.code, ErrorCode::BackupInProgress);
        assert!(refused.message.contains("99"), "{refused}");
        assert!(refused.remedy.contains("`backupctl status shop`"), "{}", refused.remedy);
        assert!(!refused.remedy.contains("--wait"), "{}", refused.remedy);
    }
    let events = bench.journal.events().split_off(before);
    // The audit is only asked which run it is.
    let looks = |event: &String| event.starts_with("lock ") || event.contains("find");
    assert!(events.iter().all(looks), "{events:?}");
    // To measure takes nobody anything away.
    assert_eq!(measure_cache(&world, &shop, None, cancel).await.unwrap()[0].cache.files, 3);
}

#[tokio::test]
async fn nothing_is_waited_for_so_that_no_run_is_folded_into_it() {
    let bench = TestBench::new();
    run(&bench, &shop()).await;
    bench.lock.set_held(&name("shop"), LockHolder { recovering: true, ..HOLDER });
    let refused = prune(&bench.world(), &shop(), None, &bench.cancel).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::BackupInProgress);
    assert!(refused.message.contains("a recovery, prune") && refused.message.contains("99"));
    assert!(!bench.journal.has("lock acquire_or_queue"));
}

#[tokio::test]
async fn a_run_waits_for_it() {
    let bench = TestBench::new();
    run(&bench, &shop()).await;
    let hold = bench.repository.hold("prune");
    let (world, shop_) = (bench.world(), shop());
    let pruning = prune(&world, &shop_, None, &bench.cancel);
    let next = async {
        bench.lock.queued(&name("shop")).await;
        hold.release();
    };
    let second = async {
        hold.entered().await;
        run(&bench, &shop()).await
    };
    let (pruned, (), second) = tokio::join!(pruning, next, second);
    pruned.unwrap();
    assert_eq!(second.status, backupctl_domain::RunStatus::Success);
}

#[tokio::test]
async fn what_a_dead_run_left_is_ended() {
    let bench = TestBench::new();
    bench.lock.set_stale(&name("shop"), HOLDER);
    bench.children.leave(2);
    prune(&bench.world(), &shop(), None, &bench.cancel).await.unwrap();
    bench.journal.assert_order(&["lock recover shop", "end_orphans shop", "prune"]);
}

#[tokio::test]
async fn all_go_in_order_and_a_failure_stops_none() {
    let bench = TestBench::new();
    bench.config.set_projects(["shop", "blog"].map(|name| project(name).build()));
    bench.config.add_broken("bad", "cron", "no such day");
    bench.lock.set_held(&name("blog"), HOLDER);
    let world = bench.world();
    let entries = bench.config.load().await.unwrap().projects;
    let work = async |project: &_| prune(&world, project, None, &bench.cancel).await;
    let outcome = each_project(bench.config.as_ref(), entries, &bench.cancel, work).await;
    let ends: Vec<(&str, Option<ErrorCode>)> = outcome
        .projects
        .iter()
        .map(|(name, result)| (&**name, result.as_ref().err().map(|f| f.code)))
        .collect();
    assert_eq!(
        ends,
        [
            ("shop", None),
            ("blog", Some(ErrorCode::BackupInProgress)),
            ("bad", Some(ErrorCode::InvalidConfig)),
        ]
    );
    assert_eq!(outcome.exit_status(), 5);
}

async fn forget(
    bench: &TestBench,
    project: &Project,
    id: &str,
    force: bool,
) -> Result<Forgotten, Failure> {
    let world = bench.world();
    let forget = Forget::new(&world, project, bench.cancel.clone());
    forget.execute(id, None, force).await
}

#[tokio::test]
async fn one_snapshot_is_deleted_and_no_other() {
    let bench = TestBench::new();
    four_runs(&bench).await;
    let all = bench.repository.all();
    let id = all[1].id.as_str();
    let done = forget(&bench, &shop(), &id[..12], false).await.unwrap();
    assert_eq!((&done.snapshot, done.left), (&all[1], 3));
    assert_eq!(bench.repository.all(), [all[0].clone(), all[2].clone(), all[3].clone()]);

    for wrong in [id, "ffffffff", "", "f"] {
        let refused = forget(&bench, &shop(), wrong, true).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::SnapshotNotFound, "{wrong:?}");
    }
    let other = project("other").build();
    let refused = forget(&bench, &other, all[0].id.as_str(), true).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::SnapshotNotFound, "another project's");
    assert_eq!(bench.repository.all().len(), 3);
}

#[tokio::test]
async fn the_last_one_and_the_last_of_a_part_need_force() {
    for (separate, holds) in [(false, "project shop has"), (true, "the database of project shop")] {
        let bench = TestBench::new();
        let shop = if separate { project("shop").separate() } else { project("shop") }.build();
        run(&bench, &shop).await;
        for snapshot in bench.repository.all() {
            let id = snapshot.id.as_str();
            let world = bench.world();
            let found =
                Forget::new(&world, &shop, bench.cancel.clone()).find(id, None, false).await;
            let refused = forget(&bench, &shop, id, false).await.unwrap_err();
            assert_eq!(found.unwrap_err(), refused, "nobody is asked about what is refused");
            assert_eq!(refused.code, ErrorCode::InvalidConfig);
            let asset = refused.message.contains("holds /srv/shop/files");
            assert!(refused.message.contains(holds) || (separate && asset), "{refused}");
            assert!(refused.remedy.contains("--force"), "{refused:?}");
        }
        let before = bench.repository.all();
        let done = forget(&bench, &shop, before[0].id.as_str(), true).await.unwrap();
        assert_eq!(done.left, before.len() - 1);
    }
}

#[tokio::test]
async fn the_only_dump_counts_whoever_has_made_it_and_under_whatever_name() {
    for dump in ["shop_backup_20240101_000000.sql.gz", "old_backup_20240101_000000_aaaaaaaa.dump"] {
        let bench = TestBench::new();
        four_runs(&bench).await;
        let all = bench.repository.all();
        let (only, others) = all.split_first().unwrap();
        bench.repository.set_paths(&only.id, &[&format!("/b/{dump}"), "/srv/shop/files"]);
        for other in others {
            bench.repository.set_paths(&other.id, &["/srv/shop/files"]);
        }
        let refused = forget(&bench, &shop(), only.id.as_str(), false).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidConfig);
        assert!(refused.message.contains("holds the database"), "{refused}");
        forget(&bench, &shop(), others[0].id.as_str(), false).await.unwrap();
        forget(&bench, &shop(), only.id.as_str(), true).await.unwrap();
    }
}

#[tokio::test]
async fn a_cache_is_told_and_removed_under_the_lock() {
    let bench = TestBench::new();
    let (world, shop) = (bench.world(), shop());
    let cache = measure_cache(&world, &shop, None, &bench.cancel).await.unwrap();
    assert!(!bench.journal.has("lock"), "a look takes no lock");
    assert_eq!(clear_cache(&world, &shop, None, &bench.cancel).await.unwrap(), cache);
    assert_eq!(measure_cache(&world, &shop, None, &bench.cancel).await.unwrap()[0].cache.files, 0);
    bench.journal.assert_order(&["lock recover shop", "clear cache", "lock release shop"]);
}
