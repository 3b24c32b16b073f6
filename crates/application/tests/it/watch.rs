//! The watch: who is alerted, when, and when nobody is.

use std::sync::Arc;
use std::time::Duration;

use backupctl_application::ports::{FallbackEntry, LockHolder, ProjectEntry};
use backupctl_application::use_cases::{Status, Told, Watch, WatchReport, slots};
use backupctl_domain::freshness::Freshness;
use backupctl_domain::schedule::memory::{Episode, Pause, Promise, ScheduleMemory};
use backupctl_domain::schedule::planner::Missed;
use backupctl_domain::{BackupRun, ErrorCode, Notice, Project, Secret, Stage};
use backupctl_testkit::TestBench;
use backupctl_testkit::builders::{at, project, run};
use backupctl_testkit::fakes::Inject;
use jiff::Timestamp;

use super::failure;

const MINUTE: Duration = Duration::from_mins(1);

/// `shop` at 02:00 every day with two hours of grace, telling a webhook.
fn shop() -> Project {
    project("shop").cron("0 2 * * *").webhook("https://hooks.example/shop").build()
}

pub(crate) fn entries(projects: &[&Project]) -> Vec<ProjectEntry> {
    let entry = |p: &&Project| ProjectEntry { name: p.name.to_string(), project: Ok((*p).clone()) };
    projects.iter().map(entry).collect()
}

fn watch(bench: &TestBench) -> Watch {
    Watch::new(bench.world(), bench.config.clone())
}

async fn look(bench: &TestBench, project: &Project, now: &str) -> WatchReport {
    bench.clock.set(at(now));
    watch(bench).execute(&entries(&[project])).await
}

fn told(report: &WatchReport) -> Option<Told> {
    report.projects[0].told
}

/// The first line of each notice that the webhook got.
fn heard(bench: &TestBench) -> Vec<String> {
    let first = |n: &Notice| n.text.lines().next().unwrap().to_owned();
    bench.webhook.notices().iter().map(first).collect()
}

fn succeeded(bench: &TestBench, project: &str, time: &str) {
    bench.audit.seed(run(project).started_at(time).success(MINUTE).build());
}

fn just_after(time: &str) -> Timestamp {
    at(time).checked_add(Duration::from_millis(1)).unwrap()
}

#[tokio::test]
async fn a_project_that_is_well_alerts_nobody_and_tells_when_to_look_again() {
    let (bench, shop) = (TestBench::new(), shop());
    succeeded(&bench, "shop", "2026-03-18T02:00:05Z");
    let report = look(&bench, &shop, "2026-03-18T12:00:00Z").await;
    assert_eq!((report.projects[0].state, told(&report)), ("fresh", None));
    assert!(report.is_well() && bench.webhook.notices().is_empty());
    assert_eq!(report.next, Some(just_after("2026-03-19T04:00:00Z")));
}

#[tokio::test]
async fn an_overdue_project_is_alerted_once_again_daily_and_when_it_is_well_again() {
    let (bench, shop) = (TestBench::new(), shop());
    succeeded(&bench, "shop", "2026-03-18T02:00:05Z");
    let first = look(&bench, &shop, "2026-03-19T04:00:01Z").await;
    assert_eq!(told(&first), Some(Told::First));
    assert_eq!((first.projects[0].state, first.exit_status()), ("overdue", 1));
    assert_eq!(first.next, Some(at("2026-03-20T04:00:01Z")), "when it is said again");
    let notice = &bench.webhook.notices()[0];
    assert!(
        notice.text.starts_with(
            "⚠️ Backup overdue for shop\nLast success: 2026-03-18 02:00:05 (UTC) (25h ago)\n\
             Expected every: 24h\nCode: RUN_MISSED\nFix: "
        ),
        "{}",
        notice.text
    );

    for quiet in ["2026-03-19T04:00:02Z", "2026-03-20T04:00:00Z"] {
        assert_eq!(told(&look(&bench, &shop, quiet).await), None, "{quiet}");
    }
    let again = look(&bench, &shop, "2026-03-20T04:00:01Z").await;
    assert_eq!(told(&again), Some(Told::Again));

    succeeded(&bench, "shop", "2026-03-20T05:00:00Z");
    let well = look(&bench, &shop, "2026-03-20T05:10:00Z").await;
    assert_eq!((told(&well), well.exit_status()), (Some(Told::Recovered), 0));
    let notice = bench.webhook.notices().pop().unwrap();
    assert_eq!(
        notice.text,
        "✅ Backup of shop is well again\nLast success: 2026-03-20 05:00:00 (UTC)\nOverdue for: \
         25h 00m"
    );
    assert_eq!(notice.data["status"], "recovered");
    assert_eq!(told(&look(&bench, &shop, "2026-03-20T06:00:00Z").await), None);
    assert_eq!(bench.webhook.notices().len(), 3);

    // The next episode is a new one.
    assert_eq!(told(&look(&bench, &shop, "2026-03-21T04:00:01Z").await), Some(Told::First));
}

