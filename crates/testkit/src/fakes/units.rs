//! The units of a machine that has as many as the test says.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backupctl_application::ports::{ServiceUnit, ServiceUnits};
use backupctl_domain::Failure;

use super::faults::injectable;
use super::{Core, Journal, locked};

/// A [`ServiceUnits`]. Operation: `installed`.
pub struct FakeUnits {
    core: Core,
    units: Mutex<Vec<ServiceUnit>>,
}

injectable!(FakeUnits);

impl FakeUnits {
    /// None is installed.
    pub fn new(journal: &Arc<Journal>) -> Self {
        Self { core: Core::new(journal, &["installed"]), units: Mutex::default() }
    }

    /// Installs one.
    pub fn install(&self, unit: ServiceUnit) {
        locked(&self.units).push(unit);
    }
}

#[async_trait]
impl ServiceUnits for FakeUnits {
    async fn installed(&self) -> Result<Vec<ServiceUnit>, Failure> {
        self.core.call("installed", "check units", None).await?;
        Ok(locked(&self.units).clone())
    }
}
