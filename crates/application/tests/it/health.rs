//! Health: everything that is broken is told in one go, and nothing is touched.

use std::sync::Arc;
use std::time::Duration;

use backupctl_application::ports::{
    ConfigLoader, FallbackEntry, LockHolder, ProjectEntry, ServiceUnit,
};
use backupctl_application::use_cases::{
    CheckOutcome, Health, HealthReport, RecoverStartup, Summary,
};
use backupctl_domain::project::Database;
use backupctl_domain::schedule::memory::{Pause, ScheduleMemory};
use backupctl_domain::{ErrorCode, Project, Secret, Stage, Trigger};
use backupctl_testkit::builders::{ProjectBuilder, at, name, run as record};
use backupctl_testkit::fakes::{FakeUnits, Inject};
use backupctl_testkit::{TestBench, project};

use super::{failure, run};

const MINUTE: Duration = Duration::from_mins(1);

fn shop() -> ProjectBuilder {
    project("shop").everything().cron("0 3 * * *")
}

async fn look(bench: &TestBench, units: &Arc<FakeUnits>) -> HealthReport {
    let entries = bench.config.load().await.unwrap().projects;
    look_at(bench, units, entries).await
}

async fn look_at(
    bench: &TestBench,
    units: &Arc<FakeUnits>,
    entries: Vec<ProjectEntry>,
) -> HealthReport {
    let config: Arc<dyn ConfigLoader> = bench.config.clone();
    let health = Health::new(bench.world(), config, units.clone(), bench.cancel.clone());
    health.execute(entries, Vec::new()).await
}

/// A bench whose projects were each backed up a minute ago.
async fn backed_up(projects: &[Project]) -> (TestBench, Arc<FakeUnits>) {
    let bench = TestBench::new();
    bench.config.set_projects(projects.to_vec());
    for project in projects {
        run(&bench, project).await;
    }
    bench.clock.advance(MINUTE);
    bench.processes.set_daemon(4711);
    let units = Arc::new(FakeUnits::new(&bench.journal));
    (bench, units)
}

/// What did not pass: whose, which, how, with which code.
fn bad(
    report: &HealthReport,
) -> Vec<(Option<&str>, &'static str, CheckOutcome, Option<ErrorCode>)> {
    let bad = report.checks.iter().filter(|c| c.check.outcome != CheckOutcome::Pass);
    bad.map(|c| (c.project.as_deref(), c.check.name, c.check.outcome, c.check.code)).collect()
}

fn message<'a>(report: &'a HealthReport, name: &str) -> &'a str {
    let found = report.checks.iter().find(|c| c.check.name == name);
    &found.unwrap_or_else(|| panic!("no {name} in {report:#?}")).check.message
}

#[tokio::test]
async fn a_good_set_up_is_healthy_and_nothing_of_it_is_touched() {
    let (bench, units) = backed_up(&[shop().build()]).await;
    let before = bench.journal.events().len();
    let report = look(&bench, &units).await;
    assert_eq!(bad(&report), []);
    assert!(report.is_healthy());
    assert_eq!(report.exit_status(), 0);
    let mut names: Vec<&str> = report.checks.iter().map(|c| c.check.name).collect();
    names.dedup();
    assert_eq!(
        names,
        [
            "audit",
            "disk",
            "base_dir",
            "fallback",
            "systemd",
            "daemon",
            "summary",
            "tool",
            "repository",
            "database",
            "encryption",
            "assets",
            "notifier",
            "heartbeat",
            "schedule",
            "freshness"
        ]
    );
    assert!(message(&report, "freshness").contains("last success 1m ago"), "{report:#?}");
    let looks = [
        "check ",
        "schedules project ",
        "schedules machine",
        "look for the daemon",
        "disk of ",
        "lock state ",
        "audit latest",
        "config ",
        "sleep ",
    ];
    let allowed = |event: &String| {
        looks.iter().any(|look| event.starts_with(look))
            || event.starts_with("fallback pending")
            || event.starts_with("ensure_dir")
            || event == "audit find"
    };
    let events = bench.journal.events().split_off(before);
    let touched: Vec<&String> = events.iter().filter(|event| !allowed(event)).collect();
    assert!(touched.is_empty(), "{touched:?}");
}

