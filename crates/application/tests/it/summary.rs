//! The daily summary: what it tells of whom, to whom, and what becomes of one that nobody takes.

use std::sync::Arc;
use std::time::Duration;

use backupctl_application::ports::{ConfigLoader, FallbackEntry};
use backupctl_application::use_cases::{RecoverStartup, Summary, SummaryReport, everybody};
use backupctl_domain::project::Channel;
use backupctl_domain::schedule::memory::ScheduleMemory;
use backupctl_domain::schedule::planner::Missed;
use backupctl_domain::{BackupRun, ErrorCode, RunId, Secret, Stage};
use backupctl_testkit::builders::{ProjectBuilder, at, name, run as record};
use backupctl_testkit::fakes::Inject;
use backupctl_testkit::{TestBench, project};

use super::failure;

const SUMMARY: &str = "2026-03-18T08:00:00Z";
const MINUTE: Duration = Duration::from_secs(79);

fn bench() -> TestBench {
    let bench = TestBench::new();
    bench.clock.set(at(SUMMARY));
    bench.config.change_global(|global| {
        global.notifications = vec![webhook("https://hooks.example/all")];
    });
    bench
}

fn webhook(url: &str) -> Channel {
    Channel::Webhook { url: Secret::value(url), secret: None }
}

fn daily(name: &str) -> ProjectBuilder {
    project(name).cron("0 2 * * *")
}

async fn send(bench: &TestBench) -> SummaryReport {
    let config: Arc<dyn ConfigLoader> = bench.config.clone();
    let loaded = config.load().await.unwrap();
    Summary::new(bench.world(), config).send(&loaded).await
}

/// The lines of the projects.
fn lines(report: &SummaryReport) -> Vec<&str> {
    let mut lines: Vec<&str> = report.notice.text.lines().skip(1).collect();
    lines.pop();
    lines
}

fn missed(project: &str, slot: &str) -> BackupRun {
    let slot = at(slot);
    let missed = Missed { first: slot, last: slot, count: 1 };
    let id = RunId(uuid::Uuid::new_v4());
    BackupRun::missed(id, name(project), missed, "machine off", "testhost", "0.1.0", 1)
}

#[tokio::test]
async fn every_enabled_project_is_told_of_whatever_became_of_it() {
    let bench = bench();
    bench.config.set_projects([
        daily("good").build(),
        daily("failed").build(),
        daily("idle").build(),
        daily("off").disabled().build(),
        daily("missed").build(),
        daily("again").build(),
        daily("going").build(),
        daily("old").build(),
    ]);
    bench.config.add_broken("bad", "cron", "no such day");
    bench.config.add_broken("#9", "name", "the project has no `name`");
    let started = |project: &str, time: &str| record(project).started_at(time);
    bench.audit.seed(started("good", "2026-03-18T02:00:00Z").success(MINUTE).build());
    let refused = "connection refused\nIs it running?";
    let failed = started("failed", "2026-03-18T02:00:00Z");
    bench
        .audit
        .seed(failed.failed(Stage::Dump, ErrorCode::DbConnectionRefused, refused, MINUTE).build());
    bench.audit.seed(missed("missed", "2026-03-18T02:00:00Z"));
    bench.audit.seed(missed("again", "2026-03-18T02:00:00Z"));
    bench.audit.seed(started("again", "2026-03-18T06:00:00Z").success(MINUTE).build());
    // One run has ended, the next goes on.
    bench.audit.seed(started("going", "2026-03-18T02:00:00Z").success(MINUTE).build());
    bench.audit.seed(started("going", "2026-03-18T07:59:00Z").in_stage(Stage::Sync).build());
    bench.audit.seed(started("old", "2026-03-17T07:58:00Z").success(MINUTE / 2).build());

    let report = send(&bench).await;

    assert_eq!(
        lines(&report),
        [
            "✅ good — success (1m 19s)",
            "❌ failed — failed (Dump: connection refused)",
            "⚠️ idle — no run",
            "⚠️ missed — no run",
            "✅ again — success (1m 19s)",
            "✅ going — success (1m 19s)",
            "⚠️ old — no run",
            "❌ bad — failed (configuration: cron: no such day)",
            "❌ #9 — failed (configuration: name: the project has no `name`)",
        ]
    );
    assert_eq!((report.channels, report.problems.len()), (1, 0));
    assert_eq!(bench.webhook.notices(), [report.notice]);
    let memory = bench.schedules.of_machine();
    let summary = memory.summary.unwrap();
    assert_eq!((summary.at, summary.problems), (at(SUMMARY), vec![]));
    assert_eq!(memory.summary_handled_until, Some(at(SUMMARY)));
}

