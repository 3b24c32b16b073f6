//! Snapshots: stored, proven, found again, thinned out, restored; and nobody else's touched.

use std::fs;
use std::path::{Path, PathBuf};

use backupctl_application::ports::{
    CacheKeeper, RemoteStorage, RepositoryAdmin, RestoreRequest, Snapshot, StoreRequest,
    StoredSnapshot,
};
use backupctl_application::registry::Storage;
use backupctl_domain::destination::SnapshotMode;
use backupctl_domain::retention::KeepPolicy;
use backupctl_domain::sync::{SyncPart, sync_parts};
use backupctl_domain::{ErrorCode, ProjectName, SnapshotId, Stage};
use jiff::{Span, Timestamp, Unit};

use super::{assert_fails, cancelled, context};
use crate::builders::{at, name, store_request};

/// Holds an empty repository to its promises. `make` gives a project's view of it, `now` reads the
/// clock by which it stores, `dir` is an empty folder for sources and targets.
pub async fn remote_storage(
    make: impl Fn(&ProjectName) -> Storage,
    now: &dyn Fn() -> Timestamp,
    dir: &Path,
) {
    let (ours, theirs) = (name("ours"), name("theirs"));
    let Storage { remote, admin, cache } = make(&ours);
    let cache = cache.expect("a repository is cached");
    let sources = Sources::new(dir);
    assert!(admin.check_tool().await.unwrap().is_some());
    a_destination_knows_itself(&*admin, &ours).await;
    assert!(admin.check(&context(Stage::Sync)).await.unwrap().id.is_some());

    // Somebody else's snapshot, before anything of ours.
    let other = make(&theirs);
    let part = sources.parts(&theirs, SnapshotMode::Combined, "0").remove(0);
    let their_snapshot = store(&*other.remote, &part, None).await;

    let first = what_is_stored_is_proven(&*remote, &ours, &sources, now).await;
    unchanged_assets_are_not_read_again(&*remote, &ours, &sources, &first).await;
    files_come_back(&*remote, &sources, &first, dir).await;
    what_is_whole_is_verified(&*remote, &first).await;
    a_call_that_is_stopped_stores_nothing(&*remote, &ours, &sources).await;
    retention_really_removes(&*remote, &ours, &sources).await;
    one_snapshot_is_forgotten(&*remote, &*admin).await;
    a_cache_is_measured_and_cleared(&*remote, &*cache).await;
    nobody_elses_is_touched(&*other.remote, &their_snapshot).await;
    assert!(!remote.unlock_stale(&context(Stage::Sync)).await.unwrap(), "no lock is stale");
}

/// The same for an empty folder of archives, which hold everything and are made whole each time.
pub async fn archive_storage(
    make: impl Fn(&ProjectName) -> Storage,
    now: &dyn Fn() -> Timestamp,
    dir: &Path,
) {
    let (ours, theirs) = (name("ours"), name("theirs"));
    let Storage { remote, admin, cache } = make(&ours);
    assert!(cache.is_none(), "nothing is kept of archives but themselves");
    let sources = Sources::new(dir);
    assert!(admin.check_tool().await.unwrap().is_none());
    a_destination_knows_itself(&*admin, &ours).await;

    let other = make(&theirs);
    let part = sources.parts(&theirs, SnapshotMode::Combined, "0").remove(0);
    let their_snapshot = store_at(&*other.remote, &part, None, now()).await;
    other.remote.prove(&their_snapshot, &part, &context(Stage::Sync)).await.unwrap();

    let first = what_is_stored_is_proven(&*remote, &ours, &sources, now).await;
    files_come_back(&*remote, &sources, &first, dir).await;
    what_is_whole_is_verified(&*remote, &first).await;
    a_call_that_is_stopped_stores_nothing(&*remote, &ours, &sources).await;
    old_archives_go(&*remote, &ours, &sources, now).await;
    one_snapshot_is_forgotten(&*remote, &*admin).await;
    nobody_elses_is_touched(&*other.remote, &their_snapshot).await;
    assert!(!remote.unlock_stale(&context(Stage::Sync)).await.unwrap(), "nothing is left over");
}

async fn nobody_elses_is_touched(theirs: &dyn RemoteStorage, stored: &StoredSnapshot) {
    let left = theirs.snapshots(&context(Stage::Sync)).await.unwrap();
    assert_eq!(left.len(), 1, "another project's snapshots are not ours to remove");
    assert!(left[0].id.matches(&stored.info.id));
}

async fn what_is_whole_is_verified(storage: &dyn RemoteStorage, stored: &StoredSnapshot) {
    let ctx = context(Stage::Verify);
    let report = storage.verify(&stored.info.id, &ctx).await.unwrap();
    assert!(report.bytes > 0 && !report.how.is_empty(), "{report:?}");
    assert!(report.files.is_none_or(|files| files >= 5), "{report:?}");
    let nowhere = SnapshotId::new("deadbeef".repeat(8)).unwrap();
    let failed = storage.verify(&nowhere, &ctx).await;
    assert_fails(failed, ErrorCode::SnapshotNotFound, "a snapshot that is not there");
}