#[tokio::test]
async fn the_failure_of_the_last_run_is_the_reason_that_is_told() {
    let (bench, shop) = (TestBench::new(), shop());
    succeeded(&bench, "shop", "2026-03-17T02:00:05Z");
    let failed = run("shop").started_at("2026-03-18T02:00:05Z");
    bench.audit.seed(
        failed.failed(Stage::Sync, ErrorCode::RepoUnreachable, "no route to nas", MINUTE).build(),
    );
    // A fresh enough backup of yesterday: not late, and the run itself has told of its failure.
    let early = look(&bench, &shop, "2026-03-18T03:00:00Z").await;
    assert_eq!((early.projects[0].state, told(&early)), ("failing", None));
    assert!(early.projects[0].verdict.is_noted && !early.projects[0].verdict.is_bad);

    let late = look(&bench, &shop, "2026-03-18T04:00:01Z").await;
    assert_eq!(late.projects[0].verdict.code, Some(ErrorCode::RepoUnreachable));
    let text = bench.webhook.notices()[0].text.clone();
    assert!(text.contains("\nError: no route to nas\nCode: REPO_UNREACHABLE\nFix: "), "{text}");
}

#[tokio::test]
async fn a_project_that_never_ran_is_alerted_once_its_first_success_was_due() {
    let (bench, shop) = (TestBench::new(), shop());
    let new = look(&bench, &shop, "2026-03-18T12:00:00Z").await;
    assert_eq!((new.projects[0].state, told(&new)), ("never_ran", None));
    assert_eq!(new.next, Some(just_after("2026-03-19T04:00:00Z")));
    let memory = bench.schedules.of(&shop.name);
    assert_eq!(memory.known_since, Some(at("2026-03-18T12:00:00Z")), "the watch introduces it");
    assert_eq!((memory.handled_until, memory.promised), (None, None), "no slot is accounted for");

    let late = look(&bench, &shop, "2026-03-19T04:00:01Z").await;
    assert_eq!(told(&late), Some(Told::First));
    assert!(bench.webhook.notices()[0].text.contains("\nLast success: never\n"));
    assert_eq!(told(&look(&bench, &shop, "2026-03-19T05:00:00Z").await), None);
}

#[tokio::test]
async fn paused_disabled_and_unscheduled_projects_alert_nobody() {
    let bench = TestBench::new();
    let paused = project("paused").cron("0 2 * * *").webhook("https://h.example").build();
    let disabled = project("disabled").cron("0 2 * * *").webhook("https://h.example").disabled();
    let unscheduled = project("unscheduled").webhook("https://h.example").build();
    let since = at("2026-03-11T00:00:00Z");
    let pause = Some(Pause { since, until: Some(at("2026-04-01T00:00:00Z")) });
    // What people were told of before ends without a word.
    let alert = Some(Episode { since, told_at: since });
    bench.schedules.seed(
        &paused.name,
        ScheduleMemory { pause, alert, known_since: Some(since), ..ScheduleMemory::default() },
    );
    let all = entries(&[&paused, &disabled.build(), &unscheduled]);
    for name in ["paused", "disabled", "unscheduled"] {
        succeeded(&bench, name, "2026-01-01T02:00:00Z");
    }
    bench.clock.set(at("2026-03-18T00:00:01Z"));
    let report = watch(&bench).execute(&all).await;
    let states: Vec<_> = report.projects.iter().map(|p| p.state).collect();
    assert_eq!(states, ["paused", "disabled", "unscheduled"]);
    assert!(report.is_well() && heard(&bench).is_empty());
    assert_eq!(report.next, Some(at("2026-04-01T00:00:00Z")), "the end of the pause");
    let long = &report.projects[0].verdict;
    assert!(long.is_noted && long.message.starts_with("paused for 7 days"), "{}", long.message);
    let memory = bench.schedules.of(&paused.name);
    assert_eq!((memory.alert, memory.known_since), (None, None));
}

#[tokio::test]
async fn what_lay_in_a_pause_that_ended_by_itself_is_not_alerted() {
    let (bench, shop) = (TestBench::new(), shop());
    succeeded(&bench, "shop", "2026-03-01T02:00:05Z");
    let pause =
        Pause { since: at("2026-03-02T00:00:00Z"), until: Some(at("2026-03-18T00:00:00Z")) };
    let memory = ScheduleMemory { pause: Some(pause), ..ScheduleMemory::default() };
    bench.schedules.seed(&shop.name, memory);
    let report = look(&bench, &shop, "2026-03-18T01:00:00Z").await;
    assert_eq!((told(&report), report.next), (None, Some(just_after("2026-03-18T04:00:00Z"))));
    let late = look(&bench, &shop, "2026-03-18T04:00:01Z").await;
    assert_eq!(told(&late), Some(Told::First));
}

