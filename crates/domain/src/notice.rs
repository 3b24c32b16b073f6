//! The notices and their texts, the same on every channel (spec: notifications.md).

#[cfg(test)]
mod tests;
mod watch;

pub use watch::Troubled;

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::human::{self, ByteSize};
use crate::{BackupRun, ProjectName, RunId, RunStatus, Stage, StageOutcome};

/// What a notice is about. The name is the webhook's `event`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// A run has begun.
    BackupStarted,
    /// A run has succeeded.
    BackupSuccess,
    /// A run has failed.
    BackupFailed,
    /// Something needs a look: slow run, missing asset, overdue project.
    BackupWarning,
    /// The day's summary.
    DailySummary,
}

impl NoticeKind {
    /// The name in the webhook's `event` field.
    pub const fn event(self) -> &'static str {
        match self {
            Self::BackupStarted => "backup_started",
            Self::BackupSuccess => "backup_success",
            Self::BackupFailed => "backup_failed",
            Self::BackupWarning => "backup_warning",
            Self::DailySummary => "daily_summary",
        }
    }
}

/// One message to people and their machines, whole: a channel formats it, it does not change it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What it is about.
    pub kind: NoticeKind,
    /// The project; `None` for the daily summary.
    pub project: Option<ProjectName>,
    /// The text, lines separated by `\n`, without a final one.
    pub text: String,
    /// The machine-readable part: an object with camelCase keys, absent values `null`.
    pub data: Value,
    /// When it was made.
    pub at: Timestamp,
    /// Whether it is delivered later than it was made.
    #[serde(default)]
    pub delayed: bool,
}

impl Notice {
    /// The run has begun.
    pub fn started(run: &BackupRun, tz: &TimeZone) -> Self {
        let text = format!(
            "🔄 Backup started for {}\nRun ID: {}\nTime: {}",
            run.project,
            run.run_id.short(),
            local_time(run.started_at, tz)
        );
        Self::of_run(NoticeKind::BackupStarted, run, text, run.started_at)
    }

    /// The run has ended, well or not, by its status. `at` is when this is said.
    pub fn finished(run: &BackupRun, at: Timestamp) -> Self {
        if run.status == RunStatus::Success {
            Self::of_run(NoticeKind::BackupSuccess, run, success_text(run), at)
        } else {
            Self::of_run(NoticeKind::BackupFailed, run, failure_text(run), at)
        }
    }

    /// The run takes longer than `timeout_minutes`. It is not ended for that.
    pub fn timeout(
        run: &BackupRun,
        elapsed: Duration,
        timeout: Duration,
        stage: Stage,
        at: Timestamp,
    ) -> Self {
        let text = format!(
            "⚠️ Backup timeout warning for {}\nRun ID: {}\nElapsed: {} (timeout: {})\n\
             Current stage: {}\nThe backup is still running and has not been killed.",
            run.project,
            run.run_id.short(),
            human::minutes(elapsed),
            human::minutes(timeout),
            stage.with_number()
        );
        let mut notice = Self::of_run(NoticeKind::BackupWarning, run, text, at);
        notice.data["stage"] = json!(stage.name());
        notice.data["elapsed"] = json!(elapsed.as_secs());
        notice.data["timeout"] = json!(timeout.as_secs());
        notice
    }

    /// Something was noticed during the run that does not fail it, e.g. `Asset path not found: …`.
    pub fn warning(run: &BackupRun, message: &str, at: Timestamp) -> Self {
        let text = format!(
            "⚠️ Backup warning for {}\nRun ID: {}\n{message}",
            run.project,
            run.run_id.short()
        );
        let mut notice = Self::of_run(NoticeKind::BackupWarning, run, text, at);
        notice.data["message"] = json!(message);
        notice
    }

