//! A clock that stands still until it is moved.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use backupctl_application::ports::Clock;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Stands still; a sleep lets the others have their turn for as long.
pub(crate) struct HeldClock(Mutex<Timestamp>);

impl HeldClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new("2026-03-18T00:00:05Z".parse().unwrap())))
    }

    pub(crate) fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap();
        *now = now.checked_add(by).unwrap();
    }
}

#[async_trait]
impl Clock for HeldClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn system_time_zone(&self) -> TimeZone {
        TimeZone::UTC
    }

    async fn sleep_until(&self, time: Timestamp) {
        let left = Duration::try_from(time.duration_since(self.now())).unwrap_or_default();
        self.sleep(left).await;
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock of these tests")]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
