//! The promises of every loader, kept by the one of files.

use std::sync::Arc;

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