#[tokio::test]
async fn a_schedule_that_asks_for_more_is_asked_from_the_change_on() {
    let (bench, monthly) = (TestBench::new(), project("shop").cron("0 2 1 * *").build());
    let hourly = Project { schedule: project("shop").cron("0 * * * *").build().schedule, ..shop() };
    let monthly = Project { schedule: monthly.schedule, ..shop() };
    succeeded(&bench, "shop", "2026-03-15T02:00:05Z");
    assert_eq!(look(&bench, &monthly, "2026-03-18T11:00:00Z").await.projects[0].state, "fresh");
    // The configuration says something else, and nobody has noted it: asking changes nothing.
    bench.clock.set(at("2026-03-18T12:05:00Z"));
    let world = bench.world();
    for _ in 0..2 {
        let all = Status::new(&world).execute(entries(&[&hourly])).await.unwrap();
        assert_eq!(all[0].state(), "fresh");
    }
    let grace = hourly.schedule.as_ref().unwrap().grace;
    let due = at("2026-03-18T13:00:00Z").checked_add(grace).unwrap();
    let changed = look(&bench, &hourly, "2026-03-18T12:10:00Z").await;
    assert_eq!((told(&changed), changed.projects[0].state), (None, "fresh"));
    assert_eq!(changed.next, Some(due.checked_add(Duration::from_millis(1)).unwrap()));
    let memory = bench.schedules.of(&shop().name);
    assert_eq!((memory.handled_until, memory.promised), (None, None), "no slot is accounted for");
    // Looking again does not begin anew.
    bench.clock.set(due.checked_add(Duration::from_secs(1)).unwrap());
    let late = watch(&bench).execute(&entries(&[&hourly])).await;
    assert_eq!((told(&late), late.projects[0].state), (Some(Told::First), "overdue"));
    let all = Status::new(&world).execute(entries(&[&hourly])).await.unwrap();
    assert!(all[0].is_overdue(), "all judge alike");
    // Asking for less again ends the episode, and nobody is told of a success that never came.
    let less = look(&bench, &monthly, "2026-03-18T20:00:00Z").await;
    assert_eq!((told(&less), less.projects[0].state), (None, "fresh"));
    assert_eq!(bench.schedules.of(&shop().name).alert, None);
}

#[tokio::test]
async fn a_change_that_nobody_notes_does_not_keep_a_backup_fresh() {
    let (bench, hourly) = (TestBench::new(), project("shop").cron("0 * * * *").build());
    let daily = shop().schedule.unwrap();
    succeeded(&bench, "shop", "2026-03-15T02:00:05Z");
    let promised = Some(Promise::of(&daily));
    bench.schedules.seed(&hourly.name, ScheduleMemory { promised, ..ScheduleMemory::default() });
    let world = bench.world();
    for (now, state) in [("2026-03-15T12:00:00Z", "fresh"), ("2026-03-16T12:00:00Z", "overdue")] {
        bench.clock.set(at(now));
        let all = Status::new(&world).execute(entries(&[&hourly])).await.unwrap();
        assert_eq!(all[0].state(), state, "{now}");
    }
}

#[tokio::test]
async fn a_success_that_a_wrong_clock_has_dated_ahead_keeps_nothing_fresh() {
    let (bench, shop) = (TestBench::new(), shop());
    succeeded(&bench, "shop", "2026-03-16T02:00:05Z");
    let state = async |now: &str| {
        bench.clock.set(at(now));
        let all = Status::new(&bench.world()).execute(entries(&[&shop])).await.unwrap();
        (all[0].state(), all[0].last_success_at)
    };
    assert_eq!(state("2026-03-16T12:00:00Z").await.0, "fresh");
    bench.clock.set(at("2027-03-16T02:00:00Z"));
    super::run(&bench, &shop).await;
    let (red, last) = state("2026-03-18T12:00:00Z").await;
    assert!(red != "fresh" && last.is_none_or(|last| last < at("2026-03-18T12:00:00Z")), "{red}");

    // Once the clock is right what succeeds counts, though another looks newer.
    super::run(&bench, &shop).await;
    assert_eq!(state("2026-03-18T13:00:00Z").await, ("fresh", Some(at("2026-03-18T12:00:00Z"))));
}

#[tokio::test]
async fn a_change_that_a_start_by_a_timer_has_seen_counts_from_then() {
    let (bench, hourly) = (TestBench::new(), project("shop").cron("0 * * * *").build());
    let promised = Some(Promise::of(&shop().schedule.unwrap()));
    bench.schedules.seed(&hourly.name, ScheduleMemory { promised, ..ScheduleMemory::default() });
    let now = at("2026-03-18T12:05:00Z");
    slots::settle(&bench.world(), &hourly, now, "down").await.unwrap();
    let memory = bench.schedules.of(&hourly.name);
    let later = at("2026-03-18T18:00:00Z");
    assert_eq!(memory.promised_since(hourly.schedule.as_ref().unwrap(), None, later), Some(now));
}

