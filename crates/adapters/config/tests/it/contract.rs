//! The promises of every loader, kept by the one of files.

use std::sync::Arc;

use backupctl_application::ports::ConfigLoader;
use backupctl_testkit::contracts;

use crate::Site;

#[tokio::test]
async fn config_loader() {
    let site = Site::new(
        "projects:\n\
         \x20 - {name: web, restic: {repository: /r, password: x}, assets: {paths: [/srv]}}\n\
         \x20 - {name: broken, restic: {repository: /r}}\n\
         \x20 - {name: api, restic: {repository: /r, password: x}, assets: {paths: [/srv]}}\n",
    );
    contracts::config_loader(Arc::new(site.loader()), &["web", "broken", "api"]).await;
}

#[tokio::test]
async fn a_change_is_seen_without_reading() {
    let site = Site::new("projects: []\n");
    let loader = site.loader();
    let before = loader.fingerprint();
    assert_eq!(loader.fingerprint(), before);
    site.file(".env", "A=1\n");
    let with_variables = loader.fingerprint();
    assert_ne!(with_variables, before, "a `.env` has been made");
    let file = loader.locate().unwrap();
    // As an editor does it: another file of the same size in its place.
    std::fs::copy(&file, file.with_extension("new")).unwrap();
    std::fs::rename(file.with_extension("new"), &file).unwrap();
    assert_ne!(loader.fingerprint(), with_variables);
    std::fs::remove_file(&file).unwrap();
    assert_ne!(loader.fingerprint(), with_variables);
}