/// Days of archives, of which the policy keeps the newest three.
async fn old_archives_go(
    storage: &dyn RemoteStorage,
    project: &ProjectName,
    sources: &Sources,
    now: &dyn Fn() -> Timestamp,
) {
    let ctx = context(Stage::Prune);
    let before = storage.snapshots(&ctx).await.unwrap().len();
    for day in 1..=5 {
        let part = sources.parts(project, SnapshotMode::Combined, &format!("day{day}")).remove(0);
        let at = now().checked_add(Span::new().hours(24 * day)).unwrap();
        let stored = store_at(storage, &part, None, at).await;
        storage.prove(&stored, &part, &ctx).await.unwrap();
    }
    let all = storage.snapshots(&ctx).await.unwrap();
    assert_eq!(all.len(), before + 5);
    assert!(all.is_sorted_by(|a, b| a.time >= b.time), "newest first");
    let keep = KeepPolicy { last: 3, ..KeepPolicy::default() };
    let report = storage.prune(&keep, &ctx).await.unwrap();
    assert_eq!((report.removed.len(), report.kept), (before + 2, 3), "{report:?}");
    assert!(report.repository_bytes.is_some_and(|bytes| bytes > 0));
    assert_eq!(storage.snapshots(&ctx).await.unwrap(), all[..3], "the newest stay");
    let report = storage.prune(&keep, &ctx).await.unwrap();
    assert_eq!((report.removed.len(), report.kept), (0, 3), "nothing is left to remove");
}

struct Sources {
    assets: Vec<PathBuf>,
    dumps: PathBuf,
}

impl Sources {
    fn new(dir: &Path) -> Self {
        let assets = vec![dir.join("files"), dir.join("comma, and space")];
        let dumps = dir.join("dumps");
        for (n, folder) in assets.iter().chain([&dumps]).enumerate() {
            fs::create_dir_all(folder.join("below")).unwrap();
            fs::write(folder.join("one.txt"), format!("one of {n}")).unwrap();
            fs::write(folder.join("below/two.txt"), format!("two of {n}")).unwrap();
        }
        Self { assets, dumps }
    }

    /// A dump of its own for each run, since its name carries the time.
    fn dump(&self, run: &str) -> (PathBuf, u64) {
        let path = self.dumps.join(format!("ours_backup_{run}.dump"));
        let content = format!("dump of run {run}");
        fs::write(&path, &content).unwrap();
        (path, content.len() as u64)
    }

    fn parts(&self, project: &ProjectName, mode: SnapshotMode, run: &str) -> Vec<SyncPart> {
        sync_parts(project, mode, Some(self.dump(run)), &self.assets).unwrap()
    }
}

async fn store(
    storage: &dyn RemoteStorage,
    part: &SyncPart,
    parent: Option<SnapshotId>,
) -> StoredSnapshot {
    store_at(storage, part, parent, at("2026-03-18T00:00:05Z")).await
}

async fn store_at(
    storage: &dyn RemoteStorage,
    part: &SyncPart,
    parent: Option<SnapshotId>,
    started_at: Timestamp,
) -> StoredSnapshot {
    let request = StoreRequest { parent, started_at, ..store_request(part.clone()) };
    let stored = storage.store(&request, &context(Stage::Sync)).await.unwrap();
    assert_eq!(stored.info.tags, part.tag_texts());
    assert_eq!(stored.unread, Vec::<String>::new());
    stored
}

async fn a_destination_knows_itself(admin: &dyn RepositoryAdmin, project: &ProjectName) {
    let ctx = context(Stage::Sync);
    assert_eq!(admin.project(), project);
    let info = admin.check(&ctx).await.unwrap();
    assert!(!info.detail.is_empty() && !info.location.is_empty(), "{info:?}");
    admin.check_access().await.unwrap();
    let (again, made) = admin.init(&ctx).await.unwrap();
    assert!(!made, "a repository that is there is left alone");
    assert_eq!(again.id, info.id);
}

