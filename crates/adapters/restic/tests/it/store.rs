//! Storing, proving and thinning out.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backupctl_application::context::{Cancel, Interrupt, Observer, RunEvent};
use backupctl_application::ports::{RemoteStorage, StoreRequest};
use backupctl_domain::retention::KeepPolicy;
use backupctl_domain::sync::SyncPart;
use backupctl_domain::tag::Tag;
use backupctl_domain::{ErrorCode, ProjectName, SnapshotId};

use crate::world::{World, ctx, packs, request, watched};

#[tokio::test]
async fn a_second_run_costs_two_processes_and_reads_no_unchanged_asset() {
    let world = World::new();
    let part = world.part(Some(world.dump("d1.dump", "one")));
    let stored = world.restic().store(&request(part.clone()), &ctx()).await.unwrap();
    assert_eq!((stored.info.files_new, stored.files_total), (3, 3));
    assert_eq!(stored.info.id.as_str().len(), 64, "a local repository tells the whole id");
    assert_eq!(stored.unread, [""; 0]);
    world.restic().prove(&stored, &part, &ctx()).await.unwrap();
    assert_eq!(world.calls(), ["version", "backup", "ls"]);

    // A new process: the name of the dump differs, the assets do not.
    let part = world.part(Some(world.dump("d2.dump", "two!")));
    let restic = world.restic();
    let stored = restic.store(&request(part.clone()), &ctx()).await.unwrap();
    restic.prove(&stored, &part, &ctx()).await.unwrap();
    assert_eq!((stored.info.files_new, stored.info.files_unmodified), (1, 2));
    assert_eq!(world.calls(), ["backup", "ls"]);

    // Nothing is remembered: the parent is looked for once.
    fs::remove_dir_all(world.path("state")).unwrap();
    let stored = world.restic().store(&request(part.clone()), &ctx()).await.unwrap();
    assert_eq!(stored.info.files_unmodified, 3);
    assert_eq!(world.calls(), ["version", "snapshots", "backup"]);

    // A parent that is gone: another one takes its place.
    let gone = SnapshotId::new("0123456789abcdef");
    let request = StoreRequest { parent: gone, ..request(part) };
    let stored = world.restic().store(&request, &ctx()).await.unwrap();
    assert_eq!(stored.info.files_unmodified, 3);
    assert_eq!(world.calls(), ["backup", "cat", "snapshots", "backup"]);
}

#[tokio::test]
async fn tags_survive_commas_percent_signs_and_unicode() {
    let world = World::new();
    let odd = world.path("a, b %2C é");
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join("f"), "x").unwrap();
    let tag = Tag::Assets(odd.to_str().unwrap().to_owned());
    let project = Tag::Project(ProjectName::new("demo").unwrap());
    let part = SyncPart { tags: vec![tag.clone(), project], dump: None, assets: vec![odd.clone()] };
    let restic = world.restic();
    let stored = restic.store(&request(part.clone()), &ctx()).await.unwrap();
    restic.prove(&stored, &part, &ctx()).await.unwrap();
    let listed = restic.snapshots(&ctx()).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].tags.iter().find_map(|text| Tag::parse(text)), Some(tag));
    assert_eq!((listed[0].paths.as_slice(), listed[0].host.as_str()), (&[odd][..], "app1"));
}

#[tokio::test]
async fn retention_keeps_exactly_so_many_of_each_set_of_tags() {
    let world = World::new();
    let restic = world.restic();
    let project = Tag::Project(ProjectName::new("demo").unwrap());
    for n in 0..4 {
        let dump = Some(world.dump(&format!("demo_{n}.dump"), &format!("dump {n}")));
        let db = SyncPart { tags: vec![Tag::Db, project.clone()], dump, assets: vec![] };
        restic.store(&request(db), &ctx()).await.unwrap();
        let assets = SyncPart { tags: vec![Tag::Combined, project.clone()], ..world.part(None) };
        restic.store(&request(assets), &ctx()).await.unwrap();
    }
    world.calls();
    let keep = KeepPolicy { last: 2, ..KeepPolicy::default() };
    let report = restic.prune(&keep, &ctx()).await.unwrap();
    assert_eq!(world.calls(), ["forget"]);
    assert_eq!((report.removed.len(), report.kept), (4, 4));
    assert!(report.repository_bytes.is_some_and(|bytes| bytes > 1000), "{report:?}");
    let left = restic.snapshots(&ctx()).await.unwrap();
    let of_db = left.iter().filter(|s| s.tags.contains(&Tag::Db.to_string()));
    assert_eq!((left.len(), of_db.count()), (4, 2));
    assert!(left.is_sorted_by(|a, b| a.time >= b.time));

    let report = restic.prune(&keep, &ctx()).await.unwrap();
    assert_eq!((report.removed.len(), report.kept), (0, 4));
    let failure = restic.prune(&KeepPolicy::default(), &ctx()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::InvalidConfig);
}

