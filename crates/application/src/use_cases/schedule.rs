//! Schedules as people handle them: which there are, when they come true next, pausing and resuming.
//!
//! All of it works on the configuration and on what is remembered between processes, so it is the same
//! whether a daemon, timers or cron start the runs.

use std::time::Duration;

use backupctl_domain::schedule::memory::{Pause, Promise, ScheduleMemory};
use backupctl_domain::schedule::{CatchUp, Schedule};
use backupctl_domain::{BackupRun, ErrorCode, Failure, Project, ProjectName, human, notice};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::slots;
use crate::World;
use crate::ports::ProjectEntry;

/// Why a slot before a pause passed without a run.
const BEFORE_PAUSE: &str = "nothing had started it when its schedule was paused";

/// Pauses the project's schedule, until `until` or until somebody resumes it. Pausing a paused one
/// changes its end, not its beginning. A run that goes on is not ended.
///
/// Slots that passed without a run before are recorded as missed first: what lies in a pause is not
/// asked for any more. `INVALID_CONFIG` where `until` is past.
pub async fn pause(
    world: &World,
    project: &ProjectName,
    until: Option<Timestamp>,
) -> Result<ScheduleMemory, Failure> {
    let now = world.clock.now();
    if let Some(until) = until.filter(|until| *until <= now) {
        return Err(Failure::new(
            ErrorCode::InvalidConfig,
            format!("a pause until {} would be over already", notice::stamp(until)),
        )
        .with_remedy(
            "name a time in the future, e.g. `--until 12h`, or none to pause until resumed",
        ));
    }
    account_for_the_past(world, project, now).await?;
    let change = move |memory: &mut ScheduleMemory| {
        let in_force = memory.pause_at(now);
        end_of_itself(memory, now);
        memory.owed = None;
        memory.pause = Some(Pause { since: in_force.map_or(now, |pause| pause.since), until });
    };
    let memory = world.schedules.update_project(project, Box::new(change)).await?;
    tracing::info!(%project, until = until.map(notice::stamp), "schedule paused");
    Ok(memory)
}

/// Resumes the project's schedule: slots count from now on, and none that lay in the pause was
/// promised. One that is not paused stays as it is, and so does what it may have missed.
pub async fn resume(world: &World, project: &ProjectName) -> Result<ScheduleMemory, Failure> {
    let now = world.clock.now();
    let change = move |memory: &mut ScheduleMemory| {
        if memory.pause_at(now).is_some() {
            memory.handled_until = memory.handled_until.max(Some(now));
        }
        end_of_itself(memory, now);
        // Ended now rather than forgotten: a backup that has grown old meanwhile is excused until the
        // first slot after the pause, as after one that ended by itself.
        memory.pause = memory.pause.map(|pause| Pause {
            until: Some(pause.until.map_or(now, |until| until.min(now))),
            ..pause
        });
    };
    let memory = world.schedules.update_project(project, Box::new(change)).await?;
    tracing::info!(%project, "schedule resumed");
    Ok(memory)
}

/// What lay in a pause that has ended by itself was not promised, also when the pause is forgotten.
fn end_of_itself(memory: &mut ScheduleMemory, now: Timestamp) {
    let until = memory.pause.and_then(|pause| pause.until).filter(|until| *until <= now);
    if until.is_some() && memory.handled_until.is_some() {
        memory.handled_until = memory.handled_until.max(until);
    }
}

/// Records the slots that were promised before a pause and not made: nothing would look at them later.
async fn account_for_the_past(
    world: &World,
    project: &ProjectName,
    now: Timestamp,
) -> Result<(), Failure> {
    let memory = world.schedules.project(project).await?;
    let Some(promise) = memory.promised else { return Ok(()) };
    let Some(schedule) = promised(&promise, &world.settings.timezone) else { return Ok(()) };
    let mut known = Project::unreadable(project.clone(), Vec::new());
    known.schedule = Some(schedule);
    slots::settle(world, &known, now, BEFORE_PAUSE).await.map(drop)
}

fn promised(promise: &Promise, otherwise: &TimeZone) -> Option<Schedule> {
    let timezone = match &promise.timezone {
        Some(name) => TimeZone::get(name).ok()?,
        None => otherwise.clone(),
    };
    Schedule::new(promise.cron.as_str(), timezone, CatchUp::Never, Duration::ZERO).ok()
}

