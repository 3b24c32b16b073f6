//! The keep rules themselves, as restic counts them, for copies that restic does not keep.

use std::collections::BTreeSet;

use jiff::civil::DateTime;
use jiff::{Span, ToSpan};

use super::KeepPolicy;

/// How far a copy is known to be good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It was read back whole, and was what had been written.
    Proven,
    /// Nobody has looked, or nothing is known to compare it with.
    Unproven,
    /// It was read back, and is not what was written.
    Damaged,
}

impl Proof {
    /// `proven`, `unproven` or `damaged`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Unproven => "unproven",
            Self::Damaged => "damaged",
        }
    }
}

/// One of a project's copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveCopy {
    /// When it was made, in the time zone of its name.
    pub time: DateTime,
    /// How far it is known to be good.
    pub proof: Proof,
    /// Whether it is the one that was written last, whatever its time says: a clock may have been wrong.
    pub is_last: bool,
}

/// Which of a project's archives may go at `now` (same time zone as their names), by their places.
///
/// Those that no rule of the policy keeps. A damaged one counts for no rule, since it is no copy any
/// more, and goes itself only when it would have to were it good; where by age only one good copy would
/// stay beside it, the newest of those that would go stays too. The newest proven one and the one that was
/// written last stay in any case, and with a policy that keeps nothing all do.
pub fn expired_archives(copies: &[ArchiveCopy], now: DateTime, policy: &KeepPolicy) -> Vec<usize> {
    if policy.is_empty() {
        return Vec::new();
    }
    let places = |good_only: bool| {
        let wanted = |i: &usize| !good_only || copies[*i].proof != Proof::Damaged;
        (0..copies.len()).filter(wanted).collect::<Vec<_>>()
    };
    let kept_of = |places: Vec<usize>| {
        let times: Vec<DateTime> = places.iter().map(|i| copies[*i].time).collect();
        kept(&times, now, policy).into_iter().map(|at| places[at]).collect::<BTreeSet<_>>()
    };
    let mut stay = kept_of(places(true));
    let if_good = kept_of(places(false));
    stay.extend(if_good.into_iter().filter(|i| copies[*i].proof == Proof::Damaged));
    let proven = (0..copies.len()).filter(|i| copies[*i].proof == Proof::Proven);
    stay.extend(proven.max_by_key(|i| copies[*i].time));
    stay.extend((0..copies.len()).filter(|i| copies[*i].is_last));
    // By age nothing takes the place of a damaged one: today's copy would be the only one.
    let by_age = policy.days.is_some() || policy.within.is_some();
    let good = |i: &usize| copies[*i].proof != Proof::Damaged;
    if by_age && !stay.iter().all(good) && stay.iter().filter(|i| good(i)).count() < 2 {
        let spared = (0..copies.len()).filter(|i| good(i) && !stay.contains(i));
        let newest = spared.max_by_key(|i| copies[*i].time);
        stay.extend(newest);
    }
    (0..copies.len()).filter(|i| !stay.contains(i)).collect()
}

/// Which of these moments the policy keeps, by their places. Of several of one moment the last counts
/// as the newest.
pub fn kept(times: &[DateTime], now: DateTime, policy: &KeepPolicy) -> BTreeSet<usize> {
    let mut newest_first: Vec<usize> = (0..times.len()).collect();
    newest_first.sort_by_key(|i| std::cmp::Reverse((times[*i], *i)));
    let mut kept: BTreeSet<usize> =
        newest_first.iter().copied().take(policy.last as usize).collect();
    let rules = [
        (policy.hourly, "%Y-%m-%d %H"),
        (policy.daily, "%Y-%m-%d"),
        // The year of the week, not of the day: the week around New Year is one.
        (policy.weekly, "%G-%V"),
        (policy.monthly, "%Y-%m"),
        (policy.yearly, "%Y"),
    ];
    for (count, period) in rules {
        let mut seen = BTreeSet::new();
        for place in &newest_first {
            if seen.len() == count as usize {
                break;
            }
            if seen.insert(times[*place].strftime(period).to_string()) {
                kept.insert(*place);
            }
        }
    }
    let newest = newest_first.first().map(|i| times[*i]);
    let span = policy.within.as_deref().and_then(parse_span);
    if let (Some(newest), Some(span)) = (newest, span) {
        // What cannot be reckoned with keeps everything.
        let since = newest.checked_sub(span).unwrap_or(DateTime::MIN);
        kept.extend(newest_first.iter().filter(|i| times[**i] > since));
    }
    if let Some(days) = policy.days {
        let since = now.checked_sub(i64::from(days).days()).unwrap_or(DateTime::MIN);
        kept.extend(newest_first.iter().filter(|i| days > 0 && times[**i] >= since));
    }
    kept
}

/// Whether this is a time span of restic's form, e.g. `2y5m7d3h`.
pub fn is_span(text: &str) -> bool {
    parse_span(text).is_some()
}

