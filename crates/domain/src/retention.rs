//! What is kept and what may go (spec: config.md `retention`, pipeline.md §3).

mod keep;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use crate::DumpName;

pub use keep::{ArchiveCopy, Proof, expired_archives, is_span, kept};

/// How many snapshots of a kind are kept, as restic's `--keep-*` counts them. What any of the rules
/// wants is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepPolicy {
    /// The newest so many, whatever their time.
    pub last: u32,
    /// One for each of the newest so many hours.
    pub hourly: u32,
    /// One for each of the newest so many days.
    pub daily: u32,
    /// One for each of the newest so many weeks.
    pub weekly: u32,
    /// One for each of the newest so many months.
    pub monthly: u32,
    /// One for each of the newest so many years.
    pub yearly: u32,
    /// All that are younger than this, counted from the newest: restic's form, e.g. `2y5m7d3h`.
    pub within: Option<String>,
    /// All that are at most so many days old now: of archives alone, which restic does not count so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
}

impl KeepPolicy {
    /// Whether nothing at all would be kept.
    pub fn is_empty(&self) -> bool {
        [self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly] == [0; 6]
            && self.within.is_none()
            && self.days.is_none_or(|days| days == 0)
    }
}

/// A project's retention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Local dump files older than this go, but never the newest good one.
    pub local_days: u32,
    /// What the repository keeps.
    pub keep: KeepPolicy,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            local_days: 7,
            keep: KeepPolicy { daily: 7, weekly: 4, monthly: 6, ..KeepPolicy::default() },
        }
    }
}

/// Which of a project's finished local dumps may go at `now` (same time zone as their names).
///
/// Those older than `local_days` do, save the newest of each project: whatever its age, it is the
/// copy that somebody may need tonight. `local_days` of 0 keeps the newest alone.
pub fn expired_dumps(dumps: &[DumpName], now: DateTime, local_days: u32) -> Vec<DumpName> {
    let has_newer = |d: &DumpName| dumps.iter().any(|o| o.project == d.project && o.time > d.time);
    let limit = Duration::from_secs(u64::from(local_days) * 86_400);
    dumps
        .iter()
        .filter(|d| Duration::try_from(now.duration_since(d.time)).is_ok_and(|age| age > limit))
        .filter(|d| has_newer(d))
        .cloned()
        .collect()
}
