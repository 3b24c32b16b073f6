//! Runs that a schedule asks for: which slot each is for, what passed unused, and what is looked at
//! before anything is done.

use std::time::Duration;

use backupctl_application::use_cases::scheduled_run::{Start, begin};
use backupctl_application::use_cases::{RunBackup, RunOutcome, RunRequest, slots};
use backupctl_domain::schedule::CatchUp;
use backupctl_domain::schedule::memory::{Pause, Promise, ScheduleMemory};
use backupctl_domain::{BackupRun, ErrorCode, Project, RunStatus, Stage, Trigger};
use backupctl_testkit::TestBench;
use backupctl_testkit::builders::{at, project};
use backupctl_testkit::fakes::Inject;
use jiff::Timestamp;

use crate::{code, failure, request};

/// A project that is due at two each night, and may be made up for as `catch_up` says.
fn nightly(catch_up: CatchUp) -> Project {
    let mut shop = project("shop").cron("0 2 * * *").webhook("https://hooks.example.com/x").build();
    shop.schedule.as_mut().unwrap().catch_up = catch_up;
    shop
}

fn seen(bench: &TestBench, shop: &Project, handled_until: &str) {
    let memory = ScheduleMemory {
        handled_until: Some(at(handled_until)),
        known_since: Some(at("2026-01-01T00:00:00Z")),
        promised: shop.schedule.as_ref().map(Promise::of),
        ..ScheduleMemory::default()
    };
    bench.schedules.seed(&shop.name, memory);
}

fn missed(bench: &TestBench) -> Vec<(Option<Timestamp>, Option<ErrorCode>)> {
    bench.audit.runs().iter().map(|run| (run.due_at, code(run))).collect()
}

async fn make(
    bench: &TestBench,
    shop: &Project,
    trigger: Trigger,
    due: Option<&str>,
) -> RunOutcome {
    let due_at = due.map(at);
    let request = RunRequest { trigger, due_at, ..request(bench, shop) };
    RunBackup::new(bench.world()).execute(request).await.unwrap()
}

fn finished(outcome: RunOutcome) -> BackupRun {
    match outcome {
        RunOutcome::Finished(run) => *run,
        other => panic!("no run came about: {other:?}"),
    }
}

#[tokio::test]
async fn the_first_start_by_a_timer_is_for_the_slot_that_has_just_come() {
    let bench = TestBench::new();
    bench.clock.set(at("2026-03-18T02:00:04Z"));
    let shop = nightly(CatchUp::WithinGrace);
    let start = begin(&bench.world(), &shop).await;
    let due_at = Some(at("2026-03-18T02:00:00Z"));
    assert_eq!(start, Start::Run { trigger: Trigger::Scheduled, due_at });
    assert_eq!(missed(&bench), []);

    let run = finished(make(&bench, &shop, Trigger::Scheduled, Some("2026-03-18T02:00:00Z")).await);
    assert_eq!((run.status, run.due_at), (RunStatus::Success, due_at));
    let memory = bench.schedules.of(&shop.name);
    assert_eq!(memory.handled_until, due_at);
    assert_eq!(memory.last_success, Some(run.started_at));
}

#[tokio::test]
async fn nights_without_a_run_are_recorded_by_the_next_one() {
    let bench = TestBench::new();
    let shop = nightly(CatchUp::WithinGrace);
    seen(&bench, &shop, "2026-03-15T02:00:00Z");
    bench.clock.set(at("2026-03-18T02:20:00Z"));
    let start = begin(&bench.world(), &shop).await;
    let slot = Some(at("2026-03-18T02:00:00Z"));
    assert_eq!(start, Start::Run { trigger: Trigger::Scheduled, due_at: slot });
    let missing = |slot: &str| (Some(at(slot)), Some(ErrorCode::RunMissed));
    let nights = [missing("2026-03-16T02:00:00Z"), missing("2026-03-17T02:00:00Z")];
    assert_eq!(missed(&bench), nights);

    // Asked again, as by a second timer: nothing is recorded twice.
    begin(&bench.world(), &shop).await;
    assert_eq!(missed(&bench), nights);
}

