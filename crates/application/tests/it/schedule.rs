//! Schedules as people handle them: pausing and resuming, what a list tells, the next times.

use std::time::Duration;

use backupctl_application::ports::{ConfigLoader, ProjectEntry};
use backupctl_application::use_cases::schedule::{self, ScheduleState};
use backupctl_application::use_cases::slots;
use backupctl_domain::schedule::memory::{Pause, Promise, ScheduleMemory};
use backupctl_domain::schedule::{CatchUp, Schedule};
use backupctl_domain::{ErrorCode, Project, RunStatus, Trigger};
use backupctl_testkit::builders::{at, name, run as record};
use backupctl_testkit::fakes::Inject;
use backupctl_testkit::{TestBench, project};
use jiff::tz::TimeZone;

use super::failure;

fn shop() -> Project {
    project("shop").cron("0 2 * * *").build()
}

/// Known since yesterday, dealt with up to yesterday's slot.
fn known(project: &Project) -> ScheduleMemory {
    ScheduleMemory {
        known_since: Some(at("2026-03-17T00:00:00Z")),
        promised: project.schedule.as_ref().map(Promise::of),
        handled_until: Some(at("2026-03-17T02:00:00Z")),
        ..ScheduleMemory::default()
    }
}

fn bench(now: &str, memory: ScheduleMemory) -> TestBench {
    let bench = TestBench::new();
    bench.clock.set(at(now));
    bench.schedules.seed(&name("shop"), memory);
    bench
}

/// The codes and due times of what was recorded of `shop`.
fn recorded(bench: &TestBench) -> Vec<(Option<ErrorCode>, String)> {
    let runs = bench.audit.runs().into_iter();
    let mut all: Vec<_> =
        runs.map(|r| (r.error.map(|e| e.code), r.due_at.unwrap().to_string())).collect();
    all.sort_by(|a, b| a.1.cmp(&b.1));
    all
}

#[tokio::test]
async fn a_pause_can_be_changed_and_keeps_its_beginning() {
    let bench = bench("2026-03-17T12:00:00Z", known(&shop()));
    let (world, shop) = (bench.world(), name("shop"));
    let first = schedule::pause(&world, &shop, None).await.unwrap();
    let since = at("2026-03-17T12:00:00Z");
    assert_eq!(first.pause, Some(Pause { since, until: None }));
    bench.clock.advance(Duration::from_hours(1));
    let until = at("2026-03-20T00:00:00Z");
    let again = schedule::pause(&world, &shop, Some(until)).await.unwrap();
    assert_eq!(again.pause, Some(Pause { since, until: Some(until) }));
    assert_eq!(bench.schedules.of(&shop), again);
}

#[tokio::test]
async fn a_pause_that_would_be_over_already_is_refused() {
    let bench = bench("2026-03-17T12:00:00Z", known(&shop()));
    for until in ["2026-03-17T12:00:00Z", "2026-03-01T00:00:00Z"] {
        let refused = schedule::pause(&bench.world(), &name("shop"), Some(at(until))).await;
        assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidConfig);
    }
    assert_eq!(bench.schedules.of(&name("shop")), known(&shop()));
}

#[tokio::test]
async fn what_lies_in_a_pause_is_not_missed_and_what_comes_after_it_is() {
    let bench = bench("2026-03-17T12:00:00Z", known(&shop()));
    let world = bench.world();
    schedule::pause(&world, &name("shop"), None).await.unwrap();
    bench.clock.set(at("2026-03-20T12:00:00Z"));
    let resumed = schedule::resume(&world, &name("shop")).await.unwrap();
    let end = at("2026-03-20T12:00:00Z");
    assert_eq!(resumed.pause_at(end), None);
    // Remembered as one that has ended: what grew old in it is excused until the first slot after it.
    assert_eq!(resumed.pause.and_then(|pause| pause.until), Some(end));
    assert_eq!(resumed.handled_until, Some(end));
    slots::settle(&world, &shop(), at("2026-03-21T12:00:00Z"), "down").await.unwrap();
    let missed = Some(ErrorCode::RunMissed);
    assert_eq!(recorded(&bench), [(missed, "2026-03-21T02:00:00Z".to_owned())]);
}

