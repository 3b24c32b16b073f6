//! Messages of a process that stays, written by a thread of its own: whoever was to read them may have
//! stopped, and a full pipe must keep nothing but its own writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use backupctl_adapters::domain::Failure;
use tokio::sync::oneshot;

use super::Out;

/// How many messages may wait to be read.
const WAITING: usize = 256;

enum Message {
    Note(String),
    Warn(String),
    End(oneshot::Sender<()>),
}

/// Writes messages for people, sooner or later, or never.
#[derive(Clone)]
pub(crate) struct Apart {
    messages: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl Apart {
    /// Writes as `out` does.
    pub(crate) fn new(out: Out) -> Result<Self, Failure> {
        let (messages, receiver) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        thread::Builder::new()
            .name("messages".to_owned())
            .spawn(move || write(&out, &receiver, &counted))
            .map_err(|e| Failure::internal(format!("no thread to write messages: {e}")))?;
        Ok(Self { messages, lost })
    }

    /// See [`Out::note`].
    pub(crate) fn note(&self, text: impl Into<String>) {
        self.send(Message::Note(text.into()));
    }

    /// See [`Out::warn`].
    pub(crate) fn warn(&self, text: impl Into<String>) {
        self.send(Message::Warn(text.into()));
    }

    /// Returns when all has been written; never where nobody reads.
    pub(crate) async fn written(&self) {
        let (done, wait) = oneshot::channel();
        self.send(Message::End(done));
        // An error is a message that did not even fit in.
        let _ = wait.await;
    }

    fn send(&self, message: Message) {
        if self.messages.try_send(message).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(out: &Out, messages: &Receiver<Message>, lost: &AtomicU64) {
    while let Ok(message) = messages.recv() {
        match message {
            Message::Note(text) => out.note(text),
            Message::Warn(text) => out.warn(text),
            Message::End(done) => drop(done.send(())),
        }
        let missing = lost.swap(0, Ordering::Relaxed);
        if missing > 0 {
            out.note(format!("{missing} messages not shown: nobody read them in time"));
        }
    }
}