#[tokio::test]
async fn a_late_timer_makes_up_for_its_slot_whatever_the_daemon_would_do() {
    for catch_up in [CatchUp::Never, CatchUp::WithinGrace, CatchUp::Always] {
        let bench = TestBench::new();
        let shop = nightly(catch_up);
        seen(&bench, &shop, "2026-03-17T02:00:00Z");
        bench.clock.set(at("2026-03-18T09:00:00Z"));
        let start = begin(&bench.world(), &shop).await;
        let due_at = Some(at("2026-03-18T02:00:00Z"));
        assert_eq!(start, Start::Run { trigger: Trigger::CatchUp, due_at }, "{catch_up:?}");
        assert_eq!(missed(&bench), [(due_at, Some(ErrorCode::RunMissed))]);
        let run =
            finished(make(&bench, &shop, Trigger::CatchUp, Some("2026-03-18T02:00:00Z")).await);
        assert_eq!((run.trigger, run.status), (Trigger::CatchUp, RunStatus::Success));
    }
}

#[tokio::test]
async fn what_is_paused_or_disabled_is_left_alone() {
    let bench = TestBench::new();
    bench.clock.set(at("2026-03-18T02:00:04Z"));
    let mut shop = nightly(CatchUp::Always);
    let pause = Pause { since: at("2026-03-17T00:00:00Z"), until: None };
    seen(&bench, &shop, "2026-03-16T02:00:00Z");
    let mut memory = bench.schedules.of(&shop.name);
    memory.pause = Some(pause);
    bench.schedules.seed(&shop.name, memory);
    assert_eq!(begin(&bench.world(), &shop).await, Start::Paused(pause));
    shop.enabled = false;
    assert_eq!(begin(&bench.world(), &shop).await, Start::Disabled);
    assert_eq!(missed(&bench), []);
}

#[tokio::test]
async fn a_memory_that_cannot_be_read_keeps_no_backup_from_being_made() {
    let bench = TestBench::new();
    bench.schedules.fail_always("project", failure(ErrorCode::PathNotWritable));
    let shop = nightly(CatchUp::Always);
    let start = begin(&bench.world(), &shop).await;
    assert_eq!(start, Start::Run { trigger: Trigger::Scheduled, due_at: None });
}

#[tokio::test]
async fn a_memory_that_cannot_be_written_keeps_no_backup_from_being_made() {
    let bench = TestBench::new();
    bench.clock.set(at("2026-03-18T02:00:04Z"));
    bench.schedules.fail_always("update_project", failure(ErrorCode::PathNotWritable));
    let start = begin(&bench.world(), &nightly(CatchUp::Always)).await;
    assert!(matches!(start, Start::Run { .. }), "{start:?}");
}

#[tokio::test]
async fn two_starts_for_one_slot_make_one_run() {
    let bench = TestBench::new();
    let shop = nightly(CatchUp::Always);
    let slot = Some("2026-03-18T00:00:00Z");
    finished(make(&bench, &shop, Trigger::Scheduled, slot).await);
    let second = make(&bench, &shop, Trigger::Scheduled, slot).await;
    assert!(matches!(second, RunOutcome::Handled), "{second:?}");
    assert_eq!(bench.audit.runs().len(), 1);
    // Somebody who asks for one gets one.
    finished(make(&bench, &shop, Trigger::Manual, None).await);
}

#[tokio::test]
async fn two_starts_that_make_up_for_one_slot_make_one_run() {
    let bench = TestBench::new();
    let shop = nightly(CatchUp::Always);
    seen(&bench, &shop, "2026-03-17T02:00:00Z");
    bench.clock.set(at("2026-03-18T09:00:00Z"));
    let settled = slots::settle(&bench.world(), &shop, at("2026-03-18T09:00:00Z"), "down").await;
    assert!(settled.unwrap().due.is_some());
    let slot = Some("2026-03-18T02:00:00Z");
    finished(make(&bench, &shop, Trigger::CatchUp, slot).await);
    let second = make(&bench, &shop, Trigger::CatchUp, slot).await;
    assert!(matches!(second, RunOutcome::Handled), "{second:?}");
}

