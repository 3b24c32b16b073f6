//! Telling people.

use async_trait::async_trait;
use backupctl_domain::{Failure, Notice};

/// Delivers notices to one channel. An undelivered one is `NOTIFY_FAILED`.
///
/// Promises: 10 s a try, two tries; what the other side refuses (an HTTP status other than 2xx) is
/// undelivered.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Delivers the notice.
    async fn notify(&self, notice: &Notice) -> Result<(), Failure>;
    /// That the channel could be used, without sending anything to people.
    async fn check(&self) -> Result<(), Failure>;
    /// That the other side answers, and takes the login where there is one, within 10 s; nothing is
    /// sent to people.
    async fn reach(&self) -> Result<(), Failure>;
}
