//! Takes in what a program writes, in bounded memory.
//!
//! A pipe is drained to its end whatever is kept of it, so that the program never blocks. Its end may
//! never come, though: a background process that the program has left behind keeps it open. So once
//! the program itself has ended, only what it has still left in the pipe is waited for.

use std::time::Duration;

use backupctl_domain::Redactor;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::pipe::PIPE_BYTES;

/// How long the end of a pipe is waited for after its program has ended.
pub(crate) const LINGER: Duration = Duration::from_millis(500);

/// The longest line handed over; the rest of a longer one is dropped.
const LINE_BYTES: usize = 16 * 1024 * 1024;

/// Kept beyond the limit of a tail and dropped at last: a secret that the cut goes through would
/// not be recognised.
const CUT_MARGIN: usize = 4096;

/// Takes the bytes of one stream.
pub(crate) trait Sink {
    /// The next bytes.
    fn take(&mut self, bytes: &[u8]);
    /// No more come.
    fn end(&mut self) {}
}

/// Keeps the first bytes.
pub(crate) struct Head {
    kept: Vec<u8>,
    limit: usize,
}

impl Head {
    pub(crate) fn new(limit: usize) -> Self {
        Self { kept: Vec::new(), limit }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.kept
    }
}

impl Sink for Head {
    fn take(&mut self, bytes: &[u8]) {
        let room = self.limit - self.kept.len();
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Keeps the last bytes.
pub(crate) struct Tail {
    kept: Vec<u8>,
    limit: usize,
    cut: bool,
}

impl Tail {
    pub(crate) fn new(limit: usize) -> Self {
        Self { kept: Vec::new(), limit, cut: false }
    }

    /// The text without secrets, at most the limit long.
    pub(crate) fn into_text(mut self, redactor: &Redactor) -> String {
        self.shorten(1);
        let text = redactor.redact(&String::from_utf8_lossy(&self.kept));
        // Half a secret can only stand at the very beginning of what was kept, so it is within the
        // margin, whatever masking has done to the length of the rest.
        let from = if self.cut { CUT_MARGIN } else { 0 }.max(text.len().saturating_sub(self.limit));
        let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        text[from..].to_owned()
    }

    /// Cuts the front off what is longer than `times` what is to be kept.
    fn shorten(&mut self, times: usize) {
        let keep = self.limit + CUT_MARGIN;
        if self.kept.len() > keep * times {
            self.kept.drain(..self.kept.len() - keep);
            self.cut = true;
        }
    }
}

impl Sink for Tail {
    fn take(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        self.shorten(2);
    }
}

/// Hands over line by line.
pub(crate) struct Lines<F> {
    begun: Vec<u8>,
    on_line: F,
}

impl<F: FnMut(&[u8])> Lines<F> {
    pub(crate) fn new(on_line: F) -> Self {
        Self { begun: Vec::new(), on_line }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES - self.begun.len();
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

impl<F: FnMut(&[u8])> Sink for Lines<F> {
    fn take(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|b| *b == b'\n') {
            let (line, after) = rest.split_at(at);
            if self.begun.is_empty() {
                (self.on_line)(line);
            } else {
                self.keep(line);
                (self.on_line)(&self.begun);
                self.begun = Vec::new();
            }
            rest = &after[1..];
        }
        self.keep(rest);
    }

    fn end(&mut self) {
        if !self.begun.is_empty() {
            (self.on_line)(&self.begun);
            self.begun = Vec::new();
        }
    }
}

/// Reads a pipe to its end, or until `ended` tells that its program has ended and what that had
/// written is read.
pub(crate) async fn drain<S: Sink>(
    mut pipe: Receiver,
    mut sink: S,
    mut ended: watch::Receiver<bool>,
) -> S {
    let mut buffer = vec![0; 64 * 1024];
    let open = loop {
        tokio::select! {
            biased;
            read = pipe.read(&mut buffer) => match read {
                Ok(0) | Err(_) => break false,
                Ok(n) => sink.take(&buffer[..n]),
            },
            _ = ended.wait_for(|ended| *ended) => break true,
        }
    };
    if open {
        let deadline = Instant::now() + LINGER;
        let mut left = PIPE_BYTES;
        // Whatever is in the pipe by now is taken even when the deadline has passed; more than a
        // pipe holds cannot come from the program.
        while left > 0 {
            match timeout_at(deadline, pipe.read(&mut buffer)).await {
                Ok(Ok(n)) if n > 0 => {
                    sink.take(&buffer[..n]);
                    left = left.saturating_sub(n);
                }
                _ => break,
            }
        }
    }
    sink.end();
    sink
}
