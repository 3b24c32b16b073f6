//! A writer that works on a second thread, so that whoever fills it need not wait for the disk.

use std::io::{self, Write};
use std::mem;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

/// Bytes that change hands at once.
pub const BUFFER: usize = 1 << 20;

/// Buffers that may wait to be written.
const WAITING: usize = 2;

/// What the second thread does with the bytes.
pub trait BlockSink: Send {
    /// What it has to tell at the end.
    type Done: Send;

    /// Takes the next bytes: [`BUFFER`] of them, fewer only at the end or where the pipe was flushed.
    fn block(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// All bytes were taken.
    fn finish(self) -> io::Result<Self::Done>;
}

/// Takes bytes and hands them to the second thread. Holds at most [`WAITING`] + 2 buffers.
#[derive(Debug)]
pub struct Pipe<'scope, D> {
    current: Vec<u8>,
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    writer: ScopedJoinHandle<'scope, io::Result<D>>,
}

impl<'scope, D: Send + 'scope> Pipe<'scope, D> {
    /// Starts the second thread, which hands everything to `sink`.
    pub fn start(
        scope: &'scope Scope<'scope, '_>,
        sink: impl BlockSink<Done = D> + 'scope,
    ) -> Self {
        let (full, to_write) = sync_channel(WAITING);
        let (written, empty) = channel();
        let writer = scope.spawn(move || write(&to_write, &written, sink));
        Self { current: Vec::with_capacity(BUFFER), full, empty, writer }
    }

    /// Hands over what is left and waits until all is written. To be called after a failed write
    /// too: only then is the reason known.
    pub fn finish(mut self) -> io::Result<D> {
        if !self.current.is_empty() {
            // A writer that has gone tells why below.
            let _ = self.full.send(mem::take(&mut self.current));
        }
        drop(self.full);
        self.writer.join().unwrap_or_else(|_| Err(io::Error::other("the writing thread panicked")))
    }
}

impl<D> Write for Pipe<'_, D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BUFFER - self.current.len());
        self.current.extend_from_slice(&bytes[..taken]);
        if self.current.len() == BUFFER {
            self.flush()?;
        }
        Ok(taken)
    }

    /// Hands over what there is. A pipe that is dropped after that has lost nothing.
    fn flush(&mut self) -> io::Result<()> {
        if self.current.is_empty() {
            return Ok(());
        }
        let next = self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(BUFFER));
        let buffer = mem::replace(&mut self.current, next);
        self.full.send(buffer).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

fn write<S: BlockSink>(
    to_write: &Receiver<Vec<u8>>,
    written: &Sender<Vec<u8>>,
    mut sink: S,
) -> io::Result<S::Done> {
    for mut buffer in to_write {
        sink.block(&buffer)?;
        buffer.clear();
        // Nobody takes it back once the last buffer is on its way.
        let _ = written.send(buffer);
    }
    sink.finish()
}
