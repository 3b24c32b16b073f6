//! The folder of archives, held open: its disk may be taken out and another one put in its place while
//! it is written to, and what was opened stays what it is.

mod listing;
mod partial;
mod writer;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

pub(crate) use listing::{Found, Leftover};
pub(crate) use partial::Partials;
pub(crate) use writer::{Limits, PartWriter, Written};

/// The folder.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    dir: File,
    identity: (u64, u64),
    /// What is mounted there, if its absence can be told.
    device: Option<PathBuf>,
}

impl Folder {
    /// Opens it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let dir = File::open(path)?;
        let metadata = dir.metadata()?;
        if !metadata.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self {
            path: path.to_owned(),
            dir,
            identity: (metadata.dev(), metadata.ino()),
            device: None,
        })
    }

    /// The same, of which is known what is mounted there.
    pub(crate) fn on(mut self, device: Option<&str>) -> Self {
        self.device = device.map(PathBuf::from);
        self
    }

    /// Whether the device that was mounted there is not plugged in any more.
    pub(crate) fn is_unplugged(&self) -> bool {
        self.device.as_ref().is_some_and(|device| !device.exists())
    }

    /// Where it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its device and inode.
    pub(crate) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Whether its path still leads to it.
    pub(crate) fn is_there(&self) -> bool {
        let now = std::fs::metadata(&self.path).map(|now| (now.dev(), now.ino()));
        now.is_ok_and(|now| now == self.identity)
    }

    /// Opens a file in it for reading.
    pub(crate) fn read(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(openat(&self.dir, name, flags, Mode::empty())?.into())
    }

    /// Opens a file in it for its lock.
    fn open_to_lock(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(openat(&self.dir, name, flags, Mode::empty())?.into())
    }

    /// Makes a new file in it, 0600.
    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.dir, name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Renames a file in it; nothing is replaced.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let dir = self.dir.as_fd();
        match renameat_with(dir, from, dir, to, RenameFlags::NOREPLACE) {
            // Not every file system and kernel has it; then the name must be free now.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                if self.holds(to) {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                Ok(renameat(dir, from, dir, to)?)
            }
            other => Ok(other?),
        }
    }

    /// Whether it holds something of that name.
    pub(crate) fn holds(&self, name: &str) -> bool {
        statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Removes a file in it; one that is gone already is no error.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Makes renames and removals durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        match self.dir.sync_all() {
            // Some file systems know no sync of a folder; they are in step by themselves.
            Err(e)
                if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) =>
            {
                Ok(())
            }
            other => other,
        }
    }
}
