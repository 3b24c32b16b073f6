//! A writer that hashes and writes on a second thread, so that the cipher need not wait for it.

use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use backupctl_adapter_process::Syncer;

/// Bytes that change hands at once.
pub(crate) const BUFFER: usize = 1 << 20;

/// Buffers that may wait to be written.
const WAITING: usize = 2;

/// What was written.
#[derive(Debug)]
pub(crate) struct Written {
    /// How many bytes.
    pub(crate) bytes: u64,
    /// Their BLAKE3 hash, where it was asked for.
    pub(crate) hash: Option<blake3::Hash>,
}

/// Takes bytes and hands them to the second thread. Holds at most [`WAITING`] + 2 buffers.
pub(crate) struct Pipe<'scope> {
    current: Vec<u8>,
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    writer: ScopedJoinHandle<'scope, io::Result<Written>>,
}

impl<'scope> Pipe<'scope> {
    /// Starts the second thread, which writes to `file`.
    pub(crate) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        file: &'env File,
        hash: bool,
    ) -> Self {
        let (full, to_write) = sync_channel(WAITING);
        let (written, empty) = channel();
        let writer = scope.spawn(move || write(&to_write, &written, file, hash));
        Self { current: Vec::with_capacity(BUFFER), full, empty, writer }
    }

    /// Hands over what is left and waits until all is written. To be called after a failed write
    /// too: only then is the reason known.
    pub(crate) fn finish(mut self) -> io::Result<Written> {
        if !self.current.is_empty() {
            // A writer that has gone tells why below.
            let _ = self.full.send(mem::take(&mut self.current));
        }
        drop(self.full);
        self.writer.join().unwrap_or_else(|_| Err(io::Error::other("the writing thread panicked")))
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BUFFER - self.current.len());
        self.current.extend_from_slice(&bytes[..taken]);
        if self.current.len() == BUFFER {
            let next = self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(BUFFER));
            let buffer = mem::replace(&mut self.current, next);
            self.full.send(buffer).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(
    to_write: &Receiver<Vec<u8>>,
    written: &Sender<Vec<u8>>,
    mut file: &File,
    hash: bool,
) -> io::Result<Written> {
    let mut hasher = hash.then(blake3::Hasher::new);
    let mut bytes = 0;
    let mut syncer = Syncer::default();
    for mut buffer in to_write {
        if let Some(hasher) = &mut hasher {
            hasher.update(&buffer);
        }
        file.write_all(&buffer)?;
        bytes += buffer.len() as u64;
        syncer.written(file, bytes)?;
        buffer.clear();
        // Nobody takes it back once the last buffer is on its way.
        let _ = written.send(buffer);
    }
    syncer.finish()?;
    Ok(Written { bytes, hash: hasher.map(|h| h.finalize()) })
}
