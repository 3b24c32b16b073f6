//! The end of the daemon: runs end with it, each with its record, and nothing is lost.

use backupctl_application::context::Interrupt;
use backupctl_application::ports::Clock;
use backupctl_domain::ErrorCode;
use backupctl_testkit::TestBench;
use backupctl_testkit::builders::{at, name};
use backupctl_testkit::fakes::{Fate, Inject};

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
    bench.launcher.hang("launch");
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

#[tokio::test]
async fn runs_that_are_owed_and_wait_are_made_by_the_next_daemon() {
    let bench = TestBench::new();
    let names = ["a", "b", "c"];
    bench.config.set_projects(names.map(|n| scheduled(n, "0 * * * *")));
    serve(&bench).until(&bench, "2026-03-18T00:30:00Z").await;
    // An hour is missed: three runs are owed, and the first of them goes on.
    bench.clock.set(at("2026-03-18T01:20:00Z"));
    for n in names {
        bench.launcher.set_fate(&name(n), Fate::Endless);
    }
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T01:25:00Z")).await;
    served.stop().await;
    assert_eq!(launches(&bench).len(), 1);
    let first = bench.launcher.made()[0].launch.project.clone();

    for n in names {
        bench.launcher.set_fate(&name(n), Fate::Success);
    }
    serve(&bench).until(&bench, "2026-03-18T01:40:00Z").await;
    let mut made = launches(&bench)[1..].to_vec();
    made.sort();
    let owed = names.into_iter().filter(|n| name(n) != first);
    let expected: Vec<_> = owed.map(|n| format!("{n} catch_up 2026-03-18T01:00:00Z")).collect();
    assert_eq!(made, expected);
    assert_eq!(missed(&bench).len(), 3, "each slot has one record");
    serve(&bench).until(&bench, "2026-03-18T01:50:00Z").await;
    assert_eq!(launches(&bench).len(), 3, "and each is made up for once");
}

#[tokio::test]
async fn a_start_that_waits_for_the_audit_ends_when_it_is_told_to() {
    let bench = TestBench::new();
    bench.config.set_projects([scheduled("shop", "0 * * * *")]);
    serve(&bench).until(&bench, "2026-03-18T00:30:00Z").await;
    bench.clock.set(at("2026-03-18T05:20:00Z"));
    let asked = bench.audit.hold("finish_run");
    let served = serve(&bench);
    asked.entered().await;
    assert_eq!(served.stop().await, Interrupt::Term);
}

#[tokio::test]
async fn an_audit_that_is_down_is_asked_once_however_much_was_missed() {
    let bench = TestBench::new();
    let names = ["a", "b", "c"];
    bench.config.set_projects(names.map(|n| scheduled(n, "0 * * * *")));
    serve(&bench).until(&bench, "2026-03-18T00:30:00Z").await;
    bench.clock.set(at("2026-03-18T05:20:00Z"));
    bench.launcher.hang("launch");
    bench.audit.down(&backupctl_domain::Failure::new(ErrorCode::AuditUnavailable, "refused"));
    bench.journal.clear();
    let served = serve(&bench);
    bench.launcher.begun(1).await;
    bench.clock.sleep_until(at("2026-03-18T05:22:00Z")).await;
    assert_eq!(bench.journal.count("audit finish"), 1, "{:#?}", bench.journal.events());
    assert_eq!(bench.fallback.entries().len(), 15, "five of each are kept for later");
    served.stop().await;
}

#[tokio::test]
async fn what_is_due_begins_while_the_others_are_still_accounted_for() {
    let bench = TestBench::new();
    let names = ["a", "b", "c"];
    bench.config.set_projects(names.map(|n| scheduled(n, "0 * * * *")));
    serve(&bench).until(&bench, "2026-03-18T00:30:00Z").await;
    bench.clock.set(at("2026-03-18T01:20:00Z"));
    bench.launcher.hang("launch");
    // The first project's record is taken, the second's is not answered.
    let first = bench.audit.hold("finish_run");
    let second = bench.audit.hold("finish_run");
    let served = serve(&bench);
    first.entered().await;
    first.release();
    second.entered().await;
    bench.launcher.begun(1).await;
    served.stop().await;
}