#[tokio::test]
async fn a_project_that_was_off_is_asked_from_when_it_is_on_again() {
    let (bench, shop) = (TestBench::new(), shop());
    let off = Project { enabled: false, ..shop.clone() };
    succeeded(&bench, "shop", "2026-03-15T02:00:05Z");
    look(&bench, &shop, "2026-03-15T03:00:00Z").await;
    look(&bench, &off, "2026-03-15T12:00:00Z").await;
    let on = look(&bench, &shop, "2026-03-18T12:00:00Z").await;
    assert_eq!((told(&on), on.projects[0].state), (None, "fresh"));
    assert_eq!(on.next, Some(just_after("2026-03-19T04:00:00Z")));
    assert_eq!(told(&look(&bench, &shop, "2026-03-19T04:00:01Z").await), Some(Told::First));
}

#[tokio::test]
async fn only_missed_slots_are_no_runs_that_failed() {
    let (bench, shop) = (TestBench::new(), shop());
    look(&bench, &shop, "2026-03-18T12:00:00Z").await;
    let world = bench.world();
    let missed = |slot: &str| {
        let slot = at(slot);
        let missed = Missed { first: slot, last: slot, count: 1 };
        let id = run("shop").started_at("2026-03-19T02:00:00Z").build().run_id;
        BackupRun::missed(id, self::shop().name, missed, "no daemon ran", "host", "1", 1)
    };
    bench.audit.seed(missed("2026-03-19T02:00:00Z"));
    let early = look(&bench, &shop, "2026-03-19T03:00:00Z").await;
    assert_eq!((early.projects[0].state, told(&early)), ("never_ran", None));
    let late = look(&bench, &shop, "2026-03-19T04:00:01Z").await;
    assert_eq!((late.projects[0].state, told(&late)), ("never_ran", Some(Told::First)));
    let verdict = &late.projects[0].verdict;
    assert!(!verdict.message.contains("the last run failed"), "{}", verdict.message);
    assert_eq!(verdict.code, Some(ErrorCode::RunMissed));

    // Missed slots do not hide that it has run, and since when there should be a backup stays.
    let failed = |time: &str| {
        run("shop")
            .started_at(time)
            .failed(Stage::Sync, ErrorCode::RepoUnreachable, "x", MINUTE)
            .build()
    };
    for (time, slot) in [
        ("2026-03-20T02:00:05Z", "2026-03-21T02:00:00Z"),
        ("2026-03-22T02:00:05Z", "2026-03-23T02:00:00Z"),
    ] {
        bench.audit.seed(failed(time));
        bench.audit.seed(missed(slot));
        bench.clock.set(at(slot));
        let all = Status::new(&world).execute(entries(&[&shop])).await.unwrap();
        assert_eq!(all[0].state(), "overdue");
        let since = at("2026-03-19T04:00:00Z");
        assert!(
            matches!(all[0].freshness, Some(Freshness::Overdue { since: s, .. }) if s == since)
        );
        assert!(all[0].is_missed());
    }
}

#[tokio::test]
async fn a_run_that_goes_on_may_be_the_missing_one_until_it_is_stuck() {
    let (bench, shop) = (TestBench::new(), shop());
    succeeded(&bench, "shop", "2026-03-17T02:00:05Z");
    let running = run("shop").started_at("2026-03-18T02:00:00Z").in_stage(Stage::Sync).build();
    let id = running.run_id.short();
    bench.audit.seed(running);
    let holder = LockHolder { pid: Some(4711), started: None, recovering: false };
    bench.lock.set_held(&shop.name, holder);
    let goes_on = look(&bench, &shop, "2026-03-18T05:00:00Z").await;
    assert_eq!((goes_on.projects[0].state, told(&goes_on)), ("running", None));
    assert!(goes_on.projects[0].is_late && heard(&bench).is_empty());
    assert_eq!(goes_on.next, Some(just_after("2026-03-19T02:00:00Z")), "a day is too long");

    let stuck = look(&bench, &shop, "2026-03-19T02:00:01Z").await;
    assert_eq!(told(&stuck), Some(Told::First));
    let verdict = &stuck.projects[0].verdict;
    assert!(verdict.message.contains("may be stuck"), "{}", verdict.message);
    let notice = &bench.webhook.notices()[0];
    assert!(notice.text.contains(&format!("\nRun ID: {id} (running for 24h 00m)\n")));
    assert!(notice.text.contains(&format!("`backupctl runs abort {id}`")), "{}", notice.text);

    // With a timeout, that is how long it may take.
    let bounded = Project { timeout: Some(Duration::from_mins(30)), ..shop.clone() };
    let report = look(&bench, &bounded, "2026-03-18T02:31:00Z").await;
    assert!(report.projects[0].verdict.is_bad && !report.projects[0].is_late);
}

