//! Which snapshots a run makes.

use super::*;

fn project() -> ProjectName {
    ProjectName::new("project-x").unwrap()
}

fn dump() -> (PathBuf, u64) {
    (PathBuf::from("/b/x.dump.zst.age"), 42)
}

fn assets() -> Vec<PathBuf> {
    vec![PathBuf::from("/data/projectx/storage"), PathBuf::from("/data/a,b")]
}

#[test]
fn combined_is_one_snapshot_of_everything() {
    let parts = sync_parts(&project(), SnapshotMode::Combined, Some(dump()), &assets()).unwrap();
    assert_eq!(parts.len(), 1);
    assert_eq!(parts[0].tag_texts(), ["backupctl:combined", "project:project-x"]);
    let paths = ["/b/x.dump.zst.age", "/data/projectx/storage", "/data/a,b"].map(Path::new);
    assert_eq!(parts[0].paths(), paths);
}

#[test]
fn separate_is_one_snapshot_each_the_dump_first() {
    let parts = sync_parts(&project(), SnapshotMode::Separate, Some(dump()), &assets()).unwrap();
    let tags: Vec<_> = parts.iter().map(SyncPart::tag_texts).collect();
    assert_eq!(
        tags,
        [
            ["backupctl:db", "project:project-x"],
            ["backupctl:assets:/data/projectx/storage", "project:project-x"],
            ["backupctl:assets:/data/a%2Cb", "project:project-x"],
        ]
    );
    assert_eq!(parts[0].dump, Some(dump()));
    assert!(parts[1].dump.is_none() && parts[2].dump.is_none());
    assert_eq!(parts.iter().map(|p| p.paths().len()).sum::<usize>(), 3);
}

#[test]
fn what_is_missing_makes_no_snapshot_and_nothing_at_all_is_a_failure() {
    for mode in [SnapshotMode::Combined, SnapshotMode::Separate] {
        assert_eq!(sync_parts(&project(), mode, Some(dump()), &[]).unwrap().len(), 1);
        let without_db = sync_parts(&project(), mode, None, &assets()).unwrap();
        assert!(without_db.iter().all(|p| p.dump.is_none()));
        let failure = sync_parts(&project(), mode, None, &[]).unwrap_err();
        assert_eq!(failure.code, ErrorCode::NothingToBackUp);
        assert!(!failure.is_transient());
    }
}
