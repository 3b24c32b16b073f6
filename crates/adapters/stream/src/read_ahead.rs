//! A reader whose work is done ahead of it, on a thread of its own: reading, decrypting and unpacking
//! each need a processor, and none needs to wait for the next.

use std::io::{self, Read};
use std::mem;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, Scope};

use super::CHUNK;

/// Blocks that may wait to be read.
const WAITING: usize = 3;

/// The reading end. An error of the working end is the last thing that it gives.
#[derive(Debug)]
pub struct ReadAhead {
    full: Receiver<io::Result<Vec<u8>>>,
    empty: Sender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
    ended: bool,
}

/// The working end: where blocks go.
#[derive(Debug)]
pub struct BlockSource {
    full: SyncSender<io::Result<Vec<u8>>>,
    empty: Receiver<Vec<u8>>,
}

/// Starts `work`, which hands on what the result reads. It ends early, with the error of
/// [`BlockSource::copy`], once the reading end is dropped.
pub fn read_ahead<'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce(&BlockSource) -> io::Result<()> + Send + 'scope,
) -> io::Result<ReadAhead> {
    let (full, to_read) = sync_channel(WAITING);
    let (empty, used) = channel();
    Builder::new().name(name.to_owned()).spawn_scoped(scope, move || {
        let source = BlockSource { full, empty: used };
        if let Err(error) = work(&source) {
            // Whoever has stopped reading does not want to know.
            let _ = source.full.send(Err(error));
        } else {
            let _ = source.full.send(Ok(Vec::new()));
        }
    })?;
    Ok(ReadAhead { full: to_read, empty, current: Vec::new(), at: 0, ended: false })
}

impl BlockSource {
    /// Hands on all that `reader` gives.
    pub fn copy(&self, reader: &mut dyn Read) -> io::Result<()> {
        loop {
            let mut block = self.empty.try_recv().unwrap_or_default();
            block.resize(CHUNK, 0);
            let mut filled = 0;
            let mut end = false;
            while filled < CHUNK && !end {
                match reader.read(&mut block[filled..]) {
                    Ok(0) => end = true,
                    Ok(read) => filled += read,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => {
                        // What came before the error is good, and may tell where the error is.
                        block.truncate(filled);
                        self.send(block)?;
                        return Err(e);
                    }
                }
            }
            block.truncate(filled);
            self.send(block)?;
            if end {
                return Ok(());
            }
        }
    }

    fn send(&self, block: Vec<u8>) -> io::Result<()> {
        if block.is_empty() {
            return Ok(());
        }
        self.full.send(Ok(block)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

impl Read for ReadAhead {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.current.len() {
            if self.ended || buf.is_empty() {
                return Ok(0);
            }
            let next = self.full.recv();
            match next {
                Ok(Ok(block)) if !block.is_empty() => {
                    let used = mem::replace(&mut self.current, block);
                    // Nobody takes it back once the last block is on its way.
                    let _ = self.empty.send(used);
                    self.at = 0;
                }
                Ok(Ok(_)) => self.ended = true,
                Ok(Err(error)) => {
                    self.ended = true;
                    return Err(error);
                }
                Err(_) => {
                    self.ended = true;
                    return Err(io::Error::other("the reading thread has panicked"));
                }
            }
        }
        let taken = buf.len().min(self.current.len() - self.at);
        buf[..taken].copy_from_slice(&self.current[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}
