//! The time, and waiting.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Tells the time and waits. The only place from which the application has either.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now, to the millisecond.
    fn now(&self) -> Timestamp;
    /// The system's time zone.
    fn system_time_zone(&self) -> TimeZone;
    /// Waits until the wall clock shows `time` or later, also where the machine has slept meanwhile or
    /// its clock was set; at once where that is past. Dropping the future ends the wait.
    async fn sleep_until(&self, time: Timestamp);
    /// Waits for so long. Dropping the future ends the wait.
    async fn sleep(&self, duration: Duration);
}
