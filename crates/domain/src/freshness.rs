//! Whether a project's last success is as new as its schedule promises.
//!
//! A backup that silently stopped looks like one that works. So there is one word that is green,
//! and a different one for each way of not being it.

#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;

use crate::schedule::Schedule;

/// What is known of a project when somebody asks how fresh its backup is.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Its schedule, if it has one.
    pub schedule: Option<&'a Schedule>,
    /// Whether the configuration enables it.
    pub enabled: bool,
    /// Whether somebody has paused its schedule.
    pub paused: bool,
    /// When its last successful run started: a backup is as old as what is in it.
    pub last_success: Option<Timestamp>,
    /// When its last run that has ended, well or not, started. A slot that was missed is no run.
    pub last_run: Option<Timestamp>,
    /// Since when the project has been known here, for one that never ran; `None` where nobody
    /// remembers.
    pub known_since: Option<Timestamp>,
    /// Since when its schedule has been what it is; `None` where nobody has seen it change.
    pub promised_since: Option<Timestamp>,
    /// When its last pause ended: what lay in it was not promised.
    pub resumed_at: Option<Timestamp>,
}

/// How fresh a project's backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The last success is as new as the schedule promises. The only green one.
    Fresh {
        /// Until when: the first slot after the last success, the schedule's last change and the end
        /// of its last pause, and the grace.
        due: Timestamp,
    },
    /// A success should have come and has not.
    Overdue {
        /// Since when: the moment at which it was due.
        since: Timestamp,
        /// The last success; `None` where every run so far has failed.
        last_success: Option<Timestamp>,
        /// How often a success is promised.
        expected_every: Duration,
    },
    /// No run has ended yet; or none has succeeded, and the first success is not due yet.
    NeverRan {
        /// When the first success is due, if the schedule has a slot; it may be past.
        first_due: Option<Timestamp>,
    },
    /// Somebody has paused the schedule.
    Paused,
    /// The configuration turns the project off.
    Disabled,
    /// The project has no schedule, so nothing is promised.
    Unscheduled {
        /// The last success, if there was one.
        last_success: Option<Timestamp>,
    },
}

impl Freshness {
    /// Judges what is known at `now`.
    pub fn of(known: Known<'_>, now: Timestamp) -> Self {
        if !known.enabled {
            return Self::Disabled;
        }
        let Some(schedule) = known.schedule else {
            return Self::Unscheduled { last_success: known.last_success };
        };
        if known.paused {
            return Self::Paused;
        }
        let expected_every = schedule.expected_interval(now).unwrap_or_default();
        let base = known.last_success.or(known.known_since);
        let base = base.max(known.promised_since).max(known.resumed_at);
        let due = due_after(schedule, base.unwrap_or(now));
        let overdue =
            |since| Self::Overdue { since, last_success: known.last_success, expected_every };
        match (known.last_success, known.last_run) {
            (Some(_), _) => {
                // No slot is left until the calendar's end: nothing further is promised.
                let due = due.unwrap_or(Timestamp::MAX);
                if now <= due { Self::Fresh { due } } else { overdue(due) }
            }
            // It ran and has never succeeded, and nobody remembers for how long it has been known.
            (None, Some(run)) if base.is_none() => overdue(run),
            (None, Some(_)) => match due.filter(|due| *due < now) {
                Some(due) => overdue(due),
                None => Self::NeverRan { first_due: due },
            },
            (None, None) => Self::NeverRan { first_due: due },
        }
    }

    /// The name in `--json`, metrics and the API: `fresh`, `overdue`, `never_ran`, `paused`,
    /// `disabled`, `unscheduled`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh { .. } => "fresh",
            Self::Overdue { .. } => "overdue",
            Self::NeverRan { .. } => "never_ran",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
            Self::Unscheduled { .. } => "unscheduled",
        }
    }

    /// The name as people read it: as [`Freshness::as_str`], with spaces.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::NeverRan { .. } => "never ran",
            other => other.as_str(),
        }
    }

    /// Whether it may be shown as good.
    pub const fn is_green(self) -> bool {
        matches!(self, Self::Fresh { .. })
    }

    /// Whether a success that was promised is missing at `now`: worth an alert. True for an
    /// overdue project, and for one that never ran although its first success was due.
    pub fn is_late(self, now: Timestamp) -> bool {
        match self {
            Self::Overdue { .. } => true,
            Self::NeverRan { first_due } => first_due.is_some_and(|due| due < now),
            _ => false,
        }
    }
}

fn due_after(schedule: &Schedule, time: Timestamp) -> Option<Timestamp> {
    let slot = schedule.next_after(time)?;
    Some(slot.checked_add(schedule.grace).unwrap_or(Timestamp::MAX))
}
