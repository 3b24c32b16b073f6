//! Only our own files go, and never the newest dump.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use backupctl_application::ports::LocalCleanup;
use backupctl_domain::RunId;

use super::names;
use crate::builders::name;

const OLD: &str = "web_backup_20260301_000005_aaaaaaaa.dump.zst";
const OLDER: &str = "web_backup_20260228_000005_bbbbbbbb.dump.zst.age";
const RECENT: &str = "web_backup_20260316_000005_cccccccc.dump";
const NEWEST: &str = "web_backup_20260317_000005_dddddddd.dump.zst";

/// Files that are not ours to remove, whatever their age.
const FOREIGN: [&str; 6] = [
    ".lock",
    "notes.txt",
    "other_backup_20200101_000005_eeeeeeee.dump",
    "web-2_backup_20200101_000005_eeeeeeee.dump",
    "web_backup_20200101_000005_eeeeeeee",
    "web_backup_20200101_000005_nothexad.dump",
];

/// The runs of all the dumps.
fn stored() -> Vec<String> {
    ["aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd"].map(str::to_owned).to_vec()
}

/// Holds a cleanup of the projects under the empty folder `base_dir` to its promises.
pub async fn local_cleanup(cleanup: Arc<dyn LocalCleanup>, base_dir: &Path) {
    let (web, now) = (name("web"), "2026-03-18T00:00:05".parse().unwrap());
    let none = cleanup.cleanup(&web, 7, now, &[]).await.unwrap();
    assert_eq!((none.removed.len(), none.freed_bytes), (0, 0), "a missing folder is no error");
    assert_eq!(cleanup.remove_partials(&web, &[]).await.unwrap().removed.len(), 0);

    let folder = base_dir.join("web");
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::create_dir_all(base_dir.join("web-2")).unwrap();
    for file in [OLD, OLDER, RECENT, NEWEST].iter().chain(&FOREIGN) {
        fs::write(folder.join(file), b"0123456789").unwrap();
    }
    fs::write(folder.join("sub").join(OLD), b"below").unwrap();
    fs::write(base_dir.join("web-2").join(OLD), b"another project's folder").unwrap();
    let expired = cleanup.expired(&web, 7, now).await.unwrap();
    let mut expired: Vec<String> = expired.iter().map(ToString::to_string).collect();
    expired.sort();
    assert_eq!(expired, [OLDER, OLD]);
    let none = cleanup.cleanup(&web, 7, now, &["cccccccc".to_owned()]).await.unwrap();
    assert_eq!((none.removed.len(), none.kept.len()), (0, 2), "what is not stored stays");
    let report = cleanup.cleanup(&web, 7, now, &stored()).await.unwrap();
    assert!(report.kept.is_empty());
    let mut removed = report.removed.clone();
    removed.sort();
    assert_eq!(removed, [folder.join(OLDER), folder.join(OLD)]);
    assert_eq!(report.freed_bytes, 20);
    let left = names(&folder);
    for kept in [RECENT, NEWEST].iter().chain(&FOREIGN) {
        assert!(left.contains(&(*kept).to_owned()), "{kept} is gone");
    }
    assert!(folder.join("sub").join(OLD).exists() && base_dir.join("web-2").join(OLD).exists());

    let later = "2027-03-18T00:00:05".parse().unwrap();
    let report = cleanup.cleanup(&web, 0, later, &stored()).await.unwrap();
    assert_eq!(report.removed, [folder.join(RECENT)], "the newest stays, whatever its age");
    assert!(folder.join(NEWEST).exists());

    partials_go_by_their_run(&*cleanup, &folder).await;
    cleanup.remove_file(&folder.join(NEWEST)).await.unwrap();
    assert!(!folder.join(NEWEST).exists());
    cleanup.remove_file(&folder.join(NEWEST)).await.unwrap();
    a_restored_file_moves_up(&*cleanup, &base_dir.join("restore")).await;
    scratch_goes_with_its_process(&*cleanup, base_dir).await;
}

async fn scratch_goes_with_its_process(cleanup: &dyn LocalCleanup, base_dir: &Path) {
    use std::os::unix::fs::PermissionsExt;

    let (shop, folder) = (name("scratch"), base_dir.join("scratch"));
    let none = cleanup.remove_left_scratch(&shop).await.unwrap();
    assert!(none.removed.is_empty(), "a missing folder is no error");
    let (first, second) =
        (cleanup.scratch(&shop).await.unwrap(), cleanup.scratch(&shop).await.unwrap());
    assert_eq!(first.path().parent(), Some(folder.as_path()));
    assert_ne!(first.path(), second.path());
    let mode = fs::metadata(first.path()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700, "readable by others");
    fs::create_dir_all(first.path().join("var/lib")).unwrap();
    fs::write(first.path().join("var/lib/a.dump"), b"secret").unwrap();

    let left = folder.join(".restore-999999999-0");
    fs::create_dir_all(left.join("deep")).unwrap();
    fs::write(left.join("deep/b.dump"), b"secret").unwrap();
    let foreign = [".restore", ".restore-mine", ".restore-1-2-3", "restore-1-2"];
    for other in foreign {
        fs::create_dir_all(folder.join(other)).unwrap();
    }
    let report = cleanup.remove_left_scratch(&shop).await.unwrap();
    assert_eq!(report.removed, [left], "only what nobody uses any more");
    assert!(first.path().join("var/lib/a.dump").exists());
    assert!(foreign.iter().all(|other| folder.join(other).exists()));

    let path = first.path().to_owned();
    first.remove().unwrap();
    assert!(!path.exists());
    let path = second.path().to_owned();
    drop(second);
    assert!(!path.exists(), "dropped, it goes too");
}

async fn partials_go_by_their_run(cleanup: &dyn LocalCleanup, folder: &Path) {
    let dead: RunId = "aaaaaaaa-0000-4000-8000-000000000000".parse().unwrap();
    let gone = [
        ".web_backup_20260318_000005_aaaaaaaa.dump.zst.partial",
        ".web_backup_20260318_000005_aaaaaaaa.dump.zst.age.partial",
    ];
    let kept = [
        ".web_backup_20260318_000005_ffffffff.dump.zst.partial",
        ".web-2_backup_20260318_000005_aaaaaaaa.dump.zst.partial",
        "web_backup_20260318_000005_aaaaaaaa.dump.zst",
        "something.partial",
    ];
    for file in gone.iter().chain(&kept) {
        fs::write(folder.join(file), b"0123456789").unwrap();
    }
    let report = cleanup.remove_partials(&name("web"), &[dead]).await.unwrap();
    assert_eq!((report.removed.len(), report.freed_bytes), (2, 20));
    let left = names(folder);
    assert!(gone.iter().all(|file| !left.contains(&(*file).to_owned())), "{left:?}");
    assert!(kept.iter().all(|file| left.contains(&(*file).to_owned())), "{left:?}");
}

async fn a_restored_file_moves_up(cleanup: &dyn LocalCleanup, root: &Path) {
    let deep = root.join("var/lib/backupctl/web");
    fs::create_dir_all(&deep).unwrap();
    fs::create_dir_all(root.join("var/other")).unwrap();
    fs::write(deep.join("a.dump"), b"restored").unwrap();
    cleanup.move_up(&deep.join("a.dump"), &root.join("a.dump"), root).await.unwrap();
    assert_eq!(fs::read(root.join("a.dump")).unwrap(), b"restored");
    assert_eq!(names(root), ["a.dump", "var"]);
    assert_eq!(names(&root.join("var")), ["other"], "empty folders between are gone, others stay");
}