#[tokio::test]
async fn what_was_missed_before_a_pause_is_recorded_when_it_begins() {
    let bench = bench("2026-03-18T12:00:00Z", known(&shop()));
    schedule::pause(&bench.world(), &name("shop"), None).await.unwrap();
    let missed = Some(ErrorCode::RunMissed);
    assert_eq!(recorded(&bench), [(missed, "2026-03-18T02:00:00Z".to_owned())]);
    let run = &bench.audit.runs()[0];
    assert_eq!((run.status, run.trigger), (RunStatus::Failed, Trigger::Scheduled));
}

#[tokio::test]
async fn a_pause_after_one_that_ended_by_itself_is_a_new_one() {
    let ended =
        Pause { since: at("2026-03-17T03:00:00Z"), until: Some(at("2026-03-18T03:00:00Z")) };
    let memory = ScheduleMemory { pause: Some(ended), ..known(&shop()) };
    let bench = bench("2026-03-18T12:00:00Z", memory);
    let memory = schedule::pause(&bench.world(), &name("shop"), None).await.unwrap();
    assert_eq!(memory.pause.map(|p| p.since), Some(at("2026-03-18T12:00:00Z")));
    assert_eq!(recorded(&bench), [], "the slot at 02:00 lay in the old pause");
    assert!(memory.handled_until >= ended.until);
}

#[tokio::test]
async fn resuming_what_is_not_paused_forgets_no_missed_slot() {
    let bench = bench("2026-03-18T12:00:00Z", known(&shop()));
    let memory = schedule::resume(&bench.world(), &name("shop")).await.unwrap();
    assert_eq!(memory, known(&shop()));
    let ended =
        Pause { since: at("2026-03-17T03:00:00Z"), until: Some(at("2026-03-17T12:00:00Z")) };
    bench.schedules.seed(&name("shop"), ScheduleMemory { pause: Some(ended), ..known(&shop()) });
    let memory = schedule::resume(&bench.world(), &name("shop")).await.unwrap();
    assert_eq!((memory.pause, memory.handled_until), (Some(ended), ended.until));
}

#[test]
fn the_end_of_a_pause_is_read_in_every_form() {
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let now = at("2026-03-18T12:00:00Z");
    for (text, until) in [
        ("2026-03-20T10:00:00Z", "2026-03-20T10:00:00Z"),
        ("2026-03-20T10:00:00+02:00", "2026-03-20T08:00:00Z"),
        ("2026-03-20", "2026-03-19T23:00:00Z"),
        ("2026-03-20 06:30", "2026-03-20T05:30:00Z"),
        ("2026-03-20T06:30", "2026-03-20T05:30:00Z"),
        ("2026-04-01 06:30", "2026-04-01T04:30:00Z"),
        ("90m", "2026-03-18T13:30:00Z"),
        ("12h", "2026-03-19T00:00:00Z"),
        (" 3d ", "2026-03-21T12:00:00Z"),
        ("1w1d6h", "2026-03-26T18:00:00Z"),
    ] {
        let read = schedule::read_until(text, &berlin, now).unwrap();
        assert_eq!(read, at(until), "{text}");
    }
    for text in
        ["", "tomorrow", "12", "h", "12x", "0h", "-3d", "2026-13-01", "25:00", "99999999999w"]
    {
        let refused = schedule::read_until(text, &berlin, now).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidConfig, "{text}");
        assert!(refused.remedy.contains("`12h`"));
    }
}

async fn entries(bench: &TestBench) -> Vec<ProjectEntry> {
    bench.config.load().await.unwrap().projects
}