async fn what_is_stored_is_proven(
    storage: &dyn RemoteStorage,
    project: &ProjectName,
    sources: &Sources,
    now: &dyn Fn() -> Timestamp,
) -> StoredSnapshot {
    let ctx = context(Stage::Sync);
    assert!(storage.snapshots(&ctx).await.unwrap().is_empty(), "others' snapshots are not shown");
    let part = sources.parts(project, SnapshotMode::Combined, "1").remove(0);
    let before = now();
    let stored = store_at(storage, &part, None, before).await;
    let after = now();
    assert_eq!(stored.info.files_new, 5, "two assets of two files each, and the dump");
    assert_eq!((stored.info.files_changed, stored.info.files_unmodified), (0, 0));
    assert_eq!(stored.files_total, 5);
    assert!(stored.info.bytes_added > 0);
    storage.prove(&stored, &part, &ctx).await.unwrap();

    let mut wrong_size = part.clone();
    wrong_size.dump = part.dump.clone().map(|(path, bytes)| (path, bytes + 1));
    let mut no_dump = part.clone();
    no_dump.dump = Some(sources.dump("never-stored"));
    let mut no_asset = part.clone();
    no_asset.assets.push(sources.dumps.join("below"));
    for (what, lie) in [("size", wrong_size), ("dump", no_dump), ("asset", no_asset)] {
        let proof = storage.prove(&stored, &lie, &ctx).await;
        assert_fails(proof, ErrorCode::SnapshotUnproven, &format!("the wrong {what}"));
    }
    let mut nowhere = stored.clone();
    nowhere.info.id = SnapshotId::new("deadbeef".repeat(8)).unwrap();
    let proof = storage.prove(&nowhere, &part, &ctx).await;
    assert_fails(proof, ErrorCode::SnapshotUnproven, "a snapshot that is not there");

    let found = storage.snapshots(&ctx).await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(found[0].id.matches(&stored.info.id));
    assert_eq!(found[0].tags, stored.info.tags);
    let time = found[0].time;
    // The name of an archive has no parts of a second.
    let before = before.round(Unit::Second).unwrap().checked_sub(Span::new().seconds(1)).unwrap();
    assert!((before..=after).contains(&time), "{time} is not from {before} to {after}");
    // An archive has the dump at its top.
    let bare = |path: &Path| match part.dump.as_ref().filter(|(dump, _)| dump == path) {
        Some(_) if found[0].archive.is_some() => Path::new("/").join(path.file_name().unwrap()),
        _ => path.to_owned(),
    };
    let mut paths = found[0].paths.clone();
    let mut expected: Vec<PathBuf> = part.paths().into_iter().map(bare).collect();
    paths.sort();
    expected.sort();
    assert_eq!(paths, expected);
    stored
}

async fn unchanged_assets_are_not_read_again(
    storage: &dyn RemoteStorage,
    project: &ProjectName,
    sources: &Sources,
    first: &StoredSnapshot,
) {
    let part = sources.parts(project, SnapshotMode::Combined, "2").remove(0);
    let parent = Some(first.info.id.clone());
    let second = store(storage, &part, parent).await;
    assert_eq!(second.info.files_unmodified, 4, "{:?}", second.info);
    assert_eq!((second.info.files_new, second.info.files_changed), (1, 0), "the new dump alone");
    let ids: Vec<SnapshotId> =
        storage.snapshots(&context(Stage::Sync)).await.unwrap().into_iter().map(|s| s.id).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids[0].matches(&second.info.id) && ids[1].matches(&first.info.id), "newest first");
}

async fn files_come_back(
    storage: &dyn RemoteStorage,
    sources: &Sources,
    stored: &StoredSnapshot,
    dir: &Path,
) {
    let ctx = context(Stage::Sync);
    let restore = |target: &str, include: Vec<PathBuf>| {
        let target = dir.join(target);
        fs::create_dir(&target).unwrap();
        RestoreRequest { snapshot: stored.info.id.clone(), target, include }
    };
    let below = |target: &Path, path: &Path| target.join(path.strip_prefix("/").unwrap());

    let all = restore("all", Vec::new());
    let report = storage.restore(&all, &ctx).await.unwrap();
    assert_eq!(report.files, 5);
    let asset = sources.assets[1].join("below/two.txt");
    let restored = fs::read_to_string(below(&all.target, &asset)).unwrap();
    assert_eq!(restored, "two of 1");

    let (source, bytes) = sources.dump("1");
    let listed = storage.snapshots(&ctx).await.unwrap();
    let listed = listed.into_iter().find(|s| s.id.matches(&stored.info.id)).unwrap();
    let is_it = |path: &PathBuf| path.file_name() == source.file_name();
    let dump = listed.paths.into_iter().find(is_it).expect("the dump is listed");
    let only = restore("only", vec![dump.clone()]);
    let report = storage.restore(&only, &ctx).await.unwrap();
    assert_eq!((report.files, report.bytes), (1, bytes));
    assert_eq!(fs::read(below(&only.target, &dump)).unwrap(), fs::read(&source).unwrap());
    assert!(!below(&only.target, &asset).exists());

    let nothing = restore("nothing", vec![PathBuf::from("/no/such/path")]);
    let failed = storage.restore(&nothing, &ctx).await;
    assert_fails(failed, ErrorCode::SnapshotNotFound, "a restore that brings nothing");
    let asked = PathBuf::from("/no/such/path");
    let one_of_two = restore("one-of-two", vec![dump.clone(), asked]);
    let failed = storage.restore(&one_of_two, &ctx).await;
    let failure = assert_fails(failed, ErrorCode::SnapshotNotFound, "a path that is not there");
    assert!(failure.message.contains("/no/such/path"), "{}", failure.message);
    let folder = restore("folder", vec![sources.assets[1].join("below")]);
    storage.restore(&folder, &ctx).await.unwrap();
    assert!(below(&folder.target, &asset).exists());
    let snapshot = SnapshotId::new("deadbeef").unwrap();
    let failed = storage.restore(&RestoreRequest { snapshot, ..nothing }, &ctx).await;
    assert_fails(failed, ErrorCode::SnapshotNotFound, "a snapshot that is not there");
}

