//! What keeps the schedules: the daemon or whatever starts runs in its place, the daily summary that
//! would tell if they stopped, and pauses that somebody may have forgotten.

use std::time::Duration;

use backupctl_domain::freshness::Freshness;
use backupctl_domain::schedule::Schedule;
use backupctl_domain::schedule::memory::{MachineMemory, Pause};
use backupctl_domain::{
    ErrorCode, Failure, Notice, NoticeKind, Project, Trigger, human, manifest, notice,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Health;
use crate::ports::{FallbackEntry, ServiceUnit};
use crate::use_cases::checks::{Check, CheckOutcome};
use crate::use_cases::everybody::everybody;
use crate::use_cases::schedule::between;
use crate::use_cases::status::ProjectStatus;
use crate::use_cases::summary;

/// How late a summary may be before it is missed.
const SUMMARY_GRACE: Duration = Duration::from_mins(15);

/// How many projects are named.
const NAMED: usize = 5;

impl Health {
    /// That something starts the scheduled runs: the daemon, units, or whatever has started the last
    /// ones. `all` is `None` where the audit does not answer.
    pub(super) async fn daemon(&self, all: Option<&[ProjectStatus]>) -> Check {
        let name = "daemon";
        let world = &self.world;
        match world.processes.daemon().await {
            Ok(Some(pid)) => {
                let since = world.processes.daemon_since().await.ok().flatten();
                let since = since.map_or_else(String::new, |at| {
                    format!(" since {}", notice::local_time(at, &world.settings.timezone))
                });
                return Check::pass(name, format!("running{since} (pid {pid})"));
            }
            Ok(None) => {}
            Err(failure) => return Check::bad(name, CheckOutcome::Warn, failure),
        }
        let Some(all) = all else {
            return Check::warn(
                name,
                "none runs; whether anything else starts the runs is not known: the audit database \
                 does not answer",
                "repair the audit database, then run `backupctl health` again",
            );
        };
        let kept: Vec<(&ProjectStatus, &Schedule)> = all.iter().filter_map(to_be_kept).collect();
        if kept.is_empty() {
            return Check::pass(name, "none runs, and no schedule is to be kept");
        }
        // One that cannot be read has a check of its own.
        let units = self.units.installed().await.unwrap_or_default();
        let projects: Vec<&str> = all.iter().map(|p| p.name.as_str()).collect();
        let now = world.clock.now();
        let mut idle = Vec::new();
        for (status, schedule) in kept {
            let by_timer = units.iter().any(|unit| starts(unit, &status.name, &projects));
            if !by_timer && !self.is_started(status, schedule, now).await {
                idle.push(status.name.clone());
            }
        }
        if idle.is_empty() {
            return Check::pass(name, "none runs: timers or cron start the runs");
        }
        let named = manifest::listed(&idle, NAMED);
        let failure = |message, remedy: String| {
            Failure::new(ErrorCode::DaemonNotRunning, message).with_remedy(remedy)
        };
        let failure = match units.iter().find(|unit| unit.enabled == Some(true)) {
            Some(service) => failure(
                format!(
                    "{0} is enabled, but no daemon runs: nothing starts the runs of {named}",
                    service.name
                ),
                format!("see why with `systemctl status {0}`, then `systemctl start {0}`", service.name),
            ),
            None => failure(
                format!(
                    "nothing starts the scheduled runs of {named}: no daemon runs, no unit of \
                     backupctl is installed, and no timer or cron job has started one of late"
                ),
                "start `backupctl serve`, or install units with `backupctl systemd install`, or let \
                 cron start `backupctl run PROJECT --scheduled`"
                    .to_owned(),
            ),
        };
        // A person, or somebody's own job, may back up by plain `run`: then nothing is dead.
        let by_hand = |p: &ProjectStatus| {
            p.last_run.as_ref().is_some_and(|run| run.trigger == Trigger::Manual)
                && matches!(p.freshness, Some(Freshness::Fresh { .. }))
        };
        let all_by_hand = all.iter().filter(|p| idle.contains(&p.name)).all(by_hand);
        let outcome = if all_by_hand { CheckOutcome::Warn } else { CheckOutcome::Fail };
        Check::bad(name, outcome, failure)
    }

    /// Whether a timer or cron started a run within two of the schedule's intervals. Runs that a daemon
    /// made show nothing: it may be dead.
    async fn is_started(&self, p: &ProjectStatus, schedule: &Schedule, now: Timestamp) -> bool {
        let Some(project) = &p.project else { return false };
        let interval = schedule.expected_interval(now).unwrap_or(Duration::from_hours(366 * 24));
        let limit = interval.saturating_mul(2).saturating_add(schedule.grace);
        let memory = self.world.schedules.project(&project.name).await.unwrap_or_default();
        memory.timer_at.is_some_and(|at| between(at, now) <= limit)
    }

    /// The daily summary: that the last one reached people, and that none is missing where a daemon
    /// has sent them.
    pub(super) async fn summary(&self) -> Check {
        let name = "summary";
        let world = &self.world;
        let tz = &world.settings.timezone;
        let loaded = match self.config.load().await {
            Ok(loaded) => loaded,
            Err(failure) => return Check::bad(name, CheckOutcome::Fail, failure),
        };
        let Some(schedule) = summary::schedule(&loaded, tz) else {
            return Check::pass(name, "turned off: `daily_summary_cron` is empty");
        };
        let memory = match world.schedules.machine().await {
            Ok(memory) => memory,
            Err(failure) => return Check::bad(name, CheckOutcome::Fail, failure),
        };
        let sent = memory.summary.as_ref();
        let Some(last) = sent.map(|s| s.at).max(memory.summary_handled_until) else {
            return Check::pass(name, "no daemon has run here so far: none is due");
        };
        let now = world.clock.now();
        if let Some(slot) = schedule.previous_at(now).filter(|slot| *slot > last)
            && between(slot, now) > SUMMARY_GRACE
        {
            return self.missing_summary(slot, sent.map(|s| s.at)).await;
        }
        if everybody(&loaded).is_empty() {
            return Check::warn(
                name,
                "it reaches nobody: no channel is configured",
                "configure `notification` at the top of the file, or turn the summary off with \
                 `daily_summary_cron: \"\"`",
            );
        }
        let at = sent.map(|s| notice::local_time(s.at, tz));
        let Some(at) = at else { return Check::pass(name, "none was due so far") };
        match self.undelivered(&memory).await {
            None => Check::pass(name, format!("sent {at}")),
            Some(problems) => {
                let failure = Failure::new(
                    ErrorCode::NotifyFailed,
                    format!("the daily summary of {at} has not been delivered: {problems}"),
                )
                .with_remedy(
                    "correct `notification` at the top of the file, then deliver it with `backupctl \
                     recover`",
                );
                Check::bad(name, CheckOutcome::Fail, failure)
            }
        }
    }

    async fn missing_summary(&self, slot: Timestamp, last: Option<Timestamp>) -> Check {
        let tz = &self.world.settings.timezone;
        let runs = matches!(self.world.processes.daemon().await, Ok(Some(_)));
        let last = last.map_or_else(
            || "none has been sent so far".to_owned(),
            |at| format!("the last was sent {}", notice::local_time(at, tz)),
        );
        let why = if runs { "" } else { ": no daemon runs" };
        Check {
            name: "summary",
            outcome: CheckOutcome::Fail,
            message: format!(
                "the daily summary due {} was not sent{why}; {last}",
                notice::local_time(slot, tz)
            ),
            code: (!runs).then_some(ErrorCode::DaemonNotRunning),
            remedy: Some(if runs {
                "see the daemon's log for why, and restart it".to_owned()
            } else {
                "start the daemon (`backupctl serve`), or turn the summary off with \
                 `daily_summary_cron: \"\"`"
                    .to_owned()
            }),
        }
    }

    /// What went wrong with the last summary, as long as it has not been delivered late either.
    async fn undelivered(&self, memory: &MachineMemory) -> Option<String> {
        let summary = memory.summary.as_ref().filter(|s| !s.problems.is_empty())?;
        let is_it =
            |notice: &Notice| notice.kind == NoticeKind::DailySummary && notice.at == summary.at;
        let waits = match self.world.fallback.entries().await {
            Ok(entries) => entries.iter().any(|entry| {
                matches!(entry, FallbackEntry::GlobalNotification { notice, .. } if is_it(notice))
            }),
            Err(_) => true,
        };
        let lost = summary.problems.iter().any(|line| line.contains("could not be kept"));
        (waits || lost).then(|| summary.problems.join("; "))
    }
}

/// A project whose schedule is to come true, with that.
fn to_be_kept(p: &ProjectStatus) -> Option<(&ProjectStatus, &Schedule)> {
    let project = p.project.as_ref().filter(|project| project.enabled && p.pause.is_none())?;
    Some((p, project.schedule.as_ref()?))
}

/// Whether it is a timer that starts the project's runs. One that is named after no project, such as
/// `backupctl.timer` or the template `backupctl@.timer`, may start any.
fn starts(unit: &ServiceUnit, project: &str, projects: &[&str]) -> bool {
    let Some(timer) = unit.name.strip_suffix(".timer").filter(|_| unit.enabled != Some(false))
    else {
        return false;
    };
    let named = timer.strip_prefix("backupctl").and_then(|rest| rest.strip_prefix(['-', '@']));
    match named {
        // It watches, and starts nothing.
        Some("watch") => false,
        Some(name) => name == project || !projects.contains(&name),
        None => true,
    }
}

/// How the project's schedule stands: paused by somebody, or when it comes true next. `None` for a
/// project without one.
pub(super) fn judge_schedule(
    project: &Project,
    pause: Option<Pause>,
    last_success: Option<Timestamp>,
    now: Timestamp,
    tz: &TimeZone,
) -> Option<Check> {
    let name = "schedule";
    let schedule = project.schedule.as_ref().filter(|_| project.enabled)?;
    let Some(pause) = pause else {
        let next = schedule.next_after(now).map_or_else(
            || "never again".to_owned(),
            |at| notice::local_time(at, &schedule.timezone),
        );
        return Some(Check::pass(name, format!("{}, next {next}", schedule.describe())));
    };
    let until = pause.until.map_or_else(
        || "until somebody resumes it".to_owned(),
        |until| format!("until {}", notice::local_time(until, tz)),
    );
    let last = last_success.map_or_else(
        || "no success so far".to_owned(),
        |at| format!("last success {} ago", human::age(between(at, now))),
    );
    Some(Check::warn(
        name,
        format!(
            "paused since {} ({}), {until}; {last}",
            notice::local_time(pause.since, tz),
            human::age(between(pause.since, now))
        ),
        format!("let it run again with `backupctl schedule resume {}`", project.name),
    ))
}
