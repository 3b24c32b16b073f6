//! What is remembered of a schedule from one process to the next: how far its slots have been dealt
//! with, a pause, and of what people have been told.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::Schedule;

/// What is remembered of one project's schedule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleMemory {
    /// Since when the project's schedule has been known here.
    #[serde(default)]
    pub known_since: Option<Timestamp>,
    /// The schedule as it was known last: what was promised, should the configuration say something
    /// else by now.
    #[serde(default)]
    pub promised: Option<Promise>,
    /// What was promised when somebody looked last, and since when: older successes are not asked to
    /// have kept it.
    #[serde(default)]
    pub standing: Option<Standing>,
    /// Up to when, inclusive, every slot has a run, a record that it was missed, or is folded into the
    /// run that waits.
    #[serde(default)]
    pub handled_until: Option<Timestamp>,
    /// The missed slot that a run is to make up for, until that run has begun: a process that ends
    /// while it waits leaves it to the next one.
    #[serde(default)]
    pub owed: Option<Timestamp>,
    /// The pause that somebody has ordered; it may have ended by itself.
    #[serde(default)]
    pub pause: Option<Pause>,
    /// What people have been told of a missing success; `None` while all is well.
    #[serde(default)]
    pub alert: Option<Episode>,
    /// The same of what the repository itself shows, where that is watched too: it may know worse.
    #[serde(default)]
    pub repository_alert: Option<Episode>,
    /// When the last run for a slot began.
    #[serde(default)]
    pub begun_at: Option<Timestamp>,
    /// When a timer or cron last started a run, or was told that the schedule is paused.
    #[serde(default)]
    pub timer_at: Option<Timestamp>,
    /// When the last successful run started, for when the audit does not answer.
    #[serde(default)]
    pub last_success: Option<Timestamp>,
    /// When the last run started that was stored at a destination, by its name: of projects with
    /// several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stored: BTreeMap<String, Timestamp>,
}

impl ScheduleMemory {
    /// The pause, if it is in force at `now`.
    pub fn pause_at(&self, now: Timestamp) -> Option<Pause> {
        self.pause.filter(|pause| pause.is_in_force(now))
    }

    /// A run for this slot begins at `now`: the slot is dealt with, and it makes up for what was owed.
    pub fn begin(&mut self, slot: Timestamp, now: Timestamp) {
        self.handled_until = self.handled_until.max(Some(slot));
        self.begun_at = self.begun_at.max(Some(now));
        self.owed = None;
    }

    /// Whether the slot needs no run any more: it is dealt with, a run has begun since it came, and
    /// none is owed. One that is folded into the run that waits counts as dealt with, and the run that
    /// waits must still be made.
    pub fn needs_no_run(&self, slot: Timestamp) -> bool {
        let at_least = |at: Option<Timestamp>| at.is_some_and(|at| at >= slot);
        self.owed.is_none() && at_least(self.handled_until) && at_least(self.begun_at)
    }

    /// Notes what is promised now, `None` for a schedule that is off or gone. What differs from what was
    /// noted before has been promised since `now`; what is noted first, since nobody knows when.
    pub fn note_promise(&mut self, promise: Option<Promise>, now: Timestamp) {
        let before = match &self.standing {
            Some(standing) => Some(standing.promise.as_ref()),
            None => self.promised.as_ref().map(Some),
        };
        if before == Some(promise.as_ref()) && self.standing.is_some() {
            return;
        }
        let is_change = before.is_some_and(|before| before != promise.as_ref());
        self.standing = Some(Standing { promise, since: is_change.then_some(now) });
    }

    /// Since when `schedule` has been promised, as far as anybody knows.
    ///
    /// A change that nobody has noted yet counts from `now`, yet no later than from the slot at which
    /// the schedule before it would have asked for a success: a backup does not stay fresh because
    /// nobody writes down that it was to come more often.
    pub fn promised_since(
        &self,
        schedule: &Schedule,
        last_success: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let promise = Promise::of(schedule);
        let (before, since) = match &self.standing {
            Some(standing) => (standing.promise.as_ref(), standing.since),
            None => (self.promised.as_ref(), None),
        };
        let Some(before) = before.filter(|before| **before != promise) else { return since };
        let asked = || before.schedule(schedule)?.next_after(last_success.or(self.known_since)?);
        Some(asked().map_or(now, |slot| slot.min(now)))
    }

    /// When the last pause ended, by itself or by hand; `None` while one is in force.
    pub fn resumed_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.pause?.until.filter(|until| *until <= now)
    }
}

/// What is promised, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The schedule; `None` where it is off.
    pub promise: Option<Promise>,
    /// Since when; `None` where nobody has seen it change.
    #[serde(default)]
    pub since: Option<Timestamp>,
}

/// A schedule as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// The expression.
    pub cron: String,
    /// The time zone's IANA name; `None` for one that has none.
    pub timezone: Option<String>,
}

impl Promise {
    /// What this schedule promises.
    pub fn of(schedule: &Schedule) -> Self {
        let timezone = schedule.timezone.iana_name().map(str::to_owned);
        Self { cron: schedule.cron.clone(), timezone }
    }

    /// The schedule again, with what else `like` says; `None` where it cannot be read any more.
    pub fn schedule(&self, like: &Schedule) -> Option<Schedule> {
        let timezone = match &self.timezone {
            Some(name) => TimeZone::get(name).ok()?,
            None => like.timezone.clone(),
        };
        Schedule::new(self.cron.as_str(), timezone, like.catch_up, like.grace).ok()
    }
}

/// A pause of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// When it was ordered.
    pub since: Timestamp,
    /// When it ends by itself; `None` until somebody resumes it.
    #[serde(default)]
    pub until: Option<Timestamp>,
}

impl Pause {
    /// Whether it holds at `now`.
    pub fn is_in_force(self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// A time of something being wrong, of which people are told when it begins and once a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Episode {
    /// Since when.
    pub since: Timestamp,
    /// When people were told last.
    pub told_at: Timestamp,
}

/// What is remembered of this machine as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineMemory {
    /// The last daily summary.
    #[serde(default)]
    pub summary: Option<SummaryMemory>,
    /// Up to when the times of the daily summary have been dealt with.
    #[serde(default)]
    pub summary_handled_until: Option<Timestamp>,
    /// When freshness was last watched, by the daemon or by `watch`.
    #[serde(default)]
    pub watched_at: Option<Timestamp>,
    /// What people have been told of an audit that does not answer.
    #[serde(default)]
    pub audit_alert: Option<Episode>,
    /// What people have been told of a configuration that cannot be loaded.
    #[serde(default)]
    pub config_alert: Option<Episode>,
    /// What people have been told of projects that cannot even be looked at, by what it is and whose.
    #[serde(default)]
    pub troubles: BTreeMap<String, Episode>,
}

/// How the last daily summary fared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SummaryMemory {
    /// When it was made.
    pub at: Timestamp,
    /// What went wrong, a line a channel; empty where every channel took it.
    #[serde(default)]
    pub problems: Vec<String>,
}
