//! When a project runs by itself: its cron expression, read and asked.

use std::time::Duration;

use jiff::tz::TimeZone;

/// A project's schedule.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The expression as configured.
    pub cron: String,
    /// The time zone that it counts in.
    pub timezone: TimeZone,
    /// Whether a missed run is made up for.
    pub catch_up: bool,
    /// How late a run may be before it counts as missed or overdue.
    pub grace: Duration,
}
