//! What a keep policy leaves of a list of snapshots, as `restic forget --group-by tags` does it.

use std::collections::{BTreeMap, BTreeSet};

use backupctl_application::ports::Snapshot;
use backupctl_domain::retention::KeepPolicy;
use backupctl_domain::{ErrorCode, Failure, SnapshotId};
use jiff::tz::TimeZone;

/// The snapshots that go, of a list in the order of storing. Every count of the policy is honoured, in UTC; `within` is not, and says
/// so.
pub(super) fn forgotten(
    snapshots: &[Snapshot],
    keep: &KeepPolicy,
) -> Result<Vec<SnapshotId>, Failure> {
    if keep.is_empty() {
        return Err(Failure::new(ErrorCode::InvalidConfig, "the retention would keep nothing"));
    }
    if keep.within.is_some() {
        return Err(Failure::internal("the fake repository knows no keep_within"));
    }
    let mut groups: BTreeMap<BTreeSet<&str>, Vec<&Snapshot>> = BTreeMap::new();
    for snapshot in snapshots {
        groups
            .entry(snapshot.tags.iter().map(String::as_str).collect())
            .or_default()
            .push(snapshot);
    }
    let mut gone = Vec::new();
    for group in groups.values_mut() {
        // Stable: of those of one moment the last stored is the newest.
        group.reverse();
        group.sort_by_key(|s| std::cmp::Reverse(s.time));
        let kept = kept(group, keep);
        gone.extend(group.iter().map(|s| &s.id).filter(|id| !kept.contains(id)).cloned());
    }
    Ok(gone)
}

fn kept<'a>(newest_first: &[&'a Snapshot], keep: &KeepPolicy) -> BTreeSet<&'a SnapshotId> {
    let mut kept: BTreeSet<&SnapshotId> =
        newest_first.iter().take(keep.last as usize).map(|s| &s.id).collect();
    let rules = [
        (keep.hourly, "%Y-%m-%d %H"),
        (keep.daily, "%Y-%m-%d"),
        (keep.weekly, "%G-%V"),
        (keep.monthly, "%Y-%m"),
        (keep.yearly, "%Y"),
    ];
    for (count, period) in rules {
        let mut seen = BTreeSet::new();
        for snapshot in newest_first {
            let key = snapshot.time.to_zoned(TimeZone::UTC).strftime(period).to_string();
            if seen.len() < count as usize && seen.insert(key) {
                kept.insert(&snapshot.id);
            }
        }
    }
    kept
}