    /// The project's last success is older than its schedule promises.
    pub fn overdue(
        project: &ProjectName,
        last_success: Option<Timestamp>,
        expected_every: Duration,
        at: Timestamp,
        tz: &TimeZone,
    ) -> Self {
        let last = match last_success {
            Some(time) => format!(
                "{} ({} ago)",
                local_time(time, tz),
                human::age(Duration::try_from(at.duration_since(time)).unwrap_or_default())
            ),
            None => "never".to_owned(),
        };
        Self {
            kind: NoticeKind::BackupWarning,
            project: Some(project.clone()),
            text: format!(
                "⚠️ Backup overdue for {project}\nLast success: {last}\nExpected every: {}",
                human::interval(expected_every)
            ),
            data: {
                let mut data = nothing_of_a_run(Some(project), "overdue");
                data["lastSuccess"] = json!(last_success.map(stamp));
                data["expectedEvery"] = json!(expected_every.as_secs());
                data
            },
            at,
            delayed: false,
        }
    }

    /// The day's summary, of every enabled project in the order of the configuration.
    pub fn daily_summary(entries: &[SummaryEntry], at: Timestamp, tz: &TimeZone) -> Self {
        let date = at.to_zoned(tz.clone()).date();
        let mut text = format!("📊 Daily Backup Summary — {date}");
        for entry in entries {
            text.push('\n');
            text.push_str(&entry.line());
        }
        let good = entries.iter().filter(|e| matches!(e.last, DayResult::Success { .. })).count();
        let bad = entries.len() - good;
        let _ = write!(text, "\n{good} of {} backups succeeded.", entries.len());
        let _ = match (entries.len(), bad) {
            (0, _) => write!(text, " No project is enabled."),
            (_, 0) => Ok(()),
            (_, 1) => write!(text, " 1 failure requires attention."),
            (_, n) => write!(text, " {n} failures require attention."),
        };
        let projects: Vec<Value> = entries
            .iter()
            .map(|e| json!({"project": e.project, "status": e.last.status(), "line": e.line()}))
            .collect();
        Self {
            kind: NoticeKind::DailySummary,
            project: None,
            text,
            data: json!({
                "date": date.to_string(),
                "succeeded": good,
                "failed": bad,
                "total": entries.len(),
                "projects": projects,
            }),
            at,
            delayed: false,
        }
    }

    /// The webhook's body: `{"event","project","text","data"}`, and `delayed` on a late one.
    pub fn webhook_body(&self) -> Value {
        let mut body = json!({
            "event": self.kind.event(),
            "project": self.project,
            "text": self.text,
            "data": self.data,
        });
        if self.delayed {
            body["delayed"] = json!(true);
            body["originalTime"] = json!(stamp(self.at));
        }
        body
    }

    /// The same notice, marked as delivered late, with its original time as a last line.
    #[must_use]
    pub fn into_delayed(mut self, tz: &TimeZone) -> Self {
        if !self.delayed {
            self.delayed = true;
            self.text = format!("{}\nDelayed: from {}", self.text, local_time(self.at, tz));
        }
        self
    }

    fn of_run(kind: NoticeKind, run: &BackupRun, text: String, at: Timestamp) -> Self {
        Self {
            kind,
            project: Some(run.project.clone()),
            text,
            data: run_data(run),
            at,
            delayed: false,
        }
    }
}

/// How a project fared on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DayResult {
    /// Its last run succeeded.
    Success {
        /// How long it took.
        duration: Duration,
    },
    /// Its last run failed.
    Failed {
        /// At which stage, if one had begun.
        stage: Option<Stage>,
        /// The error's message.
        message: String,
    },
    /// It did not run.
    NoRun,
}

impl DayResult {
    const fn status(&self) -> &'static str {
        match self {
            Self::Success { .. } => "success",
            Self::Failed { .. } => "failed",
            Self::NoRun => "no_run",
        }
    }
}

/// One project's line of the daily summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryEntry {
    /// The project's name as configured, be it a good one or not.
    pub project: String,
    /// How its last run of the day ended.
    pub last: DayResult,
}

