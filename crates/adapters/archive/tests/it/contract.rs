//! What every storage of archives promises, with age and without its identity.

use backupctl_application::registry::Storage;
use backupctl_testkit::{WorkDir, contracts};
use jiff::Timestamp;

use crate::support::{Key, World};

#[tokio::test]
async fn archive_storage() {
    let key = Key::new();
    let world = World::new();
    let dir = WorkDir::new();
    let now = || -> Timestamp { world.now() };
    let make = |project: &backupctl_domain::ProjectName| {
        let archive = world.archive(|settings| {
            settings.project = project.clone();
            settings.envelope = Some(key.envelope());
        });
        Storage { remote: archive.clone(), admin: archive, cache: None }
    };
    contracts::archive_storage(make, &now, dir.path()).await;
}

#[tokio::test]
async fn archive_storage_without_an_identity() {
    let key = Key::new();
    let world = World::new();
    let part = world.part(&[world.asset()]);
    let archive = world.archive(|settings| settings.envelope = Some(key.sealing_only()));
    let stored = world.store(&archive, &part).await.unwrap();
    world.prove(&archive, &stored, &part).await.unwrap();
    let report = world.verify(&archive, &stored).await.unwrap();
    assert_eq!(report.files, None, "{report:?}");
    assert!(report.how.contains("checksum"), "{report:?}");
    world.forget_everything();
    let failure = world.verify(&archive, &stored).await.unwrap_err();
    assert_eq!(failure.code, backupctl_domain::ErrorCode::EncryptionKeyMissing);
}
