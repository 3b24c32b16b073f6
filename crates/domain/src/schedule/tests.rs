//! Slots, words and intervals, and a year of them against a clock that is watched.

use std::collections::BTreeMap;

use jiff::civil::{Weekday, date};

use super::*;

const GRACE: Duration = Duration::from_hours(2);

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn schedule(cron: &str, tz: &str) -> Schedule {
    Schedule::new(cron, zone(tz), CatchUp::WithinGrace, GRACE).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The slots in a span, each as the wall clock and its offset show it.
fn shown(cron: &str, tz: &str, after: &str, until: &str) -> Vec<String> {
    let s = schedule(cron, tz);
    s.slots(at(after), at(until))
        .map(|t| t.to_zoned(zone(tz)).strftime("%m-%d %H:%M %:z").to_string())
        .collect()
}

#[test]
fn an_unusable_expression_says_what_is_wrong_with_it() {
    let why =
        |cron: &str| Schedule::new(cron, TimeZone::UTC, CatchUp::WithinGrace, GRACE).unwrap_err();
    insta::assert_snapshot!(why(""), @r#"cron "": is empty; five fields are needed, e.g. "0 2 * * *", or @daily"#);
    insta::assert_snapshot!(why("0 2 * *"), @r#"cron "0 2 * *": has 4 fields where 5 are needed (minute, hour, day of month, month, day of week)"#);
    insta::assert_snapshot!(why("0 0 2 * * *"), @r#"cron "0 0 2 * * *": has 6 fields where 5 are needed (minute, hour, day of month, month, day of week); seconds are not supported"#);
    insta::assert_snapshot!(why("61 2 * * *"), @r#"cron "61 2 * * *": minute "61" is not valid; it takes 0-59; also lists (1,2), ascending ranges (1-5) and steps (*/2)"#);
    insta::assert_snapshot!(why("0 24 * * *"), @r#"cron "0 24 * * *": hour "24" is not valid; it takes 0-23; also lists (1,2), ascending ranges (1-5) and steps (*/2)"#);
    insta::assert_snapshot!(why("0 2 0 * *"), @r#"cron "0 2 0 * *": day of month "0" is not valid; it takes 1-31, L; also lists (1,2), ascending ranges (1-5) and steps (*/2)"#);
    insta::assert_snapshot!(why("0 2 * FOO *"), @r#"cron "0 2 * FOO *": month "FOO" is not valid; it takes 1-12 or JAN-DEC; also lists (1,2), ascending ranges (1-5) and steps (*/2)"#);
    insta::assert_snapshot!(why("0 2 * * 1-9"), @r#"cron "0 2 * * 1-9": day of week "1-9" is not valid; it takes 0-7 or SUN-SAT, 0 and 7 are Sunday; also lists (1,2), ascending ranges (1-5) and steps (*/2)"#);
    insta::assert_snapshot!(why("0 17-9 * * *"), @r#"cron "0 17-9 * * *": hour "17-9" is not valid; it takes 0-23; also lists (1,2), ascending ranges (1-5) and steps (*/2)"#);
    insta::assert_snapshot!(why("*/0 * * * *"), @r#"cron "*/0 * * * *": minute "*/0" is not valid; it takes 0-59; also lists (1,2), ascending ranges (1-5) and steps (*/2)"#);
    insta::assert_snapshot!(why("@reboot"), @r#"cron "@reboot": unknown nickname; known are @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually"#);
    insta::assert_snapshot!(why("0 2 30 2 *"), @r#"cron "0 2 30 2 *": never comes true: no such day exists"#);
    for cron in
        ["0 2 * * 1,", ",1 2 * * *", "0 2 ** * *", "every day", "0 2 * * MONDAY", "-5 2 * * *"]
    {
        assert!(Schedule::new(cron, TimeZone::UTC, CatchUp::WithinGrace, GRACE).is_err(), "{cron}");
    }
}

#[test]
fn nicknames_stand_for_their_fields() {
    for (name, fields) in NICKNAMES {
        let (a, b) = (schedule(name, "Europe/Berlin"), schedule(fields, "Europe/Berlin"));
        let from = at("2026-03-18T10:17:00Z");
        assert_eq!(a.next_after(from), b.next_after(from), "{name}");
        assert_eq!(a.cron, name);
        assert!(
            Schedule::new(name.to_uppercase(), TimeZone::UTC, CatchUp::WithinGrace, GRACE).is_ok()
        );
    }
    assert!(Schedule::new("  0   2 * * * ", TimeZone::UTC, CatchUp::WithinGrace, GRACE).is_ok());
}

#[test]
fn next_is_strictly_after_and_previous_includes_now() {
    let s = schedule("0 2 * * *", "UTC");
    let slot = at("2026-03-18T02:00:00Z");
    assert_eq!(s.next_after(at("2026-03-18T01:59:59.999Z")), Some(slot));
    assert_eq!(s.next_after(slot), Some(at("2026-03-19T02:00:00Z")));
    assert_eq!(s.next_after(at("2026-03-18T02:00:00.001Z")), Some(at("2026-03-19T02:00:00Z")));
    assert_eq!(s.previous_at(slot), Some(slot));
    assert_eq!(s.previous_at(at("2026-03-18T02:00:30Z")), Some(slot));
    assert_eq!(s.previous_at(at("2026-03-18T01:59:59.999Z")), Some(at("2026-03-17T02:00:00Z")));
    let between: Vec<_> = s.slots(slot, at("2026-03-20T02:00:00Z")).collect();
    assert_eq!(between, [at("2026-03-19T02:00:00Z"), at("2026-03-20T02:00:00Z")]);
    assert_eq!(s.slots(slot, slot).count(), 0);
}

#[test]
fn a_slot_in_the_skipped_hour_runs_once_when_the_gap_ends() {
    // Berlin: 2026-03-29 02:00 +01 is 03:00 +02.
    assert_eq!(
        shown("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", "2026-03-30T12:00:00Z"),
        ["03-28 02:30 +01:00", "03-29 03:00 +02:00", "03-30 02:30 +02:00"]
    );
    // New York: 2026-03-08 02:00 -05 is 03:00 -04.
    assert_eq!(
        shown("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", "2026-03-09T12:00:00Z"),
        ["03-08 03:00 -04:00", "03-09 02:30 -04:00"]
    );
    // Several skipped slots are one run, and one with the slot at the end of the gap.
    assert_eq!(
        shown("*/30 1-3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T03:00:00Z"),
        ["03-29 01:30 +01:00", "03-29 03:00 +02:00", "03-29 03:30 +02:00"]
    );
}

#[test]
fn a_slot_in_the_doubled_hour_runs_once_the_first_time() {
    // Berlin: 2026-10-25 03:00 +02 is 02:00 +01.
    assert_eq!(
        shown("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z"),
        ["10-25 02:30 +02:00", "10-26 02:30 +01:00"]
    );
    // New York: 2026-11-01 02:00 -04 is 01:00 -05.
    assert_eq!(
        shown("15 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", "2026-11-02T12:00:00Z"),
        ["11-01 01:15 -04:00", "11-02 01:15 -05:00"]
    );
    assert_eq!(
        shown("@hourly", "Europe/Berlin", "2026-10-24T23:30:00Z", "2026-10-25T02:30:00Z"),
        ["10-25 02:00 +02:00", "10-25 03:00 +01:00"]
    );
    // In the second pass of that hour, the last slot is one that the clock has yet to show again.
    let s = schedule("45 2 * * *", "Europe/Berlin");
    let second_0210 = at("2026-10-25T01:10:00Z");
    assert_eq!(s.previous_at(second_0210), Some(at("2026-10-25T00:45:00Z")));
    assert_eq!(s.next_after(second_0210), Some(at("2026-10-26T01:45:00Z")));
}

#[test]
fn leap_days_come_every_four_years() {
    let s = schedule("0 2 29 2 *", "UTC");
    assert_eq!(s.next_after(at("2024-02-29T02:00:00Z")), Some(at("2028-02-29T02:00:00Z")));
    assert_eq!(s.next_after(at("2096-03-01T00:00:00Z")), Some(at("2104-02-29T02:00:00Z")));
    assert_eq!(s.previous_at(at("2027-06-01T00:00:00Z")), Some(at("2024-02-29T02:00:00Z")));
    let daily = schedule("@daily", "UTC");
    let year = daily.slots(at("2027-12-31T12:00:00Z"), at("2028-12-31T12:00:00Z"));
    assert_eq!(year.count(), 366);
}

/// A schedule and, written independently of it, which readings of the clock are its slots.
type Case = (&'static str, fn(DateTime) -> bool);

const CASES: [Case; 9] = [
    ("*/15 * * * *", |_| true),
    ("0 * * * *", |c| c.minute() == 0),
    ("30 2 * * *", |c| c.hour() == 2 && c.minute() == 30),
    ("0 3 * * *", |c| c.hour() == 3 && c.minute() == 0),
    ("45 1,23 * * *", |c| matches!(c.hour(), 1 | 23) && c.minute() == 45),
    ("0 2 * * MON-FRI", |c| {
        (c.hour(), c.minute()) == (2, 0)
            && !matches!(c.weekday(), Weekday::Saturday | Weekday::Sunday)
    }),
    ("15 2 1,15 * *", |c| (c.hour(), c.minute()) == (2, 15) && matches!(c.day(), 1 | 15)),
    ("0 0 13 * FRI", |c| {
        (c.hour(), c.minute()) == (0, 0) && (c.day() == 13 || c.weekday() == Weekday::Friday)
    }),
    ("0 12 29 2 *", |c| c.date().month() == 2 && (c.day(), c.hour(), c.minute()) == (29, 12, 0)),
];

/// A leap year's slots of every case, found by looking at a clock that ticks every 15 minutes: a
/// slot comes true when the clock first shows it or anything later.
fn by_watching_the_clock(tz: &TimeZone) -> BTreeMap<&'static str, Vec<Timestamp>> {
    let mut found: BTreeMap<&str, Vec<Timestamp>> = BTreeMap::new();
    let mut now = date(2028, 1, 1).at(0, 0, 0, 0).to_zoned(tz.clone()).unwrap().timestamp();
    let end = date(2029, 1, 1).at(0, 0, 0, 0).to_zoned(tz.clone()).unwrap().timestamp();
    let mut latest = tz.to_datetime(now);
    while now < end {
        now += 15.minutes();
        let clock = tz.to_datetime(now);
        while latest < clock {
            latest = latest.checked_add(15.minutes()).unwrap();
            for (cron, is_slot) in CASES {
                let slots = found.entry(cron).or_default();
                if is_slot(latest) && slots.last() != Some(&now) {
                    slots.push(now);
                }
            }
        }
    }
    found
}

#[test]
fn a_whole_year_of_slots_is_what_a_clock_on_the_wall_shows() {
    // Lord Howe changes by half an hour only, UTC never.
    for name in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"] {
        let tz = zone(name);
        let begin = date(2028, 1, 1).at(0, 0, 0, 0).to_zoned(tz.clone()).unwrap().timestamp();
        let end = date(2029, 1, 1).at(0, 0, 0, 0).to_zoned(tz.clone()).unwrap().timestamp();
        for (cron, expected) in by_watching_the_clock(&tz) {
            let s = schedule(cron, name);
            let slots: Vec<_> = s.slots(begin, end).collect();
            assert_eq!(slots, expected, "{cron} in {name}");
            // Backwards through the same year: the slot at a slot is itself, and just before one it
            // is the one before.
            for pair in expected.windows(2) {
                let just_before = pair[1].checked_sub(SignedDuration::from_nanos(1)).unwrap();
                assert_eq!(s.previous_at(just_before), Some(pair[0]), "{cron} in {name}");
                assert_eq!(s.previous_at(pair[1]), Some(pair[1]), "{cron} in {name}");
            }
        }
    }
}

#[test]
fn a_zone_without_a_name_counts_too() {
    let s = Schedule::new(
        "0 2 * * *",
        TimeZone::fixed(jiff::tz::offset(5)),
        CatchUp::WithinGrace,
        GRACE,
    )
    .unwrap();
    assert_eq!(s.next_after(at("2026-03-18T00:00:00Z")), Some(at("2026-03-18T21:00:00Z")));
    let posix = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    let s = Schedule::new("30 2 * * *", posix, CatchUp::WithinGrace, GRACE).unwrap();
    assert_eq!(s.next_after(at("2026-03-28T12:00:00Z")), Some(at("2026-03-29T01:00:00Z")));
}

#[test]
fn the_expected_interval_is_the_longest_wait_around_now() {
    let hours = |cron: &str, now: &str| {
        let interval = schedule(cron, "Europe/Berlin").expected_interval(at(now)).unwrap();
        interval.as_secs_f64() / 3600.0
    };
    let now = "2026-07-15T10:00:00Z";
    let cases: &[(&str, f64)] = &[
        ("*/15 * * * *", 0.25),
        ("@hourly", 1.0),
        ("0 */6 * * *", 6.0),
        ("@daily", 24.0),
        ("0 2,14 * * *", 12.0),
        ("0 2,4 * * *", 22.0),
        ("*/5 9-16 * * *", 16.0 + 5.0 / 60.0),
        ("0 2 * * 1-5", 72.0),
        ("30 3 * * MON,THU", 96.0),
        ("@weekly", 168.0),
        ("@monthly", 31.0 * 24.0),
        ("@yearly", 365.0 * 24.0),
    ];
    for (cron, expected) in cases {
        assert!((hours(cron, now) - expected).abs() < 1e-9, "{cron}: {}", hours(cron, now));
    }
    // The days on which the clock changes are days like any other.
    assert!((hours("@daily", "2026-03-29T10:00:00Z") - 24.0).abs() < 1e-9);
    assert!((hours("@daily", "2026-10-25T10:00:00Z") - 24.0).abs() < 1e-9);
}

#[test]
fn schedules_read_as_words() {
    let cases = [
        ("0 2 * * *", "every day at 02:00"),
        ("@daily", "every day at 00:00"),
        ("0 2,14 * * *", "every day at 02:00 and 14:00"),
        ("*/15 * * * *", "every 15 minutes"),
        ("* * * * *", "every minute"),
        ("@hourly", "every hour"),
        ("7 * * * *", "every hour at minute 7"),
        ("0 */6 * * *", "every 6 hours"),
        ("20 */6 * * *", "every 6 hours at minute 20"),
        ("30 3 * * 1,4", "at 03:30 on Monday and Thursday"),
        ("30 3 * * MON-FRI", "at 03:30 from Monday to Friday"),
        ("30 3 * * 5-7", "at 03:30 from Friday to Sunday"),
        ("0 4 * * 0", "at 04:00 on Sunday"),
        ("0 4 * * 0-6", "every day at 04:00"),
        ("@weekly", "at 00:00 on Sunday"),
        ("@monthly", "at 00:00 on day 1 of the month"),
        ("0 2 1,15 * *", "at 02:00 on days 1 and 15 of the month"),
        ("@yearly", "at 00:00 on day 1 of January"),
        ("0 2 * 6-8 *", "every day at 02:00 from June to August"),
        ("0 2 * 1,7 6", "at 02:00 on Saturday in January and July"),
        ("*/30 * * * 6", "every 30 minutes on Saturday"),
    ];
    for (cron, words) in cases {
        assert_eq!(schedule(cron, "UTC").describe(), words, "{cron}");
    }
    for cron in ["0 2 13 * 5", "*/7 * * * *", "*/5 9-17 * * *", "0 2 L * *", "0 2 * * 5#2"] {
        assert_eq!(schedule(cron, "UTC").describe(), cron);
    }
}
