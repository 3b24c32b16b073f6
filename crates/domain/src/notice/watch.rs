//! The notices of the watch: what it adds to an overdue one, and that all is well again.
//!
//! Their event is `backup_warning` like that of the overdue notice itself, told apart by
//! `data.status`: a `backup_success` would be counted as a run by whoever listens.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{Notice, NoticeKind, local_time, nothing_of_a_run, stamp};
use crate::{BackupRun, ErrorCode, Failure, ProjectName};
use crate::{human, manifest};

/// How many projects, and reasons, a notice names.
const NAMED: usize = 5;

/// A project that cannot be looked at, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Troubled {
    /// Its name as configured.
    pub project: String,
    /// Why, in words.
    pub message: String,
    /// The code.
    pub code: ErrorCode,
    /// The way out.
    pub remedy: String,
}

impl Notice {
    /// The same with why no success came, and the way out, as lines below.
    #[must_use]
    pub fn with_reason(
        mut self,
        message: Option<&str>,
        code: Option<ErrorCode>,
        remedy: Option<&str>,
    ) -> Self {
        let code_text = code.map(ErrorCode::as_str);
        for (label, value) in [("Error", message), ("Code", code_text), ("Fix", remedy)] {
            if let Some(value) = value {
                let _ = write!(self.text, "\n{label}: {value}");
            }
        }
        self.data["error"] = json!(message);
        self.data["code"] = json!(code);
        self.data["remedy"] = json!(remedy);
        self
    }

    /// The same about a run that goes on for longer than it should: named above the reason.
    #[must_use]
    pub fn with_run(mut self, run: &BackupRun, elapsed: Duration) -> Self {
        let _ = write!(
            self.text,
            "\nRun ID: {} (running for {})",
            run.run_id.short(),
            human::minutes(elapsed)
        );
        if let Some(stage) = run.current_stage {
            let _ = write!(self.text, "\nCurrent stage: {}", stage.with_number());
        }
        self.data["runId"] = json!(run.run_id.short());
        self.data["runUuid"] = json!(run.run_id);
        self.data["startedAt"] = json!(stamp(run.started_at));
        self.data["elapsed"] = json!(elapsed.as_secs());
        self
    }

    /// The project that was overdue has a success again. `overdue_for` is how long one was missing.
    pub fn recovered(
        project: &ProjectName,
        last_success: Timestamp,
        overdue_for: Duration,
        at: Timestamp,
        tz: &TimeZone,
    ) -> Self {
        let text = format!(
            "✅ Backup of {project} is well again\nLast success: {}\nOverdue for: {}",
            local_time(last_success, tz),
            human::minutes(overdue_for)
        );
        let mut data = nothing_of_a_run(Some(project), "recovered");
        data["lastSuccess"] = json!(stamp(last_success));
        data["overdueFor"] = json!(overdue_for.as_secs());
        Self::of_the_watch(Some(project.clone()), text, data, at)
    }

    /// The audit does not answer, so that freshness is judged by what this machine remembers.
    pub fn audit_down(failure: &Failure, at: Timestamp) -> Self {
        let text = "⚠️ Backups cannot be watched: the audit database does not answer\nFreshness is \
                    judged by what this machine remembers.";
        let data = nothing_of_a_run(None, "audit_down");
        Self::of_the_watch(None, text.to_owned(), data, at).with_reason(
            Some(&failure.message),
            Some(failure.code),
            Some(&failure.remedy),
        )
    }

    /// The audit answers again.
    pub fn audit_back(down_for: Duration, at: Timestamp) -> Self {
        let text = format!(
            "✅ The audit database answers again\nIt did not for: {}",
            human::minutes(down_for)
        );
        let mut data = nothing_of_a_run(None, "audit_back");
        data["downFor"] = json!(down_for.as_secs());
        Self::of_the_watch(None, text, data, at)
    }

