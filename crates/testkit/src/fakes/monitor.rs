//! A monitor that keeps its heartbeats.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backupctl_application::ports::{Heartbeat, HeartbeatMonitor};
use backupctl_domain::Failure;

use super::faults::injectable;
use super::{Core, Journal, locked};

/// A [`HeartbeatMonitor`]. Operations: `send`, `check`.
pub struct FakeMonitor {
    core: Core,
    heartbeats: Mutex<Vec<Heartbeat>>,
}

injectable!(FakeMonitor);

impl FakeMonitor {
    /// A monitor that takes everything.
    pub fn new(journal: &Arc<Journal>) -> Self {
        Self { core: Core::new(journal, &["send", "check"]), heartbeats: Mutex::default() }
    }

    /// What was sent, in order.
    pub fn heartbeats(&self) -> Vec<Heartbeat> {
        locked(&self.heartbeats).clone()
    }
}

#[async_trait]
impl HeartbeatMonitor for FakeMonitor {
    async fn send(&self, heartbeat: &Heartbeat) -> Result<(), Failure> {
        let name = match heartbeat {
            Heartbeat::Start => "start",
            Heartbeat::Up { .. } => "up",
            Heartbeat::Down { .. } => "down",
        };
        self.core.call("send", format!("heartbeat {name}"), None).await?;
        locked(&self.heartbeats).push(heartbeat.clone());
        Ok(())
    }
    async fn check(&self) -> Result<(), Failure> {
        self.core.call("check", "check monitor", None).await
    }
}
