//! Runs that meet: one a project goes on, one waits, the rest is folded; so many projects at once. And
//! runs whose process fails.

use std::time::Duration;

use backupctl_application::ports::Clock;
use backupctl_domain::{ErrorCode, Failure, RunStatus};
use backupctl_testkit::TestBench;
use backupctl_testkit::builders::{at, name};
use backupctl_testkit::fakes::{Fate, Inject};

use super::{launches, missed, scheduled, serve};

#[tokio::test]
async fn one_run_goes_on_one_waits_and_further_slots_are_folded() {
    let bench = TestBench::new();
    bench.config.set_projects([scheduled("shop", "*/4 * * * *")]);
    bench.launcher.set_duration(&name("shop"), Duration::from_mins(10));
    let mut served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T00:14:30Z")).await;
    let heard = served.heard();
    served.stop().await;
    // 00:08 waits for the run of 00:04, and 00:12 is what it is for in the end.
    assert_eq!(
        launches(&bench),
        ["shop scheduled 2026-03-18T00:04:00Z", "shop scheduled 2026-03-18T00:12:00Z"]
    );
    assert_eq!(heard.iter().filter(|event| *event == "folded").count(), 1, "{heard:?}");
    assert_eq!(bench.launcher.most_at_once(), 1);
    assert!(missed(&bench).is_empty(), "nothing of that was missed");
    assert_eq!(bench.schedules.of(&name("shop")).handled_until, Some(at("2026-03-18T00:12:00Z")));
}

#[tokio::test]
async fn so_many_projects_go_on_at_once_and_the_others_take_their_turns() {
    let bench = TestBench::new();
    let names = ["a", "b", "c", "d", "e"];
    bench.config.set_projects(names.map(|n| scheduled(n, "0 * * * *")));
    bench.config.change_global(|global| global.concurrency = 2);
    for n in names {
        bench.launcher.set_duration(&name(n), Duration::from_mins(7));
    }
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T01:01:00Z")).await;
    let standing = backupctl_application::ports::DaemonControl::readiness(&*served.control);
    assert_eq!((standing.running, standing.queued, standing.is_ready), (2, 3, true));
    served.until(&bench, "2026-03-18T01:40:00Z").await;
    assert_eq!(bench.launcher.most_at_once(), 2);
    let began: Vec<String> = bench.launcher.made().iter().map(|l| l.began.to_string()).collect();
    assert_eq!(
        began,
        [
            "2026-03-18T01:00:00Z",
            "2026-03-18T01:00:00Z",
            "2026-03-18T01:07:00Z",
            "2026-03-18T01:07:00Z",
            "2026-03-18T01:14:00Z",
        ]
    );
    assert!(missed(&bench).is_empty(), "whoever waits for its turn has missed nothing");
}

#[tokio::test]
async fn a_run_whose_process_fails_is_recorded_and_told() {
    for (fate, code) in [
        (
            Fate::NotStarted(Failure::new(ErrorCode::InvalidConfig, "no such key")),
            ErrorCode::InvalidConfig,
        ),
        (Fate::Lost { begun: false }, ErrorCode::Interrupted),
        (Fate::Lost { begun: true }, ErrorCode::Interrupted),
    ] {
        let bench = TestBench::new();
        let shop = backupctl_testkit::project("shop")
            .cron("0 * * * *")
            .slack("https://hooks.example/x")
            .build();
        bench.config.set_projects([shop]);
        bench.launcher.set_fate(&name("shop"), fate.clone());
        serve(&bench).until(&bench, "2026-03-18T01:30:00Z").await;
        let runs = bench.audit.runs();
        assert_eq!(runs.len(), 1, "{fate:?}: {runs:?}");
        let run = &runs[0];
        assert_eq!((run.status, super::super::code(run)), (RunStatus::Failed, Some(code)));
        assert_eq!(run.due_at, Some(at("2026-03-18T01:00:00Z")), "{fate:?}");
        assert!(bench.slack.kinds().contains(&"backup_failed"), "{fate:?}");
        let memory = bench.schedules.of(&name("shop"));
        assert_eq!(memory.handled_until, run.due_at, "and its slot is dealt with");
    }
}

#[tokio::test]
async fn a_run_that_died_while_the_audit_was_down_has_its_record_all_the_same() {
    let bench = TestBench::new();
    bench.config.set_projects([scheduled("shop", "0 * * * *")]);
    bench.launcher.set_fate(&name("shop"), Fate::Lost { begun: true });
    bench.audit.down(&Failure::new(ErrorCode::AuditUnavailable, "refused"));
    serve(&bench).until(&bench, "2026-03-18T01:30:00Z").await;
    assert!(bench.audit.runs().is_empty());
    let kept = bench.fallback.entries();
    let record = kept.iter().find_map(|entry| match entry {
        backupctl_application::ports::FallbackEntry::Audit { run } => Some(run),
        _ => None,
    });
    assert_eq!(record.unwrap().due_at, Some(at("2026-03-18T01:00:00Z")));
}

#[tokio::test]
async fn a_memory_that_cannot_be_read_keeps_no_run_from_being_made() {
    let bench = TestBench::new();
    bench.config.set_projects([scheduled("shop", "0 * * * *")]);
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T00:30:00Z")).await;
    bench.schedules.down(&Failure::new(ErrorCode::DiskFull, "no space left"));
    served.until(&bench, "2026-03-18T01:30:00Z").await;
    assert_eq!(launches(&bench), ["shop scheduled 2026-03-18T01:00:00Z"]);
}

#[tokio::test]
async fn a_run_that_panics_its_launcher_ends_that_run_alone() {
    let bench = TestBench::new();
    bench.config.set_projects([scheduled("shop", "0 * * * *")]);
    bench.launcher.panic_on("launch");
    serve(&bench).until(&bench, "2026-03-18T02:30:00Z").await;
    assert_eq!(launches(&bench).len(), 2, "the next slot is run as ever");
    assert_eq!(missed(&bench).len(), 1, "and the one before has its record");
}

#[tokio::test]
async fn a_pause_and_a_disabled_project_reach_what_waits() {
    use backupctl_application::use_cases::schedule;
    let bench = TestBench::new();
    let off = || backupctl_testkit::project("c").cron("2 * * * *").disabled().build();
    let kept = || [scheduled("a", "0 * * * *"), scheduled("b", "1 * * * *")];
    bench.config.set_projects(kept().into_iter().chain([scheduled("c", "2 * * * *")]));
    bench.launcher.set_duration(&name("a"), Duration::from_mins(20));
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T01:10:00Z")).await;
    schedule::pause(&bench.world(), &name("b"), None).await.unwrap();
    bench.config.set_projects(kept().into_iter().chain([off()]));
    served.until(&bench, "2026-03-18T01:50:00Z").await;
    let made: Vec<_> = launches(&bench).into_iter().filter(|l| l.contains("T01:")).collect();
    assert_eq!(made, ["a scheduled 2026-03-18T01:00:00Z"]);
}
