//! A channel that keeps what it was given.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backupctl_application::ports::Notifier;
use backupctl_domain::{Failure, Notice};

use super::faults::injectable;
use tokio::sync::watch;

use super::{Core, Journal, locked};

/// A [`Notifier`]. Operations: `notify`, `check`, `reach`.
pub struct FakeNotifier {
    core: Core,
    channel: &'static str,
    notices: Mutex<Vec<Notice>>,
    count: watch::Sender<usize>,
}

injectable!(FakeNotifier);

impl FakeNotifier {
    /// A channel of that kind, e.g. `webhook`.
    pub fn new(journal: &Arc<Journal>, channel: &'static str) -> Self {
        Self {
            core: Core::new(journal, &["notify", "check", "reach"]),
            channel,
            notices: Mutex::default(),
            count: watch::Sender::new(0),
        }
    }

    /// What was delivered, in order.
    pub fn notices(&self) -> Vec<Notice> {
        locked(&self.notices).clone()
    }

    /// Waits until at least so many were delivered.
    pub async fn received(&self, count: usize) {
        let _ = self.count.subscribe().wait_for(|n| *n >= count).await;
    }

    /// The events of what was delivered, e.g. `backup_started`.
    pub fn kinds(&self) -> Vec<&'static str> {
        locked(&self.notices).iter().map(|n| n.kind.event()).collect()
    }
}

#[async_trait]
impl Notifier for FakeNotifier {
    async fn notify(&self, notice: &Notice) -> Result<(), Failure> {
        let event = format!("notify {} {}", notice.kind.event(), self.channel);
        self.core.call("notify", event, None).await?;
        locked(&self.notices).push(notice.clone());
        self.count.send_modify(|n| *n += 1);
        Ok(())
    }

    async fn check(&self) -> Result<(), Failure> {
        self.core.call("check", format!("check notifier {}", self.channel), None).await
    }
    async fn reach(&self) -> Result<(), Failure> {
        self.core.call("reach", format!("check way to {}", self.channel), None).await
    }
}
