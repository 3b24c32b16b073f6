//! What is slow to make and always the same, made once a machine and unpacked for each test.
//!
//! Kept as one tar file each under `/tmp`, which is there whole or not at all, whoever clears `/tmp`.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::child::{Program, User, find};
use crate::WorkDir;

/// The archive of that name; `make` fills an empty folder for it where there is none yet.
pub(super) fn archive(key: &str, owner: Option<&User>, make: impl FnOnce(&Path)) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = cache_folder();
    let file = folder.join(format!("{key}.tar"));
    if file.is_file() {
        return file;
    }
    let work = WorkDir::new();
    let content = work.dir("content");
    give(work.path(), owner);
    give(&content, owner);
    make(&content);
    let partial = folder.join(format!(".{key}.{}.partial", std::process::id()));
    Program::new(find("tar", &[], "tar"))
        .args([Path::new("-C"), &content, Path::new("-cf"), &partial, Path::new(".")])
        .run();
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o644)).expect("our own file");
    fs::rename(&partial, &file).expect("a file can be renamed in its folder");
    file
}

/// Unpacks an archive into an existing folder that belongs to `owner`.
pub(super) fn unpack(archive: &Path, target: &Path, owner: Option<&User>) {
    Program::new(find("tar", &[], "tar"))
        .args([Path::new("-C"), target, Path::new("-xf"), archive])
        .user(owner)
        .run();
}

/// Makes a file or folder somebody else's.
pub(super) fn give(path: &Path, owner: Option<&User>) {
    if let Some(user) = owner {
        std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid))
            .expect("root gives its files away");
    }
}

fn cache_folder() -> PathBuf {
    let uid = rustix::process::geteuid().as_raw();
    let folder = PathBuf::from(format!("/tmp/backupctl-testkit-{uid}"));
    fs::DirBuilder::new().recursive(true).mode(0o755).create(&folder).expect("a folder in /tmp");
    // Somebody else's folder could hold anything.
    let data = fs::symlink_metadata(&folder).expect("the folder was just made");
    assert!(data.is_dir() && data.uid() == uid, "{} is not ours", folder.display());
    folder
}
