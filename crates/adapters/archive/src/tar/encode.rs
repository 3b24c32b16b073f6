//! What stands before the content of an entry, and behind it.

use super::header::{Header, LEN, MAX_LONG, MAX_NAME, MAX_SHORT};
use super::pax::{record, time_text, xattr_key};
use super::{BLOCK, Entry, Extent, Kind};

/// What ends an archive.
pub(crate) const END: [u8; 2 * LEN] = [0; 2 * LEN];

/// What stands before the content.
#[derive(Debug)]
pub(crate) struct Head {
    /// The headers.
    pub(crate) bytes: Vec<u8>,
    /// What has to follow the content for the next entry to begin at a block.
    pub(crate) padding: usize,
}

/// The headers of an entry.
pub(crate) fn encode(entry: &Entry) -> Head {
    let mut path = entry.path.clone();
    if entry.kind == Kind::Folder {
        path.push(b'/');
    }
    let map = entry.extents.as_ref().map(|_| sparse_map(entry)).unwrap_or_default();
    let size = entry.stored().saturating_add(map.len() as u64);
    let mut bytes = Vec::new();
    let records = records(entry, &path, size);
    if !records.is_empty() {
        extended(&mut bytes, b'x', &base(&path), &records);
    }
    let header = Header {
        // Where it stands for itself: a reader that knows nothing of sparse files must not take the
        // map and the pieces for the file.
        name: if entry.extents.is_some() { sparse_name(&path) } else { path },
        kind: match entry.kind {
            Kind::File => b'0',
            Kind::HardLink => b'1',
            Kind::Symlink => b'2',
            Kind::CharDevice => b'3',
            Kind::BlockDevice => b'4',
            Kind::Folder => b'5',
        },
        link: entry.link.clone(),
        mode: u64::from(entry.meta.mode),
        uid: entry.meta.uid,
        gid: entry.meta.gid,
        size,
        mtime: u64::try_from(entry.meta.modified.0).unwrap_or_default(),
        device: entry.device,
    };
    bytes.extend_from_slice(&header.block());
    bytes.extend_from_slice(&map);
    Head { bytes, padding: padding(size) }
}

/// A remark about the whole archive, which stands before everything.
pub(crate) fn global(comment: &str) -> Vec<u8> {
    let mut records = Vec::new();
    record(&mut records, b"comment", comment.as_bytes());
    let mut bytes = Vec::new();
    extended(&mut bytes, b'g', b"backupctl", &records);
    bytes
}

/// The bytes that are missing to a whole block.
pub(crate) fn padding(size: u64) -> usize {
    // Not the next multiple: what an archive says of a size may have none.
    usize::try_from((BLOCK - size % BLOCK) % BLOCK).unwrap_or_default()
}

fn records(entry: &Entry, path: &[u8], size: u64) -> Vec<u8> {
    let mut records = Vec::new();
    let mut add = |key: &str, value: &[u8]| record(&mut records, key.as_bytes(), value);
    if let Some(comment) = &entry.comment {
        add("comment", comment.as_bytes());
    }
    if entry.extents.is_some() {
        add("GNU.sparse.major", b"1");
        add("GNU.sparse.minor", b"0");
        add("GNU.sparse.name", path);
        add("GNU.sparse.realsize", entry.size.to_string().as_bytes());
    } else if path.len() > MAX_NAME {
        add("path", path);
    }
    if entry.link.len() > MAX_NAME {
        add("linkpath", &entry.link);
    }
    if size > MAX_LONG {
        add("size", size.to_string().as_bytes());
    }
    for (key, id) in [("uid", entry.meta.uid), ("gid", entry.meta.gid)] {
        if id > MAX_SHORT {
            add(key, id.to_string().as_bytes());
        }
    }
    let (seconds, nanos) = entry.meta.modified;
    if nanos != 0 || seconds < 0 || seconds.unsigned_abs() > MAX_LONG {
        add("mtime", time_text(entry.meta.modified).as_bytes());
    }
    for (name, value) in &entry.meta.xattrs {
        record(&mut records, &xattr_key(name), value);
    }
    records
}

fn extended(out: &mut Vec<u8>, kind: u8, name: &[u8], records: &[u8]) {
    let mut full = b"PaxHeaders/".to_vec();
    full.extend_from_slice(&name[..name.len().min(MAX_NAME - full.len())]);
    let header =
        Header { name: full, kind, mode: 0o644, size: records.len() as u64, ..Header::default() };
    out.extend_from_slice(&header.block());
    out.extend_from_slice(records);
    out.resize(out.len() + padding(records.len() as u64), 0);
}

fn base(path: &[u8]) -> Vec<u8> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    path.rsplit(|b| *b == b'/').next().unwrap_or(path).to_owned()
}

fn sparse_name(path: &[u8]) -> Vec<u8> {
    let mut name = b"GNUSparseFile.0/".to_vec();
    name.extend(base(path));
    name
}

/// How many pieces there are, and where each begins and how long it is: a line each. A piece of
/// nothing at the very end says how far a last hole reaches.
fn sparse_map(entry: &Entry) -> Vec<u8> {
    let extents = entry.extents.as_deref().unwrap_or_default();
    let ends = extents.last().is_some_and(|e| e.offset.checked_add(e.len) == Some(entry.size));
    let count = extents.len() + usize::from(!ends);
    let last = (!ends).then_some(Extent { offset: entry.size, len: 0 });
    let mut map = format!("{count}\n").into_bytes();
    for extent in extents.iter().chain(&last) {
        map.extend_from_slice(format!("{}\n{}\n", extent.offset, extent.len).as_bytes());
    }
    map.resize(map.len() + padding(map.len() as u64), 0);
    map
}