#[tokio::test]
async fn a_broken_configuration_is_reported_and_is_not_well() {
    let bench = TestBench::new();
    bench.config.add_broken("shop", "cron", "has 4 fields");
    let loaded = backupctl_application::ports::ConfigLoader::load(&*bench.config).await.unwrap();
    let report = watch(&bench).execute(&loaded.projects).await;
    assert_eq!((report.projects[0].state, report.exit_status()), ("invalid", 1));
    let message = &report.projects[0].verdict.message;
    assert!(message.contains("cron: has 4 fields"), "{message}");
    assert_eq!((told(&report), heard(&bench).len()), (None, 0), "nobody is to be told");
}

#[tokio::test]
async fn everybody_is_told_of_a_broken_project_once_daily_and_when_it_is_mended() {
    let (bench, shop) = (TestBench::new(), shop());
    succeeded(&bench, "shop", "2026-03-18T02:00:05Z");
    bench.config.set_projects([shop.clone()]);
    bench.config.add_broken("blog", "cron", "has 4 fields");
    let look = async |now: &str| {
        bench.clock.set(at(now));
        let loaded =
            backupctl_application::ports::ConfigLoader::load(&*bench.config).await.unwrap();
        let report = watch(&bench).execute(&loaded.projects).await;
        report.projects.iter().find(|p| p.name == "blog").unwrap().told
    };
    bench.clock.set(at("2026-03-18T02:30:00Z"));
    let loaded = backupctl_application::ports::ConfigLoader::load(&*bench.config).await.unwrap();
    watch(&bench).silent().execute(&loaded.projects).await;
    assert!(heard(&bench).is_empty());
    assert_eq!(look("2026-03-18T03:00:00Z").await, Some(Told::First));
    let notice = bench.webhook.notices().pop().unwrap();
    assert!(
        notice.text.starts_with(
            "⚠️ Backups cannot be made: the configuration has errors\nProjects: blog\nError: "
        ) && notice.text.contains("cron: has 4 fields\nCode: INVALID_CONFIG\nFix: "),
        "{}",
        notice.text
    );
    assert_eq!(look("2026-03-18T04:00:00Z").await, None);
    assert_eq!(heard(&bench).len(), 1);
    assert_eq!(look("2026-03-19T03:00:00Z").await, Some(Told::Again));
    bench.config.set_projects([shop, project("blog").build()]);
    assert_eq!(look("2026-03-19T03:30:00Z").await, Some(Told::Recovered));
    assert_eq!(heard(&bench).last().unwrap(), "✅ The configuration can be read again");
    assert_eq!(bench.schedules.of_machine().troubles.len(), 0);
}

#[tokio::test]
async fn a_project_that_waits_behind_the_long_run_of_another_names_it() {
    let (bench, shop) = (TestBench::new(), shop());
    let blog = project("blog").cron("0 1 * * *").build();
    let blog = Project { timeout: Some(Duration::from_hours(1)), ..blog };
    succeeded(&bench, "shop", "2026-03-17T02:00:05Z");
    let running = run("blog").started_at("2026-03-18T01:00:00Z").in_stage(Stage::Sync).build();
    let id = running.run_id.short();
    bench.audit.seed(running);
    let holder = LockHolder { pid: Some(4711), started: None, recovering: false };
    bench.lock.set_held(&blog.name, holder);
    bench.clock.set(at("2026-03-18T06:00:00Z"));
    let both = entries(&[&shop, &blog]);
    // Without a daemon nobody waits for anybody.
    let alone = watch(&bench).silent().execute(&both).await;
    assert_eq!(alone.projects[0].verdict.code, Some(ErrorCode::RunMissed));

    bench.processes.set_daemon(4711);
    let report = watch(&bench).execute(&both).await;
    let verdict = &report.projects[0].verdict;
    assert!(
        verdict.message.ends_with("; waits behind the run of blog, going on for 5h"),
        "{}",
        verdict.message
    );
    let remedy = verdict.remedy.as_deref().unwrap();
    assert!(remedy.contains(&format!("`backupctl runs abort {id}`")), "{remedy}");
    assert!(remedy.contains("`concurrency`"), "{remedy}");
    let text = &bench.webhook.notices()[0].text;
    assert!(text.contains("\nError: waits behind the run of blog, going on for 5h\n"), "{text}");
    // So says who asks for one alone.
    let world = bench.world();
    let one = Status::new(&world).execute(entries(&[&shop])).await.unwrap().remove(0);
    // Whatever another's limit is: nobody who asks for one alone knows it.
    assert_eq!(one.waits_behind, None);
    bench.clock.set(at("2026-03-19T01:00:01Z"));
    let one = Status::new(&world).execute(entries(&[&shop])).await.unwrap().remove(0);
    assert_eq!(one.waits_behind.map(|ahead| ahead.run.short()), Some(id));
}

