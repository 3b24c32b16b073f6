//! The folder inside the target into which an archive is unpacked before anything gets its place.

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use tempfile::TempDir;

/// What its name begins with.
const PREFIX: &str = ".backupctl-restore-";
/// What its name has behind that.
const RANDOM: usize = 6;
/// What is unpacked has its own rights before it has its place.
const MODE: u32 = 0o700;

/// Goes with all in it when it is dropped. A lock tells it from one that a killed restore has left.
#[derive(Debug)]
pub(super) struct Workplace {
    dir: TempDir,
    _lock: File,
}

impl Workplace {
    /// Makes one.
    pub(super) fn new(target: &Path) -> io::Result<Self> {
        loop {
            let dir = tempfile::Builder::new()
                .prefix(PREFIX)
                .rand_bytes(RANDOM)
                .permissions(Permissions::from_mode(MODE))
                .tempdir_in(target)?;
            let lock = match File::open(dir.path()) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            // Before it was locked another restore may have taken it for one that was left. Where a
            // file system has no locks, none does.
            let taken = matches!(lock.try_lock(), Err(TryLockError::WouldBlock));
            if !taken && dir.path().exists() {
                return Ok(Self { dir, _lock: lock });
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Opens it.
    pub(super) fn open(&self) -> io::Result<File> {
        File::open(self.path())
    }
}

/// Removes what killed restores have left in a target, as far as that can be done: it is in nobody's way.
pub(super) fn clear(target: &Path) {
    for entry in fs::read_dir(target).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let ours = |random: &str| {
            random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        if !random.is_some_and(ours) || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        if let Err(error) = clear_one(&path) {
            tracing::warn!(folder = %path.display(), %error, "what a restore has left stays");
        }
    }
}

fn clear_one(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = File::from(open(path, flags, Mode::empty())?);
    let metadata = folder.metadata()?;
    let own = metadata.uid() == rustix::process::geteuid().as_raw();
    if !own || metadata.mode() & 0o7777 != MODE {
        return Ok(());
    }
    match folder.try_lock() {
        Ok(()) => fs::remove_dir_all(path),
        // Somebody is at work there.
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(e)) => Err(e),
    }
}
