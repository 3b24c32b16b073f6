//! The end of the pass: bytes are hashed, counted, held to their limit and written.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};

use backupctl_adapter_process::AtomicFile;
use backupctl_domain::human::ByteSize;
use backupctl_domain::{ErrorCode, Failure};

/// After so many bytes the disk is set to work, so that the sync at the end finds little left to do
/// and a large dump does not fill the machine's memory with unwritten pages.
const SYNC_EVERY: u64 = 16 << 20;

/// A file being written, with the hash of what went into it.
pub(crate) struct Sink {
    file: AtomicFile,
    hasher: blake3::Hasher,
    written: u64,
    limit: u64,
    synced: u64,
    syncer: Option<Syncer>,
}

impl Sink {
    /// Writes to `file`, at most `limit` bytes.
    pub(crate) fn new(file: AtomicFile, limit: Option<u64>) -> Self {
        Self {
            file,
            hasher: blake3::Hasher::new(),
            written: 0,
            limit: limit.unwrap_or(u64::MAX),
            synced: 0,
            syncer: None,
        }
    }

    /// Writes all of `bytes`.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
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
        if after - self.synced >= SYNC_EVERY {
            self.synced = after;
            let syncer = match self.syncer.take() {
                Some(syncer) => syncer,
                None => Syncer::start(self.file.handle().try_clone()?)?,
            };
            if !syncer.sync() {
                return syncer.finish();
            }
            self.syncer = Some(syncer);
        }
        Ok(())
    }

    /// The file, the bytes written, and their checksum. The file is not all synced yet.
    pub(crate) fn finish(mut self) -> io::Result<(AtomicFile, u64, String)> {
        if let Some(syncer) = self.syncer.take() {
            syncer.finish()?;
        }
        Ok((self.file, self.written, checksum_text(&self.hasher)))
    }
}

/// A thread that syncs a file while it is still being written.
struct Syncer {
    wish: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Syncer {
    fn start(file: File) -> io::Result<Self> {
        let (wish, wishes) = sync_channel(1);
        let work = move || {
            // The kernel tells each error once, to whoever syncs first: so it is kept.
            for () in wishes {
                file.sync_data()?;
            }
            Ok(())
        };
        Ok(Self { wish, thread: Builder::new().name("sync".to_owned()).spawn(work)? })
    }

    /// Asks for a sync; one that is asked for already covers this too. False if the thread has ended,
    /// which it does early only with an error.
    fn sync(&self) -> bool {
        !matches!(self.wish.try_send(()), Err(TrySendError::Disconnected(())))
    }

    fn finish(self) -> io::Result<()> {
        drop(self.wish);
        self.thread.join().map_err(|_| io::Error::other("the syncing thread has panicked"))?
    }
}

/// A hash in the form of `DumpInfo::checksum`.
pub(crate) fn checksum_text(hasher: &blake3::Hasher) -> String {
    format!("blake3:{}", hasher.finalize().to_hex())
}
