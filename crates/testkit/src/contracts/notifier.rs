//! Telling people and monitors, and knowing when it did not work.

use std::sync::Arc;
use std::time::Duration;

use backupctl_application::ports::{Heartbeat, HeartbeatMonitor, Notifier};
use backupctl_domain::{ErrorCode, Notice, Stage};
use jiff::tz::TimeZone;

use super::{assert_fails, soon};
use crate::builders::{at, name, run};

/// One notice of every kind.
fn every_notice() -> Vec<Notice> {
    let minute = Duration::from_mins(1);
    let begun = run("web").build();
    let good = run("web").success(minute).build();
    let bad = run("web").failed(Stage::Dump, ErrorCode::DbTimeout, "no answer", minute).build();
    let now = at("2026-03-18T01:00:00Z");
    vec![
        Notice::started(&begun, &TimeZone::UTC),
        Notice::finished(&good, now),
        Notice::finished(&bad, now),
        Notice::timeout(&begun, minute * 32, minute * 30, Stage::Sync, now),
        Notice::warning(&begun, "Asset path not found: /srv/web", now),
        Notice::overdue(&name("web"), None, minute * 60, now, &TimeZone::UTC),
        Notice::daily_summary(&[], now, &TimeZone::UTC),
    ]
}

/// Holds a channel to its promises: `good` delivers, `refusing` is told no by the other side, and
/// `received` counts what has reached people through `good`.
pub async fn notifier(
    good: Arc<dyn Notifier>,
    refusing: Arc<dyn Notifier>,
    received: impl Fn() -> usize,
) {
    soon("a check", good.check()).await.unwrap();
    soon("a look at the other side", good.reach()).await.unwrap();
    assert_eq!(received(), 0, "a check reaches nobody");
    for (n, notice) in every_notice().iter().enumerate() {
        soon("a notice", good.notify(notice)).await.unwrap();
        assert_eq!(received(), n + 1, "{:?} is delivered once", notice.kind);
        let refused = soon("a refused notice", refusing.notify(notice)).await;
        assert_fails(refused, ErrorCode::NotifyFailed, "a notice that was refused");
    }
}

/// Holds a monitor to its promises: `good` delivers, `refusing` is told no by the other side, and
/// `received` counts what has come through `good`, a `Start` apart.
pub async fn heartbeat_monitor(
    good: Arc<dyn HeartbeatMonitor>,
    refusing: Arc<dyn HeartbeatMonitor>,
    received: impl Fn() -> usize,
) {
    let took = Duration::from_secs(79);
    let up = Heartbeat::Up { message: "web: success in 1m 19s".to_owned(), took };
    let down = Heartbeat::Down { message: "web: failed at Dump".to_owned(), took };
    soon("a check", good.check()).await.unwrap();
    assert_eq!(received(), 0, "a check is no heartbeat");
    soon("a start", good.send(&Heartbeat::Start)).await.unwrap();
    assert_eq!(received(), 0, "a start is told as nothing else");
    for (n, heartbeat) in [up, down].iter().enumerate() {
        soon("a heartbeat", good.send(heartbeat)).await.unwrap();
        assert_eq!(received(), n + 1);
        let refused = soon("a refused heartbeat", refusing.send(heartbeat)).await;
        assert_fails(refused, ErrorCode::HeartbeatFailed, "a heartbeat that was refused");
    }
}
