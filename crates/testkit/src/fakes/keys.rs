//! A keyring in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backupctl_application::ports::KeyManager;
use backupctl_domain::{ErrorCode, Failure};

use super::faults::injectable;
use super::{Core, Journal, locked};

/// A [`KeyManager`]. Operations: `import_file`, `import_new`.
pub struct FakeKeys {
    core: Core,
    files: Mutex<BTreeMap<PathBuf, Vec<String>>>,
    imported: Mutex<BTreeSet<PathBuf>>,
}

injectable!(FakeKeys);

impl FakeKeys {
    /// An empty keyring, and no key files.
    pub fn new(journal: &Arc<Journal>) -> Self {
        Self {
            core: Core::new(journal, &["import_file", "import_new"]),
            files: Mutex::default(),
            imported: Mutex::default(),
        }
    }

    /// A key file with keys of these fingerprints lies there.
    pub fn add_file(&self, file: impl Into<PathBuf>, fingerprints: &[&str]) {
        let fingerprints = fingerprints.iter().map(|f| (*f).to_owned()).collect();
        locked(&self.files).insert(file.into(), fingerprints);
    }
}

#[async_trait]
impl KeyManager for FakeKeys {
    async fn import_file(&self, file: &Path) -> Result<Vec<String>, Failure> {
        self.core.call("import_file", format!("import key {}", file.display()), None).await?;
        let found = locked(&self.files).get(file).cloned().ok_or_else(|| {
            let message = format!("no key file {}", file.display());
            Failure::new(ErrorCode::EncryptionKeyMissing, message)
        })?;
        locked(&self.imported).insert(file.to_owned());
        Ok(found)
    }

    async fn import_new(&self, dir: &Path) -> Result<Vec<String>, Failure> {
        self.core.call("import_new", format!("import keys {}", dir.display()), None).await?;
        let mut imported = locked(&self.imported);
        let mut found = Vec::new();
        for (file, fingerprints) in locked(&self.files).iter() {
            if file.parent() == Some(dir) && imported.insert(file.clone()) {
                found.extend(fingerprints.iter().cloned());
            }
        }
        Ok(found)
    }
}
