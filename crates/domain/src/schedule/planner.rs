//! What is to be done about a schedule's slots: which ran out unused, and which is to be run now.

use std::time::Duration;

use jiff::Timestamp;

use super::memory::{Promise, ScheduleMemory};
use super::{CatchUp, Schedule};
use crate::Trigger;

/// How late a run may start and still be the slot's own.
pub const PUNCTUAL: Duration = Duration::from_mins(1);

/// How many missed slots get a record each; older ones share one.
pub const RECORDS_OF_MISSED: usize = 24;

/// A run that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The slot that it is for.
    pub slot: Timestamp,
    /// `scheduled`, or `catch_up` for a missed one.
    pub trigger: Trigger,
}

/// Slots that have passed without a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// The first.
    pub first: Timestamp,
    /// The last; the same as `first` for one alone.
    pub last: Timestamp,
    /// How many.
    pub count: u64,
}

/// What is to be done at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to record as missed, oldest first.
    pub missed: Vec<Missed>,
    /// What to run.
    pub due: Option<Due>,
    /// Up to when every slot is dealt with once the missed are recorded; what is due comes on top.
    /// `None` where there was nothing to deal with.
    pub settled: Option<Timestamp>,
}

impl Plan {
    /// Looks at the slots between what `memory` has dealt with and `now`.
    ///
    /// Slots count by the schedule that was promised at their time: one that the configuration has
    /// replaced since still accounts for the past. Slots of a pause were not promised.
    pub fn at(schedule: &Schedule, memory: &ScheduleMemory, now: Timestamp) -> Self {
        Self::tolerating(PUNCTUAL, schedule, memory, now)
    }

    /// The same where a run may start later than [`PUNCTUAL`] and still be the slot's own.
    pub fn tolerating(
        punctual: Duration,
        schedule: &Schedule,
        memory: &ScheduleMemory,
        now: Timestamp,
    ) -> Self {
        let Some(handled) = memory.handled_until else { return Self::default() };
        if memory.pause_at(now).is_some() {
            return Self::default();
        }
        // A pause that ended by itself: what lies in it was not promised.
        let resumed = memory.pause.and_then(|pause| pause.until).filter(|until| *until <= now);
        let from = resumed.map_or(handled, |until| handled.max(until));
        let replaced = memory
            .promised
            .as_ref()
            .filter(|promise| **promise != Promise::of(schedule))
            .and_then(|promise| promise.schedule(schedule));
        let schedule = replaced.as_ref().unwrap_or(schedule);

        let Some(last) = schedule.previous_at(now).filter(|slot| *slot > from) else {
            // Its record is written; only the run that makes up for it has not begun.
            let owed = memory.owed.filter(|slot| *slot <= now && is_made_up(schedule, *slot, now));
            let due = owed.map(|slot| Due { slot, trigger: Trigger::CatchUp });
            return Self { due, ..Self::default() };
        };
        let late = late_by(last, now);
        let mut missed = Gathered::default();
        let mut slots = schedule.slots(from, now);
        if late <= punctual {
            slots.by_ref().take_while(|slot| *slot < last).for_each(|slot| missed.add(slot));
            let due = Some(Due { slot: last, trigger: Trigger::Scheduled });
            let settled = missed.last();
            return Self { missed: missed.list(), due, settled };
        }
        slots.for_each(|slot| missed.add(slot));
        let due = is_made_up(schedule, last, now)
            .then_some(Due { slot: last, trigger: Trigger::CatchUp });
        Self { missed: missed.list(), due, settled: Some(last) }
    }
}

fn late_by(slot: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(slot)).unwrap_or_default()
}

/// Whether a run at `now` may still make up for the slot.
fn is_made_up(schedule: &Schedule, slot: Timestamp, now: Timestamp) -> bool {
    match schedule.catch_up {
        CatchUp::Never => false,
        CatchUp::WithinGrace => late_by(slot, now) <= schedule.grace,
        CatchUp::Always => true,
    }
}

