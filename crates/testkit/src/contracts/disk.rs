//! What a disk tells of paths that are there, and of those that are not.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use backupctl_application::ports::Disk;
use backupctl_domain::ErrorCode;

use super::{assert_fails, names};

/// Holds a disk to its promises, in an empty folder under `/tmp`.
pub async fn disk(disk: Arc<dyn Disk>, dir: &Path) {
    let system = disk.file_system(dir).await.unwrap();
    assert!(dir.starts_with(&system.mount_point), "{system:?} is not where {} is", dir.display());
    assert!(system.free_bytes <= system.total_bytes && system.total_bytes > 0, "{system:?}");
    assert!(!system.kind.is_empty() && !system.read_only, "{system:?}");
    let nowhere = dir.join("not/there/yet");
    let parent = disk.file_system(&nowhere).await.unwrap();
    assert_eq!(parent.mount_point, system.mount_point, "the nearest parent's file system");

    fs::create_dir(dir.join("empty")).unwrap();
    fs::create_dir(dir.join("full")).unwrap();
    fs::write(dir.join("full/file"), b"0123456789").unwrap();
    symlink("full", dir.join("link")).unwrap();
    symlink("nothing", dir.join("dangling")).unwrap();
    for (path, empty, size) in [
        ("empty", Some(true), None),
        ("full", Some(false), None),
        ("link", Some(false), None),
        ("full/file", Some(false), Some(10)),
        ("link/file", Some(false), Some(10)),
        ("missing", None, None),
        ("dangling", None, None),
    ] {
        assert_eq!(disk.is_empty_dir(&dir.join(path)).await, empty, "{path}");
        assert_eq!(disk.file_size(&dir.join(path)).await, size, "{path}");
    }

    let deep = dir.join("a/b/c");
    disk.ensure_dir(&deep, true).await.unwrap();
    for made in ["a", "a/b", "a/b/c"] {
        let mode = fs::metadata(dir.join(made)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{made} is not for its owner alone");
    }
    assert_eq!(names(&deep), Vec::<String>::new(), "a probe leaves nothing");
    disk.ensure_dir(&deep, true).await.unwrap();
    let file = dir.join("full/file");
    assert_fails(disk.ensure_dir(&file, true).await, ErrorCode::PathNotWritable, "a file");
    let below = file.join("below");
    assert_fails(disk.ensure_dir(&below, false).await, ErrorCode::PathNotWritable, "below a file");
}
