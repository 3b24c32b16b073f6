//! Writes the finished bytes: to one file, or to parts of a size; hashed, counted and synced on the way.

use std::fs::File;
use std::io::{self, Write};

use backupctl_adapter_process::Syncer;
use backupctl_adapter_stream::{BlockSink, checksum_text};
use backupctl_domain::archive_name::MAX_PARTS;

use super::{Folder, Partials};

/// Between two looks whether the disk is still there.
const LOOK: u64 = 16 << 20;

/// How large files may get.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Where an archive goes on in another file.
    pub(crate) split: Option<u64>,
    /// What no file may exceed.
    pub(crate) file: Option<u64>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) parts: u32,
    pub(crate) checksum: String,
}

/// The end of the pass.
pub(crate) struct PartWriter<'f> {
    folder: &'f Folder,
    partials: &'f Partials<'f>,
    limits: Limits,
    current: Option<Part>,
    parts: u32,
    bytes: u64,
    looked: u64,
    hasher: blake3::Hasher,
}

struct Part {
    file: File,
    bytes: u64,
    syncer: Syncer,
}

impl<'f> PartWriter<'f> {
    pub(crate) fn new(folder: &'f Folder, partials: &'f Partials<'f>, limits: Limits) -> Self {
        let hasher = blake3::Hasher::new();
        Self { folder, partials, limits, current: None, parts: 0, bytes: 0, looked: 0, hasher }
    }

    fn part(&mut self) -> io::Result<&mut Part> {
        if self.current.is_none() {
            if self.parts == MAX_PARTS {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            let file = self.partials.next()?;
            self.parts += 1;
            self.current = Some(Part { file, bytes: 0, syncer: Syncer::default() });
        }
        self.current.as_mut().ok_or_else(|| io::Error::other("no part was begun"))
    }

    fn end_part(&mut self) -> io::Result<()> {
        match self.current.take() {
            Some(part) => {
                part.syncer.finish()?;
                part.file.sync_all()
            }
            None => Ok(()),
        }
    }
}

impl BlockSink for PartWriter<'_> {
    type Done = Written;

    fn block(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        let limits = self.limits;
        while !bytes.is_empty() {
            let part = self.part()?;
            let room = |limit: Option<u64>| limit.map_or(u64::MAX, |limit| limit - part.bytes);
            let most = room(limits.split).min(room(limits.file));
            let now = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
            if now == 0 {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            part.file.write_all(&bytes[..now])?;
            part.bytes += now as u64;
            part.syncer.written(&part.file, part.bytes)?;
            let full = limits.split == Some(part.bytes);
            self.bytes += now as u64;
            bytes = &bytes[now..];
            if full {
                self.end_part()?;
            }
        }
        if self.bytes - self.looked >= LOOK {
            self.looked = self.bytes;
            if !self.folder.is_there() {
                // Found out early, so that nobody waits for hours for a disk that is gone.
                return Err(rustix::io::Errno::NODEV.into());
            }
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Written> {
        self.end_part()?;
        let checksum = checksum_text(&self.hasher);
        Ok(Written { bytes: self.bytes, parts: self.parts, checksum })
    }
}
