//! From a cron expression to `OnCalendar=` lines that come true at the very same moments.
//!
//! systemd ands what is in one line, and ors lines; cron ors day of month and day of week. Both count
//! an hour that happens twice once, the first time. systemd leaves out a slot inside the hour that is
//! skipped in spring, where a schedule has it come true when the gap ends: a line of its own says so.

use std::collections::{BTreeMap, BTreeSet};

use backupctl_domain::schedule::Schedule;
use backupctl_domain::schedule::pattern::{Days, MonthDays, Pattern, Weekday, Which};
use backupctl_domain::{ErrorCode, Failure};
use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Timestamp, ToSpan};

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// The years in which changes of the clock are looked at: more than the 28 after which weekdays and
/// dates meet again, so that a rule shows itself whole.
const FIRST_YEAR: i16 = 2026;
const LAST_YEAR: i16 = 2065;

/// The lines' values, most general first.
///
/// # Errors
///
/// `INVALID_CONFIG` for what no line can say.
pub fn on_calendar(schedule: &Schedule) -> Result<Vec<String>, Failure> {
    let refuse = |why: String| {
        Failure::new(ErrorCode::InvalidConfig, why).with_remedy(
            "let the daemon keep this schedule (`backupctl systemd install` without --timers), or \
             write the cron expression otherwise",
        )
    };
    let pattern = schedule.pattern().map_err(refuse)?;
    let zone = zone_name(schedule).ok_or_else(|| {
        refuse(format!(
            "cron {:?}: its time zone has no name that a timer could carry",
            schedule.cron
        ))
    })?;
    let time = format!("{}:{}:00", list(&pattern.hours, 0, 23), list(&pattern.minutes, 0, 59));
    let mut lines: Vec<String> = days(&pattern)
        .into_iter()
        .map(|(weekday, date)| format!("{weekday}*-{date} {time} {zone}"))
        .collect();
    for date in gap_lines(schedule).map_err(refuse)? {
        lines.push(format!("{date} {zone}"));
    }
    Ok(lines)
}

/// The zone's name as systemd reads it; `None` for one that is only an offset.
fn zone_name(schedule: &Schedule) -> Option<&str> {
    match schedule.timezone.iana_name()? {
        "UTC" | "Etc/UTC" | "Zulu" | "Etc/Zulu" => Some("UTC"),
        "Etc/Unknown" => None,
        name => Some(name),
    }
}

/// Weekday part, with a space behind it, and date part without the year.
fn days(pattern: &Pattern) -> Vec<(String, String)> {
    let months = list(&pattern.months, 1, 12);
    match &pattern.days {
        Days::Every => vec![(String::new(), format!("{months}-*"))],
        Days::OfMonth(days) => of_month("", &months, days),
        Days::OfWeek(days) => of_week(&months, "*", days),
        Days::Either(month_days, weekdays) => {
            let mut all = of_month("", &months, month_days);
            all.extend(of_week(&months, "*", weekdays));
            all
        }
        Days::Both(month_days, weekdays) => {
            // What is a weekday of each kind is anded with each form of the date.
            let mut all = Vec::new();
            for weekday in weekdays {
                let name = WEEKDAYS[usize::from(weekday.number % 7)];
                match weekday.which {
                    Which::Every => all.extend(of_month(&format!("{name} "), &months, month_days)),
                    which => {
                        for day in days_of(which).filter(|d| month_days.numbers.contains(d)) {
                            all.push((format!("{name} "), format!("{months}-{day:02}")));
                        }
                    }
                }
            }
            all
        }
    }
}

fn of_month(weekday: &str, months: &str, days: &MonthDays) -> Vec<(String, String)> {
    let mut all = Vec::new();
    if !days.numbers.is_empty() {
        all.push((weekday.to_owned(), format!("{months}-{}", list(&days.numbers, 1, 31))));
    }
    if days.last {
        all.push((weekday.to_owned(), format!("{months}~01")));
    }
    all
}

fn of_week(months: &str, any_day: &str, days: &[Weekday]) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut every: Vec<u16> =
        days.iter().filter(|d| d.which == Which::Every).map(|d| d.number).collect();
    every.sort_unstable();
    if every.len() == WEEKDAYS.len() {
        all.push((String::new(), format!("{months}-{any_day}")));
    } else if !every.is_empty() {
        let names: Vec<&str> = every.iter().map(|n| WEEKDAYS[usize::from(n % 7)]).collect();
        all.push((format!("{} ", names.join(",")), format!("{months}-{any_day}")));
    }
    for day in days {
        let name = format!("{} ", WEEKDAYS[usize::from(day.number % 7)]);
        match day.which {
            Which::Every => {}
            Which::Nth(_) => {
                let numbers: Vec<u16> = days_of(day.which).collect();
                all.push((name, format!("{months}-{}", list(&numbers, 1, 31))));
            }
            Which::Last => all.push((name, format!("{months}~07/1"))),
        }
    }
    all
}

