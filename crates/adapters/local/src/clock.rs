//! The system's clock: the one place that asks for the time and waits for it.

use std::time::Duration;

use async_trait::async_trait;
use backupctl_application::ports::Clock;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::wall_clock;

/// The [`Clock`] of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the time comes from")]
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        // Records and texts carry milliseconds; what is compared with them must too.
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    fn system_time_zone(&self) -> TimeZone {
        TimeZone::system()
    }

    #[expect(clippy::disallowed_methods, reason = "this is where waiting happens")]
    async fn sleep_until(&self, time: Timestamp) {
        if let Err(why) = wall_clock::reach(time).await {
            // Without the kernel's timer (no descriptor is left), the runtime's own: asked again
            // every minute, so that it is late by no more where the clock is set.
            tracing::warn!("no timer of the wall clock: {why}");
            while let Ok(left) = Duration::try_from(time.duration_since(self.now())) {
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(Duration::from_mins(1))).await;
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is where waiting happens")]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn time_goes_on_in_whole_milliseconds() {
        let before = SystemClock.now();
        SystemClock.sleep(Duration::from_millis(20)).await;
        let passed = SystemClock.now().duration_since(before);
        assert!(passed.as_millis() >= 19, "{passed:?}");
        assert_eq!(before.subsec_nanosecond() % 1_000_000, 0);
    }

    #[tokio::test]
    async fn a_time_of_day_is_waited_for_and_a_past_one_is_not() {
        let soon = SystemClock.now().checked_add(Duration::from_millis(60)).unwrap();
        SystemClock.sleep_until(soon).await;
        let late = SystemClock.now().duration_since(soon);
        assert!(late >= jiff::SignedDuration::ZERO && late.as_secs() < 30, "{late:?}");
        SystemClock.sleep_until(Timestamp::UNIX_EPOCH).await;
        SystemClock.sleep_until(soon).await;
    }
}
