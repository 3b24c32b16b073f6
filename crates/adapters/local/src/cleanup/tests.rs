//! What goes, and above all what stays.

use std::os::unix::fs::symlink;

use backupctl_testkit::WorkDir;
use backupctl_testkit::builders::name;
use jiff::civil::date;

use super::*;

const RUN_A: &str = "aaaaaaaa-0000-4000-8000-000000000000";
const RUN_B: &str = "bbbbbbbb-0000-4000-8000-000000000000";

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn old_dumps_go_and_everything_else_stays() {
    let work = WorkDir::new();
    let old = "shop_backup_20260301_000005_aaaaaaaa.dump.zst.age";
    let stay = [
        ".lock",
        ".shop_backup_20260301_000005_aaaaaaaa.dump.zst.partial",
        "notes.txt",
        "shop-2_backup_20260301_000005_aaaaaaaa.dump",
        "shop_backup_20260301_000005_aaaaaaaa.dump.zst.age~/x",
        "shop_backup_20260301_000005_aaaaaaaa_mine.dump",
        "shop_backup_20260316_000005_bbbbbbbb.dump.zst",
        "shop_backup_20260317_000005_cccccccc.dump.zst",
    ];
    for file in stay.iter().chain([&old]) {
        work.file(format!("shop/{file}"), "12345");
    }
    symlink("notes.txt", work.join("shop/shop_backup_20260201_000005_aaaaaaaa.dump")).unwrap();
    work.dir("shop/shop_backup_20260202_000005_aaaaaaaa.dump");
    let before = names_in(&work.join("shop")).len();
    let files = ProjectFiles::new(work.path());
    let now = date(2026, 3, 18).at(0, 0, 5, 0);
    let stored = ["aaaaaaaa".to_owned()];
    let report = files.cleanup(&name("shop"), 7, now, &stored).await.unwrap();
    assert_eq!(report.removed, [work.join("shop").join(old)]);
    assert_eq!(report.freed_bytes, 5);
    assert_eq!(names_in(&work.join("shop")).len(), before - 1);
}

#[tokio::test]
async fn the_newest_run_keeps_all_its_files_however_old() {
    let work = WorkDir::new();
    for file in [
        "shop_backup_20200101_000005_aaaaaaaa.dump",
        "shop_backup_20200102_000005_bbbbbbbb.dump.zst",
        "shop_backup_20200102_000005_bbbbbbbb.dump.zst.age",
    ] {
        work.file(format!("shop/{file}"), "x");
    }
    let files = ProjectFiles::new(work.path());
    let stored = ["aaaaaaaa", "bbbbbbbb"].map(str::to_owned);
    let now = date(2026, 3, 18).at(0, 0, 0, 0);
    files.cleanup(&name("shop"), 0, now, &stored).await.unwrap();
    assert_eq!(
        names_in(&work.join("shop")),
        [
            "shop_backup_20200102_000005_bbbbbbbb.dump.zst",
            "shop_backup_20200102_000005_bbbbbbbb.dump.zst.age"
        ]
    );
    let none = files.cleanup(&name("unknown"), 0, now, &stored).await;
    assert_eq!(none.unwrap(), CleanupReport::default());
}

#[tokio::test]
async fn of_a_dead_run_go_its_partials_and_the_plain_twin_of_an_encrypted_dump() {
    let work = WorkDir::new();
    let stay = [
        ".shop_backup_20260301_000005_bbbbbbbb.dump.zst.partial",
        "shop_backup_20260301_000005_aaaaaaaa.dump.zst.age",
        "shop_backup_20260301_000005_aaaaaaaa.globals.sql",
        "shop_backup_20260301_000005_bbbbbbbb.dump.zst",
        "shop_backup_20260301_000005_bbbbbbbb.dump.zst.age",
    ];
    let go = [
        ".shop_backup_20260301_000005_aaaaaaaa.dump.zst.age.partial",
        ".shop_backup_20260301_000005_aaaaaaaa.dump.zst.partial",
        // The database's password.
        ".shop_backup_20260301_000005_aaaaaaaa.pgpass.partial",
        "shop_backup_20260301_000005_aaaaaaaa.dump.zst",
    ];
    for file in stay.iter().chain(&go) {
        work.file(format!("shop/{file}"), "x");
    }
    let files = ProjectFiles::new(work.path());
    let report = files.remove_partials(&name("shop"), &[RUN_A.parse().unwrap()]).await.unwrap();
    assert_eq!(report.removed, go.map(|file| work.join("shop").join(file)));
    assert_eq!(names_in(&work.join("shop")), stay);
    let none = files.remove_partials(&name("shop"), &[]).await.unwrap();
    assert_eq!(none, CleanupReport::default());
    files.remove_partials(&name("shop"), &[RUN_B.parse().unwrap()]).await.unwrap();
    assert_eq!(
        names_in(&work.join("shop")),
        [stay[1], stay[2], "shop_backup_20260301_000005_bbbbbbbb.dump.zst.age"]
    );
}

#[tokio::test]
async fn removing_one_file_is_done_once() {
    let work = WorkDir::new();
    let file = work.file("x", "x");
    let files = ProjectFiles::new(work.path());
    files.remove_file(&file).await.unwrap();
    files.remove_file(&file).await.unwrap();
    let failure = files.remove_file(work.path()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::PathNotWritable);
}

#[tokio::test]
async fn a_restored_file_is_moved_up_and_its_empty_folders_go() {
    let work = WorkDir::new();
    let from = work.file("root/srv/backups/shop/a.dump", "x");
    work.file("root/srv/asset", "y");
    let (to, root) = (work.join("root/a.dump"), work.join("root"));
    let files = ProjectFiles::new(work.path());
    files.move_up(&from, &to, &root).await.unwrap();
    assert_eq!(fs::read(&to).unwrap(), b"x");
    assert!(work.join("root/srv/asset").exists() && !work.join("root/srv/backups").exists());
    files.move_up(&to, &to, &root).await.unwrap();
    let failure = files.move_up(&from, &to, &root).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::SnapshotUnproven);
}
