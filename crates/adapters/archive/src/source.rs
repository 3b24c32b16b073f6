//! What the file system says of one source, as an archive keeps it.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::buffer::{SpareCapacity, spare_capacity};
use rustix::fs::{OFlags, SeekFrom, fgetxattr, flistxattr, lgetxattr, llistxattr, seek};
use rustix::io::Errno;

use crate::tar::{Entry, Extent, Kind, MAX_EXTENTS, MAX_PAX, Meta, inner};

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Something that an archive holds.
    Kept(Kind),
    /// A socket or fifo, which is nothing without its process.
    Transient,
}

/// What kind of thing that is.
pub(crate) fn kind(metadata: &Metadata) -> Source {
    let kind = metadata.file_type();
    if kind.is_file() {
        Source::Kept(Kind::File)
    } else if kind.is_dir() {
        Source::Kept(Kind::Folder)
    } else if kind.is_symlink() {
        Source::Kept(Kind::Symlink)
    } else if kind.is_char_device() {
        Source::Kept(Kind::CharDevice)
    } else if kind.is_block_device() {
        Source::Kept(Kind::BlockDevice)
    } else {
        Source::Transient
    }
}

/// The entry of a source, without its content.
pub(crate) fn entry(path: &Path, kind: Kind, metadata: &Metadata) -> io::Result<Entry> {
    let xattrs = xattrs(|b| llistxattr(path, b), |name, b| lgetxattr(path, name, b))?;
    let mut entry = Entry::new(kind, inner(path), meta(metadata, xattrs));
    match kind {
        Kind::Symlink => entry.link = std::fs::read_link(path)?.into_os_string().into_vec(),
        Kind::CharDevice | Kind::BlockDevice => {
            let device = metadata.rdev();
            entry.device = (rustix::fs::major(device), rustix::fs::minor(device));
        }
        _ => {}
    }
    Ok(entry)
}

/// The entry of an open file.
pub(crate) fn file_entry(path: &Path, file: &File, metadata: &Metadata) -> io::Result<Entry> {
    let xattrs = xattrs(|b| flistxattr(file, b), |name, b| fgetxattr(file, name, b))?;
    let mut entry = Entry::new(Kind::File, inner(path), meta(metadata, xattrs));
    entry.size = metadata.len();
    Ok(entry)
}

fn meta(metadata: &Metadata, xattrs: Xattrs) -> Meta {
    Meta {
        mode: metadata.mode() & 0o7777,
        uid: u64::from(metadata.uid()),
        gid: u64::from(metadata.gid()),
        modified: (metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or_default()),
        xattrs,
    }
}

/// Opens a file that was one when it was listed, and never waits for one that has become a fifo.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Where a file has data, if it has holes at all.
pub(crate) fn extents(file: &File, metadata: &Metadata) -> Option<Vec<Extent>> {
    let size = metadata.len();
    if metadata.blocks() * 512 >= size {
        return None;
    }
    let mut extents = Vec::new();
    let mut at = 0;
    while at < size {
        let offset = match seek(file, SeekFrom::Data(at)) {
            Ok(offset) if offset < size => offset,
            // A hole up to the end.
            Ok(_) | Err(Errno::NXIO) => break,
            // The file system does not tell.
            Err(_) => return None,
        };
        let end = if extents.len() + 1 == MAX_EXTENTS {
            size
        } else {
            seek(file, SeekFrom::Hole(offset)).ok()?.min(size)
        };
        if end <= offset {
            return None;
        }
        extents.push(Extent { offset, len: end - offset });
        at = end;
    }
    let whole = [Extent { offset: 0, len: size }];
    (extents != whole).then_some(extents)
}

/// Names and values.
type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Room for an answer.
type Room<'a> = SpareCapacity<'a, u8>;

/// The extended attributes of what `list` and `get` ask.
fn xattrs(
    list: impl Fn(Room<'_>) -> Result<usize, Errno>,
    get: impl Fn(&[u8], Room<'_>) -> Result<usize, Errno>,
) -> io::Result<Xattrs> {
    let mut names = Vec::new();
    match grown(&mut names, |buffer| list(spare_capacity(buffer))) {
        Ok(()) if names.is_empty() => return Ok(Vec::new()),
        Ok(()) => {}
        // The file system has none.
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(e) => return Err(e.into()),
    }
    let mut xattrs = Vec::new();
    let mut total = 0;
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let mut value = Vec::new();
        match grown(&mut value, |buffer| get(name, spare_capacity(buffer))) {
            Ok(()) => {}
            // Taken away since, or not for us to see.
            Err(Errno::NODATA | Errno::ACCESS | Errno::PERM | Errno::NOTSUP) => continue,
            Err(e) => return Err(e.into()),
        }
        total += (name.len() + value.len() + 64) as u64;
        if total > MAX_PAX / 2 {
            return Err(io::Error::other("it has more extended attributes than an archive holds"));
        }
        xattrs.push((name.to_owned(), value));
    }
    xattrs.sort();
    Ok(xattrs)
}

/// Asks with more and more room until the answer fits.
fn grown(
    buffer: &mut Vec<u8>,
    mut ask: impl FnMut(&mut Vec<u8>) -> Result<usize, Errno>,
) -> Result<(), Errno> {
    for room in [256, 4 << 10, 64 << 10, 1 << 20] {
        buffer.clear();
        buffer.reserve(room);
        match ask(buffer) {
            Err(Errno::RANGE) => {}
            other => return other.map(drop),
        }
    }
    Err(Errno::RANGE)
}

/// The extended attributes of what is open, set again.
pub(crate) fn set_xattr(fd: impl AsFd, name: &[u8], value: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(fd, name, value, rustix::fs::XattrFlags::empty())?)
}
