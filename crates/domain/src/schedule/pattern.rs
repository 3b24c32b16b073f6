//! A cron expression taken apart, for whoever writes it in another language: a systemd timer does.

use croner::CronPattern;

use super::Schedule;

/// The bits by which the parser marks what depends on the month: the nth weekday is bit n.
const LAST: u8 = 1 << 6;
const NEAREST_WEEKDAY: u8 = 1 << 7;

/// The values at which a schedule comes true, by the wall clock. Each list is ascending and not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// 0 to 59.
    pub minutes: Vec<u16>,
    /// 0 to 23.
    pub hours: Vec<u16>,
    /// 1 to 12.
    pub months: Vec<u16>,
    /// The days.
    pub days: Days,
}

/// On which days of its months a schedule comes true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Days {
    /// Every day.
    Every,
    /// Those of the month.
    OfMonth(MonthDays),
    /// Those of the week.
    OfWeek(Vec<Weekday>),
    /// Either is enough, which is cron's rule where both are given.
    Either(MonthDays, Vec<Weekday>),
    /// Both must be so.
    Both(MonthDays, Vec<Weekday>),
}

/// Days of a month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonthDays {
    /// 1 to 31; may be empty where `last` is set.
    pub numbers: Vec<u16>,
    /// Whether the last day is one, however long the month.
    pub last: bool,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weekday {
    /// 0 is Sunday.
    pub number: u16,
    /// Which of those of the month.
    pub which: Which,
}

/// Which of a month's days of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All.
    Every,
    /// The first to the fifth.
    Nth(u16),
    /// The last.
    Last,
}

impl Schedule {
    /// The expression, taken apart.
    ///
    /// # Errors
    ///
    /// What of it cannot be said by lists of values: the weekday nearest to a day (`15W`).
    pub fn pattern(&self) -> Result<Pattern, String> {
        let Some(slots) = self.read_slots() else {
            return Err(format!("cron {:?} cannot be read", self.cron));
        };
        let pattern = &slots.pattern;
        let days = &pattern.days;
        if days.is_feature_enabled(NEAREST_WEEKDAY)
            || !days.get_set_values(NEAREST_WEEKDAY).is_empty()
        {
            return Err(format!(
                "cron {:?}: the weekday nearest to a day (W) cannot be said otherwise",
                self.cron
            ));
        }
        let of_month = MonthDays { numbers: days.values(), last: days.is_feature_enabled(LAST) };
        let of_week = weekdays(pattern);
        let days = match (pattern.is_dom_wildcard(), pattern.is_dow_wildcard()) {
            (true, true) => Days::Every,
            (false, true) => Days::OfMonth(of_month),
            (true, false) => Days::OfWeek(of_week),
            (false, false) if pattern.matches_dom_and_dow() => Days::Both(of_month, of_week),
            (false, false) => Days::Either(of_month, of_week),
        };
        Ok(Pattern {
            minutes: pattern.minutes.values(),
            hours: pattern.hours.values(),
            months: pattern.months.values(),
            days,
        })
    }
}

fn weekdays(pattern: &CronPattern) -> Vec<Weekday> {
    let field = &pattern.days_of_week;
    let mut all = Vec::new();
    let mut add = |numbers: Vec<u16>, which| {
        for number in numbers {
            // Sunday has two numbers.
            let day = Weekday { number: number % 7, which };
            if !all.contains(&day) {
                all.push(day);
            }
        }
    };
    add(field.values(), Which::Every);
    (1..=5).for_each(|nth| add(field.get_set_values(1 << nth), Which::Nth(nth)));
    add(field.get_set_values(LAST), Which::Last);
    all
}
