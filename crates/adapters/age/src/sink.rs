//! Where the bytes of an encrypted or decrypted file go: hashed, written, and synced on the way.

use std::fs::File;
use std::io::{self, Write};

use backupctl_adapter_process::Syncer;
use backupctl_adapter_stream::BlockSink;

/// What was written.
#[derive(Debug)]
pub(crate) struct Written {
    /// How many bytes.
    pub(crate) bytes: u64,
    /// Their BLAKE3 hash, where it was asked for.
    pub(crate) hash: Option<blake3::Hash>,
}

/// Writes to a file.
pub(crate) struct FileSink<'f> {
    file: &'f File,
    hasher: Option<blake3::Hasher>,
    bytes: u64,
    syncer: Syncer,
}

impl<'f> FileSink<'f> {
    pub(crate) fn new(file: &'f File, hash: bool) -> Self {
        let hasher = hash.then(blake3::Hasher::new);
        Self { file, hasher, bytes: 0, syncer: Syncer::default() }
    }
}

impl BlockSink for FileSink<'_> {
    type Done = Written;

    fn block(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        self.syncer.written(self.file, self.bytes)
    }

    fn finish(self) -> io::Result<Written> {
        self.syncer.finish()?;
        Ok(Written { bytes: self.bytes, hash: self.hasher.map(|h| h.finalize()) })
    }
}
