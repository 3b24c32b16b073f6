//! A year of schedules, with daemons that come and go: each slot has one run or one record.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use backupctl_application::ports::Clock;
use backupctl_domain::schedule::{CatchUp, Schedule};
use backupctl_domain::{Project, Trigger};
use backupctl_testkit::TestBench;
use backupctl_testkit::builders::{at, name};
use jiff::civil::{Date, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

use super::{Instant, missed, serve_by};

const BEGIN: &str = "2027-06-01T00:00:05Z";
const END: &str = "2028-06-15T00:20:00Z";

/// When no daemon ran: over a weekend, across both changes of the clocks, on the leap day, and for a
/// moment that a slot lies in.
const DOWN: [(&str, &str); 6] = [
    ("2027-07-10T08:00:00Z", "2027-07-14T20:00:00Z"),
    ("2027-10-30T20:00:00Z", "2027-10-31T12:00:00Z"),
    ("2027-12-24T00:29:00Z", "2027-12-24T00:35:00Z"),
    ("2028-02-28T22:00:00Z", "2028-02-29T13:10:00Z"),
    ("2028-03-26T00:40:00Z", "2028-03-26T01:20:00Z"),
    ("2028-05-01T00:00:00Z", "2028-05-01T00:20:00Z"),
];

/// A schedule, and the same said in another way: at these minutes of these hours, on days like this.
struct Plan {
    project: &'static str,
    cron: &'static str,
    zone: &'static str,
    times: &'static [(i8, i8)],
    on: fn(Date) -> bool,
}

const PLANS: [Plan; 5] = [
    Plan {
        project: "berlin",
        cron: "30 2 * * *",
        zone: "Europe/Berlin",
        times: &[(2, 30)],
        on: |_| true,
    },
    Plan {
        project: "new-york",
        cron: "15 1,13 * * 1-5",
        zone: "America/New_York",
        times: &[(1, 15), (13, 15)],
        on: |day| !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday),
    },
    Plan {
        project: "lisbon",
        cron: "0 1,7,13,19 * * *",
        zone: "Europe/Lisbon",
        times: &[(1, 0), (7, 0), (13, 0), (19, 0)],
        on: |_| true,
    },
    Plan {
        project: "lord-howe",
        cron: "10 2 * * *",
        zone: "Australia/Lord_Howe",
        times: &[(2, 10)],
        on: |_| true,
    },
    Plan {
        project: "leap",
        cron: "0 12 29 2 *",
        zone: "UTC",
        times: &[(12, 0)],
        on: |day| (day.month(), day.day()) == (2, 29),
    },
];

impl Plan {
    fn project(&self) -> Project {
        let zone = TimeZone::get(self.zone).unwrap();
        let schedule = Schedule::new(self.cron, zone, CatchUp::Always, Duration::from_hours(2));
        backupctl_testkit::project(self.project)
            .with(|p| p.schedule = Some(schedule.unwrap()))
            .build()
    }

    /// The slots, found by going through the calendar.
    fn slots(&self) -> BTreeSet<Timestamp> {
        let zone = TimeZone::get(self.zone).unwrap();
        let mut slots = BTreeSet::new();
        let mut day = zone.to_datetime(at(BEGIN)).date().yesterday().unwrap();
        while day <= zone.to_datetime(at(END)).date() {
            for (hour, minute) in self.times.iter().filter(|_| (self.on)(day)) {
                let shown = day.at(*hour, *minute, 0, 0);
                let ambiguous = zone.to_ambiguous_timestamp(shown);
                let moment = match ambiguous.offset() {
                    // Skipped: as soon as the clock shows a later time.
                    AmbiguousOffset::Gap { before, .. } => {
                        let skipped = before.to_timestamp(shown).unwrap();
                        let behind = skipped.checked_add(1.nanosecond()).unwrap();
                        zone.preceding(behind).next().unwrap().timestamp()
                    }
                    // Twice: the first time.
                    AmbiguousOffset::Fold { before, .. } => before.to_timestamp(shown).unwrap(),
                    AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(shown).unwrap(),
                };
                slots.insert(moment);
            }
            day = day.tomorrow().unwrap();
        }
        slots.into_iter().filter(|slot| *slot > at(BEGIN) && *slot <= at(END)).collect()
    }
}