/// The days of a month on which the nth weekday falls.
fn days_of(which: Which) -> std::ops::RangeInclusive<u16> {
    match which {
        Which::Nth(nth) => (nth - 1) * 7 + 1..=(nth * 7).min(31),
        Which::Every | Which::Last => 1..=31,
    }
}

/// Values as a part of a calendar expression: `*`, `00/15`, `09..17`, `02,14`.
fn list(values: &[u16], first: u16, last: u16) -> String {
    if values.len() == usize::from(last - first + 1) {
        return "*".to_owned();
    }
    let (Some(low), Some(high)) = (values.first(), values.last()) else { return String::new() };
    if values.len() > 2 {
        let step = values[1] - values[0];
        let even = values.windows(2).all(|w| w[1] - w[0] == step);
        if even && step == 1 {
            return format!("{low:02}..{high:02}");
        }
        // systemd 252 passes over a midnight behind a step that does not come out even there.
        if even && *low == 0 && first == 0 && high + step == last + 1 {
            return format!("00/{step}");
        }
    }
    let all: Vec<String> = values.iter().map(|v| format!("{v:02}")).collect();
    all.join(",")
}

/// Lines for the slots that lie in a skipped hour, without the zone.
fn gap_lines(schedule: &Schedule) -> Result<Vec<String>, String> {
    let zone = &schedule.timezone;
    let bounds = |year| DateTime::new(year, 1, 1, 0, 0, 0, 0).and_then(|d| zone.to_timestamp(d));
    let (Ok(begin), Ok(end)) = (bounds(FIRST_YEAR), bounds(LAST_YEAR + 1)) else {
        return Ok(Vec::new());
    };
    // By weekday, month and time of the gap's end: the dates on which a slot comes true then.
    let mut found: BTreeMap<(usize, i8, String), BTreeSet<Date>> = BTreeMap::new();
    for change in zone.following(begin).take_while(|change| change.timestamp() < end) {
        if let Some(shown) = slot_of_gap(schedule, change.timestamp()) {
            let time = format!("{:02}:{:02}:{:02}", shown.hour(), shown.minute(), shown.second());
            let weekday = weekday_of(shown.date());
            found.entry((weekday, shown.month(), time)).or_default().insert(shown.date());
        }
    }
    if let Some(change) = odd_fold(schedule, begin, end) {
        return Err(format!(
            "cron {:?} has slots in a time that {} sees twice at {change} and that is not one hour \
             long, which systemd counts otherwise",
            schedule.cron,
            zone.iana_name().unwrap_or("its time zone")
        ));
    }
    let mut lines = Vec::new();
    for ((weekday, month, time), dates) in found {
        let mut days: Vec<u16> =
            dates.iter().filter_map(|date| u16::try_from(date.day()).ok()).collect();
        days.sort_unstable();
        days.dedup();
        // The line says the same every year; the zone's rule must do so, too.
        let all = (FIRST_YEAR..=LAST_YEAR).flat_map(|year| {
            days.iter().filter_map(move |day| Date::new(year, month, i8::try_from(*day).ok()?).ok())
        });
        if all.filter(|date| weekday_of(*date) == weekday).any(|date| !dates.contains(&date)) {
            return Err(format!(
                "cron {:?} has slots in an hour that {} skips by no simple rule, which a timer \
                 cannot follow",
                schedule.cron,
                zone.iana_name().unwrap_or("its time zone")
            ));
        }
        lines.push(format!("{} *-{month:02}-{} {time}", WEEKDAYS[weekday], list(&days, 1, 31)));
    }
    Ok(lines)
}

/// A time that happens twice, is not an hour long, and has slots: systemd starts those twice.
fn odd_fold(schedule: &Schedule, begin: Timestamp, end: Timestamp) -> Option<Timestamp> {
    const HOUR: i32 = 3600;
    let zone = &schedule.timezone;
    let changes = zone.following(begin).map(|change| change.timestamp());
    changes.take_while(|at| *at < end).find(|at| {
        let Ok(before) = at.checked_sub(SignedDuration::from_secs(1)) else { return false };
        let repeated = zone.to_offset(before).seconds() - zone.to_offset(*at).seconds();
        let shown = zone.to_datetime(*at);
        let until = shown.checked_add(SignedDuration::from_secs(i64::from(repeated)));
        repeated > 0
            && repeated != HOUR
            && until.is_ok_and(|until| own_slot(schedule, shown, until))
    })
}

/// What the clock shows at the end of a gap in which a slot lies that comes true at its end and at no
/// other time of the day's own; `None` where this change is no such gap.
fn slot_of_gap(schedule: &Schedule, change: Timestamp) -> Option<DateTime> {
    let zone = &schedule.timezone;
    let before = change.checked_sub(SignedDuration::from_secs(1)).ok()?;
    let (old, new) = (zone.to_offset(before), zone.to_offset(change));
    if new.seconds() <= old.seconds() || schedule.next_after(before)? != change {
        return None;
    }
    // A slot at the end itself is one that systemd knows: it is none of the gap's. It is found as the
    // same slot a week on, where nothing is skipped.
    let shown = zone.to_datetime(change);
    let in_gap = {
        let skipped =
            shown.checked_sub(SignedDuration::from_secs(i64::from(new.seconds() - old.seconds())));
        skipped.ok()?
    };
    own_slot(schedule, in_gap, shown).then_some(shown)
}

