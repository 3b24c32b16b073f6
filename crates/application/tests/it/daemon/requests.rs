//! What others in the daemon's process ask of it.

use std::time::Duration;

use backupctl_application::ports::{Asked, Clock, DaemonControl};
use backupctl_domain::{ErrorCode, Failure, Trigger};
use backupctl_testkit::TestBench;
use backupctl_testkit::builders::{at, name};
use backupctl_testkit::fakes::{Fate, Inject};

use super::{launches, scheduled, serve};

#[tokio::test]
async fn a_run_that_is_asked_for_begins_waits_or_is_folded() {
    let bench = TestBench::new();
    bench.config.set_projects([
        backupctl_testkit::project("shop").build(),
        backupctl_testkit::project("blog").disabled().build(),
    ]);
    bench.launcher.set_duration(&name("shop"), Duration::from_mins(5));
    let mut served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T00:10:00Z")).await;
    let control = served.control.clone();
    let Asked::Started { run_id } = control.run_now("shop").await.unwrap() else { panic!() };
    assert_eq!(bench.audit.run(run_id).unwrap().trigger, Trigger::Manual);
    assert_eq!(control.run_now("shop").await.unwrap(), Asked::Queued);
    assert_eq!(control.run_now("shop").await.unwrap(), Asked::Folded);
    assert_eq!(control.run_now("blog").await.unwrap(), Asked::Queued, "one at once");
    let unknown = control.run_now("shpo").await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::UnknownProject);
    bench.clock.sleep_until(at("2026-03-18T00:40:00Z")).await;
    let heard = served.heard();
    for event in ["started", "queued", "folded", "finished"] {
        assert!(heard.iter().any(|heard| heard == event), "{event} of {heard:?}");
    }
    served.stop().await;
    assert_eq!(launches(&bench), ["shop manual -", "shop manual -", "blog manual -"]);
    let ended = control.run_now("shop").await.unwrap_err();
    assert_eq!(ended.code, ErrorCode::Interrupted);
}

#[tokio::test]
async fn why_a_run_does_not_begin_is_the_answer() {
    let bench = TestBench::new();
    bench.config.set_projects([backupctl_testkit::project("shop").build()]);
    bench.config.add_broken("broken", "restic", "is missing");
    let failure = Failure::new(ErrorCode::ToolMissing, "no backupctl");
    bench.launcher.set_fate(&name("shop"), Fate::NotStarted(failure));
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T00:10:00Z")).await;
    let refused = served.control.run_now("shop").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ToolMissing);
    bench.launcher.set_fate(&name("shop"), Fate::Folded);
    assert_eq!(served.control.run_now("shop").await.unwrap(), Asked::Folded);
    served.stop().await;
}

#[tokio::test]
async fn who_asks_for_a_run_that_a_lock_holds_up_is_not_kept_waiting() {
    let bench = TestBench::new();
    bench.config.set_projects([backupctl_testkit::project("shop").build()]);
    let hold = bench.launcher.hold("launch");
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T00:10:00Z")).await;
    assert_eq!(served.control.run_now("shop").await.unwrap(), Asked::Queued);
    hold.release();
    bench.launcher.ended(1).await;
    served.stop().await;
}

#[tokio::test]
async fn a_slot_that_comes_while_a_run_by_hand_waits_is_what_that_is_for() {
    let bench = TestBench::new();
    bench.config.set_projects([scheduled("shop", "0 * * * *")]);
    bench.launcher.set_duration(&name("shop"), Duration::from_mins(30));
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T00:50:00Z")).await;
    served.control.run_now("shop").await.unwrap();
    served.control.run_now("shop").await.unwrap();
    served.until(&bench, "2026-03-18T01:55:00Z").await;
    assert_eq!(launches(&bench), ["shop manual -", "shop scheduled 2026-03-18T01:00:00Z"]);
}

#[tokio::test]
async fn a_loop_that_hangs_is_not_ready() {
    let bench = TestBench::new();
    bench.config.set_projects([scheduled("shop", "0 * * * *")]);
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T00:30:00Z")).await;
    assert!(served.control.readiness().is_ready);
    bench.schedules.hang("project");
    bench.clock.sleep_until(at("2026-03-18T01:00:00Z")).await;
    bench.clock.set(at("2026-03-18T01:10:00Z"));
    let readiness = served.control.readiness();
    assert!(!readiness.is_ready);
    assert!(readiness.problems[0].contains("has not looked for"), "{readiness:?}");
    served.stop().await;
}