#[tokio::test]
async fn a_channel_that_does_not_take_the_alert_gets_it_later() {
    let (bench, shop) = (TestBench::new(), shop());
    succeeded(&bench, "shop", "2026-03-17T02:00:05Z");
    bench.webhook.fail_once("notify", failure(ErrorCode::NotifyFailed));
    let report = look(&bench, &shop, "2026-03-18T05:00:00Z").await;
    assert_eq!((told(&report), report.projects[0].undelivered.len()), (Some(Told::First), 1));
    let kept = bench.fallback.entries();
    assert!(matches!(&kept[..], [FallbackEntry::Notification { .. }]), "{kept:?}");
    assert_eq!(told(&look(&bench, &shop, "2026-03-18T05:01:00Z").await), None);
}

#[tokio::test]
async fn channels_are_told_with_their_secrets_and_none_of_the_others() {
    let bench = TestBench::new();
    let mut shop = project("shop").cron("0 2 * * *").build();
    let webhook = |file: &str| backupctl_domain::project::Channel::Webhook {
        url: Secret::File(file.into()),
        secret: None,
    };
    shop.notifications = vec![webhook("/gone"), webhook("/here")];
    *shop.destinations[0].secrets_mut()[0].1 = Secret::File("/not/needed/for/telling".into());
    bench.config.set_secret("/here", "https://hooks.example/here");
    succeeded(&bench, "shop", "2026-03-17T02:00:05Z");
    let report = look(&bench, &shop, "2026-03-18T05:00:00Z").await;
    assert_eq!((told(&report), heard(&bench).len()), (Some(Told::First), 1));
}

#[tokio::test]
async fn a_project_without_a_channel_is_told_of_once_it_has_one() {
    let bench = TestBench::new();
    let mut shop = project("shop").cron("0 2 * * *").build();
    succeeded(&bench, "shop", "2026-03-17T02:00:05Z");
    let report = look(&bench, &shop, "2026-03-18T05:00:00Z").await;
    assert_eq!((told(&report), report.exit_status()), (None, 1));
    shop.notifications = self::shop().notifications;
    let report = look(&bench, &shop, "2026-03-18T06:00:00Z").await;
    assert_eq!(told(&report), Some(Told::First));
}

#[tokio::test]
async fn a_silent_watch_tells_and_remembers_nothing_of_telling() {
    let (bench, shop) = (TestBench::new(), shop());
    succeeded(&bench, "shop", "2026-03-17T02:00:05Z");
    bench.clock.set(at("2026-03-18T05:00:00Z"));
    let report = watch(&bench).silent().execute(&entries(&[&shop])).await;
    assert_eq!((told(&report), report.exit_status()), (None, 1));
    assert_eq!(bench.schedules.of(&shop.name).alert, None);
    assert_eq!(bench.schedules.of_machine().watched_at, Some(at("2026-03-18T05:00:00Z")));
}

#[tokio::test]
async fn without_the_audit_memory_judges_and_everybody_is_told_once_and_daily() {
    let bench = TestBench::new();
    let (shop, mut blog) = (shop(), project("blog").cron("0 2 * * *").build());
    // Both tell the same place: it hears of the audit once.
    blog.notifications = shop.notifications.clone();
    bench.config.set_projects([shop.clone(), blog.clone()]);
    succeeded(&bench, "shop", "2026-03-18T02:00:05Z");
    succeeded(&bench, "blog", "2026-03-17T02:00:05Z");
    let both = entries(&[&shop, &blog]);
    let look = async |now: &str| {
        bench.clock.set(at(now));
        watch(&bench).execute(&both).await
    };
    // What the audit says while it answers is remembered.
    look("2026-03-18T03:00:00Z").await;
    assert!(heard(&bench).is_empty());

    bench.audit.down(&failure(ErrorCode::AuditUnavailable));
    let down = look("2026-03-18T04:00:01Z").await;
    assert_eq!(down.audit.as_ref().map(|f| f.code), Some(ErrorCode::AuditUnavailable));
    let states: Vec<_> = down.projects.iter().map(|p| p.state).collect();
    assert_eq!(states, ["fresh", "overdue"], "by what is remembered");
    let audit = "⚠️ Backups cannot be watched: the audit database does not answer";
    assert_eq!(heard(&bench), ["⚠️ Backup overdue for blog", audit]);
    assert_eq!(down.next, Some(at("2026-03-18T04:15:01Z")), "it may be back at any time");

    look("2026-03-19T03:00:00Z").await;
    assert_eq!(heard(&bench).len(), 2);
    look("2026-03-19T04:00:01Z").await;
    assert_eq!(heard(&bench)[2..].iter().filter(|line| *line == audit).count(), 1, "daily");

    bench.audit.heal();
    succeeded(&bench, "shop", "2026-03-19T05:00:00Z");
    succeeded(&bench, "blog", "2026-03-19T05:00:00Z");
    let back = look("2026-03-19T06:00:00Z").await;
    assert!(back.is_well());
    assert_eq!(heard(&bench).last().unwrap(), "✅ The audit database answers again");
    assert_eq!(bench.schedules.of_machine().audit_alert, None);
}