/// Whether the schedule has a slot from `from` up to, and without, `until` by the wall clock alone.
fn own_slot(schedule: &Schedule, from: DateTime, until: DateTime) -> bool {
    let plain = Schedule::new(
        schedule.cron.clone(),
        jiff::tz::TimeZone::UTC,
        schedule.catch_up,
        schedule.grace,
    );
    let Ok(plain) = plain else { return false };
    let utc = |time: DateTime| jiff::tz::TimeZone::UTC.to_timestamp(time);
    let (Ok(from), Ok(until)) = (utc(from), utc(until)) else { return false };
    let Ok(before) = from.checked_sub(1.second()) else { return false };
    plain.next_after(before).is_some_and(|slot| slot < until)
}

fn weekday_of(date: Date) -> usize {
    usize::try_from(date.weekday().to_sunday_zero_offset()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use backupctl_domain::schedule::CatchUp;
    use jiff::tz::TimeZone;

    use super::*;

    fn lines(cron: &str, zone: &str) -> Vec<String> {
        on_calendar(&schedule(cron, zone)).unwrap()
    }

    fn schedule(cron: &str, zone: &str) -> Schedule {
        let zone = TimeZone::get(zone).unwrap();
        Schedule::new(cron, zone, CatchUp::WithinGrace, std::time::Duration::ZERO).unwrap()
    }

    #[test]
    fn expressions_are_written_as_systemd_has_them() {
        for (cron, expected) in [
            ("0 2 * * *", vec!["*-*-* 02:00:00 UTC"]),
            ("*/15 * * * *", vec!["*-*-* *:00/15:00 UTC"]),
            ("30 9-17 * * 1-5", vec!["Mon,Tue,Wed,Thu,Fri *-*-* 09..17:30:00 UTC"]),
            ("5 4 1,15 * *", vec!["*-*-01,15 04:05:00 UTC"]),
            ("0 4 L * *", vec!["*-*~01 04:00:00 UTC"]),
            ("0 4 * 1,7 0#2", vec!["Sun *-01,07-08..14 04:00:00 UTC"]),
            ("0 4 * * 5L", vec!["Fri *-*~07/1 04:00:00 UTC"]),
            ("0 0 13 * 5", vec!["*-*-13 00:00:00 UTC", "Fri *-*-* 00:00:00 UTC"]),
            ("@weekly", vec!["Sun *-*-* 00:00:00 UTC"]),
        ] {
            assert_eq!(lines(cron, "UTC"), expected, "{cron}");
        }
    }

    #[test]
    fn a_slot_in_the_skipped_hour_has_a_line_for_the_end_of_the_gap() {
        assert_eq!(
            lines("30 2 * * *", "Europe/Berlin"),
            ["*-*-* 02:30:00 Europe/Berlin", "Sun *-03-25..31 03:00:00 Europe/Berlin"]
        );
        // A slot at the end of the gap is systemd's own, and Mondays are never in it.
        assert_eq!(lines("0 3 * * *", "Europe/Berlin").len(), 1);
        assert_eq!(lines("30 2 * * 1", "Europe/Berlin").len(), 1);
        assert_eq!(lines("30 2 29 * *", "Europe/Berlin")[1], "Sun *-03-29 03:00:00 Europe/Berlin");
        assert_eq!(
            lines("15 2 * * *", "Australia/Lord_Howe")[1],
            "Sun *-10-01..07 02:30:00 Australia/Lord_Howe"
        );
        // The half hour that happens twice there begins at 01:30.
        let twice = on_calendar(&schedule("40 1 * * *", "Australia/Lord_Howe")).unwrap_err();
        assert!(twice.message.contains("sees twice"), "{}", twice.message);
    }

    #[test]
    fn what_no_timer_can_say_is_refused() {
        let refused = |cron: &str, zone: &str| on_calendar(&schedule(cron, zone)).unwrap_err();
        let nearest = refused("0 4 15W * *", "UTC");
        assert_eq!(nearest.code, ErrorCode::InvalidConfig);
        assert!(nearest.message.contains("15W"), "{}", nearest.message);
        // Morocco changes its clock around Ramadan.
        let ramadan = refused("30 2 * * *", "Africa/Casablanca");
        assert!(ramadan.message.contains("Casablanca"), "{}", ramadan.message);
        let offset = Schedule::new(
            "0 4 * * *",
            TimeZone::fixed(jiff::tz::offset(3)),
            CatchUp::Never,
            std::time::Duration::ZERO,
        );
        assert!(on_calendar(&offset.unwrap()).is_err());
    }
}
