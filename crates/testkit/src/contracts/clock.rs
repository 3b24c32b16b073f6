//! A clock goes on, and a sleep lasts.

use std::sync::Arc;
use std::time::Duration;

use backupctl_application::ports::Clock;

use super::soon;

/// Holds a clock that goes by itself to its promises.
pub async fn clock(clock: Arc<dyn Clock>) {
    let before = clock.now();
    assert_eq!(before.subsec_nanosecond() % 1_000_000, 0, "to the millisecond");
    soon("a short sleep", clock.sleep(Duration::from_millis(30))).await;
    let after = clock.now();
    // The two readings are rounded, so one millisecond may be missing.
    assert!(after.duration_since(before).as_millis() >= 29, "{before} to {after}");
    soon("no sleep", clock.sleep(Duration::ZERO)).await;
    let mut long = Box::pin(clock.sleep(Duration::from_hours(1)));
    let ended = tokio::select! {
        biased;
        () = &mut long => true,
        () = clock.sleep(Duration::from_millis(1)) => false,
    };
    assert!(!ended, "the longer sleep ended first");
}
