//! The fakes' own manners: order, misbehaviour, time.

use std::time::Duration;

use backupctl_application::context::Interrupt;
use backupctl_application::ports::{AuditLog, BackupLock, Clock, Notifier, RemoteStorage};
use backupctl_domain::{ErrorCode, Failure, Notice, Stage};
use backupctl_testkit::fakes::{Inject, RepositoryLock};
use backupctl_testkit::{TestBench, project, run};
use jiff::tz::TimeZone;

fn down() -> Failure {
    Failure::new(ErrorCode::AuditUnavailable, "down")
}

#[tokio::test]
async fn faults_happen_in_the_order_in_which_they_were_planned() {
    let bench = TestBench::new();
    let run = run("web").build();
    bench.audit.work_times("start_run", 1);
    bench.audit.fail_times("start_run", down(), 2);
    let mut results = Vec::new();
    for _ in 0..4 {
        results.push(bench.audit.start_run(&run).await.is_ok());
    }
    assert_eq!(results, [true, false, false, true]);
    bench.audit.fail_always("start_run", down());
    assert!(bench.audit.start_run(&run).await.is_err());
    bench.audit.heal();
    assert!(bench.audit.start_run(&run).await.is_ok());
    assert_eq!(bench.audit.calls("start_run"), 6);
    assert_eq!(bench.journal.count("audit start web"), 6);
}

#[test]
#[should_panic(expected = "no operation \"strat_run\"")]
fn a_misspelt_operation_ends_the_test() {
    TestBench::new().audit.fail_once("strat_run", down());
}

#[tokio::test]
async fn a_hanging_call_ends_when_it_is_cancelled_and_a_held_one_when_it_is_released() {
    let bench = TestBench::new();
    let storage = bench.repository.of(&project("web").build().name);
    bench.repository.hang("snapshots");
    let ctx = bench.context(Stage::Sync);
    let cancel = bench.cancel.clone();
    let (result, ()) = tokio::join!(storage.snapshots(&ctx), async {
        tokio::task::yield_now().await;
        cancel.cancel(Interrupt::Int);
    });
    assert_eq!(result.unwrap_err().code, ErrorCode::Interrupted);

    let hold = bench.webhook.hold("notify");
    let notice = Notice::started(&run("web").build(), &TimeZone::UTC);
    let (delivered, before) = tokio::join!(bench.webhook.notify(&notice), async {
        hold.entered().await;
        let before = bench.webhook.notices().len();
        hold.release();
        before
    });
    delivered.unwrap();
    assert_eq!((before, bench.webhook.kinds()), (0, vec!["backup_started"]));
}

#[tokio::test]
async fn a_sleep_costs_nothing_and_the_earliest_ends_first() {
    let bench = TestBench::new();
    let begin = bench.clock.now();
    let order = std::sync::Mutex::new(Vec::new());
    let sleep = async |seconds| {
        bench.clock.sleep(Duration::from_secs(seconds)).await;
        order.lock().unwrap().push(seconds);
    };
    tokio::join!(sleep(20), sleep(5), sleep(10));
    assert_eq!(order.into_inner().unwrap(), [5, 10, 20]);
    assert_eq!(bench.clock.now().duration_since(begin).as_secs(), 20);
    assert_eq!(bench.clock.sleeps(), [20, 5, 10].map(Duration::from_secs));
}

#[tokio::test]
async fn a_timer_beside_quick_work_does_not_fire() {
    let bench = TestBench::new();
    let begin = bench.clock.now();
    let work = async {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = bench.clock.sleep(Duration::from_mins(30)) => panic!("the timer fired"),
        () = work => {}
    }
    assert_eq!(bench.clock.now(), begin);
}

#[tokio::test]
async fn a_manual_clock_moves_by_hand() {
    let bench = TestBench::new();
    bench.clock.set_manual();
    let sleep = bench.clock.sleep(Duration::from_mins(1));
    let ((), ended_early) = tokio::join!(sleep, async {
        bench.clock.sleeping(1).await;
        bench.clock.advance(Duration::from_secs(59));
        let early = bench.journal.count("sleep") != 1;
        bench.clock.advance(Duration::from_secs(1));
        early
    });
    assert!(!ended_early);
}

#[tokio::test]
async fn a_guard_frees_its_lock_when_the_run_panics() {
    let bench = TestBench::new();
    let (lock, name) = (bench.lock.clone(), project("web").build().name);
    let in_run = name.clone();
    let task = tokio::spawn(async move {
        let _guard = lock.acquire(&in_run).await;
        panic!("a bug in the run");
    });
    assert!(task.await.unwrap_err().is_panic());
    assert!(!bench.lock.is_held(&name));
    bench.journal.assert_order(&["lock acquire web", "lock release web"]);
}

#[tokio::test]
async fn a_stale_repository_lock_stops_retention_until_it_is_removed() {
    let bench = TestBench::new();
    let web = project("web").build();
    let (storage, ctx) = (bench.repository.of(&web.name), bench.context(Stage::Prune));
    bench.repository.set_lock(Some(RepositoryLock::Stale));
    let keep = &web.retention.keep;
    assert_eq!(storage.prune(keep, &ctx).await.unwrap_err().code, ErrorCode::RepoLocked);
    assert!(storage.unlock_stale(&ctx).await.unwrap());
    assert_eq!(storage.prune(keep, &ctx).await.unwrap().kept, 0);
    bench.repository.set_lock(Some(RepositoryLock::Live));
    assert!(!storage.unlock_stale(&ctx).await.unwrap(), "a living process keeps its lock");
    assert_eq!(storage.prune(keep, &ctx).await.unwrap_err().code, ErrorCode::RepoLocked);
}