/// A span of restic's form: numbers with `y`, `m`, `d`, `h`, each at most once, in any order.
fn parse_span(text: &str) -> Option<Span> {
    let mut span = Span::new();
    let mut seen = BTreeSet::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..end].parse().ok()?;
        let unit = rest[end..].chars().next()?;
        span = match unit {
            'y' => span.try_years(number),
            'm' => span.try_months(number),
            'd' => span.try_days(number),
            'h' => span.try_hours(number),
            _ => return None,
        }
        .ok()?;
        if !seen.insert(unit) {
            return None;
        }
        rest = &rest[end + unit.len_utf8()..];
    }
    (!seen.is_empty()).then_some(span)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn now() -> DateTime {
        date(2026, 3, 18).at(2, 0, 0, 0)
    }

    fn days_ago(days: i64) -> DateTime {
        now().checked_sub(days.days()).unwrap()
    }

    fn proven(days: i64) -> ArchiveCopy {
        ArchiveCopy { time: days_ago(days), proof: Proof::Proven, is_last: false }
    }

    fn gone(copies: &[ArchiveCopy], policy: &KeepPolicy) -> Vec<i64> {
        let age = |i: usize| now().duration_since(copies[i].time).as_secs() / 86_400;
        expired_archives(copies, now(), policy).into_iter().map(age).collect()
    }

    fn days(days: u32) -> KeepPolicy {
        KeepPolicy { days: Some(days), ..KeepPolicy::default() }
    }

    #[test]
    fn fourteen_days_of_daily_archives_stay_and_the_others_go() {
        let twenty: Vec<ArchiveCopy> = (0..20).map(proven).collect();
        assert_eq!(gone(&twenty, &days(14)), [15, 16, 17, 18, 19]);
    }

    #[test]
    fn what_any_rule_wants_stays() {
        let copies: Vec<ArchiveCopy> = (0..70).map(proven).collect();
        let policy = KeepPolicy { monthly: 3, last: 1, ..days(2) };
        let left: Vec<i64> = (0..70).filter(|d| !gone(&copies, &policy).contains(d)).collect();
        assert_eq!(left, [0, 1, 2, 18, 46], "two days, and the last of February and January");
    }

    #[test]
    fn the_newest_proven_one_stays_whatever_its_age() {
        let copies =
            [proven(300), proven(200), ArchiveCopy { proof: Proof::Unproven, ..proven(100) }];
        assert_eq!(gone(&copies, &days(14)), [300, 100]);
    }

    #[test]
    fn a_damaged_one_counts_for_no_rule_and_takes_no_good_one_with_it() {
        let damaged = ArchiveCopy { proof: Proof::Damaged, ..proven(1) };
        let policy = KeepPolicy { last: 2, ..KeepPolicy::default() };
        assert_eq!(gone(&[proven(0), damaged, proven(2), proven(3)], &policy), [3]);
        let old = ArchiveCopy { proof: Proof::Damaged, ..proven(5) };
        assert_eq!(gone(&[proven(0), proven(1), old], &policy), [5]);
    }

    #[test]
    fn today_s_copy_is_not_left_alone_with_a_damaged_one() {
        let damaged = ArchiveCopy { proof: Proof::Damaged, ..proven(1) };
        assert_eq!(gone(&[proven(0), damaged, proven(20), proven(21)], &days(14)), [21]);
        assert_eq!(gone(&[proven(0), proven(2), damaged, proven(20)], &days(14)), [20]);
        let one = KeepPolicy { last: 1, ..KeepPolicy::default() };
        assert_eq!(gone(&[proven(0), damaged, proven(20)], &one), [1, 20], "one is asked for");
    }

    #[test]
    fn the_one_written_last_stays_though_another_says_that_it_is_newer() {
        let last = ArchiveCopy { is_last: true, ..proven(0) };
        let policy = KeepPolicy { last: 1, ..KeepPolicy::default() };
        assert_eq!(gone(&[proven(-100), last, proven(1)], &policy), [1]);
    }

    #[test]
    fn a_policy_that_keeps_nothing_removes_nothing() {
        assert!(gone(&[proven(0), proven(900)], &KeepPolicy::default()).is_empty());
        assert!(gone(&[proven(0), proven(900)], &days(0)).is_empty());
    }

    #[test]
    fn a_span_counts_from_the_newest() {
        let within = KeepPolicy { within: Some("1m2d".to_owned()), ..KeepPolicy::default() };
        let copies: Vec<ArchiveCopy> = [100, 110, 131, 132, 133].map(proven).into();
        assert_eq!(gone(&copies, &within), [132, 133], "a month and two days before the newest");
    }

    #[test]
    fn spans_are_of_restics_form() {
        for good in ["2y5m7d3h", "14d", "3h2d", "0h"] {
            assert!(is_span(good), "{good}");
        }
        for bad in ["", "d", "5", "5w", "1d1d", "-1d", "1 d", "99999999999999999999d"] {
            assert!(!is_span(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_newest_proven_and_all_that_is_young_enough_stay(
            ages in proptest::collection::vec((0_i64..400, 0_u8..3), 1..40),
            keep in (0_u32..4, 0_u32..9, 0_u32..9, 0_u32..40),
        ) {
            let proofs = [Proof::Proven, Proof::Unproven, Proof::Damaged];
            let copies: Vec<ArchiveCopy> = ages
                .iter()
                .map(|(age, p)| ArchiveCopy { proof: proofs[usize::from(*p)], ..proven(*age) })
                .collect();
            let (last, daily, monthly, within) = keep;
            let policy = KeepPolicy { last, daily, monthly, days: Some(within), ..KeepPolicy::default() };
            let gone = expired_archives(&copies, now(), &policy);
            let newest = (0..copies.len())
                .filter(|i| copies[*i].proof == Proof::Proven)
                .map(|i| copies[i].time)
                .max();
            for i in gone {
                prop_assert!(within == 0 || copies[i].time < days_ago(i64::from(within)));
                let same = copies.iter().filter(|c| Some(c.time) == newest).count();
                prop_assert!(Some(copies[i].time) != newest || same > 1 || copies[i].proof != Proof::Proven);
            }
        }
    }
}
