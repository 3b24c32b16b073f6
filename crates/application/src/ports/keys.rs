//! Keyrings.

use std::path::Path;

use async_trait::async_trait;
use backupctl_domain::Failure;

/// Imports public keys.
#[async_trait]
pub trait KeyManager: Send + Sync {
    /// Imports the keys of a file; returns their fingerprints, also of those that were known.
    async fn import_file(&self, file: &Path) -> Result<Vec<String>, Failure>;
    /// Imports every key of a folder that is new since the last time; returns their fingerprints.
    async fn import_new(&self, dir: &Path) -> Result<Vec<String>, Failure>;
}
