//! What is sent to people and monitors, to the byte, and what becomes of bad answers.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod channels;
mod email;
mod monitors;
mod slack;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use backupctl_domain::notice::{DayResult, SummaryEntry};
use backupctl_domain::{ErrorCode, Failure, Notice, Stage};
use backupctl_testkit::builders::{at, run};
use backupctl_testkit::fakes::{FakeClock, Journal};
use backupctl_testkit::services::HttpReceiver;
use jiff::tz::TimeZone;

/// A clock on which a pause costs nothing.
fn clock() -> Arc<FakeClock> {
    Arc::new(FakeClock::new(&Arc::new(Journal::new())))
}

/// A notice without anything that differs from run to run.
fn summary() -> Notice {
    let entry = SummaryEntry {
        project: "shop".to_owned(),
        last: DayResult::Success { duration: Duration::from_secs(79) },
    };
    Notice::daily_summary(&[entry], "2026-03-18T08:00:00Z".parse().unwrap(), &TimeZone::UTC)
}

/// A notice whose words need escaping everywhere.
fn failure_notice() -> Notice {
    let message = "\"pg_dump\" <16> & *.sql:\n> connection refused";
    let took = Duration::from_secs(130);
    let run = run("shop")
        .id("a1b2c3d4-0000-4000-8000-000000000000")
        .failed(Stage::Dump, ErrorCode::DbConnectionRefused, message, took)
        .build();
    Notice::finished(&run, at("2026-03-18T00:02:15Z"))
}

fn assert_hides(failure: &Failure, secret: &str) {
    for text in [&failure.message, &failure.remedy, &failure.detail] {
        assert!(!text.contains(secret), "{failure:?}");
    }
}

/// Method and target of every request.
fn lines(receiver: &HttpReceiver) -> Vec<String> {
    receiver.requests().iter().map(|r| format!("{} {}", r.method, r.target)).collect()
}

/// An address at which nobody listens.
fn nowhere() -> String {
    format!("127.0.0.1:{}", backupctl_testkit::services::free_port())
}
