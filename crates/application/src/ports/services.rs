//! What starts backupctl by itself on this machine.

use async_trait::async_trait;
use backupctl_domain::Failure;

/// A unit that was installed for backupctl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUnit {
    /// Its name, e.g. `backupctl.service`.
    pub name: String,
    /// The program that it starts and that is not there or cannot be started; `None` where it can, or
    /// the unit starts none itself.
    pub missing_program: Option<String>,
    /// Whether it is started at boot or by a unit that is; `None` where it does not ask to be.
    pub enabled: Option<bool>,
}

/// Looks at the units that are installed. Changes nothing and starts nothing.
#[async_trait]
pub trait ServiceUnits: Send + Sync {
    /// Every unit of backupctl, by name; empty where none is installed.
    async fn installed(&self) -> Result<Vec<ServiceUnit>, Failure>;
}