/// Reads the end of a pause: a moment (RFC 3339), a date or a date and a time of day on the clocks of
/// `timezone`, or how long from now: `90m`, `12h`, `3d`, `2w`, `1d12h`.
///
/// # Errors
///
/// `INVALID_CONFIG`, with the forms that there are.
pub fn read_until(text: &str, timezone: &TimeZone, now: Timestamp) -> Result<Timestamp, Failure> {
    let text = text.trim();
    let read = text
        .parse::<Timestamp>()
        .ok()
        .or_else(|| now.checked_add(span(text)?).ok())
        .or_else(|| timezone.to_ambiguous_timestamp(civil(text)?).compatible().ok());
    read.ok_or_else(|| {
        Failure::new(ErrorCode::InvalidConfig, format!("{text:?} is no time at which a pause ends"))
            .with_remedy(
                "give a span (`12h`, `3d`), a date (`2026-04-01`), a date and a time (`2026-04-01 \
                 06:00`), or a moment (`2026-04-01T06:00:00Z`)",
            )
    })
}

/// A date, with or without a time of day. Not what names an offset or a zone: that is a moment.
fn civil(text: &str) -> Option<DateTime> {
    text.chars().all(|c| c.is_ascii_digit() || "-: T".contains(c)).then_some(())?;
    text.parse().ok()
}

fn span(text: &str) -> Option<SignedDuration> {
    let mut total: i64 = 0;
    let mut number = String::new();
    for c in text.chars() {
        let seconds = match c {
            '0'..='9' => {
                number.push(c);
                continue;
            }
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 7 * 86_400,
            _ => return None,
        };
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(seconds)?)?;
        number.clear();
    }
    (number.is_empty() && total > 0).then(|| SignedDuration::from_secs(total))
}

/// One project's schedule, as it stands.
#[derive(Debug, Clone)]
pub struct Scheduled {
    /// The project's name as configured.
    pub name: String,
    /// The project; `None` where its configuration has errors.
    pub project: Option<Project>,
    /// The pause that is in force.
    pub pause: Option<Pause>,
    /// When it comes true next; `None` for one that is off, or paused without an end.
    pub next_run: Option<Timestamp>,
    /// Its newest run.
    pub last_run: Option<BackupRun>,
}

/// Whether a schedule will come true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduleState {
    /// It will.
    Active,
    /// Somebody has paused it.
    Paused,
    /// The configuration turns the project off.
    Disabled,
    /// The project has no `cron`.
    Unscheduled,
    /// The project's configuration has errors.
    Invalid,
}

impl ScheduleState {
    /// The word in `--json`: `active`, `paused`, `disabled`, `unscheduled`, `invalid`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
            Self::Unscheduled => "unscheduled",
            Self::Invalid => "invalid",
        }
    }
}

impl Scheduled {
    /// The project's schedule, if it has one.
    pub fn schedule(&self) -> Option<&Schedule> {
        self.project.as_ref()?.schedule.as_ref()
    }

    /// Whether it will come true. Of several reasons why not, the one that is to be put right first.
    pub fn state(&self) -> ScheduleState {
        match &self.project {
            None => ScheduleState::Invalid,
            Some(p) if !p.enabled => ScheduleState::Disabled,
            Some(p) if p.schedule.is_none() => ScheduleState::Unscheduled,
            Some(_) if self.pause.is_some() => ScheduleState::Paused,
            Some(_) => ScheduleState::Active,
        }
    }

    /// The JSON form: an object with `snake_case` keys, moments in RFC 3339, absent values `null`.
    pub fn to_json(&self, now: Timestamp) -> Value {
        let schedule = self.schedule();
        json!({
            "project": self.name,
            "state": self.state().as_str(),
            "enabled": self.project.as_ref().map(|p| p.enabled),
            "cron": schedule.map(|s| &s.cron),
            "schedule": schedule.map(Schedule::describe),
            "timezone": schedule.map(|s| zone_name(&s.timezone, now)),
            "catch_up": schedule.map(|s| s.catch_up.as_str()),
            "grace_seconds": schedule.map(|s| s.grace.as_secs()),
            "next_run": self.next_run.map(notice::stamp),
            "next_in_seconds": self.next_run.map(|at| between(now, at).as_secs()),
            "paused_since": self.pause.map(|p| notice::stamp(p.since)),
            "paused_until": self.pause.and_then(|p| p.until).map(notice::stamp),
            "paused_seconds": self.pause.map(|p| between(p.since, now).as_secs()),
            "last_run": self.last_run.as_ref().map(|run| json!({
                "run_id": run.run_id,
                "trigger": run.trigger,
                "status": run.status,
                "started_at": notice::stamp(run.started_at),
                "due_at": run.due_at.map(notice::stamp),
                "code": run.error.as_ref().map(|e| e.code),
            })),
        })
    }
}

/// The schedules of a configuration.
#[derive(Debug, Clone)]
pub struct Schedules {
    /// Each project, in the order of the file.
    pub projects: Vec<Scheduled>,
    /// Why no last runs are known, where the audit does not answer.
    pub audit: Option<Failure>,
}