#[tokio::test]
async fn every_slot_of_a_year_has_one_run_or_one_record() {
    let bench = TestBench::new();
    bench.clock.set(at(BEGIN));
    bench.config.set_projects(PLANS.iter().map(Plan::project));
    // No notices: nobody is told of what this year is full of.
    bench.config.change_global(|global| global.daily_summary_cron = String::new());
    let launcher = Instant::new(&bench);
    let look_every = Duration::from_hours(6);
    for (down, up) in DOWN {
        let served = serve_by(&bench, launcher.clone(), look_every);
        served.until(&bench, down).await;
        bench.clock.set(at(up));
    }
    serve_by(&bench, launcher.clone(), look_every).until(&bench, END).await;
    assert!(bench.clock.now() < at(END).checked_add(1.minute()).unwrap(), "no time was skipped");

    let records = missed(&bench);
    for plan in &PLANS {
        let of = |trigger: Trigger| -> Vec<Timestamp> {
            let runs = launcher.runs();
            let runs = runs.iter().filter(|(p, t, _)| *p == name(plan.project) && *t == trigger);
            runs.map(|(_, _, slot)| *slot).collect()
        };
        let missed: Vec<Timestamp> = records
            .iter()
            .filter(|run| run.project == name(plan.project))
            .map(|run| run.due_at.unwrap())
            .collect();
        let mut dealt_with = BTreeMap::new();
        for slot in of(Trigger::Scheduled).into_iter().chain(missed.iter().copied()) {
            *dealt_with.entry(slot).or_insert(0) += 1;
        }
        let expected: BTreeMap<Timestamp, i32> = plan.slots().iter().map(|s| (*s, 1)).collect();
        let wrong: Vec<_> = expected
            .keys()
            .chain(dealt_with.keys())
            .filter(|slot| dealt_with.get(slot) != expected.get(slot))
            .collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}", plan.project);
        let made_up: Vec<Timestamp> = of(Trigger::CatchUp);
        assert!(made_up.iter().all(|slot| missed.contains(slot)), "{}", plan.project);
        let windows_missed = DOWN
            .iter()
            .filter(|(down, up)| missed.iter().any(|slot| *slot >= at(down) && *slot <= at(up)));
        assert_eq!(made_up.len(), windows_missed.count(), "one a time: {}", plan.project);
    }
    // What the year was chosen for has happened.
    let missed_of = |project: &str| {
        let of = records.iter().filter(|run| run.project == name(project));
        of.map(|run| run.due_at.unwrap().to_string()).collect::<Vec<_>>()
    };
    assert!(missed_of("berlin").contains(&"2027-10-31T00:30:00Z".to_owned()), "the first 02:30");
    assert!(missed_of("berlin").contains(&"2028-03-26T01:00:00Z".to_owned()), "no 02:30 at all");
    assert_eq!(missed_of("leap"), ["2028-02-29T12:00:00Z"]);
}

#[tokio::test]
async fn a_thousand_projects_of_every_minute_keep_their_slots() {
    let bench = TestBench::new();
    let names: Vec<String> = (0..1000).map(|n| format!("p{n}")).collect();
    bench.config.set_projects(names.iter().map(|n| super::scheduled(n, "* * * * *")));
    bench.config.change_global(|global| global.concurrency = 50);
    let launcher = Instant::new(&bench);
    let served = serve_by(&bench, launcher.clone(), Duration::from_mins(1));
    served.until(&bench, "2026-03-18T01:00:30Z").await;
    let mut by_project: BTreeMap<String, BTreeSet<Timestamp>> = BTreeMap::new();
    for (project, trigger, slot) in launcher.runs() {
        assert_eq!(trigger, Trigger::Scheduled);
        assert!(by_project.entry(project.to_string()).or_default().insert(slot), "twice");
    }
    assert_eq!(by_project.len(), 1000);
    assert!(by_project.values().all(|slots| slots.len() == 60), "each minute of an hour");
    assert!(missed(&bench).is_empty());
}
