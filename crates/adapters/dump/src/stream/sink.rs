//! The end of the pass: bytes are hashed, counted, held to their limit and written.

use std::io::{self, Write};

use backupctl_adapter_process::{AtomicFile, Syncer};
use backupctl_adapter_stream::checksum_text;
use backupctl_domain::human::ByteSize;
use backupctl_domain::{ErrorCode, Failure};

/// A file being written, with the hash of what went into it.
pub(super) struct Sink {
    file: AtomicFile,
    hasher: blake3::Hasher,
    written: u64,
    limit: u64,
    syncer: Syncer,
}

impl Sink {
    /// Writes to `file`, at most `limit` bytes.
    pub(super) fn new(file: AtomicFile, limit: Option<u64>) -> Self {
        Self {
            file,
            hasher: blake3::Hasher::new(),
            written: 0,
            limit: limit.unwrap_or(u64::MAX),
            syncer: Syncer::default(),
        }
    }

    /// The file, the bytes written, and their checksum. The file is not all synced yet.
    pub(super) fn finish(self) -> io::Result<(AtomicFile, u64, String)> {
        self.syncer.finish()?;
        Ok((self.file, self.written, checksum_text(&self.hasher)))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let after = self.written + bytes.len() as u64;
        if after > self.limit {
            let path = self.file.target().display();
            let failure = Failure::new(
                ErrorCode::DiskLow,
                format!(
                    "{path} would grow beyond {}, the space that may be used",
                    ByteSize(self.limit)
                ),
            )
            .with_remedy(
                "free space on the disk of `base_dir`, or lower `min_free_gb` if less may remain free",
            );
            return Err(io::Error::other(failure));
        }
        self.file.handle().write_all(bytes)?;
        self.hasher.update(bytes);
        self.written = after;
        self.syncer.written(self.file.handle(), after)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
