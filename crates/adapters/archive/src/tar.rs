//! The tar format as far as archives need it: ustar headers, with PAX records for everything that they
//! have no room for, and sparse files as GNU tar's PAX format 1.0 has them.
//!
//! Written out here, since what must come back exactly (extended attributes, holes, nanoseconds) is
//! what general libraries leave to their callers.

mod decode;
mod encode;
mod header;
mod pax;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub(crate) use decode::Reader;
pub(crate) use encode::{END, encode, global, padding};

/// What everything in a tar is counted in.
pub(crate) const BLOCK: u64 = 512;

/// More records than this for one entry are not written, and not believed.
pub(crate) const MAX_PAX: u64 = 16 << 20;

/// More extended attributes than Linux lists of one file.
pub(crate) const MAX_XATTRS: usize = 1 << 16;

/// More pieces than this of one sparse file are not told apart.
pub(crate) const MAX_EXTENTS: usize = 1 << 16;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    Symlink,
    HardLink,
    CharDevice,
    BlockDevice,
}

/// What the file system keeps beside the content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Permissions with setuid, setgid and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// When it was changed: seconds, and the nanoseconds after them.
    pub(crate) modified: (i64, u32),
    /// Extended attributes: name and value.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A piece of a sparse file that is not a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// One entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    /// The whole path without a slash at either end.
    pub(crate) path: Vec<u8>,
    /// What a link leads to.
    pub(crate) link: Vec<u8>,
    /// The size of the content, holes included.
    pub(crate) size: u64,
    pub(crate) meta: Meta,
    /// A device's major and minor number.
    pub(crate) device: (u32, u32),
    /// Where a sparse file has data; `None` for a file without holes.
    pub(crate) extents: Option<Vec<Extent>>,
    /// A remark that readers skip.
    pub(crate) comment: Option<String>,
}

impl Entry {
    /// An entry without content.
    pub(crate) fn new(kind: Kind, path: &[u8], meta: Meta) -> Self {
        Self {
            kind,
            path: path.to_owned(),
            link: Vec::new(),
            size: 0,
            meta,
            device: (0, 0),
            extents: None,
            comment: None,
        }
    }

    /// The path as text for people.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }

    /// The bytes of content that an archive holds.
    pub(crate) fn stored(&self) -> u64 {
        match (&self.extents, self.kind) {
            (Some(extents), Kind::File) => {
                extents.iter().fold(0, |sum, extent| sum.saturating_add(extent.len))
            }
            (None, Kind::File) => self.size,
            _ => 0,
        }
    }
}

/// The path under which a file is in an archive: whole, without the slash in front.
pub(crate) fn inner(path: &Path) -> &[u8] {
    let bytes = path.as_os_str().as_bytes();
    let start = bytes.iter().position(|b| *b != b'/').unwrap_or(bytes.len());
    &bytes[start..]
}

/// A path from an archive, as the system takes it.
pub(crate) fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