async fn a_call_that_is_stopped_stores_nothing(
    storage: &dyn RemoteStorage,
    project: &ProjectName,
    sources: &Sources,
) {
    let before = storage.snapshots(&context(Stage::Sync)).await.unwrap();
    let part = sources.parts(project, SnapshotMode::Combined, "stopped").remove(0);
    let request = store_request(part);
    let stopped = storage.store(&request, &cancelled(Stage::Sync)).await;
    assert_fails(stopped, ErrorCode::Interrupted, "a cancelled store");
    assert_eq!(storage.snapshots(&context(Stage::Sync)).await.unwrap(), before);
}

async fn retention_really_removes(
    storage: &dyn RemoteStorage,
    project: &ProjectName,
    sources: &Sources,
) {
    let ctx = context(Stage::Prune);
    // Two combined ones are there. Three runs in separate mode make three of each of three tag sets.
    let mut dumps = Vec::new();
    for run in 3..6 {
        for part in sources.parts(project, SnapshotMode::Separate, &run.to_string()) {
            let stored = store(storage, &part, None).await;
            if part.dump.is_some() {
                dumps.push(stored.info.id);
            }
        }
    }
    let tagged = |snapshot: &Snapshot, tag: &str| snapshot.tags.iter().any(|t| t.starts_with(tag));
    let counts = |snapshots: &[Snapshot]| {
        ["backupctl:combined", "backupctl:db", "backupctl:assets:"]
            .map(|tag| snapshots.iter().filter(|s| tagged(s, tag)).count())
    };
    let keep = KeepPolicy { last: 2, ..KeepPolicy::default() };
    let report = storage.prune(&keep, &ctx).await.unwrap();
    assert_eq!((report.removed.len(), report.kept), (3, 8));
    let left = storage.snapshots(&ctx).await.unwrap();
    assert_eq!(counts(&left), [2, 2, 4], "grouped by tags, not by the dump's path");
    let newest_first = left.iter().filter(|s| tagged(s, "backupctl:db"));
    for (left, expected) in newest_first.zip(dumps.iter().rev()) {
        assert!(left.id.matches(expected), "the newest stay, newest first");
    }

    let report = storage.prune(&keep, &ctx).await.unwrap();
    assert_eq!((report.removed.len(), report.kept), (0, 8), "nothing is left to remove");
    let daily = KeepPolicy { daily: 1, ..KeepPolicy::default() };
    let report = storage.prune(&daily, &ctx).await.unwrap();
    assert_eq!((report.removed.len(), report.kept), (4, 4), "the last of the day, for each tags");
    let left = storage.snapshots(&ctx).await.unwrap();
    assert!(left.iter().any(|s| s.id.matches(&dumps[2])), "the newest of them");
}

async fn one_snapshot_is_forgotten(storage: &dyn RemoteStorage, admin: &dyn RepositoryAdmin) {
    let ctx = context(Stage::Prune);
    let before = storage.snapshots(&ctx).await.unwrap();
    admin.forget(&before[0].id, &ctx).await.unwrap();
    assert_eq!(storage.snapshots(&ctx).await.unwrap(), before[1..]);
    let gone = admin.forget(&before[0].id, &ctx).await;
    assert_fails(gone, ErrorCode::SnapshotNotFound, "a snapshot that is gone");
}

async fn a_cache_is_measured_and_cleared(storage: &dyn RemoteStorage, cache: &dyn CacheKeeper) {
    let ctx = context(Stage::Sync);
    let before = cache.cache(&ctx).await.unwrap();
    assert!(before.files > 0 && before.bytes > 0, "something was cached by now: {before:?}");
    assert_eq!(cache.clear_cache(&ctx).await.unwrap(), before, "what is told was removed");
    let after = cache.cache(&ctx).await.unwrap();
    assert_eq!((after.path, after.files, after.bytes), (before.path, 0, 0));
    storage.snapshots(&ctx).await.unwrap();
}
