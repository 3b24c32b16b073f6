//! Old archives go, and no good one for a damaged one.

use std::fs;

use backupctl_adapter_archive::Archive;
use backupctl_application::ports::{
    Clock, PruneReport, RemoteStorage, RepositoryAdmin, StoredSnapshot,
};
use backupctl_domain::retention::{KeepPolicy, Proof};
use backupctl_domain::{ErrorCode, ProjectName};
use jiff::Span;

use crate::support::{Key, World, context, file_of};

fn days(days: u32) -> KeepPolicy {
    KeepPolicy { days: Some(days), ..KeepPolicy::default() }
}

fn last(last: u32) -> KeepPolicy {
    KeepPolicy { last, ..KeepPolicy::default() }
}

/// An archive a day, the last one now, each proven.
async fn daily(world: &World, archive: &Archive, count: i64) -> Vec<StoredSnapshot> {
    let part = world.part(&[world.asset()]);
    let mut all = Vec::new();
    for age in (0..count).rev() {
        let at = world.clock.now().checked_sub(Span::new().hours(24 * age)).unwrap();
        let stored = world.store_at(archive, &part, at).await.unwrap();
        world.prove(archive, &stored, &part).await.unwrap();
        all.insert(0, stored);
    }
    all
}

fn damage(stored: &StoredSnapshot) {
    let file = file_of(stored);
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(file, bytes).unwrap();
}

async fn prune(archive: &Archive, keep: &KeepPolicy) -> PruneReport {
    archive.prune(keep, &context()).await.unwrap()
}

#[tokio::test]
async fn of_twenty_days_fourteen_stay() {
    let world = World::new();
    let archive = world.archive(|_| ());
    let all = daily(&world, &archive, 20).await;
    fs::write(world.folder.join("shop_holiday.jpg"), "x").unwrap();
    fs::write(world.folder.join("blog_20200101_000000.tar.zst"), "x").unwrap();
    let report = prune(&archive, &days(14)).await;
    let expected: Vec<_> = all[15..].iter().map(|s| s.info.id.clone()).collect();
    assert_eq!(report.removed, expected, "up to 14 days, the oldest of them 14 days old");
    assert_eq!((report.kept, report.warnings.len()), (15, 0));
    let bytes = all[..15].iter().map(|s| s.info.archive.as_ref().unwrap().bytes).sum();
    assert_eq!(report.repository_bytes, Some(bytes));
    assert_eq!(world.names().len(), 17, "and what is not ours");
    assert_eq!(prune(&archive, &days(14)).await.removed, []);
}

#[tokio::test]
async fn a_damaged_archive_is_not_what_a_good_one_goes_for() {
    let world = World::new();
    let archive = world.archive(|_| ());
    let all = daily(&world, &archive, 4).await;
    damage(&all[1]);
    let report = prune(&archive, &last(2)).await;
    assert_eq!(report.warnings.len(), 1, "{report:?}");
    assert!(report.warnings[0].contains(&*file_of(&all[1]).to_string_lossy()), "{report:?}");
    assert_eq!(report.removed, [all[3].info.id.clone()], "the third is the second good one now");
    let left = archive.snapshots(&context()).await.unwrap();
    let proofs: Vec<_> = left.iter().map(|s| s.proof.unwrap()).collect();
    assert_eq!(proofs, [Proof::Proven, Proof::Damaged, Proof::Proven]);
}

#[tokio::test]
async fn an_archive_that_has_shrunk_counts_for_nothing() {
    let world = World::new();
    let archive = world.archive(|_| ());
    let all = daily(&world, &archive, 3).await;
    fs::write(file_of(&all[0]), "x").unwrap();
    let report = prune(&archive, &last(1)).await;
    assert_eq!(report.removed, [all[2].info.id.clone()]);
    assert!(file_of(&all[1]).exists(), "the newest good one");
}

#[tokio::test]
async fn the_newest_proven_one_stays_whatever_comes() {
    let world = World::new();
    let archive = world.archive(|_| ());
    let old = daily(&world, &archive, 1).await;
    world.clock.advance(std::time::Duration::from_hours(24 * 100));
    let part = world.part(&[world.asset()]);
    let stored = world.store(&archive, &part).await.unwrap();
    damage(&stored);
    let report = prune(&archive, &last(1)).await;
    assert_eq!(report.removed, []);
    assert!(file_of(&old[0]).exists());
    assert_eq!(prune(&archive, &KeepPolicy::default()).await.removed, [], "no policy keeps all");
}

#[tokio::test]
async fn by_age_today_s_archive_is_not_left_alone_with_a_damaged_one() {
    let world = World::new();
    let archive = world.archive(|_| ());
    daily(&world, &archive, 1).await;
    world.clock.advance(std::time::Duration::from_hours(24 * 19));
    let young = daily(&world, &archive, 2).await;
    damage(&young[1]);
    let report = prune(&archive, &days(14)).await;
    assert_eq!((report.removed.len(), report.kept, report.warnings.len()), (0, 3, 1), "{report:?}");
}