#[tokio::test]
async fn everything_that_is_broken_is_told_in_one_go_with_a_remedy() {
    let (bench, units) = backed_up(&[shop().build()]).await;
    bench.config.add_broken("bad", "cron", "no such day");
    bench.disk.set_free(1);
    bench.dumper.fail_always("check_tool", failure(ErrorCode::ToolMissing));
    bench.dumper.fail_always("check_database", failure(ErrorCode::DbAuthFailed));
    bench.webhook.fail_always("check", failure(ErrorCode::NotifyFailed));
    bench.monitor.fail_always("check", failure(ErrorCode::HeartbeatFailed));
    bench.repository.fail_always("check_access", failure(ErrorCode::SshKeyPermissions));
    bench.repository.fail_always("check", failure(ErrorCode::RepoUnreachable));
    bench.encryptor.fail_always("check_keys", failure(ErrorCode::EncryptionKeyExpired));
    bench.audit.fail_always("check", failure(ErrorCode::AuditUnavailable));
    let holder = LockHolder { pid: Some(99), started: None, recovering: false };
    bench.lock.set_stale(&name("shop"), holder);
    let record = record("shop").success(MINUTE).build();
    bench.fallback.seed(FallbackEntry::Audit { run: Box::new(record) });
    units.install(ServiceUnit {
        name: "backupctl.service".to_owned(),
        missing_program: Some("/gone/backupctl".to_owned()),
        enabled: Some(true),
    });

    let report = look(&bench, &units).await;

    let fail = |project, name, code| (project, name, CheckOutcome::Fail, Some(code));
    let warn = |project, name| (project, name, CheckOutcome::Warn, None);
    let shop = Some("shop");
    assert_eq!(
        bad(&report),
        [
            fail(None, "audit", ErrorCode::AuditUnavailable),
            fail(None, "disk", ErrorCode::DiskLow),
            warn(None, "fallback"),
            fail(None, "systemd", ErrorCode::ToolMissing),
            fail(shop, "tool", ErrorCode::ToolMissing),
            warn(shop, "lock"),
            fail(shop, "ssh", ErrorCode::SshKeyPermissions),
            fail(shop, "repository", ErrorCode::RepoUnreachable),
            fail(shop, "database", ErrorCode::DbAuthFailed),
            fail(shop, "encryption", ErrorCode::EncryptionKeyExpired),
            fail(shop, "notifier", ErrorCode::NotifyFailed),
            fail(shop, "heartbeat", ErrorCode::HeartbeatFailed),
            fail(Some("bad"), "config", ErrorCode::InvalidConfig),
        ],
        "a disk that is full for all is told once"
    );
    let remedies = report.checks.iter().filter(|c| c.check.outcome != CheckOutcome::Pass);
    for c in remedies {
        assert!(c.check.remedy.as_ref().is_some_and(|r| !r.is_empty()), "{c:?}");
    }
    assert_eq!(report.exit_status(), 1);
}

#[tokio::test]
async fn only_where_all_that_failed_is_out_of_reach_the_exit_status_says_so() {
    let (bench, units) = backed_up(&[shop().build()]).await;
    bench.repository.fail_always("check", failure(ErrorCode::SshTimeout));
    bench.dumper.fail_always("check_database", failure(ErrorCode::DbConnectionRefused));
    assert_eq!(look(&bench, &units).await.exit_status(), 4);
    bench.monitor.fail_always("check", failure(ErrorCode::HeartbeatFailed));
    assert_eq!(look(&bench, &units).await.exit_status(), 1);
}