#[tokio::test]
async fn a_run_that_had_to_wait_heeds_a_pause() {
    let bench = TestBench::new();
    let shop = nightly(CatchUp::Always);
    let pause = Pause { since: at("2026-03-17T00:00:00Z"), until: None };
    let memory = ScheduleMemory { pause: Some(pause), ..ScheduleMemory::default() };
    bench.schedules.seed(&shop.name, memory);
    for trigger in [Trigger::Scheduled, Trigger::CatchUp] {
        let made = make(&bench, &shop, trigger, Some("2026-03-18T00:00:00Z")).await;
        assert!(matches!(made, RunOutcome::Paused(p) if p == pause), "{made:?}");
    }
    assert!(bench.audit.runs().is_empty());
    finished(make(&bench, &shop, Trigger::Manual, None).await);
}

#[tokio::test]
async fn a_key_that_is_gone_is_told_before_anything_is_dumped() {
    let bench = TestBench::new();
    let shop = project("shop")
        .cron("0 2 * * *")
        .age("age1recipient")
        .webhook("https://x.example.com")
        .build();
    bench.encryptor.fail_always("check_keys", failure(ErrorCode::EncryptionKeyMissing));
    let run = finished(make(&bench, &shop, Trigger::Scheduled, Some("2026-03-18T00:00:00Z")).await);
    assert_eq!(code(&run), Some(ErrorCode::EncryptionKeyMissing));
    assert_eq!(run.error.as_ref().unwrap().stage, Some(Stage::Encrypt));
    assert!(bench.journal.events().iter().all(|event| event != "dump"));
    let told: Vec<String> = bench.webhook.notices().iter().map(|n| n.text.clone()).collect();
    assert!(told.last().unwrap().starts_with("❌ Backup failed for shop"), "{told:?}");

    // A pre-hook may bring it: then it is asked for when it is needed.
    let hooked = project("hooked").pre_backup("mount /keys").age("age1recipient").build();
    let run = finished(make(&bench, &hooked, Trigger::Scheduled, None).await);
    assert!(run.stage(Stage::Dump).is_some_and(|s| s.attempts > 0), "{run:#?}");
}

#[tokio::test]
async fn a_run_that_a_person_starts_looks_at_nothing_beforehand() {
    let bench = TestBench::new();
    let shop = project("shop").age("age1recipient").build();
    bench.encryptor.fail_always("check_keys", failure(ErrorCode::EncryptionKeyMissing));
    let run = finished(make(&bench, &shop, Trigger::Manual, None).await);
    assert_eq!(run.status, RunStatus::Success);
}

#[tokio::test]
async fn a_replaced_schedule_counts_from_when_it_is_seen() {
    let bench = TestBench::new();
    let shop = nightly(CatchUp::Always);
    seen(&bench, &shop, "2026-03-17T02:00:00Z");
    let mut hourly = shop.clone();
    hourly.schedule = project("shop").cron("0 * * * *").build().schedule;
    let now = at("2026-03-18T01:30:00Z");
    bench.clock.set(now);
    let settled = slots::settle(&bench.world(), &hourly, now, "down").await.unwrap();
    assert_eq!(settled, slots::Settled::default());
    assert_eq!(bench.schedules.of(&shop.name).handled_until, Some(now));
    let later = now.checked_add(Duration::from_mins(30)).unwrap();
    let settled = slots::settle(&bench.world(), &hourly, later, "down").await.unwrap();
    assert_eq!(settled.due.unwrap().slot, at("2026-03-18T02:00:00Z"));
}

#[tokio::test]
async fn a_slot_that_was_folded_into_the_run_that_waits_is_still_made_by_that() {
    let bench = TestBench::new();
    let shop = nightly(CatchUp::Always);
    let slot = "2026-03-18T00:00:00Z";
    // The second of two processes for the slot gave way to the first, which waits for the lock.
    slots::handled(&bench.world(), &shop.name, at(slot)).await.unwrap();
    finished(make(&bench, &shop, Trigger::Scheduled, Some(slot)).await);
}