impl SummaryEntry {
    fn line(&self) -> String {
        let p = &self.project;
        match &self.last {
            DayResult::Success { duration } => {
                format!("✅ {p} — success ({})", human::duration(*duration))
            }
            DayResult::Failed { stage, message } => {
                let stage = stage.map(|stage| format!("{stage}: ")).unwrap_or_default();
                // A project has one line here, whatever its tool had to say.
                let message = message.lines().next().unwrap_or_default();
                format!("❌ {p} — failed ({stage}{message})")
            }
            DayResult::NoRun => format!("⚠️ {p} — no run"),
        }
    }
}

/// A moment as texts carry it: `2026-03-18 00:00:05 (Europe/Berlin)`.
pub fn local_time(at: Timestamp, tz: &TimeZone) -> String {
    let zoned = at.to_zoned(tz.clone());
    let name = tz.iana_name().map_or_else(|| zoned.strftime("%Z").to_string(), str::to_owned);
    format!("{} ({name})", zoned.strftime("%Y-%m-%d %H:%M:%S"))
}

/// A moment as machines read it: RFC 3339 in UTC with milliseconds, `2026-03-18T00:00:05.000Z`.
pub fn stamp(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// The machine-readable part of a notice that is about no run: the keys of a run, all of them `null` but
/// the project and the status.
pub fn nothing_of_a_run(project: Option<&ProjectName>, status: &str) -> Value {
    json!({
        "runId": null,
        "runUuid": null,
        "project": project,
        "status": status,
        "duration": null,
        "dumpSize": null,
        "snapshotId": null,
        "repositorySize": null,
        "startedAt": null,
        "finishedAt": null,
    })
}

fn success_text(run: &BackupRun) -> String {
    let mut lines = vec![
        format!("✅ Backup completed for {}", run.project),
        run_line(run.run_id),
        format!("Duration: {}", human::duration(run.duration.unwrap_or_default())),
    ];
    lines.extend(run.dump.as_ref().map(|d| format!("Dump size: {}", ByteSize(d.bytes))));
    lines.extend(run.main_snapshot().map(|id| format!("Snapshot: {}", id.short())));
    lines.extend(run.repository_bytes.map(|b| format!("Repository size: {}", ByteSize(b))));
    lines.join("\n")
}

fn failure_text(run: &BackupRun) -> String {
    let mut lines = vec![format!("❌ Backup failed for {}", run.project), run_line(run.run_id)];
    if let Some((error, stage)) = run.error.as_ref().and_then(|e| Some((e, e.stage?))) {
        let attempts = match error.retries {
            0 => String::new(),
            n => format!(" (attempt {n}/{})", error.retries_allowed),
        };
        lines.push(format!("Failed at stage: {stage}{attempts}"));
    }
    lines.push(format!("Duration: {}", human::duration(run.duration.unwrap_or_default())));
    if let Some(error) = &run.error {
        lines.push(format!("Error: {}", error.message));
        lines.push(format!("Code: {}", error.code));
        lines.push(format!("Fix: {}", error.remedy));
    }
    // Only a Sync that went through whole is a backup that somebody can rely on.
    if run.stage(Stage::Sync).is_some_and(|s| s.outcome == StageOutcome::Ok) {
        lines.extend(run.main_snapshot().map(|id| format!("Snapshot: {} (stored)", id.short())));
    }
    lines.join("\n")
}

fn run_line(id: RunId) -> String {
    format!("Run ID: {}", id.short())
}

fn run_data(run: &BackupRun) -> Value {
    json!({
        "runId": run.run_id.short(),
        "runUuid": run.run_id,
        "project": run.project,
        "status": run.status,
        "trigger": run.trigger,
        "duration": run.duration.map(|d| d.as_secs()),
        "dumpSize": run.dump.as_ref().map(|d| d.bytes),
        "snapshotId": run.main_snapshot().map(crate::SnapshotId::short),
        "repositorySize": run.repository_bytes,
        "startedAt": stamp(run.started_at),
        "finishedAt": run.finished_at.map(stamp),
        "failedStage": run.error.as_ref().and_then(|e| e.stage).map(Stage::name),
        "error": run.error.as_ref().map(|e| &e.message),
        "code": run.error.as_ref().map(|e| e.code),
        "remedy": run.error.as_ref().map(|e| &e.remedy),
        "warnings": run.warnings,
    })
}
