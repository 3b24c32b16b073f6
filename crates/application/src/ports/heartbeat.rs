//! Telling a monitor that a run was made.

use std::time::Duration;

use async_trait::async_trait;
use backupctl_domain::Failure;

/// What the monitor is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heartbeat {
    /// A run has begun; only for monitors that know of it, and never told as "up".
    Start,
    /// A run has succeeded.
    Up {
        /// A short text.
        message: String,
        /// How long the run took.
        took: Duration,
    },
    /// A run has failed.
    Down {
        /// A short text.
        message: String,
        /// How long the run took.
        took: Duration,
    },
}

/// Tells one monitor. An undelivered heartbeat is `HEARTBEAT_FAILED`.
#[async_trait]
pub trait HeartbeatMonitor: Send + Sync {
    /// Sends it, within 5 s. A `Start` to a monitor that has no such thing does nothing.
    async fn send(&self, heartbeat: &Heartbeat) -> Result<(), Failure>;
    /// That the monitor's server answers, within 5 s, without telling it anything of a run.
    async fn check(&self) -> Result<(), Failure>;
}
