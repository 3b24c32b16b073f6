//! When a project runs by itself: its cron expression, read and asked.
//!
//! A slot is a reading of the wall clock, e.g. 02:30, and comes true at the first instant at which
//! the clock has reached it. One rule, and daylight saving follows from it: a slot inside the hour
//! that is skipped comes true once, when the gap ends; a slot inside the hour that happens twice
//! comes true once, the first time.

mod describe;
pub mod memory;
pub mod pattern;
pub mod planner;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};

/// The nicknames, and the five fields that each stands for.
const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// The five fields: name, and what may stand there.
const FIELDS: [(&str, &str); 5] = [
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of month", "1-31, L"),
    ("month", "1-12 or JAN-DEC"),
    ("day of week", "0-7 or SUN-SAT, 0 and 7 are Sunday"),
];

/// Whether a missed run is made up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CatchUp {
    /// Never: the next slot is the next run.
    Never,
    /// While it is not later than the grace.
    #[default]
    WithinGrace,
    /// However late it is.
    Always,
}

impl CatchUp {
    /// The value of `schedule.catch_up`: `false`, `true`, `always`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "false",
            Self::WithinGrace => "true",
            Self::Always => "always",
        }
    }
}

/// A project's schedule.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The expression as configured.
    pub cron: String,
    /// The time zone that it counts in.
    pub timezone: TimeZone,
    /// Whether a missed run is made up for.
    pub catch_up: CatchUp,
    /// How late a run may be before it counts as missed or overdue.
    pub grace: Duration,
    /// The five fields that it stands for. They are read when there is a question: read, they take
    /// 5 KiB, and a daemon holds a thousand schedules of which each has a question a day to answer.
    fields: Box<str>,
}

impl Schedule {
    /// Reads a cron expression: five fields (minute, hour, day of month, month, day of week) or a
    /// nickname such as `@daily`.
    ///
    /// # Errors
    ///
    /// Which part of the expression is wrong, and what may stand there.
    pub fn new(
        cron: impl Into<String>,
        timezone: TimeZone,
        catch_up: CatchUp,
        grace: Duration,
    ) -> Result<Self, String> {
        let cron = cron.into();
        let fields = parse(&cron).map_err(|why| format!("cron {cron:?}: {why}"))?;
        Ok(Self { cron, timezone, catch_up, grace, fields })
    }

    /// The first slot after `time`; `None` when there is none before the calendar's end.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let slots = self.read_slots()?;
        self.next_of(&slots, time)
    }

    fn next_of(&self, slots: &Cron, time: Timestamp) -> Option<Timestamp> {
        let mut slot = self.wall_clock(time);
        // Several slots of a skipped hour share one instant, and those of an hour that is
        // happening for the second time are past: both are passed over here.
        loop {
            slot = slots.find_next_occurrence(&slot, false).ok()?;
            let at = self.instant(slot)?;
            if at > time {
                return Some(at);
            }
        }
    }

    /// The last slot at or before `time`; `None` when there is none since the calendar's begin.
    pub fn previous_at(&self, time: Timestamp) -> Option<Timestamp> {
        let now = self.wall_clock(time);
        // While an hour happens for the second time, slots that the clock has yet to show again
        // have come true already.
        let mut slot = match self.timezone.to_ambiguous_timestamp(now).offset() {
            AmbiguousOffset::Fold { before, after } => {
                let repeated = i64::from(before.seconds()) - i64::from(after.seconds());
                now.checked_add(SignedDuration::from_secs(repeated)).ok()?
            }
            _ => now,
        };
        let mut inclusive = true;
        let slots = self.read_slots()?;
        loop {
            slot = slots.find_previous_occurrence(&slot, inclusive).ok()?;
            inclusive = false;
            let at = self.instant(slot)?;
            if at <= time {
                return Some(at);
            }
        }
    }

    /// The slots after `after` up to and including `until`, oldest first.
    pub fn slots(&self, after: Timestamp, until: Timestamp) -> impl Iterator<Item = Timestamp> {
        let slots = self.read_slots();
        let next =
            move |at: Timestamp| self.next_of(slots.as_ref()?, at).filter(|slot| *slot <= until);
        std::iter::successors(next(after), move |slot| next(*slot))
    }

    /// How far apart runs are promised to be: the longest time between two successive slots in the
    /// weeks around `now`, by the wall clock (so that a daily schedule says 24 hours on the day of
    /// a change to summer time, too). `None` where fewer than two slots are left.
    pub fn expected_interval(&self, now: Timestamp) -> Option<Duration> {
        let today = self.wall_clock(now);
        let (slots, days) = (self.read_slots()?, self.read_days()?);
        let minutes = slots.pattern.minutes.values();
        let hours = slots.pattern.hours.values();
        let of_day: Vec<i64> = hours
            .iter()
            .flat_map(|h| minutes.iter().map(move |m| i64::from(*h) * 60 + i64::from(*m)))
            .collect();
        let (first, last) = (*of_day.first()?, *of_day.last()?);
        let within_a_day = of_day.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0);

        let from = today.checked_sub(1.week()).ok()?;
        let until = today.checked_add(1.week()).ok()?;
        let mut day = match days.find_previous_occurrence(&from, true) {
            Ok(day) => day,
            Err(_) => days.find_next_occurrence(&from, false).ok()?,
        };
        let mut longest = within_a_day;
        while day <= until {
            let Ok(next) = days.find_next_occurrence(&day, false) else { break };
            let apart = next.duration_since(day).as_mins();
            longest = longest.max(apart + first - last);
            day = next;
        }
        u64::try_from(longest).ok().filter(|m| *m > 0).map(|m| Duration::from_secs(m * 60))
    }

    /// The schedule in words: `every day at 02:00`; the expression itself where words would be
    /// longer than it is worth.
    pub fn describe(&self) -> String {
        self.read_slots()
            .and_then(|slots| describe::in_words(&slots))
            .unwrap_or_else(|| self.cron.clone())
    }

    /// The expression, read: it could be when the schedule was made.
    fn read_slots(&self) -> Option<Arc<Cron>> {
        read(&self.fields)
    }

    /// The same days, each with one slot at midnight.
    fn read_days(&self) -> Option<Arc<Cron>> {
        read(&midnights(&self.fields))
    }

    /// What the wall clock shows at `time`, down to the minute: slots are whole minutes.
    fn wall_clock(&self, time: Timestamp) -> DateTime {
        let shown = self.timezone.to_datetime(time);
        shown.date().at(shown.hour(), shown.minute(), 0, 0)
    }

    /// The first instant at which the wall clock has reached `slot`.
    fn instant(&self, slot: DateTime) -> Option<Timestamp> {
        let ambiguous = self.timezone.to_ambiguous_timestamp(slot);
        if let AmbiguousOffset::Gap { before, .. } = ambiguous.offset() {
            // Read with the old offset, a skipped slot lies at or behind the end of the gap.
            let behind = before.to_timestamp(slot).ok()?;
            let just_behind = behind.checked_add(SignedDuration::from_nanos(1)).ok()?;
            if let Some(change) = self.timezone.preceding(just_behind).next() {
                return Some(change.timestamp());
            }
        }
        // `compatible` takes the first of two instants.
        ambiguous.compatible().ok()
    }
}

