//! What to say of a project's backups: the one thing that is most wrong, its code and the way out.

use std::time::Duration;

use backupctl_domain::freshness::Freshness;
use backupctl_domain::schedule::memory::Pause;
use backupctl_domain::{ErrorCode, RunError, RunStatus, human, notice};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::status::{InTheWay, ProjectStatus};
use crate::ports::ProjectEntry;

/// How old a pause may be before it is called out: it may have been forgotten.
pub const LONG_PAUSE: Duration = Duration::from_hours(7 * 24);

/// What is said of a project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it needs somebody.
    pub is_bad: bool,
    /// Whether it is worth a look all the same, as a long pause is.
    pub is_noted: bool,
    /// The facts, in words.
    pub message: String,
    /// What else than time is the cause, in words; already part of the facts.
    pub cause: Option<String>,
    /// The code, where something is wrong.
    pub code: Option<ErrorCode>,
    /// What to do, where something is to be done.
    pub remedy: Option<String>,
}

impl Verdict {
    fn good(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    pub(super) fn bad(message: String, code: ErrorCode, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { is_bad: true, message, code: Some(code), remedy, ..Self::default() }
    }

    fn failed(message: &str, error: &RunError) -> Self {
        let message = format!("{message}; the last run failed: {}", error.message);
        let cause = Some(error.message.clone());
        Self { cause, ..Self::bad(message, error.code, error.remedy.as_str()) }
    }

    /// Whether the project's backups come as promised: bad where a success is late, the run that goes
    /// on is stuck, or its configuration is broken.
    pub fn of(
        p: &ProjectStatus,
        entry: &ProjectEntry,
        is_late: bool,
        now: Timestamp,
        tz: &TimeZone,
    ) -> Self {
        let Some(freshness) = p.freshness else { return broken(&p.name, Some(entry)) };
        if let Some(stuck) = stuck_verdict(p, now) {
            return stuck;
        }
        if is_late {
            return late(p, freshness, now, tz);
        }
        calm(p, freshness, now, tz)
    }

    /// Whether everything about the project is as it should be, for `status --check`: bad also where
    /// the last run failed or was killed, or no run has ever been; with `max_age`, where the last success
    /// is older, whatever the schedule says. A disabled project is never bad.
    pub fn strict(
        p: &ProjectStatus,
        max_age: Option<Duration>,
        now: Timestamp,
        tz: &TimeZone,
    ) -> Self {
        let Some(freshness) = p.freshness else { return broken(&p.name, None) };
        if freshness == Freshness::Disabled {
            return calm(p, freshness, now, tz);
        }
        if let Some(stuck) = stuck_verdict(p, now) {
            return stuck;
        }
        if freshness.is_late(now) {
            return late(p, freshness, now, tz);
        }
        if let Some(too_old) = max_age.and_then(|limit| too_old(p, limit, now, tz)) {
            return too_old;
        }
        if freshness == Freshness::Paused || p.running.is_some() {
            return calm(p, freshness, now, tz);
        }
        let last = p.last_run.as_ref();
        if let Some(error) = p.failed_run().and_then(|r| r.error.as_ref()) {
            return Self::failed(&success(p, now, tz), error);
        }
        if last.is_some_and(|r| r.status == RunStatus::Started) {
            return Self::bad(
                format!("the last run was killed; {}", success(p, now, tz)),
                ErrorCode::Interrupted,
                format!("put it right with `backupctl recover {}`; the next run does", p.name),
            );
        }
        if let Freshness::NeverRan { first_due } = freshness {
            let due = first_due.map_or_else(String::new, |due| {
                format!(", the first success is due by {}", notice::local_time(due, tz))
            });
            return Self::bad(
                format!("it has never run{due}"),
                ErrorCode::RunMissed,
                format!("make the first backup with `backupctl run {}`", p.name),
            );
        }
        calm(p, freshness, now, tz)
    }
}

/// How long a run may go on before it counts as stuck: its timeout, else the distance between two runs.
pub(crate) fn longest_run(p: &ProjectStatus, now: Timestamp) -> Option<Duration> {
    let project = p.project.as_ref()?;
    let between = || project.schedule.as_ref().and_then(|s| s.expected_interval(now));
    project.timeout.or_else(between)
}

/// How long the run that goes on has been doing so, if that is longer than it should.
pub fn stuck(p: &ProjectStatus, now: Timestamp) -> Option<Duration> {
    let elapsed = elapsed(p.running.as_ref()?.started_at, now);
    longest_run(p, now).is_some_and(|limit| elapsed > limit).then_some(elapsed)
}

fn stuck_verdict(p: &ProjectStatus, now: Timestamp) -> Option<Verdict> {
    let elapsed = stuck(p, now)?;
    let run = p.running.as_ref()?;
    let id = run.run_id.short();
    let at = run.current_stage.map_or_else(String::new, |s| format!(" at {}", s.with_number()));
    let limit = longest_run(p, now)
        .map_or_else(String::new, |limit| format!(", longer than {}", human::interval(limit)));
    Some(Verdict::bad(
        format!(
            "run {id} may be stuck: it has been running for {}{at}{limit}",
            human::age(elapsed)
        ),
        ErrorCode::BackupInProgress,
        format!(
            "see what it does with `backupctl status {}`; end it with `backupctl runs abort {id}`",
            p.name
        ),
    ))
}

fn broken(name: &str, entry: Option<&ProjectEntry>) -> Verdict {
    let issues = entry.and_then(|e| e.project.as_ref().err());
    let what = issues.and_then(|all| all.first()).map_or_else(String::new, |issue| {
        let more = match issues.map_or(0, Vec::len) {
            0 | 1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        format!(": {}: {}{more}", issue.key, issue.message)
    });
    Verdict::bad(
        format!("the configuration of {name} has errors{what}"),
        ErrorCode::InvalidConfig,
        "see them all with `backupctl config validate`",
    )
}

fn late(p: &ProjectStatus, freshness: Freshness, now: Timestamp, tz: &TimeZone) -> Verdict {
    let since = super::late_since(freshness).unwrap_or(now);
    let every = match freshness {
        Freshness::Overdue { expected_every, .. } if !expected_every.is_zero() => {
            format!(", expected every {}", human::interval(expected_every))
        }
        _ => String::new(),
    };
    let goes_on = if p.running.is_some() { "; a run goes on" } else { "" };
    let facts = match freshness {
        Freshness::NeverRan { .. } => format!(
            "it has never run, its first success was due by {}{goes_on}",
            notice::local_time(since, tz)
        ),
        _ => format!(
            "overdue for {}: {}{every}{goes_on}",
            human::age(elapsed(since, now)),
            success(p, now, tz)
        ),
    };
    if let Some(ahead) = &p.waits_behind {
        return waits(&facts, ahead);
    }
    if let Some(error) = p.failed_run().and_then(|r| r.error.as_ref()) {
        return Verdict::failed(&facts, error);
    }
    let last = p.last_run.as_ref();
    if last.is_some_and(|r| r.status == RunStatus::Started) && p.running.is_none() {
        return Verdict::bad(
            format!("{facts}; the last run was killed"),
            ErrorCode::Interrupted,
            format!("put it right with `backupctl recover {0}`, then `backupctl run {0}`", p.name),
        );
    }
    Verdict::bad(
        facts,
        ErrorCode::RunMissed,
        format!(
            "see what is to start its runs (`backupctl serve`, a timer, cron) and whether it does: \
             `backupctl health {0}`; back up now with `backupctl run {0}`",
            p.name
        ),
    )
}

/// What is said of a project that is late because of another's run.
pub(crate) fn waits(facts: &str, ahead: &InTheWay) -> Verdict {
    let (project, id) = (&ahead.project, ahead.run.short());
    let cause =
        format!("waits behind the run of {project}, going on for {}", human::age(ahead.elapsed));
    let remedy = format!(
        "see what that run does with `backupctl status {project}`, end it with `backupctl runs abort \
         {id}`; or let more runs go on at once with `concurrency`"
    );
    Verdict {
        cause: Some(cause.clone()),
        ..Verdict::bad(format!("{facts}; {cause}"), ErrorCode::BackupInProgress, remedy)
    }
}

fn too_old(p: &ProjectStatus, limit: Duration, now: Timestamp, tz: &TimeZone) -> Option<Verdict> {
    if p.last_success_at.is_some_and(|at| elapsed(at, now) <= limit) {
        return None;
    }
    let facts =
        format!("{}, older than {} is too old", success(p, now, tz), human::interval(limit));
    if let Some(pause) = p.pause {
        let paused = paused(p, pause, now, tz);
        return Some(Verdict {
            is_bad: true,
            message: format!("{facts}; {}", paused.message),
            code: Some(ErrorCode::RunMissed),
            ..paused
        });
    }
    Some(match p.failed_run().and_then(|r| r.error.as_ref()) {
        Some(error) => Verdict::failed(&facts, error),
        None => Verdict::bad(
            facts,
            ErrorCode::RunMissed,
            format!("back up with `backupctl run {}`", p.name),
        ),
    })
}

/// What is said where nothing is to be done now.
fn calm(p: &ProjectStatus, freshness: Freshness, now: Timestamp, tz: &TimeZone) -> Verdict {
    if let Some(pause) = p.pause.filter(|_| freshness == Freshness::Paused) {
        return paused(p, pause, now, tz);
    }
    let last = success(p, now, tz);
    let failed = p.failed_run().filter(|_| p.running.is_none()).and_then(|r| r.error.as_ref());
    let tried = if failed.is_some() { "no run has succeeded" } else { "it has never run" };
    let message = match freshness {
        Freshness::Fresh { due } => {
            format!("{last}, the next is due by {}", notice::local_time(due, tz))
        }
        Freshness::NeverRan { first_due: Some(due) } => {
            format!("{tried}, the first success is due by {}", notice::local_time(due, tz))
        }
        Freshness::NeverRan { first_due: None } => tried.to_owned(),
        Freshness::Unscheduled { .. } => format!("no schedule, {last}"),
        Freshness::Disabled => "the configuration turns it off".to_owned(),
        Freshness::Overdue { .. } => {
            format!("{last}; the next run of its schedule is yet to come")
        }
        Freshness::Paused => "paused".to_owned(),
    };
    if let Some(error) = failed.filter(|_| freshness != Freshness::Disabled) {
        return Verdict { is_bad: false, is_noted: true, ..Verdict::failed(&message, error) };
    }
    // A success says nothing of a destination that is not required.
    let late: Vec<String> = p.destinations.iter().filter_map(|d| d.complaint(now, tz)).collect();
    if late.is_empty() || freshness == Freshness::Disabled {
        return Verdict::good(message);
    }
    Verdict {
        is_noted: true,
        message: format!("{message}; {}", late.join("; ")),
        remedy: Some(format!(
            "see why with `backupctl health {0}` and the warnings of `backupctl logs {0}`",
            p.name
        )),
        ..Verdict::default()
    }
}

fn paused(p: &ProjectStatus, pause: Pause, now: Timestamp, tz: &TimeZone) -> Verdict {
    let age = elapsed(pause.since, now);
    let until = match pause.until {
        Some(until) => format!("until {}", notice::local_time(until, tz)),
        None => "without an end".to_owned(),
    };
    Verdict {
        is_noted: age > LONG_PAUSE,
        message: format!(
            "paused for {} (since {}, {until}), {}",
            human::age(age),
            notice::local_time(pause.since, tz),
            success(p, now, tz)
        ),
        remedy: Some(format!("let it run again with `backupctl schedule resume {}`", p.name)),
        ..Verdict::default()
    }
}

fn success(p: &ProjectStatus, now: Timestamp, tz: &TimeZone) -> String {
    match p.last_success_at {
        Some(at) => format!(
            "last success {} ({} ago)",
            notice::local_time(at, tz),
            human::age(elapsed(at, now))
        ),
        None => "no success so far".to_owned(),
    }
}

fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}