#[tokio::test]
async fn a_slot_that_was_missed_after_a_good_run_is_told_with_its_reason() {
    let bench = bench();
    bench.config.set_projects([project("shop").cron("0 * * * *").build()]);
    bench.audit.seed(record("shop").started_at("2026-03-18T05:00:00Z").success(MINUTE).build());
    bench.audit.seed(missed("shop", "2026-03-18T07:00:00Z"));
    let report = send(&bench).await;
    let line = lines(&report)[0];
    assert!(line.starts_with("❌ shop — failed (") && line.contains("machine off"), "{line}");
}

#[tokio::test]
async fn it_is_sent_where_nothing_ran_and_where_there_is_nothing() {
    let bench = bench();
    bench.config.set_projects([daily("shop").build()]);
    assert!(send(&bench).await.notice.text.contains("⚠️ shop — no run"));
    bench.config.set_projects([]);
    send(&bench).await;
    assert_eq!(bench.webhook.kinds(), ["daily_summary", "daily_summary"]);
}

#[tokio::test]
async fn it_covers_what_ended_since_the_summary_before() {
    let bench = bench();
    bench.config.set_projects([daily("shop").build()]);
    let ended = |time: &str| record("shop").started_at(time).success(MINUTE).build();
    bench.audit.seed(ended("2026-03-17T08:00:01Z"));
    assert!(lines(&send(&bench).await)[0].starts_with("✅"));
    // The next day the same run is old; one that comes late tells no less.
    bench.clock.set(at("2026-03-19T10:30:00Z"));
    assert!(lines(&send(&bench).await)[0].ends_with("no run"));
    bench.audit.seed(ended("2026-03-19T10:00:00Z"));
    bench.clock.set(at("2026-03-20T08:00:00Z"));
    assert!(lines(&send(&bench).await)[0].starts_with("✅"));
    // A week lies between two summaries.
    bench.config.change_global(|global| global.daily_summary_cron = "0 8 * * 1".to_owned());
    bench.clock.set(at("2026-03-23T08:00:00Z"));
    assert!(lines(&send(&bench).await)[0].starts_with("✅"));
}

#[tokio::test]
async fn with_the_audit_down_it_says_what_is_known_and_that_the_rest_is_not() {
    let bench = bench();
    bench.config.set_projects([
        daily("kept").build(),
        daily("before").build(),
        daily("new").build(),
    ]);
    bench.audit.down(&failure(ErrorCode::AuditUnavailable));
    let run = record("kept").started_at("2026-03-18T02:00:00Z").success(MINUTE).build();
    bench.fallback.seed(FallbackEntry::Audit { run: Box::new(run) });
    let last_success = Some(at("2026-03-18T02:00:00Z"));
    let memory = ScheduleMemory { last_success, ..ScheduleMemory::default() };
    bench.schedules.seed(&name("before"), memory);
    let report = send(&bench).await;
    assert_eq!(
        lines(&report),
        [
            "✅ kept — success (1m 19s)",
            "❌ before — failed (audit: injected; last success known of 6h ago)",
            "❌ new — failed (audit: injected; no success known of)",
        ]
    );
    assert_eq!(bench.webhook.kinds(), ["daily_summary"]);
}

#[tokio::test]
async fn without_global_channels_each_channel_of_an_enabled_project_is_told_once() {
    let bench = bench();
    bench.config.change_global(|global| global.notifications.clear());
    bench.config.set_projects([
        daily("one").webhook("https://h/1").slack("https://s/1").build(),
        daily("two").webhook("https://h/1").webhook("https://h/2").build(),
        daily("off").webhook("https://h/3").disabled().build(),
    ]);
    let loaded = bench.config.load().await.unwrap();
    let kinds: Vec<&str> = everybody(&loaded).iter().map(Channel::kind).collect();
    assert_eq!(kinds, ["webhook", "slack", "webhook"]);
    let report = send(&bench).await;
    assert_eq!(report.channels, 3);
    assert_eq!((bench.webhook.notices().len(), bench.slack.notices().len()), (2, 1));
}

