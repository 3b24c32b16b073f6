//! The end of the daemon: runs end with it, each with its record, and nothing is lost.

use backupctl_application::context::Interrupt;
use backupctl_application::ports::Clock;
use backupctl_domain::ErrorCode;
use backupctl_testkit::TestBench;
use backupctl_testkit::builders::{at, name};
use backupctl_testkit::fakes::Fate;

use super::{launches, missed, scheduled, serve};

#[tokio::test]
async fn a_run_that_goes_on_is_interrupted_and_one_that_waits_is_left_to_the_next_daemon() {
    let bench = TestBench::new();
    bench.config.set_projects([scheduled("shop", "0 * * * *"), scheduled("blog", "0 * * * *")]);
    for n in ["shop", "blog"] {
        bench.launcher.set_fate(&name(n), Fate::Endless);
    }
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T01:10:00Z")).await;
    let why = served.stop().await;
    assert_eq!(why, Interrupt::Term);
    let runs = bench.audit.runs();
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(super::super::code(&runs[0]), Some(ErrorCode::Interrupted));
    assert_eq!(launches(&bench).len(), 1);
    let waited = if runs[0].project == name("shop") { "blog" } else { "shop" };

    for n in ["shop", "blog"] {
        bench.launcher.set_fate(&name(n), Fate::Success);
    }
    bench.clock.set(at("2026-03-18T01:30:00Z"));
    serve(&bench).until(&bench, "2026-03-18T01:50:00Z").await;
    let missed = missed(&bench);
    assert_eq!(missed.len(), 1);
    assert_eq!(missed[0].project, name(waited));
    let made_up = format!("{waited} catch_up 2026-03-18T01:00:00Z");
    assert_eq!(launches(&bench)[1..], [made_up]);
}

#[tokio::test]
async fn a_run_that_was_not_to_begin_any_more_leaves_its_slot() {
    let bench = TestBench::new();
    bench.config.set_projects([scheduled("shop", "0 * * * *")]);
    // As one that waits for a lock which a process outside holds.
    backupctl_testkit::fakes::Inject::hang(&*bench.launcher, "launch");
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T01:10:00Z")).await;
    served.stop().await;
    assert!(bench.audit.runs().is_empty());
    let handled = bench.schedules.of(&name("shop")).handled_until.unwrap();
    assert!(handled < at("2026-03-18T01:00:00Z"), "{handled}");
    bench.clock.set(at("2026-03-18T01:30:00Z"));
    serve(&bench).until(&bench, "2026-03-18T01:40:00Z").await;
    assert_eq!(missed(&bench).len(), 1);
    assert_eq!(launches(&bench)[1], "shop catch_up 2026-03-18T01:00:00Z");
}