#[tokio::test]
async fn only_an_audit_that_is_away_is_told_apart_from_lateness() {
    let (bench, shop) = (TestBench::new(), shop());
    succeeded(&bench, "shop", "2026-03-18T02:00:05Z");
    look(&bench, &shop, "2026-03-18T03:00:00Z").await;
    bench.audit.down(&failure(ErrorCode::AuditUnavailable));
    assert_eq!(look(&bench, &shop, "2026-03-18T04:00:00Z").await.exit_status(), 4);
    assert_eq!(look(&bench, &shop, "2026-03-20T04:00:00Z").await.exit_status(), 1);
}

#[tokio::test]
async fn a_success_whose_record_the_audit_never_got_counts() {
    let (bench, shop) = (TestBench::new(), shop());
    succeeded(&bench, "shop", "2026-03-16T02:00:05Z");
    let memory = ScheduleMemory {
        last_success: Some(at("2026-03-18T02:00:05Z")),
        ..ScheduleMemory::default()
    };
    bench.schedules.seed(&shop.name, memory);
    let report = look(&bench, &shop, "2026-03-18T12:00:00Z").await;
    assert_eq!(report.projects[0].state, "fresh");
}

#[tokio::test]
async fn a_memory_that_cannot_be_read_or_written_keeps_nobody_from_being_told() {
    let (bench, shop) = (TestBench::new(), shop());
    succeeded(&bench, "shop", "2026-03-17T02:00:05Z");
    bench.schedules.down(&failure(ErrorCode::Internal));
    let report = look(&bench, &shop, "2026-03-18T05:00:00Z").await;
    assert_eq!(told(&report), Some(Told::First));
    assert!(!report.problems.is_empty());
    assert_eq!(heard(&bench).len(), 1);
}

#[tokio::test]
async fn an_alert_that_a_dying_process_did_not_remember_is_told_again() {
    let (bench, shop) = (Arc::new(TestBench::new()), shop());
    succeeded(&bench, "shop", "2026-03-17T02:00:05Z");
    let hold = bench.webhook.hold("notify");
    bench.clock.set(at("2026-03-18T05:00:00Z"));
    let (watching, list) = (watch(&bench), entries(&[&shop]));
    let dying = tokio::spawn(async move { watching.execute(&list).await });
    hold.entered().await;
    dying.abort();
    assert!(dying.await.is_err());
    assert_eq!(bench.schedules.of(&shop.name).alert, None);
    let report = look(&bench, &shop, "2026-03-18T05:00:10Z").await;
    assert_eq!(told(&report), Some(Told::First));
}

mod from_repository {
    use super::*;
    use backupctl_application::ports::RemoteStorage;
    use backupctl_domain::sync::sync_parts;
    use backupctl_testkit::builders::store_request;

    async fn ask(bench: &TestBench, project: &Project, now: &str) -> WatchReport {
        bench.clock.set(at(now));
        watch(bench).from_repository(&entries(&[project]), &bench.cancel).await
    }

