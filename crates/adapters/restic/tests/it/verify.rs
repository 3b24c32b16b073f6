//! Snapshots read back: every piece, through restic, without a place to put them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use backupctl_application::ports::RemoteStorage;
use backupctl_domain::ErrorCode;

use crate::world::{World, ctx, packs, request};

#[tokio::test]
async fn a_whole_snapshot_is_read_and_a_damaged_piece_is_found_in_the_one_that_has_it() {
    let world = World::new();
    let restic = world.restic();
    fs::write(world.assets().join("large"), vec![7; 300_000]).unwrap();
    let first = restic.store(&request(world.part(None)), &ctx()).await.unwrap();
    let report = restic.verify(&first.info.id, &ctx()).await.unwrap();
    assert!(report.bytes > 300_000 && report.files.is_none(), "{report:?}");

    // What the second one adds is in packs of its own.
    let known = packs(&world);
    let dump = world.part(Some(world.dump("d.dump", "the dump of another day")));
    let second = restic.store(&request(dump), &ctx()).await.unwrap();
    for pack in packs(&world).into_iter().filter(|pack| !known.contains(pack)) {
        let mut bytes = fs::read(&pack).unwrap();
        let middle = bytes.len() / 2;
        bytes[0] ^= 1;
        bytes[middle] ^= 1;
        fs::set_permissions(&pack, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&pack, bytes).unwrap();
    }
    let failure = restic.verify(&second.info.id, &ctx()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::RepoCorrupt, "{failure:?}");
    restic.verify(&first.info.id, &ctx()).await.unwrap();
}
