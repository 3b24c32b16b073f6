//! A cron expression in words, for people who read a list of schedules.

use croner::Cron;

const WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// How many times of day are still listed.
const MOST_TIMES: usize = 6;

/// The words; `None` where they would say less than the expression.
pub(super) fn in_words(cron: &Cron) -> Option<String> {
    let days = days(cron)?;
    Some(match (times(cron)?, days) {
        (Times::Every(times), None) => times,
        (Times::Every(times), Some(days)) => format!("{times} {days}"),
        (Times::At(times), None) => format!("every day at {times}"),
        (Times::At(times), Some(Days::In(months))) => format!("every day at {times} {months}"),
        (Times::At(times), Some(days)) => format!("at {times} {days}"),
    })
}

enum Times {
    /// A rhythm that needs no day: `every 15 minutes`.
    Every(String),
    /// Times of a day: `02:00 and 14:00`.
    At(String),
}

enum Days {
    /// Every day of some months: `in January`.
    In(String),
    /// Some days: `on Monday`.
    On(String),
}

impl std::fmt::Display for Days {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::In(text) | Self::On(text) => f.write_str(text),
        }
    }
}

fn times(cron: &Cron) -> Option<Times> {
    let minutes = cron.pattern.minutes.values();
    let hours = cron.pattern.hours.values();
    let (minute_step, hour_step) = (step(&minutes, 60), step(&hours, 24));
    let rhythm = match (minutes.as_slice(), minute_step, hour_step) {
        (_, Some(1), Some(1)) => Some("every minute".to_owned()),
        (_, Some(n), Some(1)) => Some(format!("every {n} minutes")),
        ([0], _, Some(1)) => Some("every hour".to_owned()),
        ([m], _, Some(1)) => Some(format!("every hour at minute {m}")),
        ([0], _, Some(n)) => Some(format!("every {n} hours")),
        ([m], _, Some(n)) => Some(format!("every {n} hours at minute {m}")),
        _ => None,
    };
    if let Some(rhythm) = rhythm {
        return Some(Times::Every(rhythm));
    }
    if minutes.len() * hours.len() > MOST_TIMES {
        return None;
    }
    let list: Vec<String> =
        hours.iter().flat_map(|h| minutes.iter().map(move |m| format!("{h:02}:{m:02}"))).collect();
    Some(Times::At(joined(&list)))
}

/// The step of values that divide their whole evenly from 0 on, two or more of them: `*/15` of 60.
fn step(values: &[u16], whole: u16) -> Option<u16> {
    let step = *values.get(1)?;
    let even = whole.is_multiple_of(step)
        && values.len() == usize::from(whole / step)
        && values.iter().zip(0..).all(|(value, at)| *value == at * step);
    even.then_some(step)
}

/// `None` for no words, `Some(None)` for every day.
#[expect(clippy::option_option, reason = "two answers: cannot be said, and need not be said")]
fn days(cron: &Cron) -> Option<Option<Days>> {
    let pattern = &cron.pattern;
    if pattern.days.has_modifiers() || pattern.days_of_week.has_modifiers() {
        return None;
    }
    let months = pattern.months.values();
    let every_month = months.len() == MONTHS.len();
    // A week begins on Monday here, so that Friday to Sunday is one stretch.
    let mut weekdays: Vec<u16> =
        pattern.days_of_week.values().into_iter().map(|d| if d == 0 { 7 } else { d }).collect();
    weekdays.sort_unstable();
    let every_weekday = pattern.is_dow_wildcard() || weekdays.len() == WEEKDAYS.len();
    match (pattern.is_dom_wildcard(), every_weekday) {
        (true, true) => Some((!every_month).then(|| Days::In(span("in", &months, &MONTHS)))),
        (true, false) => {
            let mut text = span("on", &weekdays, &WEEKDAYS);
            if !every_month {
                text = format!("{text} {}", span("in", &months, &MONTHS));
            }
            Some(Some(Days::On(text)))
        }
        (false, true) if pattern.is_dow_wildcard() => {
            let days = pattern.days.values();
            if days.len() > MOST_TIMES {
                return None;
            }
            let plural = if days.len() == 1 { "day" } else { "days" };
            let list: Vec<String> = days.iter().map(u16::to_string).collect();
            let of =
                if every_month { "the month".to_owned() } else { joined(&names(&months, &MONTHS)) };
            Some(Some(Days::On(format!("on {plural} {} of {of}", joined(&list)))))
        }
        // Either of the two is enough for cron, which takes more words than it is worth.
        (false, _) => None,
    }
}

/// `on Monday and Thursday`, or `from Monday to Friday` for three and more in a row.
fn span(preposition: &str, values: &[u16], all: &[&str]) -> String {
    let names = names(values, all);
    match (values, names.as_slice()) {
        ([a, _, .., b], [first, _, .., last]) if usize::from(b - a) + 1 == values.len() => {
            format!("from {first} to {last}")
        }
        _ => format!("{preposition} {}", joined(&names)),
    }
}

/// The names of values that count from 1. The parser lets no other value through.
fn names(values: &[u16], all: &[&str]) -> Vec<String> {
    let name = |value: &u16| all.get(usize::from(value.saturating_sub(1))).copied();
    values.iter().filter_map(name).map(str::to_owned).collect()
}

/// `a`, `a and b`, `a, b and c`.
fn joined(all: &[String]) -> String {
    match all {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