/// The five fields of an expression that is found to be good.
fn parse(cron: &str) -> Result<Box<str>, String> {
    let text = cron.trim();
    if text.is_empty() {
        return Err("is empty; five fields are needed, e.g. \"0 2 * * *\", or @daily".to_owned());
    }
    let text = if text.starts_with('@') {
        NICKNAMES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map(|(_, fields)| *fields)
            .ok_or_else(|| {
                let known: Vec<_> = NICKNAMES.iter().map(|(name, _)| *name).collect();
                format!("unknown nickname; known are {}", known.join(", "))
            })?
    } else {
        text
    };
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let seconds = if fields.len() == 6 { "; seconds are not supported" } else { "" };
        return Err(format!(
            "has {} fields where 5 are needed (minute, hour, day of month, month, day of \
             week){seconds}",
            fields.len()
        ));
    }
    // The parser passes over an empty item of a list.
    let has_gap = |field: &str| field.split(',').any(str::is_empty);
    let five = fields.join(" ").into_boxed_str();
    if read(&five).is_none() || fields.iter().any(|field| has_gap(field)) {
        // Reading is slow, so each field is read by itself only to find the wrong one.
        for (at, (name, range)) in FIELDS.iter().enumerate() {
            let mut alone = ["*"; 5];
            alone[at] = fields[at];
            if has_gap(fields[at]) || read(&alone.join(" ")).is_none() {
                return Err(format!(
                    "{name} {:?} is not valid; it takes {range}; also lists (1,2), ascending \
                     ranges (1-5) and steps (*/2)",
                    fields[at]
                ));
            }
        }
        return Err("is not a valid cron expression".to_owned());
    }
    let days = read(&midnights(&five)).ok_or("is not a valid cron expression")?;
    // 30 February parses and never comes. A leap day on a given weekday takes up to 40 years.
    let begin = DateTime::constant(2000, 1, 1, 0, 0, 0, 0);
    match days.find_next_occurrence(&begin, true) {
        Ok(_) => Ok(five),
        Err(_) => Err("never comes true: no such day exists".to_owned()),
    }
}

/// The same five fields with one slot a day, at midnight.
fn midnights(fields: &str) -> String {
    let days = fields.splitn(3, ' ').nth(2).unwrap_or_default();
    format!("0 0 {days}")
}

/// How many expressions a thread remembers having read: questions about one schedule come together.
const REMEMBERED: usize = 64;

thread_local! {
    static READ: RefCell<VecDeque<(Box<str>, Arc<Cron>)>> = const { RefCell::new(VecDeque::new()) };
}

/// Reads five fields, or remembers them.
fn read(fields: &str) -> Option<Arc<Cron>> {
    READ.with_borrow_mut(|known| {
        if let Some((_, cron)) = known.iter().find(|(text, _)| **text == *fields) {
            return Some(Arc::clone(cron));
        }
        let parser =
            CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = Arc::new(parser.parse(fields).ok()?);
        known.truncate(REMEMBERED - 1);
        known.push_front((fields.into(), Arc::clone(&cron)));
        Some(cron)
    })
}