    /// Stores these assets, and a dump where there is a database, at that time.
    async fn store(bench: &TestBench, project: &Project, assets: &[&str], time: &str) {
        bench.clock.set(at(time));
        let paths: Vec<_> = assets.iter().map(|path| bench.work.dir(path)).collect();
        let dump = project.database.as_ref().map(|_| (bench.work.file("dump", "dump"), 4));
        let mode = project.destinations[0].snapshot_mode();
        let parts = sync_parts(&project.name, mode, dump, &paths).unwrap();
        for part in parts {
            let request = store_request(part);
            let storage = bench.repository.of(&project.name);
            storage.store(&request, &bench.context(Stage::Sync)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn the_newest_snapshot_is_the_last_success_and_nothing_else_is_asked() {
        let (bench, mut shop) = (TestBench::new(), shop());
        shop.assets.paths = vec![bench.work.join("files")];
        store(&bench, &shop, &["files"], "2026-03-17T02:00:10Z").await;
        store(&bench, &shop, &["files"], "2026-03-18T02:00:10Z").await;
        bench.audit.down(&failure(ErrorCode::AuditUnavailable));
        let fresh = ask(&bench, &shop, "2026-03-18T12:00:00Z").await;
        assert_eq!((fresh.projects[0].state, fresh.exit_status()), ("fresh", 0));
        assert!(fresh.audit.is_none());
        let late = ask(&bench, &shop, "2026-03-19T04:00:01Z").await;
        assert_eq!((late.projects[0].state, told(&late)), ("overdue", Some(Told::First)));
        assert!(bench.webhook.notices()[0].text.contains("2026-03-18 02:00:10 (UTC) (25h ago)"));
        // What the audit of the same machine says is another episode.
        assert_eq!(bench.schedules.of(&shop.name).alert, None);
        assert_eq!(told(&ask(&bench, &shop, "2026-03-19T05:00:00Z").await), None);
    }

    #[tokio::test]
    async fn a_backup_is_as_old_as_its_oldest_part_and_a_part_without_a_snapshot_is_late() {
        let bench = TestBench::new();
        let mut shop = project("shop").cron("0 2 * * *").separate().build();
        shop.assets.paths = vec![bench.work.join("files"), bench.work.join("mail")];
        store(&bench, &shop, &["files", "mail"], "2026-03-17T02:00:10Z").await;
        store(&bench, &shop, &["files"], "2026-03-18T02:00:10Z").await;
        let report = ask(&bench, &shop, "2026-03-18T03:00:00Z").await;
        assert_eq!(report.projects[0].last_success, Some(at("2026-03-17T02:00:10Z")));
        assert!(!report.projects[0].is_late);
        assert!(ask(&bench, &shop, "2026-03-18T04:00:01Z").await.projects[0].is_late);

        shop.assets.paths.push("/srv/new".into());
        let report = ask(&bench, &shop, "2026-03-18T03:00:00Z").await;
        assert!(report.projects[0].is_late);
        let message = &report.projects[0].verdict.message;
        assert!(message.contains("no snapshot of /srv/new"), "{message}");
    }

    #[tokio::test]
    async fn an_empty_repository_is_late_when_the_first_success_was_due() {
        let (bench, shop) = (TestBench::new(), shop());
        let new = ask(&bench, &shop, "2026-03-18T12:00:00Z").await;
        assert_eq!((new.projects[0].state, new.exit_status()), ("never_ran", 0));
        assert_eq!(ask(&bench, &shop, "2026-03-19T04:00:01Z").await.exit_status(), 1);
        // Where nothing can be remembered, nobody knows for how long it has been empty.
        let bench = TestBench::new();
        bench.schedules.down(&failure(ErrorCode::Internal));
        assert_eq!(ask(&bench, &shop, "2026-03-18T12:00:00Z").await.exit_status(), 1);
    }

    #[tokio::test]
    async fn a_repository_that_does_not_answer_is_neither_well_nor_late() {
        let (bench, shop) = (TestBench::new(), shop());
        bench.repository.down(&failure(ErrorCode::RepoUnreachable));
        let report = ask(&bench, &shop, "2026-03-18T12:00:00Z").await;
        assert_eq!((report.projects[0].state, report.exit_status()), ("unreachable", 4));
        assert_eq!(report.projects[0].verdict.code, Some(ErrorCode::RepoUnreachable));
        assert!(heard(&bench).is_empty(), "nobody is to be told");
    }

    #[tokio::test]
    async fn everybody_is_told_once_and_daily_that_a_repository_does_not_answer() {
        let (bench, mut shop) = (TestBench::new(), shop());
        shop.assets.paths = vec![bench.work.join("files")];
        bench.config.set_projects([shop.clone()]);
        store(&bench, &shop, &["files"], "2026-03-18T02:00:10Z").await;
        bench.repository.down(&failure(ErrorCode::RepoUnreachable));
        let away = "⚠️ Backups cannot be watched: the repository does not answer";
        for (now, say) in [
            ("2026-03-18T12:00:00Z", Some(Told::First)),
            ("2026-03-18T13:00:00Z", None),
            ("2026-03-19T12:00:00Z", Some(Told::Again)),
        ] {
            let report = ask(&bench, &shop, now).await;
            assert_eq!((told(&report), report.exit_status()), (say, 4), "{now}");
        }
        assert_eq!(heard(&bench), [away, away]);
        let notice = &bench.webhook.notices()[0];
        assert!(notice.text.contains("\nProjects: shop\nError: "), "{}", notice.text);
        assert!(notice.text.contains("\nCode: REPO_UNREACHABLE\nFix: "), "{}", notice.text);
        bench.repository.heal();
        store(&bench, &shop, &["files"], "2026-03-19T13:00:00Z").await;
        let back = ask(&bench, &shop, "2026-03-19T13:10:00Z").await;
        assert_eq!((told(&back), back.exit_status()), (Some(Told::Recovered), 0));
        assert_eq!(heard(&bench).last().unwrap(), "✅ The repository answers again");
    }

    #[tokio::test]
    async fn one_that_hangs_is_given_up() {
        let (bench, shop) = (TestBench::new(), shop());
        bench.repository.hang("snapshots");
        let report = ask(&bench, &shop, "2026-03-18T12:00:00Z").await;
        let verdict = &report.projects[0].verdict;
        assert!(verdict.message.contains("did not answer within"), "{}", verdict.message);
    }
}
