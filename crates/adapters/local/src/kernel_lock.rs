//! Files held by a kernel lock, which ends with its process however that ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file that this process has locked and that stands at its path. Dropping it gives the lock back
/// and leaves the file.
#[derive(Debug)]
pub(crate) struct LockedFile {
    file: File,
    path: PathBuf,
}

/// How a file's lock stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is no such file.
    Missing,
    /// The file is there, and nobody holds it.
    Free,
    /// Somebody holds it.
    Held,
}

impl LockedFile {
    /// Takes the lock; `None` where somebody holds it. The file is made (0600) where it is missing.
    pub(crate) fn try_take(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let file = open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => match file.try_lock_shared() {
                    // Only somebody who asks how the lock stands, for a moment: not a holder.
                    Ok(()) => {
                        drop(file);
                        std::thread::yield_now();
                        continue;
                    }
                    Err(TryLockError::WouldBlock) => return Ok(None),
                    Err(TryLockError::Error(error)) => return Err(error),
                },
                Err(TryLockError::Error(error)) => return Err(error),
            }
            if still_at(&file, path)? {
                return Ok(Some(Self { file, path: path.to_owned() }));
            }
        }
    }

    /// Waits for the lock in the kernel. `None` where `wanted` has become false meanwhile.
    pub(crate) fn wait(path: &Path, wanted: impl Fn() -> bool) -> io::Result<Option<Self>> {
        while wanted() {
            let file = open(path)?;
            file.lock()?;
            // The holder before may have removed the file: then this lock holds nothing.
            if still_at(&file, path)? {
                return Ok(Some(Self { file, path: path.to_owned() }));
            }
        }
        Ok(None)
    }

    /// How the lock stands, without taking it.
    pub(crate) fn standing(path: &Path) -> io::Result<Standing> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if is_missing(&e) => return Ok(Standing::Missing),
            Err(e) => return Err(e),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Standing::Free),
            Err(TryLockError::WouldBlock) => Ok(Standing::Held),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The file.
    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Removes the file, then gives the lock back: nobody can find it unlocked.
    pub(crate) fn remove(self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(e) if !is_missing(&e) => Err(e),
            _ => Ok(()),
        }
    }
}

/// Whether an error says that there is nothing at a path.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Whether `file` is still what stands at `path`.
fn still_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(e) if is_missing(&e) => Ok(false),
        Err(e) => Err(e),
    }
}
