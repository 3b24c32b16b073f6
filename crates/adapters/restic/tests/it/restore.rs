//! Getting files back.

use std::fs;

use backupctl_application::ports::{RemoteStorage, RestoreRequest};
use backupctl_domain::{ErrorCode, SnapshotId};

use crate::world::{World, ctx, request};

#[tokio::test]
async fn one_file_or_all_come_back_and_are_counted_on_disk() {
    let world = World::new();
    let restic = world.restic();
    // A neighbour that a pattern would match as well.
    fs::write(world.assets().join("sub/b 1x,é"), "neighbour").unwrap();
    let part = world.part(Some(world.dump("d.dump", "the dump")));
    let stored = restic.store(&request(part), &ctx()).await.unwrap();
    let target = world.path("out");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("was here"), "before").unwrap();

    let wanted = world.assets().join("sub/b [1]*,é");
    let one = RestoreRequest {
        snapshot: stored.info.id.clone(),
        target: target.clone(),
        include: vec![wanted.clone()],
    };
    let report = restic.restore(&one, &ctx()).await.unwrap();
    assert_eq!((report.files, report.bytes), (1, 6));
    let back = target.join(wanted.strip_prefix("/").unwrap());
    assert_eq!(fs::read_to_string(back).unwrap(), "second");

    let all = RestoreRequest { include: vec![], ..one.clone() };
    let report = restic.restore(&all, &ctx()).await.unwrap();
    assert_eq!((report.files, report.bytes), (4, 28));
}

#[tokio::test]
async fn what_matches_nothing_is_a_failure() {
    let world = World::new();
    let restic = world.restic();
    let stored = restic.store(&request(world.part(None)), &ctx()).await.unwrap();
    let target = world.path("out");
    fs::create_dir(&target).unwrap();
    let nothing = RestoreRequest {
        snapshot: stored.info.id,
        target: target.clone(),
        include: vec![world.path("no/such")],
    };
    let failure = restic.restore(&nothing, &ctx()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::SnapshotNotFound);
    assert!(failure.message.contains("does not hold"), "{}", failure.message);
    let unknown =
        RestoreRequest { snapshot: SnapshotId::new("0123abcd").unwrap(), target, include: vec![] };
    let failure = restic.restore(&unknown, &ctx()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::SnapshotNotFound);
}
