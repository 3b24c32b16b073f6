//! Reads an archive's entries and holds them against its manifest, file by file.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use backupctl_adapter_stream::{CHUNK, checksum_text};

use crate::damage::damaged;
use crate::manifest::{self, Difference, Head, Opening, Spool};
use crate::pack::hash_zeros;
use crate::tar::{Entry, Kind, Reader, as_path, inner};

/// What a whole archive holds.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) opening: Option<Opening>,
    pub(crate) head: Head,
    /// Files in it that are what the manifest says.
    pub(crate) files: u64,
    /// The size of the dump in it.
    pub(crate) dump: Option<u64>,
    /// Which of the paths that were asked for have an entry.
    pub(crate) present: BTreeSet<PathBuf>,
}

/// What is done with the entries on the way.
pub(crate) trait Visitor {
    /// A file, folder, link or device comes; its content follows if it is a file. Says whether
    /// [`data`](Self::data) is to be called for it.
    fn entry(&mut self, entry: &Entry) -> io::Result<bool>;
    /// A piece of the file's content.
    fn data(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// The file's content is complete.
    fn end(&mut self, entry: &Entry) -> io::Result<()>;
}

/// Looks and does nothing.
pub(crate) struct Look;

impl Visitor for Look {
    fn entry(&mut self, _: &Entry) -> io::Result<bool> {
        Ok(false)
    }

    fn data(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, _: &Entry) -> io::Result<()> {
        Ok(())
    }
}

/// Reads all entries. A content that is not what the manifest says is `CHECKSUM_MISMATCH`, with the
/// file's name, in the error; `archive` is for its message, and `inside` tells where the reading is.
pub(crate) fn inspect<R: Read>(
    reader: &mut Reader<R>,
    wanted: &[PathBuf],
    archive: &str,
    scratch: &Path,
    inside: &Mutex<String>,
    visitor: &mut dyn Visitor,
) -> io::Result<Contents> {
    let mut spool = Some(Spool::new(scratch)?);
    let mut buffer = vec![0; CHUNK];
    let mut opening = None;
    let mut dump = None;
    let mut present = BTreeSet::new();
    let mut result = None;
    let failed = |what: &str| io::Error::other(damaged(archive, what));
    while let Some(entry) = reader.next()? {
        *inside.lock().unwrap_or_else(PoisonError::into_inner) = entry.shown();
        if opening.is_none() {
            opening = reader.comment().and_then(Opening::parse);
        }
        let Some(lines) = &mut spool else {
            return Err(failed("something follows its manifest"));
        };
        if entry.comment.as_deref() == Some(manifest::MARK) {
            let lines = spool.take().ok_or_else(|| failed("it has two manifests"))?;
            let compared = manifest::compare(&mut BufReader::new(&mut *reader), lines)?;
            result = Some(compared.map_err(|difference| match difference {
                Difference::Unreadable => failed("its manifest cannot be read"),
                Difference::File(path) => {
                    failed(&format!("{path} in it is not what its manifest says"))
                }
            })?);
            continue;
        }
        present.extend(wanted.iter().filter(|p| inner(p) == entry.path).cloned());
        let wants = visitor.entry(&entry)?;
        match entry.kind {
            Kind::File => {
                let checksum =
                    content(reader, &entry, &mut buffer, wants.then_some(&mut *visitor))?;
                lines.push(&manifest::file_line(&entry.path, entry.size, &checksum)?)?;
                let name = opening.as_ref().and_then(|o| o.dump.as_deref());
                if name.is_some_and(|name| Path::new(name) == as_path(&entry.path)) {
                    dump = Some(entry.size);
                }
            }
            Kind::HardLink => lines.push(&manifest::link_line(&entry.path, &entry.link)?)?,
            _ => {}
        }
        if wants {
            visitor.end(&entry)?;
        }
    }
    inside.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let (head, files) = result.ok_or_else(|| failed("its manifest is missing"))?;
    Ok(Contents { opening, head, files, dump, present })
}

/// Reads one file's content and gives its checksum.
fn content<R: Read>(
    reader: &mut Reader<R>,
    entry: &Entry,
    buffer: &mut [u8],
    mut visitor: Option<&mut dyn Visitor>,
) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    let whole = [crate::tar::Extent { offset: 0, len: entry.size }];
    for extent in entry.extents.as_deref().unwrap_or(&whole) {
        hash_zeros(&mut hasher, extent.offset - at, || reader.check())?;
        at = extent.offset;
        let end = extent.offset + extent.len;
        while at < end {
            let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            let read = reader.read(&mut buffer[..most])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            hasher.update(&buffer[..read]);
            if let Some(visitor) = &mut visitor {
                visitor.data(at, &buffer[..read])?;
            }
            at += read as u64;
        }
    }
    hash_zeros(&mut hasher, entry.size - at, || reader.check())?;
    Ok(checksum_text(&hasher))
}