/// Lists the schedules. One question to the audit in all; without an answer the schedules themselves
/// are told all the same.
pub async fn list(world: &World, entries: Vec<ProjectEntry>) -> Result<Schedules, Failure> {
    let now = world.clock.now();
    let (runs, audit) = match world.audit.latest_runs().await {
        Ok(runs) => (runs, None),
        Err(failure) => (Vec::new(), Some(failure)),
    };
    let mut projects = Vec::with_capacity(entries.len());
    for entry in entries {
        let pause = match ProjectName::new(entry.name.clone()) {
            Ok(name) => world.schedules.project(&name).await?.pause_at(now),
            Err(_) => None,
        };
        let last_run = runs.iter().filter(|r| r.project.as_str() == entry.name);
        let last_run = last_run.max_by_key(|r| r.started_at).cloned();
        let project = entry.project.ok();
        let schedule = project.as_ref().filter(|p| p.enabled).and_then(|p| p.schedule.as_ref());
        let next_run =
            schedule.and_then(|s| s.next_after(pause.map_or(Some(now), |pause| pause.until)?));
        projects.push(Scheduled { name: entry.name, project, pause, next_run, last_run });
    }
    Ok(Schedules { projects, audit })
}

/// A moment at which a schedule comes true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// When.
    pub at: Timestamp,
    /// What a change of the clocks does to it, if one does.
    pub remark: Option<String>,
}

/// The next `count` moments after `from` at which the project's schedule comes true.
///
/// # Errors
///
/// `INVALID_CONFIG` for a project without a `cron`.
pub fn next(project: &Project, from: Timestamp, count: usize) -> Result<Vec<Slot>, Failure> {
    let schedule = scheduled(project)?;
    let mut slots = Vec::new();
    let mut before = from;
    while slots.len() < count {
        let Some(at) = schedule.next_after(before) else { break };
        slots.push(Slot { at, remark: remark(schedule, before, at) });
        before = at;
    }
    Ok(slots)
}

/// The project's schedule.
///
/// # Errors
///
/// `INVALID_CONFIG` for a project without a `cron`.
pub fn scheduled(project: &Project) -> Result<&Schedule, Failure> {
    project.schedule.as_ref().ok_or_else(|| {
        Failure::new(
            ErrorCode::InvalidConfig,
            format!("project {} has no schedule: `cron` is not set", project.name),
        )
        .with_remedy("give the project a `cron`, e.g. `cron: \"0 2 * * *\"` for every day at 02:00")
    })
}

/// What a change of the clocks does to the slot at `at`.
fn remark(schedule: &Schedule, before: Timestamp, at: Timestamp) -> Option<String> {
    let zone = &schedule.timezone;
    let shown = zone.to_datetime(at);
    if zone.to_ambiguous_timestamp(shown).is_ambiguous() {
        let time = shown.strftime("%H:%M");
        return Some(format!("the clocks show {time} twice that day: it runs the first time"));
    }
    let (old, new) = (zone.to_offset(before), zone.to_offset(at));
    let ahead = i64::from(new.seconds()) - i64::from(old.seconds());
    if ahead == 0 {
        return None;
    }
    let by = human::interval(Duration::from_secs(ahead.unsigned_abs()));
    if ahead < 0 {
        return Some(format!("the clocks have gone back by {by} before it"));
    }
    // By clocks that were not put forward, the skipped times come in the hour behind the change.
    let unchanged = Schedule::new(
        schedule.cron.as_str(),
        TimeZone::fixed(old),
        schedule.catch_up,
        schedule.grace,
    );
    let just_before = at.checked_sub(SignedDuration::from_nanos(1)).ok();
    let end = at.checked_add(SignedDuration::from_secs(ahead) - SignedDuration::from_nanos(1)).ok();
    let changes_here = just_before.is_some_and(|before| zone.to_offset(before) != new);
    if let (Ok(unchanged), Some(from), Some(end), true) =
        (unchanged, just_before, end, changes_here)
    {
        let skipped: Vec<String> = unchanged
            .slots(from, end)
            .map(|slot| TimeZone::fixed(old).to_datetime(slot).strftime("%H:%M").to_string())
            .collect();
        let runs = shown.strftime("%H:%M");
        match skipped.as_slice() {
            [] => {}
            [one] => return Some(format!("the clocks skip {one} that day: it runs at {runs}")),
            [first, .., last] => {
                return Some(format!(
                    "the clocks skip {first} to {last} that day: it runs once, at {runs}"
                ));
            }
        }
    }
    Some(format!("the clocks have gone forward by {by} before it"))
}

/// A time zone as people name it.
pub fn zone_name(zone: &TimeZone, now: Timestamp) -> String {
    let named = zone.iana_name().map(str::to_owned);
    named.unwrap_or_else(|| now.to_zoned(zone.clone()).strftime("%Z").to_string())
}

/// How long it is from one moment to a later one; nothing where it is not later.
pub fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