#[tokio::test]
async fn a_clock_that_was_set_back_takes_no_archive_of_today() {
    let world = World::new();
    let archive = world.archive(|_| ());
    let part = world.part(&[world.asset()]);
    let now = world.clock.now();
    world.clock.advance(std::time::Duration::from_hours(24 * 400));
    world.store(&archive, &part).await.unwrap();
    world.clock.set(now);
    for _ in 0..2 {
        world.clock.advance(std::time::Duration::from_hours(24));
        let stored = world.store(&archive, &part).await.unwrap();
        world.prove(&archive, &stored, &part).await.unwrap();
        prune(&archive, &last(1)).await;
        assert!(file_of(&stored).exists(), "it was written a moment ago");
    }
    assert_eq!(world.names().len(), 2, "the one of the future, and the last one");
}

#[tokio::test]
async fn what_nothing_shows_to_be_ours_stays() {
    let world = World::new();
    let key = Key::new();
    let sealed = |identity: bool| {
        let envelope = if identity { key.envelope() } else { key.sealing_only() };
        world.archive(|settings| settings.envelope = Some(envelope))
    };
    let archive = sealed(false);
    daily(&world, &archive, 3).await;
    // A name of ours that another program has used, and a machine that remembers nothing.
    fs::write(world.folder.join("shop_20200101_000000.tar.gz"), "not one of ours").unwrap();
    fs::remove_dir_all(world.dir.path().join("state")).unwrap();
    let part = world.part(&[world.asset()]);
    let stored = world.store(&archive, &part).await.unwrap();
    world.prove(&archive, &stored, &part).await.unwrap();
    let report = prune(&archive, &last(1)).await;
    assert_eq!((report.removed.len(), report.kept), (0, 5), "{report:?}");
    assert!(report.warnings[0].contains("and 1 more"), "{report:?}");
    assert!(report.warnings[0].contains("identity_file"), "{report:?}");

    // With the key it is seen which are.
    let report = prune(&sealed(true), &last(1)).await;
    assert_eq!((report.removed.len(), report.kept), (3, 2), "{report:?}");
    assert!(report.warnings[0].contains("remove shop_20200101_000000.tar.gz,"), "{report:?}");
    assert!(world.names().contains(&"shop_20200101_000000.tar.gz".to_owned()));
}

#[tokio::test]
async fn an_archive_under_another_name_proves_nothing() {
    let world = World::new();
    let archive = world.archive(|_| ());
    let all = daily(&world, &archive, 1).await;
    let file = file_of(&all[0]);
    let name = file.file_name().unwrap().to_str().unwrap();
    for other in [name.replace("shop_2026", "shop_2027"), name.replace("shop_", "blog_")] {
        fs::copy(&file, world.folder.join(other)).unwrap();
    }
    let newest = archive.snapshots(&context()).await.unwrap().remove(0);
    let failure = archive.verify(&newest.id, &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::ChecksumMismatch);
    assert!(failure.message.contains("not when its name says"), "{failure}");
    let blog = world.archive(|settings| settings.project = ProjectName::new("blog").unwrap());
    let listed = blog.snapshots(&context()).await.unwrap();
    assert_eq!(listed[0].proof, Some(Proof::Damaged));
    let failure = blog.verify(&listed[0].id, &context()).await.unwrap_err();
    assert!(failure.message.contains("an archive of project shop, not blog"), "{failure}");
}

#[tokio::test]
async fn a_folder_that_has_lost_what_it_had_is_told() {
    let world = World::new();
    let archive = world.archive(|_| ());
    assert!(archive.check(&context()).await.unwrap().remark.is_none(), "nothing was there");
    let all = daily(&world, &archive, 2).await;
    assert!(archive.check(&context()).await.unwrap().remark.is_none());
    damage(&all[0]);
    archive.verify(&all[0].info.id, &context()).await.unwrap_err();
    let remark = archive.check(&context()).await.unwrap().remark.unwrap();
    assert_eq!(remark.code, ErrorCode::ChecksumMismatch);
    for stored in &all {
        fs::remove_file(file_of(stored)).unwrap();
    }
    let remark = archive.check(&context()).await.unwrap().remark.unwrap();
    assert_eq!(remark.code, ErrorCode::SnapshotNotFound);
    assert!(remark.message.contains("has no archive"), "{remark:?}");
}

#[tokio::test]
async fn a_split_archive_goes_whole() {
    let world = World::new();
    fs::write(world.asset().join("noise"), crate::names::noise(300_000)).unwrap();
    let archive = world.archive(|settings| settings.target.split_size = Some(100_000));
    let all = daily(&world, &archive, 2).await;
    assert_eq!(world.names().len(), 8);
    assert_eq!(prune(&archive, &last(1)).await.removed, [all[1].info.id.clone()]);
    assert_eq!(world.names().len(), 4);
}