#[tokio::test]
async fn a_server_that_hangs_keeps_nobody_from_hearing_of_the_rest() {
    let projects = ["one", "two", "three", "four", "five", "six"].map(|n| project(n).build());
    let (bench, units) = backed_up(&projects).await;
    for _ in 0..6 {
        bench.repository.hang("check");
    }
    bench.webhook.hang("reach");
    let report = look(&bench, &units).await;
    let failed: Vec<&str> = report
        .checks
        .iter()
        .filter(|c| c.check.outcome == CheckOutcome::Fail)
        .map(|c| {
            assert_eq!(c.check.code, Some(ErrorCode::RepoUnreachable), "{c:?}");
            assert!(c.check.message.contains("no answer within"), "{c:?}");
            c.project.as_deref().unwrap()
        })
        .collect();
    assert_eq!(failed, ["one", "two", "three", "four", "five", "six"]);
    assert_eq!(report.exit_status(), 4);
}

#[tokio::test]
async fn a_program_of_several_projects_is_told_once() {
    let (bench, units) = backed_up(&[shop().build(), project("blog").build()]).await;
    let report = look(&bench, &units).await;
    let tools: Vec<_> = report
        .checks
        .iter()
        .filter(|c| c.check.name == "tool")
        .map(|c| (c.project.as_deref(), &*c.check.message))
        .collect();
    assert_eq!(tools, [(None, "restic 0.14.0"), (None, "postgres: pg_dump 15.18")]);
}

#[tokio::test]
async fn one_secret_that_cannot_be_had_hides_nothing_else() {
    let gone = || Secret::File("/gone".into());
    let with_database = |change: fn(&mut Database, Secret)| {
        shop().with(|p| change(p.database.as_mut().unwrap(), gone())).build()
    };
    let cases = [
        ("repository", shop().restic(|restic| restic.password = gone()).build()),
        ("database", with_database(|d, secret| d.password = Some(secret))),
        ("notifier", shop().with(|p| *p.notifications[0].secrets_mut()[0] = gone()).build()),
        ("heartbeat", shop().with(|p| *p.monitor.as_mut().unwrap().secret_mut() = gone()).build()),
    ];
    for (check, project) in cases {
        let (bench, units) = backed_up(&[shop().build()]).await;
        bench.config.set_projects([project]);
        let report = look(&bench, &units).await;
        let expected = [(Some("shop"), check, CheckOutcome::Fail, Some(ErrorCode::InvalidConfig))];
        assert_eq!(bad(&report), expected);
    }
}

#[tokio::test]
async fn a_success_that_did_not_come_is_a_failure_and_one_that_was_never_due_is_not() {
    let judge = async |project: Project, records: Vec<backupctl_domain::BackupRun>| {
        let bench = TestBench::new();
        bench.clock.set(at("2026-03-18T12:00:00Z"));
        bench.config.set_projects([project]);
        for record in records {
            bench.audit.seed(record);
        }
        let units = Arc::new(FakeUnits::new(&bench.journal));
        let report = look(&bench, &units).await;
        let fresh = report.checks.into_iter().find(|c| c.check.name == "freshness");
        fresh.map(|c| (c.check.outcome, c.check.code))
    };
    let good = |time: &str| record("shop").started_at(time).success(MINUTE).build();
    let failed = |time: &str| {
        let record = record("shop").started_at(time);
        record.failed(Stage::Sync, ErrorCode::SshTimeout, "no answer", MINUTE).build()
    };
    let (pass, warn, fail) = (CheckOutcome::Pass, CheckOutcome::Warn, CheckOutcome::Fail);
    let (today, before) = ("2026-03-18T03:00:00Z", "2026-03-16T03:00:00Z");
    let ssh = Some(ErrorCode::SshTimeout);

    assert_eq!(judge(shop().build(), vec![good(today)]).await, Some((pass, None)));
    assert_eq!(judge(shop().build(), vec![good(before)]).await, Some((fail, None)));
    let with_failure = vec![good(before), failed(today)];
    assert_eq!(judge(shop().build(), with_failure).await, Some((fail, ssh)));
    assert_eq!(judge(shop().build(), vec![failed(today)]).await, Some((fail, ssh)));
    assert_eq!(judge(shop().build(), vec![]).await, Some((warn, None)));
    let later = vec![good(today), failed("2026-03-18T04:00:00Z")];
    assert_eq!(judge(shop().build(), later).await, Some((fail, ssh)));
    let unscheduled = || project("shop").everything().build();
    assert_eq!(judge(unscheduled(), vec![]).await, Some((warn, None)));
    assert_eq!(judge(unscheduled(), vec![good(before)]).await, Some((pass, None)));
    assert_eq!(judge(unscheduled(), vec![good("2026-03-10T03:00:00Z")]).await, Some((warn, None)));
    let last_failed = vec![good(before), failed(today)];
    assert_eq!(judge(unscheduled(), last_failed).await, Some((fail, ssh)));
    assert_eq!(judge(shop().disabled().build(), vec![]).await, None);
}