#[tokio::test]
async fn a_list_tells_of_each_project_whether_and_when_it_runs_next() {
    let bench = bench("2026-03-18T12:00:00Z", ScheduleMemory::default());
    let paused = |until: Option<&str>| ScheduleMemory {
        pause: Some(Pause { since: at("2026-03-15T12:00:00Z"), until: until.map(at) }),
        ..ScheduleMemory::default()
    };
    bench.schedules.seed(&name("still"), paused(None));
    bench.schedules.seed(&name("soon"), paused(Some("2026-03-20T12:00:00Z")));
    bench.schedules.seed(&name("over"), paused(Some("2026-03-16T12:00:00Z")));
    let with = |n: &str| project(n).cron("0 2 * * *");
    bench.config.set_projects([
        shop(),
        with("still").build(),
        with("soon").build(),
        with("over").build(),
        with("off").disabled().build(),
        project("free").build(),
    ]);
    bench.config.add_broken("bad", "cron", "no such day");
    let run = record("shop").trigger(Trigger::Scheduled).started_at("2026-03-18T02:00:00Z");
    bench.audit.seed(run.success(Duration::from_mins(1)).build());

    let listed = schedule::list(&bench.world(), entries(&bench).await).await.unwrap();

    assert!(listed.audit.is_none());
    let told: Vec<_> = listed
        .projects
        .iter()
        .map(|s| (s.name.as_str(), s.state(), s.next_run.map(|at| at.to_string())))
        .collect();
    let next = |day: u32| Some(format!("2026-03-{day}T02:00:00Z"));
    assert_eq!(
        told,
        [
            ("shop", ScheduleState::Active, next(19)),
            ("still", ScheduleState::Paused, None),
            ("soon", ScheduleState::Paused, next(21)),
            ("over", ScheduleState::Active, next(19)),
            ("off", ScheduleState::Disabled, None),
            ("free", ScheduleState::Unscheduled, None),
            ("bad", ScheduleState::Invalid, None),
        ]
    );
    let json = listed.projects[0].to_json(bench.world().clock.now());
    assert_eq!(json["schedule"], "every day at 02:00");
    assert_eq!(json["next_in_seconds"], 14 * 3600);
    assert_eq!(json["last_run"]["trigger"], "scheduled");
    assert_eq!(json["last_run"]["status"], "success");
    let json = listed.projects[2].to_json(bench.world().clock.now());
    assert_eq!(json["paused_seconds"], 3 * 86_400);
    assert_eq!(json["paused_until"], "2026-03-20T12:00:00.000Z");
}

#[tokio::test]
async fn with_the_audit_down_schedules_are_listed_all_the_same() {
    let bench = bench("2026-03-18T12:00:00Z", ScheduleMemory::default());
    bench.config.set_projects([shop()]);
    bench.audit.down(&failure(ErrorCode::AuditUnavailable));
    let listed = schedule::list(&bench.world(), entries(&bench).await).await.unwrap();
    assert_eq!(listed.audit.unwrap().code, ErrorCode::AuditUnavailable);
    assert!(listed.projects[0].next_run.is_some() && listed.projects[0].last_run.is_none());
}

fn in_berlin(cron: &str) -> Project {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let schedule = Schedule::new(cron, zone, CatchUp::WithinGrace, Duration::ZERO).unwrap();
    project("shop").with(|p| p.schedule = Some(schedule)).build()
}

#[test]
fn the_next_times_tell_of_changes_of_the_clocks() {
    let told = |cron: &str, from: &str| -> Vec<(String, String)> {
        let slots = schedule::next(&in_berlin(cron), at(from), 3).unwrap();
        slots.into_iter().map(|s| (s.at.to_string(), s.remark.unwrap_or_default())).collect()
    };
    let plain = |at: &str| (at.to_owned(), String::new());
    let with = |at: &str, remark: &str| (at.to_owned(), remark.to_owned());
    assert_eq!(
        told("30 2 * * *", "2026-03-27T12:00:00Z"),
        [
            plain("2026-03-28T01:30:00Z"),
            with("2026-03-29T01:00:00Z", "the clocks skip 02:30 that day: it runs at 03:00"),
            plain("2026-03-30T00:30:00Z"),
        ]
    );
    assert_eq!(
        told("30 2 * * *", "2026-10-23T12:00:00Z"),
        [
            plain("2026-10-24T00:30:00Z"),
            with(
                "2026-10-25T00:30:00Z",
                "the clocks show 02:30 twice that day: it runs the first time"
            ),
            with("2026-10-26T01:30:00Z", "the clocks have gone back by 1h before it"),
        ]
    );
    assert_eq!(
        told("0 12 * * *", "2026-03-28T00:00:00Z"),
        [
            plain("2026-03-28T11:00:00Z"),
            with("2026-03-29T10:00:00Z", "the clocks have gone forward by 1h before it"),
            plain("2026-03-30T10:00:00Z"),
        ]
    );
    assert_eq!(
        told("*/20 * * * *", "2026-03-29T00:30:00Z")[..2],
        [
            plain("2026-03-29T00:40:00Z"),
            with(
                "2026-03-29T01:00:00Z",
                "the clocks skip 02:00 to 02:40 that day: it runs once, at 03:00"
            ),
        ]
    );
}

#[test]
fn a_project_without_a_schedule_has_no_next_time() {
    let refused = schedule::next(&project("shop").build(), at("2026-03-18T00:00:00Z"), 5);
    let refused = refused.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidConfig);
    assert!(refused.remedy.contains("cron"), "{}", refused.remedy);
}