#[tokio::test]
async fn what_a_channel_does_not_take_is_kept_and_comes_late() {
    let bench = bench();
    bench.config.set_projects([daily("shop").webhook("https://own").build()]);
    bench.config.change_global(|global| {
        let slack = Channel::Slack { webhook_url: Secret::value("https://s") };
        global.notifications = vec![slack, webhook("https://hooks.example/all")];
    });
    bench.webhook.down(&failure(ErrorCode::NotifyFailed));
    let report = send(&bench).await;
    assert_eq!(report.problems, ["webhook: injected"]);
    assert_eq!(bench.slack.kinds(), ["daily_summary"], "each channel fails by itself");
    assert_eq!(bench.schedules.of_machine().summary.unwrap().problems, ["webhook: injected"]);
    let kept = bench.fallback.entries();
    assert!(
        matches!(&kept[..], [FallbackEntry::GlobalNotification { channel, index: 1, notice }]
            if channel == "webhook" && *notice == report.notice),
        "{kept:?}"
    );

    let recover = async || {
        let config: Arc<dyn ConfigLoader> = bench.config.clone();
        RecoverStartup::new(bench.world(), config, None).execute(&[], &bench.cancel).await
    };
    let still = recover().await;
    assert_eq!((still.delivered, still.waiting.len()), (0, 1));
    assert_eq!(still.waiting[0].projects, []);

    bench.webhook.heal();
    let done = recover().await;
    assert_eq!((done.delivered, done.remaining.len()), (1, 0));
    let late = bench.webhook.notices().pop().unwrap();
    assert!(late.delayed && late.text.contains("Delayed: from 2026-03-18 08:00:00 (UTC)"));
    assert_eq!(bench.slack.notices().len(), 1, "only where it is missing");
    assert_eq!(bench.fallback.entries(), []);
}

#[tokio::test]
async fn a_channel_whose_secret_cannot_be_had_is_a_problem_and_not_silence() {
    let bench = bench();
    bench.config.change_global(|global| {
        let url = Secret::File("/gone".into());
        global.notifications = vec![Channel::Webhook { url, secret: None }];
    });
    let report = send(&bench).await;
    assert_eq!(report.problems.len(), 1, "{report:?}");
    assert_eq!(bench.fallback.entries().len(), 1);
    bench.config.set_secret("/gone", "https://h");
    assert!(send(&bench).await.problems.is_empty());
}

#[tokio::test]
async fn a_kept_notice_without_a_channel_of_its_kind_stays_with_the_reason() {
    let bench = bench();
    bench.webhook.down(&failure(ErrorCode::NotifyFailed));
    send(&bench).await;
    bench.webhook.heal();
    bench.config.change_global(|global| global.notifications.clear());
    let config: Arc<dyn ConfigLoader> = bench.config.clone();
    let report = RecoverStartup::new(bench.world(), config, None).execute(&[], &bench.cancel).await;
    assert!(report.remaining[0].contains("no global webhook channel"), "{report:?}");
    assert_eq!(bench.fallback.entries().len(), 1);
}

/// Sends one where one is owed, as `watch --summary` does; whether one went out.
async fn send_if_owed(bench: &TestBench, now: &str) -> bool {
    bench.clock.set(at(now));
    let config: Arc<dyn ConfigLoader> = bench.config.clone();
    let loaded = config.load().await.unwrap();
    Summary::new(bench.world(), config).send_if_owed(&loaded).await.unwrap().is_some()
}

#[tokio::test]
async fn without_a_daemon_whoever_looks_sends_it_once_a_day() {
    let bench = bench();
    bench.config.set_projects([daily("shop").build()]);
    // Asked for the first time: nothing is owed for the time before.
    assert!(!send_if_owed(&bench, "2026-03-18T09:00:00Z").await);
    assert!(!send_if_owed(&bench, "2026-03-19T07:45:00Z").await);
    assert!(send_if_owed(&bench, "2026-03-19T08:10:00Z").await);
    assert!(!send_if_owed(&bench, "2026-03-19T08:25:00Z").await);
    // Off all day and the morning after: the one of the day before is nobody's news any more.
    assert!(!send_if_owed(&bench, "2026-03-21T07:00:00Z").await);
    // A daemon does it itself.
    bench.processes.set_daemon(99);
    assert!(!send_if_owed(&bench, "2026-03-22T08:10:00Z").await);
}

#[tokio::test]
async fn one_that_is_due_just_before_midnight_is_sent_behind_it() {
    let bench = bench();
    bench.config.set_projects([daily("shop").build()]);
    bench.config.change_global(|global| "55 23 * * *".clone_into(&mut global.daily_summary_cron));
    assert!(!send_if_owed(&bench, "2026-03-18T09:00:00Z").await);
    assert!(send_if_owed(&bench, "2026-03-19T00:05:00Z").await);
}