    /// Projects that cannot even be looked at, for one and the same reason.
    pub fn troubled(status: &str, headline: &str, all: &[Troubled], at: Timestamp) -> Self {
        let mut data = nothing_of_a_run(None, status);
        data["projects"] = all
            .iter()
            .map(|t| {
                json!({
                    "project": t.project, "error": t.message, "code": t.code, "remedy": t.remedy,
                })
            })
            .collect();
        let names = all.iter().map(|t| t.project.clone()).collect::<Vec<_>>();
        let text = format!("{headline}\nProjects: {}", manifest::listed(&names, NAMED));
        // One after another would be a page for a dead machine with many projects: what differs.
        let mut notice = Self::of_the_watch(None, text, data, at);
        let mut said = Vec::new();
        for t in all {
            if !said.iter().any(|s: &&Troubled| s.message == t.message) && said.len() < NAMED {
                said.push(t);
                notice = notice.with_reason(Some(&t.message), Some(t.code), Some(&t.remedy));
            }
        }
        notice
    }

    /// These can be looked at again.
    pub fn out_of_trouble(status: &str, headline: &str, names: &[&str], at: Timestamp) -> Self {
        let mut data = nothing_of_a_run(None, status);
        data["projects"] = json!(names);
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let text = format!("{headline}\nProjects: {}", manifest::listed(&names, NAMED));
        Self::of_the_watch(None, text, data, at)
    }

    const fn of_the_watch(
        project: Option<ProjectName>,
        text: String,
        data: Value,
        at: Timestamp,
    ) -> Self {
        Self { kind: NoticeKind::BackupWarning, project, text, data, at, delayed: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn shop() -> ProjectName {
        ProjectName::new("shop").unwrap()
    }

    fn overdue() -> Notice {
        let day = Duration::from_hours(24);
        Notice::overdue(&shop(), None, day, at("2026-03-20T08:00:00Z"), &TimeZone::UTC)
    }

    #[test]
    fn an_overdue_notice_keeps_its_lines_and_tells_why_below() {
        let failure = Failure::new(ErrorCode::RepoUnreachable, "nas does not answer")
            .with_remedy("start the nas");
        let notice = overdue().with_reason(
            Some(&failure.message),
            Some(failure.code),
            Some(&failure.remedy),
        );
        insta::assert_snapshot!(notice.text, @"
        ⚠️ Backup overdue for shop
        Last success: never
        Expected every: 24h
        Error: nas does not answer
        Code: REPO_UNREACHABLE
        Fix: start the nas
        ");
        assert_eq!(notice.data["status"], "overdue");
        assert_eq!(notice.data["code"], "REPO_UNREACHABLE");
    }

    #[test]
    fn a_project_that_is_well_again_is_no_success_of_a_run() {
        let (success, now) = (at("2026-03-20T07:00:00Z"), at("2026-03-20T08:00:00Z"));
        let overdue_for = Duration::from_mins(26 * 60 + 5);
        let notice = Notice::recovered(&shop(), success, overdue_for, now, &TimeZone::UTC);
        insta::assert_snapshot!(notice.text, @"
        ✅ Backup of shop is well again
        Last success: 2026-03-20 07:00:00 (UTC)
        Overdue for: 26h 05m
        ");
        let body = notice.webhook_body();
        assert_eq!(body["event"], "backup_warning");
        assert_eq!(body["data"]["status"], "recovered");
        assert_eq!(body["data"]["overdueFor"], 93_900);
    }

    #[test]
    fn a_silent_audit_is_told_without_a_project() {
        let failure = Failure::new(ErrorCode::AuditUnavailable, "db:5432 refuses connections")
            .with_remedy("start it");
        let notice = Notice::audit_down(&failure, at("2026-03-20T08:00:00Z"));
        insta::assert_snapshot!(notice.text, @"
        ⚠️ Backups cannot be watched: the audit database does not answer
        Freshness is judged by what this machine remembers.
        Error: db:5432 refuses connections
        Code: AUDIT_UNAVAILABLE
        Fix: start it
        ");
        assert_eq!(notice.webhook_body()["project"], Value::Null);
    }
}
