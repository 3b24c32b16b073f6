//! Compression on several cores: blocks become frames of their own, and frames in a row are one file
//! (gzip calls them members).
//!
//! Blocks end where the content says so (a rolling hash over the last 64 bytes), so that an insertion
//! moves the following blocks without changing them and they deduplicate. No block knows anything of
//! another one, so a change reaches no further than its own.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Where blocks end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cuts {
    /// No block but the last is smaller.
    pub(crate) min: usize,
    /// No block is larger.
    pub(crate) max: usize,
    /// Between the two, a block ends where these bits of the hash are all zero. The top bits know of
    /// the most bytes.
    pub(crate) mask: u64,
}

/// What one thread compresses with.
pub(crate) trait Packer: Send + 'static {
    /// Compresses a block into `frame`, which is empty.
    fn pack(&mut self, block: &[u8], frame: &mut Vec<u8>) -> io::Result<()>;
}

/// A block and the frame it has become.
type Done = io::Result<(Vec<u8>, Vec<u8>)>;

struct Job {
    block: Vec<u8>,
    frame: Vec<u8>,
    reply: SyncSender<Done>,
}

/// Threads that compress blocks; their frames come out in order.
pub(crate) struct Pool {
    cuts: Cuts,
    jobs: Option<Sender<Job>>,
    pending: VecDeque<Receiver<Done>>,
    in_flight: usize,
    block: Vec<u8>,
    hash: u64,
    begun: bool,
    spare: Vec<(Vec<u8>, Vec<u8>)>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts a thread for each packer.
    pub(crate) fn new<P: Packer>(cuts: Cuts, packers: Vec<P>) -> io::Result<Self> {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let mut threads = Vec::with_capacity(packers.len());
        for packer in packers {
            let queue = Arc::clone(&queue);
            let thread = Builder::new().name("compress".to_owned());
            threads.push(thread.spawn(move || work(&queue, packer))?);
        }
        Ok(Self {
            cuts,
            jobs: Some(jobs),
            pending: VecDeque::new(),
            // One waits for whichever thread is done first.
            in_flight: threads.len() + 1,
            block: Vec::with_capacity(cuts.max),
            hash: 0,
            begun: false,
            spare: Vec::new(),
            threads,
        })
    }

    /// Adds bytes; frames that are ready go to `sink`.
    pub(crate) fn push(&mut self, mut data: &[u8], sink: &mut dyn Write) -> io::Result<()> {
        while !data.is_empty() {
            let (taken, cut) = self.find_cut(data);
            self.block.extend_from_slice(&data[..taken]);
            data = &data[taken..];
            if cut {
                self.send(sink)?;
            }
        }
        Ok(())
    }

    /// Compresses the rest and ends the threads. No input at all is one empty frame.
    pub(crate) fn finish(mut self, sink: &mut dyn Write) -> io::Result<()> {
        if !self.begun || !self.block.is_empty() {
            self.send(sink)?;
        }
        while !self.pending.is_empty() {
            self.receive(sink)?;
        }
        self.jobs = None;
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| io::Error::other("a compressing thread has panicked"))?;
        }
        Ok(())
    }

    /// How much of `data` belongs to the current block, and whether the block ends there.
    fn find_cut(&mut self, data: &[u8]) -> (usize, bool) {
        let Cuts { min, max, mask } = self.cuts;
        let have = self.block.len();
        // Below the least size nothing can end, so nothing is hashed but the 64 bytes before it.
        let skip = min.saturating_sub(have + 64).min(data.len());
        let end = (max - have).min(data.len());
        let mut hash = self.hash;
        for (i, byte) in data[skip..end].iter().enumerate() {
            hash = (hash << 1).wrapping_add(GEAR[usize::from(*byte)]);
            if hash & mask == 0 && have + skip + i >= min {
                return (skip + i + 1, true);
            }
        }
        self.hash = hash;
        (end, have + end == max)
    }

    fn send(&mut self, sink: &mut dyn Write) -> io::Result<()> {
        self.hash = 0;
        self.begun = true;
        while self.pending.len() >= self.in_flight {
            self.receive(sink)?;
        }
        let (next, frame) =
            self.spare.pop().unwrap_or_else(|| (Vec::with_capacity(self.cuts.max), Vec::new()));
        let block = mem::replace(&mut self.block, next);
        let (reply, answer) = sync_channel(1);
        let sent = self.jobs.as_ref().map(|jobs| jobs.send(Job { block, frame, reply }));
        if !matches!(sent, Some(Ok(()))) {
            return Err(io::Error::other("the compressing threads are gone"));
        }
        self.pending.push_back(answer);
        Ok(())
    }

    fn receive(&mut self, sink: &mut dyn Write) -> io::Result<()> {
        let Some(answer) = self.pending.pop_front() else { return Ok(()) };
        let (mut block, mut frame) =
            answer.recv().map_err(|_| io::Error::other("a compressing thread has panicked"))??;
        sink.write_all(&frame)?;
        block.clear();
        frame.clear();
        self.spare.push((block, frame));
        Ok(())
    }
}

fn work(queue: &Mutex<Receiver<Job>>, mut packer: impl Packer) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { block, mut frame, reply }) = next else { return };
        let done = packer.pack(&block, &mut frame);
        // Nobody waits any more where the stream was given up.
        let _ = reply.send(done.map(|()| (block, frame)));
    }
}

/// Random numbers for the rolling hash, fixed so that the same content is cut the same for ever.
static GEAR: [u64; 256] = gear();

const fn gear() -> [u64; 256] {
    let mut table = [0; 256];
    let mut state = 0x6261_636b_7570_6374_u64;
    let mut i = 0;
    while i < 256 {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[i] = z ^ (z >> 31);
        i += 1;
    }
    table
}