#[tokio::test]
async fn an_empty_repository_is_pruned_without_a_word() {
    let world = World::new();
    let keep = KeepPolicy { daily: 7, ..KeepPolicy::default() };
    let report = world.restic().prune(&keep, &ctx()).await.unwrap();
    assert_eq!((report.removed.len(), report.kept), (0, 0));
}

#[tokio::test]
async fn a_snapshot_that_lacks_something_is_not_proven() {
    let world = World::new();
    let restic = world.restic();
    let (dump, bytes) = world.dump("d.dump", "whole");
    let part = world.part(Some((dump.clone(), bytes)));
    let stored = restic.store(&request(part.clone()), &ctx()).await.unwrap();
    restic.prove(&stored, &part, &ctx()).await.unwrap();

    let cut = SyncPart { dump: Some((dump.clone(), bytes + 1)), ..part.clone() };
    let gone = SyncPart { dump: Some((world.path("other.dump"), bytes)), ..part.clone() };
    let asset = SyncPart { assets: vec![world.path("nope")], ..part.clone() };
    let tags = SyncPart { tags: vec![Tag::Db], ..part.clone() };
    for (wrong, says) in
        [(cut, "instead of 6"), (gone, "not in it"), (asset, "not in it"), (tags, "lacks")]
    {
        let failure = restic.prove(&stored, &wrong, &ctx()).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::SnapshotUnproven);
        assert!(failure.message.contains(says), "{}", failure.message);
    }
    let mut unknown = stored;
    unknown.info.id = SnapshotId::new("0123abcd").unwrap();
    let failure = restic.prove(&unknown, &part, &ctx()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::SnapshotUnproven);
}

#[tokio::test]
async fn a_source_that_vanished_is_named() {
    let world = World::new();
    let mut part = world.part(None);
    part.assets.push(world.path("vanished"));
    let restic = world.restic();
    let stored = restic.store(&request(part.clone()), &ctx()).await.unwrap();
    assert_eq!(stored.unread, [world.path("vanished").to_str().unwrap()]);
    restic.prove(&stored, &part, &ctx()).await.unwrap();

    part.assets = vec![world.path("vanished")];
    let failure = restic.store(&request(part), &ctx()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::NothingToBackUp);
}

#[tokio::test]
async fn unreadable_files_are_named_and_the_snapshot_stays() {
    let world = World::new();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/restic-0.14");
    world.script(&format!(
        "[ \"$1\" = version ] && exec restic version\n\
         [ \"$1\" = snapshots ] && echo '[]' && exit 0\n\
         cat '{fixtures}/unreadable-file-json.stderr' >&2\n\
         cat '{fixtures}/unreadable-file-json.stdout'\nexit 3\n"
    ));
    let stored = world.restic().store(&request(world.part(None)), &ctx()).await.unwrap();
    assert_eq!(stored.unread, ["/WORK/nb/src/closed", "/WORK/nb/src/secret"]);
    assert_eq!(stored.info.id.as_str(), "18d8b0fb");
}

#[tokio::test]
async fn a_summary_that_proves_nothing_is_not_believed() {
    let world = World::new();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/restic-0.14");
    for answer in [format!("cat '{fixtures}/backup-dry-run-json.stdout'"), "echo done".to_owned()] {
        world.script(&format!("[ \"$1\" = version ] && exec restic version\n{answer}\n"));
        let failure = world.restic().store(&request(world.part(None)), &ctx()).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::SnapshotUnproven);
    }
}

#[tokio::test]
async fn exclusions_are_for_assets_and_never_leave_out_the_dump() {
    let world = World::new();
    fs::write(world.assets().join("big.dump"), "asset").unwrap();
    let part = world.part(Some(world.dump("d [1].dump", "one")));
    let exclude = vec!["*.dump".to_owned(), "sub".to_owned()];
    let restic = world.restic();
    let request = StoreRequest { exclude, ..request(part.clone()) };
    let stored = restic.store(&request, &ctx()).await.unwrap();
    assert_eq!(stored.files_total, 2, "the dump and one asset");
    restic.prove(&stored, &part, &ctx()).await.unwrap();
}