#[tokio::test]
async fn what_is_not_there_yet_is_said_and_not_made() {
    let bench = TestBench::new();
    bench.config.set_projects([project("shop").everything().build()]);
    bench.audit.set_absent();
    std::fs::remove_dir(bench.base_dir()).unwrap();
    let units = Arc::new(FakeUnits::new(&bench.journal));
    let report = look(&bench, &units).await;
    let warn = |name| (None, name, CheckOutcome::Warn, None);
    assert_eq!(bad(&report)[..2], [warn("audit"), warn("base_dir")]);
    assert!(report.is_healthy());
    assert!(!bench.base_dir().exists());
}

#[tokio::test]
async fn a_disabled_project_is_named_and_left_alone() {
    let (bench, units) = backed_up(&[project("shop").everything().disabled().build()]).await;
    bench.repository.fail_always("check", failure(ErrorCode::RepoUnreachable));
    let report = look(&bench, &units).await;
    assert_eq!(bad(&report), []);
    assert!(message(&report, "config").contains("disabled"));
}

/// What the check of that name found: how it ended, with which code, and its message.
fn found(report: &HealthReport, name: &str) -> (CheckOutcome, Option<ErrorCode>, String) {
    let found = report.checks.iter().find(|c| c.check.name == name);
    let check = &found.unwrap_or_else(|| panic!("no {name} in {report:#?}")).check;
    (check.outcome, check.code, check.message.clone())
}

#[tokio::test]
async fn a_schedule_that_nothing_starts_is_told_and_whatever_starts_it_is_seen() {
    let bench = TestBench::new();
    bench.clock.set(at("2026-03-18T12:00:00Z"));
    bench.config.set_projects([shop().build(), project("free").everything().build()]);
    let units = Arc::new(FakeUnits::new(&bench.journal));
    let judged = async || {
        let (outcome, _, message) = found(&look(&bench, &units).await, "daemon");
        (outcome, message)
    };
    let ran = |time: &str, trigger: Trigger| {
        let run = record("shop").started_at(time).trigger(trigger);
        bench.audit.seed(run.success(MINUTE).build());
    };
    let (outcome, message) = judged().await;
    assert_eq!(outcome, CheckOutcome::Fail);
    assert!(message.contains("nothing starts the scheduled runs of shop:"), "{message}");
    ran("2026-03-18T02:00:00Z", Trigger::Scheduled);
    assert_eq!(judged().await.0, CheckOutcome::Fail, "the daemon that made it may be dead");
    ran("2026-03-18T03:00:00Z", Trigger::Manual);
    assert_eq!(judged().await.0, CheckOutcome::Warn, "somebody sees to it");
    let by_timer = |time: &str| {
        let memory = ScheduleMemory { timer_at: Some(at(time)), ..ScheduleMemory::default() };
        bench.schedules.seed(&name("shop"), memory);
    };
    by_timer("2026-03-17T03:00:00Z");
    let (outcome, message) = judged().await;
    assert_eq!(outcome, CheckOutcome::Pass, "cron starts it: {message}");

    bench.clock.set(at("2026-03-25T12:00:00Z"));
    assert_eq!(judged().await.0, CheckOutcome::Fail, "more than two intervals ago");
    let unit =
        |name: &str, enabled| ServiceUnit { name: name.to_owned(), missing_program: None, enabled };
    units.install(unit("backupctl.service", Some(true)));
    let (outcome, message) = judged().await;
    assert_eq!(outcome, CheckOutcome::Fail);
    assert!(message.contains("backupctl.service is enabled, but no daemon runs"), "{message}");
    units.install(unit("backupctl-watch.timer", Some(true)));
    units.install(unit("backupctl-free.timer", Some(true)));
    units.install(unit("backupctl-shop.timer", Some(false)));
    assert_eq!(judged().await.0, CheckOutcome::Fail, "none of them starts it");
    units.install(unit("backupctl-shop.timer", Some(true)));
    assert_eq!(judged().await.0, CheckOutcome::Pass);
    bench.processes.set_daemon(99);
    let (outcome, message) = judged().await;
    assert_eq!((outcome, message.as_str()), (CheckOutcome::Pass, "running (pid 99)"));
}

