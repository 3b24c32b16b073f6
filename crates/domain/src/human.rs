//! Sizes and durations as people read them (spec: notifications.md).

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A number of bytes; shown with one decimal and 1024 as the step: `145.2 MB`.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

impl fmt::Display for ByteSize {
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown, 53 bits are plenty")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["B", "KB", "MB", "GB", "TB", "PB"];
        if self.0 < 1024 {
            return f.pad(&format!("{} B", self.0));
        }
        let mut value = self.0 as f64;
        let mut unit = 0;
        // 1023.95 would be shown as 1024.0 of the smaller unit.
        while value >= 1023.95 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        f.pad(&format!("{value:.1} {}", UNITS[unit]))
    }
}

/// A duration as texts carry it: `45s`, `1m 19s`, `2h 05m`; parts of a second are cut off.
pub fn duration(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m {:02}s", s / 60, s % 60),
        _ => format!("{}h {:02}m", s / 3600, s % 3600 / 60),
    }
}

/// A duration to the minute, as the timeout warning carries it: `32m`, `2h 05m`.
pub fn minutes(d: Duration) -> String {
    let m = d.as_secs() / 60;
    if m < 60 { format!("{m}m") } else { format!("{}h {:02}m", m / 60, m % 60) }
}

/// A distance between runs, to the minute: `15m`, `1h 30m`, `24h`, `7 days`, `2 days 12h`.
pub fn interval(d: Duration) -> String {
    let m = d.as_secs() / 60;
    match (m, m % 60, m / 60, m / 60 % 24) {
        (0, ..) => format!("{}s", d.as_secs()),
        (..60, ..) => format!("{m}m"),
        (..2880, 0, h, _) => format!("{h}h"),
        (..2880, rest, h, _) => format!("{h}h {rest:02}m"),
        (_, _, _, 0) => format!("{} days", m / 1440),
        (_, _, _, h) => format!("{} days {h}h", m / 1440),
    }
}

/// An age as people say it: `12s`, `5m`, `3h`, `2 days`.
pub fn age(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m", s / 60),
        3600..172_800 => format!("{}h", s / 3600),
        _ => format!("{} days", s / 86_400),
    }
}
