//! Sets the disk to work while a large file is still being written.

use std::fs::File;
use std::io;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};

/// The disk is set to work early and again and again, so that the sync at the end finds little left to
/// do and a large file does not fill the machine's memory with unwritten pages: first after so many
/// bytes …
const FIRST_STEP: u64 = 1 << 20;
/// … and then each time the file is half as large again, at the latest after so many.
const LAST_STEP: u64 = 16 << 20;

/// Syncs a growing file on a thread of its own. The thread starts with the first sync.
#[derive(Debug, Default)]
pub struct Syncer {
    synced: u64,
    thread: Option<Running>,
}

#[derive(Debug)]
struct Running {
    wish: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Syncer {
    /// To be told after each write that `file` has `bytes` in it now; fails where syncing has.
    pub fn written(&mut self, file: &File, bytes: u64) -> io::Result<()> {
        let step = (self.synced / 2).clamp(FIRST_STEP, LAST_STEP);
        if bytes.saturating_sub(self.synced) < step {
            return Ok(());
        }
        self.synced = bytes;
        let running = match self.thread.take() {
            Some(running) => running,
            None => Running::start(file.try_clone()?)?,
        };
        if !running.sync() {
            return running.finish();
        }
        self.thread = Some(running);
        Ok(())
    }

    /// Waits for what was asked for; fails where syncing has. The file's last bytes are still to be
    /// synced by whoever commits it.
    pub fn finish(self) -> io::Result<()> {
        self.thread.map_or(Ok(()), Running::finish)
    }
}

impl Running {
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