#[tokio::test]
async fn missed_slots_do_not_count_as_started_and_paused_projects_need_no_start() {
    let bench = TestBench::new();
    bench.clock.set(at("2026-03-18T12:00:00Z"));
    bench.config.set_projects([shop().build()]);
    let run = record("shop").started_at("2026-03-18T03:00:00Z").trigger(Trigger::Scheduled);
    bench.audit.seed(run.failed(Stage::Lock, ErrorCode::RunMissed, "off", MINUTE).build());
    let units = Arc::new(FakeUnits::new(&bench.journal));
    assert_eq!(found(&look(&bench, &units).await, "daemon").0, CheckOutcome::Fail);
    let pause = Some(Pause { since: at("2026-03-10T12:00:00Z"), until: None });
    bench.schedules.seed(&name("shop"), ScheduleMemory { pause, ..ScheduleMemory::default() });
    assert_eq!(found(&look(&bench, &units).await, "daemon").0, CheckOutcome::Pass);
}

#[tokio::test]
async fn a_paused_schedule_is_never_green() {
    let (bench, units) = backed_up(&[shop().build()]).await;
    let pause = |until: Option<&str>| ScheduleMemory {
        pause: Some(Pause { since: at("2026-03-08T00:00:00Z"), until: until.map(at) }),
        ..ScheduleMemory::default()
    };
    bench.schedules.seed(&name("shop"), pause(None));
    let report = look(&bench, &units).await;
    assert_eq!(bad(&report), [(Some("shop"), "schedule", CheckOutcome::Warn, None)]);
    assert_eq!(
        message(&report, "schedule"),
        "paused since 2026-03-08 00:00:00 (UTC) (10 days), until somebody resumes it; last success \
         1m ago"
    );
    bench.schedules.seed(&name("shop"), pause(Some("2026-03-20T00:00:00Z")));
    let report = look(&bench, &units).await;
    assert!(message(&report, "schedule").contains("until 2026-03-20 00:00:00 (UTC)"));

    // Also where nobody knows of runs.
    bench.audit.down(&failure(ErrorCode::AuditUnavailable));
    assert_eq!(found(&look(&bench, &units).await, "schedule").0, CheckOutcome::Warn);

    bench.audit.heal();
    bench.schedules.seed(&name("shop"), pause(Some("2026-03-10T00:00:00Z")));
    let report = look(&bench, &units).await;
    assert_eq!(bad(&report), [], "that pause is over");
    assert_eq!(message(&report, "schedule"), "every day at 03:00, next 2026-03-18 03:00:00 (UTC)");
}

