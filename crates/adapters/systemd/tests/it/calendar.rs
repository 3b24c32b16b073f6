//! A timer goes off at the very moments of its schedule: systemd's own reckoning against ours.

use backupctl_adapter_systemd::on_calendar;
use backupctl_domain::schedule::Schedule;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::{command, schedule};

/// How many moments are compared from each base on.
const MOMENTS: usize = 12;

/// When the lines come true after `base`, by systemd.
fn by_systemd(lines: &[String], base: Timestamp) -> Vec<Timestamp> {
    let mut all = Vec::new();
    for line in lines {
        let base = base.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        let output = command("systemd-analyze")
            .env("TZ", "UTC")
            .args(["calendar", "--iterations", &MOMENTS.to_string(), "--base-time", &base, line])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        for found in text.lines().filter(|l| l.contains("elapse:") || l.contains("Iter. #")) {
            let moment = found.split_once(": ").unwrap().1;
            let moment = moment.split_once(' ').unwrap().1.trim_end_matches(" UTC");
            if moment.is_empty() || found.contains("never") {
                continue;
            }
            let moment: DateTime = moment.replace(' ', "T").parse().unwrap();
            all.push(TimeZone::UTC.to_timestamp(moment).unwrap());
        }
    }
    all.sort();
    all.dedup();
    all.truncate(MOMENTS);
    all
}

fn ours(schedule: &Schedule, base: Timestamp) -> Vec<Timestamp> {
    let next = |at: &Timestamp| schedule.next_after(*at);
    std::iter::successors(schedule.next_after(base), next).take(MOMENTS).collect()
}

fn compare(cron: &str, zone: &str, base: &str) {
    let schedule = schedule(cron, zone);
    let lines = match on_calendar(&schedule) {
        Ok(lines) => lines,
        // systemd starts what lies in its half hour twice.
        Err(refused) if zone == "Australia/Lord_Howe" => {
            assert!(refused.message.contains("sees twice"), "{}", refused.message);
            return;
        }
        Err(refused) => panic!("{cron} in {zone}: {}", refused.message),
    };
    let base: Timestamp = base.parse().unwrap();
    let (ours, theirs) = (ours(&schedule, base), by_systemd(&lines, base));
    // It counts no further than some decades for what comes once in many years.
    let compared = ours.len().min(theirs.len());
    assert!(compared >= 4, "{cron}: {theirs:?}");
    assert_eq!(ours[..compared], theirs[..compared], "{cron} in {zone} from {base}: {lines:#?}");
}

#[test]
fn every_form_of_a_cron_expression_comes_true_when_it_should() {
    for cron in [
        "* * * * *",
        "*/7 * * * *",
        "0 2 * * *",
        "15,45 8-18/3 * * 1-5",
        "0 0 1 * *",
        "0 4 31 * *",
        "0 4 L * *",
        "0 4 L,15 * *",
        "0 4 29 2 *",
        "0 4 * * 0",
        "0 4 * * 7",
        "0 4 * * 0,6",
        "0 0 13 * 5",
        "0 0 */2 * 1",
        "5 1 L * 0",
        "0 4 * * 1#1",
        "0 4 * * 3#5",
        "0 4 * * 5L",
        "0 4 * * 5L,1#2",
        "0 4 1-7 * +1",
        "0 4 1,15 3,9 *",
        "23 5 * JAN-MAR MON",
        "@hourly",
        "@weekly",
        "@yearly",
    ] {
        compare(cron, "UTC", "2026-12-30T23:59:59Z");
        compare(cron, "UTC", "2028-02-27T12:00:00Z");
    }
}

#[test]
fn changes_of_the_clock_are_kept_as_the_schedule_keeps_them() {
    for (zone, bases) in [
        ("Europe/Berlin", ["2027-03-27T12:00:00Z", "2027-10-30T22:30:00Z", "2027-10-31T00:45:00Z"]),
        (
            "America/New_York",
            ["2027-03-13T12:00:00Z", "2027-11-07T03:30:00Z", "2027-11-07T05:45:00Z"],
        ),
        (
            "Australia/Lord_Howe",
            ["2027-10-02T10:00:00Z", "2027-04-03T10:00:00Z", "2027-04-03T15:10:00Z"],
        ),
        (
            "America/Santiago",
            ["2027-09-04T12:00:00Z", "2027-04-03T22:00:00Z", "2027-04-04T03:30:00Z"],
        ),
    ] {
        for cron in [
            "0 * * * *",
            "30 * * * *",
            "*/10 0-3 * * *",
            "0 2 * * *",
            "30 2 * * *",
            "15 0 * * *",
            "0 3 * * *",
            "59 2 * * 0",
            "30 2 28 * *",
            "30 0,2 1-14 * *",
        ] {
            for base in bases {
                compare(cron, zone, base);
            }
        }
    }
}
