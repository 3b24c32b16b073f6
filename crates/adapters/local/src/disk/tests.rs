//! Behaviour on the disks of the machine that runs the tests.

use std::os::unix::fs::{PermissionsExt, symlink};

use backupctl_domain::ErrorCode;
use backupctl_testkit::WorkDir;

use super::*;

#[tokio::test]
async fn a_file_system_is_told_by_its_nearest_existing_parent() {
    let work = WorkDir::new();
    let here = SystemDisk.file_system(work.path()).await.unwrap();
    assert!(here.total_bytes >= here.free_bytes && here.total_bytes > 0);
    assert!(work.path().starts_with(&here.mount_point) && !here.kind.is_empty());
    assert!(!here.read_only);
    let below = SystemDisk.file_system(&work.join("not/yet/there")).await.unwrap();
    assert_eq!((below.mount_point, below.kind), (here.mount_point, here.kind));
    let proc = SystemDisk.file_system(Path::new("/proc/self/nothing")).await.unwrap();
    assert_eq!((proc.mount_point.as_path(), proc.kind.as_str()), (Path::new("/proc"), "proc"));
}

#[tokio::test]
async fn links_are_followed_even_to_what_is_missing() {
    let work = WorkDir::new();
    symlink("/proc/self", work.join("there")).unwrap();
    symlink("/proc/nothing/at/all", work.join("missing")).unwrap();
    symlink("circle", work.join("circle")).unwrap();
    for link in ["there", "missing"] {
        assert_eq!(SystemDisk.file_system(&work.join(link)).await.unwrap().kind, "proc", "{link}");
    }
    // Whatever is said of a circle, it ends.
    let _ = SystemDisk.file_system(&work.join("circle")).await;
}

#[test]
fn only_fat_has_a_small_largest_file() {
    assert_eq!(max_file_bytes("vfat"), Some(4 * 1024 * 1024 * 1024 - 1));
    assert_eq!(max_file_bytes("msdos"), max_file_bytes("vfat"));
    for kind in ["ext4", "exfat", "btrfs", "tmpfs", "nfs4"] {
        assert_eq!(max_file_bytes(kind), None, "{kind}");
    }
}

#[tokio::test]
async fn folders_are_made_private_and_probed_without_a_trace() {
    let work = WorkDir::new();
    let dir = work.join("a/b");
    SystemDisk.ensure_dir(&dir, true).await.unwrap();
    for made in [&dir, &work.join("a")] {
        assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700);
    }
    assert_eq!(SystemDisk.is_empty_dir(&dir).await, Some(true));
    SystemDisk.ensure_dir(&dir, true).await.unwrap();
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_told() {
    let work = WorkDir::new();
    let file = work.file("file", "x");
    for (path, probe) in [(file.join("sub"), false), (PathBuf::from("/proc/self"), true)] {
        let failure = SystemDisk.ensure_dir(&path, probe).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::PathNotWritable);
        assert!(failure.message.contains(&*path.to_string_lossy()), "{}", failure.message);
    }
}

#[tokio::test]
async fn emptiness_and_size_are_told() {
    let work = WorkDir::new();
    let file = work.file("file", "four");
    assert_eq!(SystemDisk.is_empty_dir(work.path()).await, Some(false));
    assert_eq!(SystemDisk.is_empty_dir(&file).await, Some(false));
    assert_eq!(SystemDisk.is_empty_dir(&work.join("none")).await, None);
    assert_eq!(SystemDisk.file_size(&file).await, Some(4));
    assert_eq!(SystemDisk.file_size(work.path()).await, None);
    assert_eq!(SystemDisk.file_size(&work.join("none")).await, None);
}