/// Missed slots as they are counted: the newest one by one, the others as one.
#[derive(Default)]
struct Gathered {
    older: Option<Missed>,
    newest: std::collections::VecDeque<Timestamp>,
}

impl Gathered {
    fn add(&mut self, slot: Timestamp) {
        self.newest.push_back(slot);
        if self.newest.len() <= RECORDS_OF_MISSED {
            return;
        }
        if let Some(slot) = self.newest.pop_front() {
            let older = self.older.get_or_insert(Missed { first: slot, last: slot, count: 0 });
            older.last = slot;
            older.count += 1;
        }
    }

    fn last(&self) -> Option<Timestamp> {
        self.newest.back().copied()
    }

    fn list(self) -> Vec<Missed> {
        let each = self.newest.into_iter().map(|slot| Missed { first: slot, last: slot, count: 1 });
        self.older.into_iter().chain(each).collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use jiff::tz::TimeZone;

    use super::*;
    use crate::schedule::memory::Pause;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn schedule(cron: &str, catch_up: CatchUp) -> Schedule {
        Schedule::new(cron, TimeZone::UTC, catch_up, Duration::from_hours(2)).unwrap()
    }

    fn handled(until: &str) -> ScheduleMemory {
        ScheduleMemory { handled_until: Some(at(until)), ..ScheduleMemory::default() }
    }

    fn one(slot: &str) -> Missed {
        Missed { first: at(slot), last: at(slot), count: 1 }
    }

    #[test]
    fn a_slot_is_run_at_its_time() {
        let daily = schedule("0 2 * * *", CatchUp::WithinGrace);
        let memory = handled("2026-03-17T02:00:00Z");
        assert_eq!(Plan::at(&daily, &memory, at("2026-03-18T01:59:59Z")), Plan::default());
        for now in ["2026-03-18T02:00:00Z", "2026-03-18T02:01:00Z"] {
            let plan = Plan::at(&daily, &memory, at(now));
            let slot = at("2026-03-18T02:00:00Z");
            assert_eq!(plan.due, Some(Due { slot, trigger: Trigger::Scheduled }));
            assert_eq!((plan.missed, plan.settled), (vec![], None));
        }
    }

    #[test]
    fn a_missed_slot_is_recorded_and_made_up_for_as_the_schedule_says() {
        let memory = handled("2026-03-17T02:00:00Z");
        let slot = at("2026-03-18T02:00:00Z");
        let made_up = Some(Due { slot, trigger: Trigger::CatchUp });
        for (catch_up, now, due) in [
            (CatchUp::WithinGrace, "2026-03-18T04:00:00Z", made_up),
            (CatchUp::WithinGrace, "2026-03-18T04:00:01Z", None),
            (CatchUp::Always, "2026-03-18T23:00:00Z", made_up),
            (CatchUp::Never, "2026-03-18T02:05:00Z", None),
        ] {
            let plan = Plan::at(&schedule("0 2 * * *", catch_up), &memory, at(now));
            assert_eq!(plan.due, due, "{catch_up:?} at {now}");
            assert_eq!(plan.missed, [one("2026-03-18T02:00:00Z")]);
            assert_eq!(plan.settled, Some(slot));
        }
    }

    #[test]
    fn many_missed_slots_make_one_run_and_a_bounded_number_of_records() {
        let minutely = schedule("* * * * *", CatchUp::Always);
        let memory = handled("2026-03-17T00:00:00Z");
        let now = at("2026-03-18T00:00:30Z");
        let plan = Plan::at(&minutely, &memory, now);
        assert_eq!(
            plan.due,
            Some(Due { slot: at("2026-03-18T00:00:00Z"), trigger: Trigger::Scheduled })
        );
        assert_eq!(plan.missed.len(), RECORDS_OF_MISSED + 1);
        assert_eq!(plan.missed.iter().map(|m| m.count).sum::<u64>(), 24 * 60 - 1);
        assert_eq!(plan.settled, Some(at("2026-03-17T23:59:00Z")));
        assert_eq!(plan.missed[0].first, at("2026-03-17T00:01:00Z"));
        let next = plan.missed[0].last.checked_add(1.minute()).unwrap();
        assert_eq!(plan.missed[1], Missed { first: next, last: next, count: 1 });
    }

    #[test]
    fn what_lies_in_a_pause_was_not_promised() {
        let daily = schedule("0 2 * * *", CatchUp::Always);
        let mut memory = handled("2026-03-10T02:00:00Z");
        memory.pause = Some(Pause {
            since: at("2026-03-10T12:00:00Z"),
            until: Some(at("2026-03-15T12:00:00Z")),
        });
        assert_eq!(Plan::at(&daily, &memory, at("2026-03-14T03:00:00Z")), Plan::default());
        let plan = Plan::at(&daily, &memory, at("2026-03-16T03:00:00Z"));
        assert_eq!(plan.missed, [one("2026-03-16T02:00:00Z")]);
    }

    #[test]
    fn the_past_counts_by_the_schedule_that_was_promised_then() {
        let mut memory = handled("2026-03-17T02:00:00Z");
        let before = schedule("0 2 * * *", CatchUp::Always);
        memory.promised = Some(Promise::of(&before));
        let hourly = schedule("0 * * * *", CatchUp::Always);
        let plan = Plan::at(&hourly, &memory, at("2026-03-18T05:30:00Z"));
        assert_eq!(plan.missed, [one("2026-03-18T02:00:00Z")]);
    }

    #[test]
    fn a_run_that_is_owed_stays_due_as_long_as_it_may_be_made_up_for() {
        let slot = at("2026-03-18T02:00:00Z");
        let memory = ScheduleMemory { owed: Some(slot), ..handled("2026-03-18T02:00:00Z") };
        let due = Some(Due { slot, trigger: Trigger::CatchUp });
        for (catch_up, now, due) in [
            (CatchUp::WithinGrace, "2026-03-18T04:00:00Z", due),
            (CatchUp::WithinGrace, "2026-03-18T04:00:01Z", None),
            (CatchUp::Always, "2026-03-18T23:00:00Z", due),
            (CatchUp::Never, "2026-03-18T02:05:00Z", None),
        ] {
            let plan = Plan::at(&schedule("0 2 * * *", catch_up), &memory, at(now));
            assert_eq!(plan, Plan { due, ..Plan::default() }, "{catch_up:?} at {now}");
        }
        // A newer slot takes its place, and a pause takes it away for its time.
        let daily = schedule("0 2 * * *", CatchUp::Always);
        let next = at("2026-03-19T02:00:00Z");
        let plan = Plan::at(&daily, &memory, next);
        assert_eq!(plan.due, Some(Due { slot: next, trigger: Trigger::Scheduled }));
        let pause = Some(Pause { since: slot, until: None });
        let paused = ScheduleMemory { pause, ..memory.clone() };
        assert_eq!(Plan::at(&daily, &paused, at("2026-03-18T03:00:00Z")), Plan::default());
        // Once its run has begun, nothing is owed.
        let mut begun = memory.clone();
        assert!(!begun.needs_no_run(slot));
        begun.begin(slot, slot);
        assert!(begun.needs_no_run(slot) && !begun.needs_no_run(next));
        assert_eq!(Plan::at(&daily, &begun, at("2026-03-18T03:00:00Z")), Plan::default());
    }

    #[test]
    fn what_was_never_seen_before_has_missed_nothing() {
        let daily = schedule("0 2 * * *", CatchUp::Always);
        let plan = Plan::at(&daily, &ScheduleMemory::default(), at("2026-03-18T02:00:00Z"));
        assert_eq!(plan, Plan::default());
    }
}
