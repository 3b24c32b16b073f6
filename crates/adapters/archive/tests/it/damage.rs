//! No byte changes unnoticed, and damage leaves nothing behind in a target.

use std::fs;
use std::path::Path;

use backupctl_adapter_archive::Archive;
use backupctl_application::ports::{RemoteStorage, StoredSnapshot};
use backupctl_domain::retention::Proof;
use backupctl_domain::{ErrorCode, Failure};

use crate::names::noise;
use crate::support::{GZIP, Key, World, ZSTD, context, file_of, names};

const BAD: [ErrorCode; 2] = [ErrorCode::ChecksumMismatch, ErrorCode::DecryptionFailed];

fn assert_bad<T>(result: Result<T, Failure>, file: &Path, what: &str) {
    let failure = result.err().unwrap_or_else(|| panic!("{what} was not noticed"));
    assert!(BAD.contains(&failure.code), "{what}: {failure:?}");
    assert!(failure.message.contains(&*file.to_string_lossy()), "{what}: {failure}");
    assert!(!failure.is_transient(), "{what}: {failure}");
}

async fn caught(world: &World, archive: &Archive, stored: &StoredSnapshot, what: &str) {
    let file = file_of(stored);
    assert_bad(world.verify(archive, stored).await, &file, what);
    let (target, restored) = world.restore(archive, stored, &[], "target").await;
    assert_bad(restored, &file, what);
    assert_eq!(names(&target), Vec::<String>::new(), "{what}");
}

#[tokio::test]
async fn no_changed_byte_and_no_missing_end_goes_unnoticed() {
    let key = Key::new();
    for (compression, sealed) in
        [(ZSTD, true), (GZIP, true), (None, true), (ZSTD, false), (None, false)]
    {
        let world = World::new();
        fs::write(world.asset().join("noise"), noise(150_000)).unwrap();
        fs::write(world.asset().join("text"), "some words\n".repeat(9000)).unwrap();
        let archive = world.archive(|settings| {
            settings.compression = compression;
            settings.envelope = sealed.then(|| key.envelope());
        });
        let part = world.part(&[world.asset()]);
        let stored = world.store(&archive, &part).await.unwrap();
        let file = file_of(&stored);
        let good = fs::read(&file).unwrap();
        let last = good.len() - 1;
        let places = (0..good.len()).step_by(good.len() / 23).chain([1, 600, last]);
        for at in places {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            fs::write(&file, &bad).unwrap();
            caught(&world, &archive, &stored, &format!("{compression:?}: byte {at}")).await;
            fs::write(&file, &good[..at]).unwrap();
            let what = format!("{compression:?}: the end after {at}");
            caught(&world, &archive, &stored, &what).await;
        }
        let all = archive.snapshots(&context()).await.unwrap();
        assert_eq!(all[0].proof, Some(Proof::Damaged));
        fs::write(&file, &good).unwrap();
        assert_eq!(world.verify(&archive, &stored).await.unwrap().bytes, good.len() as u64);
        assert_eq!(archive.snapshots(&context()).await.unwrap()[0].proof, Some(Proof::Proven));
    }
}

#[tokio::test]
async fn damage_is_noticed_where_nothing_is_remembered() {
    let (world, key) = (World::new(), Key::new());
    fs::write(world.asset().join("noise"), noise(300_000)).unwrap();
    let archive = world.archive(|settings| settings.envelope = Some(key.envelope()));
    let part = world.part(&[world.asset()]);
    let stored = world.store(&archive, &part).await.unwrap();
    let file = file_of(&stored);
    let good = fs::read(&file).unwrap();
    for at in (0..good.len()).step_by(good.len() / 17) {
        world.forget_everything();
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&file, &bad).unwrap();
        caught(&world, &archive, &stored, &format!("byte {at}")).await;
    }
}

#[tokio::test]
async fn damage_names_the_file_inside_and_the_proof_fails() {
    let (world, key) = (World::new(), Key::new());
    fs::write(world.asset().join("zz-noise"), noise(5_000_000)).unwrap();
    let archive = world.archive(|settings| settings.envelope = Some(key.envelope()));
    let part = world.part(&[world.asset()]);
    let stored = world.store(&archive, &part).await.unwrap();
    let file = file_of(&stored);
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.len() - 1_000_000;
    bytes[at] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let failure = world.prove(&archive, &stored, &part).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DecryptionFailed);
    assert!(failure.message.contains("srv/files/zz-noise"), "{failure}");
    assert_eq!(archive.snapshots(&context()).await.unwrap()[0].proof, Some(Proof::Damaged));
}

#[tokio::test]
async fn without_the_key_the_checksum_tells() {
    let (world, key) = (World::new(), Key::new());
    let archive = world.archive(|settings| settings.envelope = Some(key.sealing_only()));
    let part = world.part(&[world.asset()]);
    let stored = world.store(&archive, &part).await.unwrap();
    let file = file_of(&stored);
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, &bytes).unwrap();
    assert_bad(world.prove(&archive, &stored, &part).await, &file, "the proof");
    assert_bad(world.verify(&archive, &stored).await, &file, "the check");
    let (_, restored) = world.restore(&archive, &stored, &[], "target").await;
    assert_eq!(restored.unwrap_err().code, ErrorCode::EncryptionKeyMissing);
}

#[tokio::test]
async fn a_missing_part_is_damage() {
    let world = World::new();
    fs::write(world.asset().join("noise"), noise(500_000)).unwrap();
    let archive = world.archive(|settings| settings.target.split_size = Some(100_000));
    let stored = world.store(&archive, &world.part(&[world.asset()])).await.unwrap();
    let last = world.names().pop().unwrap();
    fs::remove_file(world.folder.join(last)).unwrap();
    assert_eq!(archive.snapshots(&context()).await.unwrap()[0].proof, Some(Proof::Damaged));
    caught(&world, &archive, &stored, "a missing part").await;
}

#[tokio::test]
async fn a_new_key_makes_no_archive_of_the_old_one_a_damaged_one() {
    let (world, old, new) = (World::new(), Key::new(), Key::new());
    let archive = world.archive(|settings| settings.envelope = Some(old.envelope()));
    let part = world.part(&[world.asset()]);
    let stored = world.store(&archive, &part).await.unwrap();
    let archive = world.archive(|settings| settings.envelope = Some(new.envelope()));
    world.prove(&archive, &stored, &part).await.unwrap();
    let report = world.verify(&archive, &stored).await.unwrap();
    assert_eq!(report.files, None, "{report:?}");
    let (_, restored) = world.restore(&archive, &stored, &[], "target").await;
    assert_eq!(restored.unwrap_err().code, ErrorCode::DecryptionFailed);
    assert_eq!(archive.snapshots(&context()).await.unwrap()[0].proof, Some(Proof::Proven));
}
