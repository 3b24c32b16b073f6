//! gzip on several cores: blocks become members of their own, and members in a row are one gzip file.
//!
//! Blocks end where the content says so (a rolling hash over the last 64 bytes), so that an insertion
//! moves the following blocks without changing them and they deduplicate.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use flate2::write::GzEncoder;

use super::Sink;

const MIN_BLOCK: usize = 256 * 1024;
const MAX_BLOCK: usize = 1024 * 1024;
/// The hash's top 18 bits: a cut every 256 KiB on average once the least size is reached.
const CUT_MASK: u64 = 0xffff_c000_0000_0000;

/// A member and the two buffers it was made with.
type Done = io::Result<(Vec<u8>, Vec<u8>)>;

struct Job {
    block: Vec<u8>,
    member: Vec<u8>,
    reply: SyncSender<Done>,
}

/// Threads that compress blocks; their members come out in order.
pub(crate) struct GzipPool {
    jobs: Option<Sender<Job>>,
    pending: VecDeque<Receiver<Done>>,
    in_flight: usize,
    block: Vec<u8>,
    hash: u64,
    spare: Vec<(Vec<u8>, Vec<u8>)>,
    threads: Vec<JoinHandle<()>>,
}

impl GzipPool {
    /// Starts the threads.
    pub(crate) fn new(level: i32, workers: u32) -> io::Result<Self> {
        let level = flate2::Compression::new(level.clamp(1, 9).unsigned_abs());
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let workers = workers.max(1) as usize;
        let mut threads = Vec::with_capacity(workers);
        for _ in 0..workers {
            let queue = Arc::clone(&queue);
            threads
                .push(Builder::new().name("gzip".to_owned()).spawn(move || work(&queue, level))?);
        }
        Ok(Self {
            jobs: Some(jobs),
            pending: VecDeque::new(),
            in_flight: workers + 1,
            block: Vec::with_capacity(MAX_BLOCK),
            hash: 0,
            spare: Vec::new(),
            threads,
        })
    }

    /// Adds bytes; members that are ready go to `sink`.
    pub(crate) fn push(&mut self, mut data: &[u8], sink: &mut Sink) -> io::Result<()> {
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

    /// Compresses the rest and ends the threads. No input at all is one empty member.
    pub(crate) fn finish(mut self, sink: &mut Sink) -> io::Result<()> {
        self.send(sink)?;
        while !self.pending.is_empty() {
            self.receive(sink)?;
        }
        self.jobs = None;
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| io::Error::other("a gzip thread has panicked"))?;
        }
        Ok(())
    }

    /// How much of `data` belongs to the current block, and whether the block ends there.
    fn find_cut(&mut self, data: &[u8]) -> (usize, bool) {
        let have = self.block.len();
        // Below the least size nothing can end, so nothing is hashed but the 64 bytes before it.
        let skip = MIN_BLOCK.saturating_sub(have + 64).min(data.len());
        let end = (MAX_BLOCK - have).min(data.len());
        let mut hash = self.hash;
        for (i, byte) in data[skip..end].iter().enumerate() {
            hash = (hash << 1).wrapping_add(GEAR[usize::from(*byte)]);
            if hash & CUT_MASK == 0 && have + skip + i >= MIN_BLOCK {
                return (skip + i + 1, true);
            }
        }
        self.hash = hash;
        (end, have + end == MAX_BLOCK)
    }

    fn send(&mut self, sink: &mut Sink) -> io::Result<()> {
        self.hash = 0;
        while self.pending.len() >= self.in_flight {
            self.receive(sink)?;
        }
        let (next, member) =
            self.spare.pop().unwrap_or_else(|| (Vec::with_capacity(MAX_BLOCK), Vec::new()));
        let block = std::mem::replace(&mut self.block, next);
        let (reply, answer) = sync_channel(1);
        let sent = self.jobs.as_ref().map(|jobs| jobs.send(Job { block, member, reply }));
        if !matches!(sent, Some(Ok(()))) {
            return Err(io::Error::other("the gzip threads are gone"));
        }
        self.pending.push_back(answer);
        Ok(())
    }

    fn receive(&mut self, sink: &mut Sink) -> io::Result<()> {
        let Some(answer) = self.pending.pop_front() else { return Ok(()) };
        let (mut block, mut member) =
            answer.recv().map_err(|_| io::Error::other("a gzip thread has panicked"))??;
        sink.write(&member)?;
        block.clear();
        member.clear();
        self.spare.push((block, member));
        Ok(())
    }
}

fn work(queue: &Mutex<Receiver<Job>>, level: flate2::Compression) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { block, member, reply }) = next else { return };
        let mut encoder = GzEncoder::new(member, level);
        let done = encoder.write_all(&block).and_then(|()| encoder.finish());
        // Nobody waits any more where the dump was given up.
        let _ = reply.send(done.map(|member| (block, member)));
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
