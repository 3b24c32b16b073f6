//! The promises of every repository, kept by restic.
#![expect(clippy::disallowed_methods, reason = "restic stores by the system's clock")]

use backupctl_application::registry::Storage;
use backupctl_testkit::contracts;
use jiff::Timestamp;

use crate::world::World;

#[tokio::test]
async fn remote_storage() {
    let world = World::new();
    let view = |project: &_| {
        let restic = world.restic_for(project, |_| {});
        Storage { remote: restic.clone(), admin: restic.clone(), cache: Some(restic) }
    };
    let dir = world.path("contract");
    std::fs::create_dir(&dir).unwrap();
    contracts::remote_storage(view, &Timestamp::now, &dir).await;
}