#[tokio::test]
async fn a_summary_that_did_not_reach_people_is_a_failure_until_it_does() {
    let (bench, units) = backed_up(&[shop().build()]).await;
    let summary = async || found(&look(&bench, &units).await, "summary");
    let (pass, fail) = (CheckOutcome::Pass, CheckOutcome::Fail);
    let config: Arc<dyn ConfigLoader> = bench.config.clone();
    let send = async || {
        let loaded = bench.config.load().await.unwrap();
        Summary::new(bench.world(), config.clone()).send(&loaded).await
    };
    assert_eq!(summary().await.0, pass, "no daemon has run: none is due");

    bench.clock.set(at("2026-03-18T08:00:00Z"));
    bench.webhook.fail_always("notify", failure(ErrorCode::NotifyFailed));
    send().await;
    let (outcome, code, message) = summary().await;
    assert_eq!((outcome, code), (fail, Some(ErrorCode::NotifyFailed)));
    assert!(message.contains("webhook: injected"), "{message}");

    bench.webhook.heal();
    let recover = RecoverStartup::new(bench.world(), config.clone(), None);
    assert_eq!(recover.execute(&[], &bench.cancel).await.delivered, 1);
    assert_eq!(summary().await.0, pass, "it came late");

    // The next one is due a day later, and its daemon is gone.
    bench.clock.set(at("2026-03-19T08:10:00Z"));
    assert_eq!(summary().await.0, pass, "it may just be on its way");
    bench.clock.set(at("2026-03-19T09:00:00Z"));
    let (outcome, _, message) = summary().await;
    assert_eq!(outcome, fail);
    assert!(message.contains("due 2026-03-19 08:00:00 (UTC) was not sent"), "{message}");
    bench.config.change_global(|global| global.daily_summary_cron = String::new());
    assert_eq!(summary().await.0, pass, "turned off");
}

#[tokio::test]
async fn a_summary_that_nobody_is_configured_to_get_is_a_warning() {
    let quiet = project("shop").cron("0 3 * * *").build();
    let (bench, units) = backed_up(std::slice::from_ref(&quiet)).await;
    let config: Arc<dyn ConfigLoader> = bench.config.clone();
    bench.clock.set(at("2026-03-18T08:00:00Z"));
    let loaded = bench.config.load().await.unwrap();
    Summary::new(bench.world(), config).send(&loaded).await;
    let (outcome, _, message) = found(&look(&bench, &units).await, "summary");
    assert_eq!(outcome, CheckOutcome::Warn);
    assert!(message.contains("reaches nobody"), "{message}");
}

#[tokio::test]
async fn a_first_success_that_did_not_come_is_a_failure_and_the_run_that_it_waits_for_is_named() {
    let (bench, units) = backed_up(&[shop().cron("0 2 * * *").build()]).await;
    bench.clock.set(at("2026-03-30T12:00:00Z"));
    let run = record("blog").started_at("2026-03-28T12:00:00Z").in_stage(Stage::Sync).build();
    let holder = LockHolder { pid: Some(run.pid), started: None, recovering: false };
    bench.lock.set_held(&run.project, holder);
    let id = run.run_id.short();
    bench.audit.seed(run);
    let report = look(&bench, &units).await;
    let (outcome, code, message) = found(&report, "freshness");
    assert_eq!((outcome, code), (CheckOutcome::Fail, Some(ErrorCode::BackupInProgress)));
    assert!(message.contains("waits behind the run of blog"), "{message}");
    let check = report.checks.iter().find(|c| c.check.name == "freshness").unwrap();
    assert!(check.check.remedy.as_ref().unwrap().contains(&id), "{check:?}");
}

#[tokio::test]
async fn a_run_that_goes_on_makes_an_overdue_project_no_better() {
    let (bench, units) = backed_up(&[shop().build()]).await;
    bench.clock.set(at("2026-03-25T12:00:00Z"));
    let run = record("shop").started_at("2026-03-25T02:00:00Z").in_stage(Stage::PreHook).build();
    let holder = LockHolder { pid: Some(run.pid), started: None, recovering: false };
    bench.lock.set_held(&run.project, holder);
    bench.audit.seed(run);
    let (outcome, code, message) = found(&look(&bench, &units).await, "freshness");
    assert_eq!((outcome, code), (CheckOutcome::Fail, Some(ErrorCode::RunMissed)));
    assert!(message.contains("a run has been going on for 10h"), "{message}");
}
