//! The system's clock: the one place that asks for the time and waits for it.

use std::time::Duration;

use async_trait::async_trait;
use backupctl_application::ports::Clock;
use jiff::Timestamp;
use jiff::tz::TimeZone;

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
}
