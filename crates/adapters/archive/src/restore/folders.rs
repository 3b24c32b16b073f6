//! Owners, rights, attributes and times: of files at once, of folders when all else is in place, since
//! whatever is put into a folder changes its time, and some folders take nothing more.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod,
    fchown, futimens, lsetxattr, openat, utimensat,
};
use rustix::io::Errno;

use super::staging::Staging;
use crate::source::set_xattr;
use crate::tar::{Entry, Kind, Meta, Reader, encode};

/// The entries of folders, on disk until they are needed.
pub(super) struct Folders {
    spool: File,
    starts: Vec<u64>,
    end: u64,
}

impl Folders {
    pub(super) fn new(scratch: &Path) -> io::Result<Self> {
        Ok(Self { spool: tempfile::tempfile_in(scratch)?, starts: Vec::new(), end: 0 })
    }

    pub(super) fn push(&mut self, entry: &Entry) -> io::Result<()> {
        let bytes = encode(entry).bytes;
        self.spool.write_all(&bytes)?;
        self.starts.push(self.end);
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Gives all folders below `root` what is theirs, the innermost first.
    pub(super) fn apply(mut self, root: OwnedFd) -> io::Result<()> {
        let mut place = Staging::new(root);
        let mut end = self.end;
        for start in self.starts.into_iter().rev() {
            self.spool.seek(SeekFrom::Start(start))?;
            let entry = Reader::new((&mut self.spool).take(end - start)).next()?;
            end = start;
            let Some(entry) = entry else { continue };
            let (parent, name) = place.parent(&entry.path, false)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let folder = openat(parent, name, flags, Mode::empty())?;
            apply(&folder, &entry.meta)?;
        }
        Ok(())
    }
}

/// Gives an open file or folder its owner, rights, attributes and time.
pub(super) fn apply(fd: impl AsFd, meta: &Meta) -> io::Result<()> {
    let fd = fd.as_fd();
    let owned = match owner(meta) {
        Some((uid, gid)) => permitted(fchown(fd, Some(uid), Some(gid)))?,
        None => false,
    };
    // After the owner, whose change takes setuid away, and capabilities. Setuid for another owner than
    // it was meant for would be a gift to him.
    let mode = if owned { meta.mode } else { meta.mode & !0o6000 };
    permitted(fchmod(fd, Mode::from_raw_mode(mode)))?;
    for (name, value) in &meta.xattrs {
        // Not every file system has them, and some are root's alone.
        let _ = set_xattr(fd, name, value);
    }
    permitted(futimens(fd, &times(meta)))?;
    Ok(())
}

/// The same for what cannot be opened: a link or device.
pub(super) fn apply_at(parent: BorrowedFd<'_>, name: &OsStr, entry: &Entry) -> io::Result<()> {
    let meta = &entry.meta;
    if let Some((uid, gid)) = owner(meta) {
        permitted(chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW))?;
    }
    if entry.kind != Kind::Symlink {
        permitted(chmodat(parent, name, Mode::from_raw_mode(meta.mode), AtFlags::empty()))?;
    }
    if !meta.xattrs.is_empty() {
        let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
        path.extend_from_slice(name.as_bytes());
        for (name, value) in &meta.xattrs {
            let _ = lsetxattr(path.as_slice(), name.as_slice(), value, XattrFlags::empty());
        }
    }
    permitted(utimensat(parent, name, &times(meta), AtFlags::SYMLINK_NOFOLLOW))?;
    Ok(())
}

/// What only root may do is left undone for others, as tar does; false where it was.
fn permitted(result: Result<(), Errno>) -> io::Result<bool> {
    match result {
        Err(Errno::PERM | Errno::NOTSUP | Errno::INVAL) => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}

fn owner(meta: &Meta) -> Option<(Uid, Gid)> {
    let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
    Some((Uid::from_raw(id(meta.uid)?), Gid::from_raw(id(meta.gid)?)))
}

fn times(meta: &Meta) -> Timestamps {
    let (tv_sec, nanos) = meta.modified;
    let time = Timespec { tv_sec, tv_nsec: nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}
