//! One word for each state of a backup, at each side of its moment.

use jiff::tz::TimeZone;

use crate::schedule::CatchUp;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn daily() -> Schedule {
    Schedule::new("0 2 * * *", TimeZone::UTC, CatchUp::WithinGrace, Duration::from_hours(2))
        .unwrap()
}

fn known(schedule: &Schedule) -> Known<'_> {
    Known {
        schedule: Some(schedule),
        enabled: true,
        paused: false,
        last_success: None,
        last_run: None,
        known_since: None,
        promised_since: None,
        resumed_at: None,
    }
}

#[test]
fn what_was_promised_of_late_is_asked_for_from_then_on() {
    let hourly =
        Schedule::new("0 * * * *", TimeZone::UTC, CatchUp::WithinGrace, Duration::from_hours(2))
            .unwrap();
    let success = Some(at("2026-03-15T02:00:05Z"));
    let old = Known { last_success: success, last_run: success, ..known(&hourly) };
    let now = at("2026-03-18T12:10:00Z");
    assert_eq!(Freshness::of(old, now).as_str(), "overdue");
    let due = at("2026-03-18T15:00:00Z");
    let since = Some(at("2026-03-18T12:05:00Z"));
    for excused in [Known { promised_since: since, ..old }, Known { resumed_at: since, ..old }] {
        assert_eq!(Freshness::of(excused, now), Freshness::Fresh { due });
        let late = Freshness::of(excused, at("2026-03-18T15:00:01Z"));
        assert!(matches!(late, Freshness::Overdue { since, .. } if since == due));
    }
}

#[test]
fn failing_again_does_not_move_since_when_a_first_success_is_missing() {
    let s = daily();
    let known = Known { known_since: Some(at("2026-03-10T10:00:00Z")), ..known(&s) };
    let due = at("2026-03-11T04:00:00Z");
    for run in ["2026-03-11T02:00:00Z", "2026-03-14T02:00:00Z", "2026-03-17T02:00:00Z"] {
        let known = Known { last_run: Some(at(run)), ..known };
        let found = Freshness::of(known, at("2026-03-18T00:00:00Z"));
        assert!(
            matches!(found, Freshness::Overdue { since, last_success: None, .. } if since == due)
        );
        let early = Freshness::of(known, due);
        assert_eq!(early, Freshness::NeverRan { first_due: Some(due) });
        assert!(!early.is_late(due) && !early.is_green());
    }
}

#[test]
fn a_success_is_fresh_until_the_next_slot_and_its_grace_have_passed() {
    let s = daily();
    let success = at("2026-03-18T02:00:05Z");
    let known = Known { last_success: Some(success), last_run: Some(success), ..known(&s) };
    let due = at("2026-03-19T04:00:00Z");
    assert_eq!(Freshness::of(known, success), Freshness::Fresh { due });
    assert_eq!(Freshness::of(known, due), Freshness::Fresh { due });
    let late = at("2026-03-19T04:00:01Z");
    let overdue = Freshness::Overdue {
        since: due,
        last_success: Some(success),
        expected_every: Duration::from_hours(24),
    };
    assert_eq!(Freshness::of(known, late), overdue);
    assert!(overdue.is_late(late) && !overdue.is_green());
}

#[test]
fn failures_after_a_success_do_not_make_it_fresher() {
    let s = daily();
    let known = Known {
        last_success: Some(at("2026-03-10T02:00:05Z")),
        last_run: Some(at("2026-03-18T02:00:05Z")),
        ..known(&s)
    };
    let found = Freshness::of(known, at("2026-03-18T03:00:00Z"));
    assert!(
        matches!(found, Freshness::Overdue { since, .. } if since == at("2026-03-11T04:00:00Z"))
    );
}

#[test]
fn runs_that_all_failed_since_nobody_knows_when_are_overdue_and_not_never_ran() {
    let s = daily();
    let run = at("2026-03-18T02:00:05Z");
    let found =
        Freshness::of(Known { last_run: Some(run), ..known(&s) }, at("2026-03-18T02:10:00Z"));
    assert!(matches!(found, Freshness::Overdue { since, last_success: None, .. } if since == run));
}

#[test]
fn a_project_that_never_ran_is_called_that_before_and_after_its_first_slot() {
    let s = daily();
    let since = at("2026-03-18T10:00:00Z");
    let known = Known { known_since: Some(since), ..known(&s) };
    let first_due = Some(at("2026-03-19T04:00:00Z"));
    for now in ["2026-03-18T10:00:00Z", "2026-03-19T03:59:00Z", "2026-03-25T00:00:00Z"] {
        let found = Freshness::of(known, at(now));
        assert_eq!(found, Freshness::NeverRan { first_due });
        assert!(!found.is_green());
    }
    assert!(!Freshness::NeverRan { first_due }.is_late(at("2026-03-19T04:00:00Z")));
    assert!(Freshness::NeverRan { first_due }.is_late(at("2026-03-19T04:00:01Z")));
    // Nobody remembers since when: the next slot is the first that can be asked for.
    let found = Freshness::of(Known { known_since: None, ..known }, at("2026-03-25T00:00:00Z"));
    assert_eq!(found, Freshness::NeverRan { first_due: Some(at("2026-03-25T04:00:00Z")) });
}

#[test]
fn each_way_of_not_being_fresh_has_its_own_word_and_none_is_green() {
    let s = daily();
    let now = at("2026-03-18T12:00:00Z");
    let success = Some(at("2026-03-18T02:00:05Z"));
    let known = Known { last_success: success, last_run: success, ..known(&s) };
    let cases = [
        (Freshness::of(known, now), "fresh", "fresh"),
        (Freshness::of(known, at("2026-04-01T00:00:00Z")), "overdue", "overdue"),
        (
            Freshness::of(Known { last_success: None, last_run: None, ..known }, now),
            "never_ran",
            "never ran",
        ),
        (Freshness::of(Known { paused: true, ..known }, now), "paused", "paused"),
        (
            Freshness::of(Known { enabled: false, paused: true, ..known }, now),
            "disabled",
            "disabled",
        ),
        (Freshness::of(Known { schedule: None, ..known }, now), "unscheduled", "unscheduled"),
    ];
    for (found, name, words) in cases {
        assert_eq!((found.as_str(), found.in_words()), (name, words));
        assert_eq!(found.is_green(), name == "fresh");
        assert_eq!(found.is_late(now), name == "overdue");
    }
    assert_eq!(cases[5].0, Freshness::Unscheduled { last_success: success });
}
