//! Loading again gives the same, and a secret is had or its key is named.

use std::sync::Arc;

use backupctl_application::ports::ConfigLoader;
use backupctl_domain::{ErrorCode, Secret};

use super::assert_fails;
use crate::builders::project;

/// Holds a loader with a good global part to its promises. `names` are its projects in order.
pub async fn config_loader(loader: Arc<dyn ConfigLoader>, names: &[&str]) {
    for _ in 0..2 {
        let config = loader.load().await.unwrap();
        assert!(config.global.is_ok(), "{:?}", config.global);
        let found: Vec<&str> = config.projects.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(found, names);
    }
    assert_eq!(loader.fingerprint(), loader.fingerprint(), "nothing has changed");
    let plain = loader.resolve_secret("audit.url", Secret::value("text")).await.unwrap();
    assert_eq!(plain.expose().unwrap(), "text");
    let missing = Secret::File("/nonexistent/backupctl-contract".into());
    let failed = loader.resolve_secret("audit.url", missing.clone()).await;
    let failure = assert_fails(failed, ErrorCode::InvalidConfig, "a missing secret file");
    assert!(failure.message.contains("audit.url"), "{:?} lacks the key", failure.message);
    let resolved = loader.resolve_secrets(project("web").build()).await.unwrap();
    assert!(resolved.secrets().iter().all(|s| s.expose().is_ok()));
    let broken = project("web").restic(|restic| restic.password = missing).build();
    let failed = loader.resolve_secrets(broken).await;
    assert_fails(failed, ErrorCode::InvalidConfig, "a project with a missing secret file");
}
