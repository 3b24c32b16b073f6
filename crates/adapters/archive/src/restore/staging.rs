//! A folder that paths from an archive cannot lead out of: every component is opened from the one above
//! it, and never through a link.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use backupctl_domain::{ErrorCode, Failure};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, linkat, mkdirat, mknodat, openat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use crate::tar::{Entry, Kind};

/// The folder, and the one below it that was used last: most entries are in the same one as the entry
/// before, and only one is open at a time, however deep it is.
pub(super) struct Staging {
    root: OwnedFd,
    last: Option<(Vec<u8>, OwnedFd)>,
}

impl Staging {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root, last: None }
    }

    /// The folder that a path is in, and its name there. Folders that are missing are made if `make` is
    /// set, for this user alone until they get their own rights.
    pub(super) fn parent<'p>(
        &mut self,
        path: &'p [u8],
        make: bool,
    ) -> io::Result<(BorrowedFd<'_>, &'p OsStr)> {
        let bad =
            |part: &[u8]| part.is_empty() || matches!(part, b"." | b"..") || part.contains(&0);
        if path.split(|b| *b == b'/').any(bad) {
            return Err(leads_out(path));
        }
        let slash = path.iter().rposition(|b| *b == b'/');
        let (folder, name) = slash.map_or((&path[..0], path), |at| (&path[..at], &path[at + 1..]));
        let name = OsStr::from_bytes(name);
        if folder.is_empty() {
            return Ok((self.root.as_fd(), name));
        }
        if self.last.as_ref().is_none_or(|(last, _)| last != folder) {
            self.last = None;
            let mut open = None;
            for part in folder.split(|b| *b == b'/') {
                let above = open.as_ref().map_or(self.root.as_fd(), OwnedFd::as_fd);
                let below = Self::folder(above, OsStr::from_bytes(part), make);
                open = Some(below.map_err(|e| match e {
                    Errno::NOTDIR | Errno::LOOP => leads_out(path),
                    e => e.into(),
                })?);
            }
            self.last = open.map(|open| (folder.to_owned(), open));
        }
        let parent = self.last.as_ref().map_or(self.root.as_fd(), |(_, open)| open.as_fd());
        Ok((parent, name))
    }

    fn folder(above: BorrowedFd<'_>, name: &OsStr, make: bool) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(above, name, flags, Mode::empty()) {
            Err(Errno::NOENT) if make => {
                mkdirat(above, name, Mode::RWXU)?;
                openat(above, name, flags, Mode::empty())
            }
            other => other,
        }
    }

    /// Makes a folder, or finds it.
    pub(super) fn make_folder(&mut self, path: &[u8]) -> io::Result<()> {
        let (parent, name) = self.parent(path, true)?;
        Self::folder(parent, name, true).map(drop).map_err(|e| match e {
            Errno::NOTDIR | Errno::LOOP => leads_out(path),
            e => e.into(),
        })
    }

    /// Makes a new file.
    pub(super) fn create(&mut self, path: &[u8]) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made =
            self.anew(path, |parent, name| openat(parent, name, flags, Mode::RUSR | Mode::WUSR));
        made.map(File::from)
    }

    /// Makes a link or device; false for a device that only root may make.
    pub(super) fn make_other(&mut self, entry: &Entry) -> io::Result<bool> {
        let (kind, target) = (entry.kind, OsStr::from_bytes(&entry.link));
        let (major, minor) = entry.device;
        let made = self.anew(&entry.path, |parent, name| {
            let device = |kind| {
                let device = rustix::fs::makedev(major, minor);
                mknodat(parent, name, kind, Mode::RUSR | Mode::WUSR, device)
            };
            match kind {
                Kind::CharDevice => device(FileType::CharacterDevice),
                Kind::BlockDevice => device(FileType::BlockDevice),
                _ => symlinkat(target, parent, name),
            }
        });
        let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
        match made {
            Err(e) if is_device && e.kind() == io::ErrorKind::PermissionDenied => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Gives a file in it another name.
    pub(super) fn link(&mut self, to: &[u8], path: &[u8]) -> io::Result<()> {
        let (folder, name) = self.parent(to, false).map_err(|_| leads_nowhere(path))?;
        let folder = folder.try_clone_to_owned()?;
        self.anew(path, |parent, link| linkat(&folder, name, parent, link, AtFlags::empty()))
            .map_err(|e| if e.kind() == io::ErrorKind::NotFound { leads_nowhere(path) } else { e })
    }

    /// Makes something at a path. Of two entries of one name the later one counts.
    fn anew<T>(
        &mut self,
        path: &[u8],
        make: impl Fn(BorrowedFd<'_>, &OsStr) -> Result<T, Errno>,
    ) -> io::Result<T> {
        let (parent, name) = self.parent(path, true)?;
        match make(parent, name) {
            Err(Errno::EXIST) => {
                unlinkat(parent, name, AtFlags::empty())?;
                Ok(make(parent, name)?)
            }
            other => Ok(other?),
        }
    }
}

fn leads_out(path: &[u8]) -> io::Error {
    let path = String::from_utf8_lossy(path);
    let message = format!("the archive holds {path:?}, a path that leads out of it");
    io::Error::other(
        Failure::new(ErrorCode::ChecksumMismatch, message)
            .permanent()
            .with_remedy("trust nothing in this archive: backupctl writes none such"),
    )
}

fn leads_nowhere(path: &[u8]) -> io::Error {
    let path = String::from_utf8_lossy(path);
    let message = format!("the archive holds {path:?}, a link to a file that is not in it");
    io::Error::other(
        Failure::new(ErrorCode::ChecksumMismatch, message)
            .permanent()
            .with_remedy("restore from another archive"),
    )
}