#[tokio::test]
async fn what_a_linked_asset_points_to_is_stored() {
    let world = World::new();
    let link = world.path("current");
    std::os::unix::fs::symlink(world.assets(), &link).unwrap();
    let part = SyncPart { assets: vec![link], ..world.part(None) };
    let restic = world.restic();
    let stored = restic.store(&request(part.clone()), &ctx()).await.unwrap();
    assert!(stored.files_total >= 2, "{stored:?}");
    restic.prove(&stored, &part, &ctx()).await.unwrap();
}

/// Stops the run when the first bytes are on their way.
struct StopAtFirstBytes {
    cancel: Cancel,
    seen: AtomicU64,
}

impl Observer for StopAtFirstBytes {
    fn event(&self, event: &RunEvent) {
        if let RunEvent::Progress { bytes, .. } = event
            && *bytes > 0
        {
            self.seen.store(*bytes, Ordering::Relaxed);
            self.cancel.cancel(Interrupt::Term);
        }
    }
}

#[tokio::test]
async fn an_interrupted_store_leaves_no_lock() {
    let world = World::new();
    // Bytes that do not compress, so that the upload limit holds them up.
    let mut state = 1_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let noise: Vec<u8> = words.take(3 << 20).flatten().collect();
    fs::write(world.assets().join("noise"), noise).unwrap();
    let cancel = Cancel::new();
    let observer = Arc::new(StopAtFirstBytes { cancel: cancel.clone(), seen: AtomicU64::new(0) });
    let restic = world.restic_with(|target| target.limit_upload_kib = Some(6000));
    let ctx = watched(observer.clone(), cancel);
    let failure = restic.store(&request(world.part(None)), &ctx).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Interrupted, "{failure:?}");
    assert!(observer.seen.load(Ordering::Relaxed) > 0);
    assert_eq!(world.locks(), 0);
}

#[tokio::test]
async fn a_forget_that_hides_its_failure_is_found_out() {
    let world = World::new();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/restic-0.14");
    let answers = |version: &str, snapshots: &str| {
        world.script(&format!(
            "echo \"$1\" >> '{}'\ncase $1 in\n\
             version) echo 'restic {version} compiled with go';;\n\
             forget) cat '{fixtures}/forget-prune-json.stdout';;\n\
             snapshots) cat '{fixtures}/{snapshots}.stdout';;\nesac\n",
            world.path("calls").display()
        ));
    };
    let keep = KeepPolicy { daily: 1, ..KeepPolicy::default() };
    answers("0.18.1", "snapshots-json");
    let failure = world.restic().prune(&keep, &ctx()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::PathNotWritable);
    assert!(failure.message.contains("5 of 5 are still there"), "{}", failure.message);
    assert_eq!(world.calls(), ["version", "forget", "snapshots"]);
    answers("0.18.10", "snapshots-no-match-json");
    assert_eq!(world.restic().prune(&keep, &ctx()).await.unwrap().removed.len(), 5);
    assert_eq!(world.calls(), ["version", "forget", "snapshots"]);
    answers("0.19.0", "snapshots-json");
    assert_eq!(world.restic().prune(&keep, &ctx()).await.unwrap().removed.len(), 5);
    assert_eq!(world.calls(), ["version", "forget"]);
}

#[tokio::test]
async fn a_prune_that_failed_is_made_up_for_and_damage_stays_damage() {
    let world = World::new();
    let restic = world.restic();
    let part = world.part(Some(world.dump("d1.dump", "one")));
    restic.store(&request(part), &ctx()).await.unwrap();
    let part = world.part(Some(world.dump("d2.dump", "two!")));
    restic.store(&request(part), &ctx()).await.unwrap();
    let keep = KeepPolicy { last: 1, ..KeepPolicy::default() };
    let packs = packs(&world);
    fs::remove_file(&packs[0]).unwrap();

    let first = restic.prune(&keep, &ctx()).await.unwrap_err();
    assert_eq!(first.code, ErrorCode::RepoCorrupt, "{first:?}");
    // The snapshot is forgotten by now: nothing to remove must not pass for a healthy repository.
    let second = world.restic().prune(&keep, &ctx()).await.unwrap_err();
    assert_eq!(second.code, ErrorCode::RepoCorrupt, "{second:?}");
}
