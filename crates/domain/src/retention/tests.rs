//! What may go, and what never does.

use jiff::ToSpan;
use jiff::civil::{DateTime, date};
use proptest::prelude::*;

use super::*;
use crate::ProjectName;

fn now() -> DateTime {
    date(2026, 3, 18).at(12, 0, 0, 0)
}

fn dump(project: &str, hours_old: i64, run: u32) -> DumpName {
    DumpName {
        project: ProjectName::new(project).unwrap(),
        time: now().checked_sub(hours_old.hours()).unwrap(),
        run: format!("{run:08x}"),
        ext: "dump.zst".to_owned(),
    }
}

#[test]
fn the_default_keeps_seven_days_locally() {
    let keep = Retention::default();
    assert_eq!(keep.local_days, 7);
    assert_eq!((keep.keep.daily, keep.keep.weekly, keep.keep.monthly), (7, 4, 6));
    assert!(!keep.keep.is_empty());
    assert!(KeepPolicy::default().is_empty());
    assert!(!KeepPolicy { within: Some("7d".to_owned()), ..KeepPolicy::default() }.is_empty());
}

#[test]
fn dumps_older_than_the_limit_go_to_the_hour() {
    let dumps: Vec<_> = [0, 24, 7 * 24, 7 * 24 + 1, 300 * 24].map(|h| dump("app", h, 1)).into();
    assert_eq!(expired_dumps(&dumps, now(), 7), dumps[3..]);
    assert_eq!(expired_dumps(&dumps, now(), 0), dumps[1..]);
    assert_eq!(expired_dumps(&[], now(), 0), []);
}

#[test]
fn every_file_of_the_newest_time_stays_whatever_its_age() {
    let plain = dump("app", 1000, 1);
    let encrypted = plain.with_ext("dump.zst.age");
    assert_eq!(expired_dumps(&[plain, encrypted], now(), 7), []);
}

#[test]
fn a_file_from_the_future_is_not_old() {
    assert_eq!(expired_dumps(&[dump("app", -48, 1), dump("app", -1, 2)], now(), 0), []);
}

proptest! {
    #[test]
    fn the_newest_of_each_project_and_all_younger_than_the_limit_stay(
        dumps in proptest::collection::vec(
            (prop_oneof![Just("app"), Just("app-2"), Just("other")], -100_i64..2000, any::<u32>())
                .prop_map(|(project, age, run)| dump(project, age, run)),
            0..20,
        ),
        local_days in 0_u32..60,
    ) {
        let gone = expired_dumps(&dumps, now(), local_days);
        let limit = now().checked_sub(i64::from(local_days).days()).unwrap();
        for d in &dumps {
            let newest =
                dumps.iter().filter(|o| o.project == d.project).map(|o| o.time).max().unwrap();
            let goes = d.time < limit && d.time < newest;
            prop_assert_eq!(gone.contains(d), goes, "{}", d);
        }
        // Only dumps that were given can go.
        prop_assert!(gone.iter().all(|d| dumps.contains(d)));
    }

    #[test]
    fn one_project_alone_is_judged_as_among_others(
        ages in proptest::collection::vec(0_i64..2000, 0..10),
        others in proptest::collection::vec(0_i64..2000, 0..10),
        local_days in 0_u32..60,
    ) {
        let own: Vec<_> = ages.iter().map(|h| dump("app", *h, 1)).collect();
        let foreign: Vec<_> = others.iter().map(|h| dump("app-2", *h, 2)).collect();
        let all = [own.clone(), foreign].concat();
        let mine: Vec<_> = expired_dumps(&all, now(), local_days)
            .into_iter()
            .filter(|d| d.project.as_str() == "app")
            .collect();
        prop_assert_eq!(mine, expired_dumps(&own, now(), local_days));
    }
}
