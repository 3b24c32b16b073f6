//! Importing keys once.

use std::path::Path;
use std::sync::Arc;

use backupctl_application::ports::KeyManager;

/// Holds an empty keyring to its promises. `file` holds keys of these fingerprints and is all that
/// its folder holds.
pub async fn key_manager(keys: Arc<dyn KeyManager>, file: &Path, fingerprints: &[&str]) {
    let folder = file.parent().unwrap();
    assert_eq!(keys.import_new(folder).await.unwrap(), fingerprints);
    assert!(keys.import_new(folder).await.unwrap().is_empty(), "nothing is new any more");
    assert_eq!(keys.import_file(file).await.unwrap(), fingerprints, "known ones are told too");
    assert!(keys.import_file(&folder.join("missing")).await.is_err());
}
