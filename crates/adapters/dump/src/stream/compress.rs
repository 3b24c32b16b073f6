//! Compresses what is pushed, on several cores, with memory that the level does not blow up.

use std::io;
use std::num::NonZero;
use std::thread;

use backupctl_domain::project::{Algorithm, Compression};
use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};

use super::Sink;
use super::gzip::GzipPool;

/// More threads than this compress faster than any database delivers, and cost memory each.
const MAX_WORKERS: u32 = 4;
/// What one zstd job compresses: small enough that few are in flight, large enough for the ratio.
/// Jobs begin at places that the content decides, so a change touches its own jobs alone.
const ZSTD_JOB: u32 = 1 << 20;
/// 1/16 of the window (128 KiB) of the job before is known to the next: half of zstd's default, which
/// costs 0.6 % of size, saves a thirtieth of the time, and lets a change reach less far.
const ZSTD_OVERLAP_LOG: u32 = 5;
/// 2 MiB, level 3's own: higher levels would take up to 128 MiB for each thread.
const ZSTD_WINDOW_LOG: u32 = 21;
/// Caps the tables of the levels above 5 at 4 MiB each.
const ZSTD_TABLE_LOG: u32 = 20;
/// Up to this level the tables are small by themselves.
const LAST_SMALL_LEVEL: i32 = 5;

/// A compressor that is pushed to.
pub(crate) enum Compressor {
    /// Passes the bytes on.
    Plain,
    /// One zstd frame with a checksum.
    Zstd(ZstdStream),
    /// gzip members, one after the other.
    Gzip(GzipPool),
}

impl Compressor {
    /// A compressor of that kind on all cores.
    pub(crate) fn new(compression: Option<Compression>) -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let workers = u32::try_from(cores).unwrap_or(MAX_WORKERS).min(MAX_WORKERS);
        Ok(match compression {
            None => Self::Plain,
            Some(Compression { algorithm: Algorithm::Zstd, level }) => {
                Self::Zstd(ZstdStream::new(level, workers)?)
            }
            Some(Compression { algorithm: Algorithm::Gzip, level }) => {
                Self::Gzip(GzipPool::new(level, workers)?)
            }
        })
    }

    /// Compresses `data`; what is ready goes to `sink`.
    pub(crate) fn push(&mut self, data: &[u8], sink: &mut Sink) -> io::Result<()> {
        match self {
            Self::Plain => sink.write(data),
            Self::Zstd(stream) => stream.push(data, sink),
            Self::Gzip(pool) => pool.push(data, sink),
        }
    }

    /// Compresses what is left and ends the format properly.
    pub(crate) fn finish(self, sink: &mut Sink) -> io::Result<()> {
        match self {
            Self::Plain => Ok(()),
            Self::Zstd(stream) => stream.finish(sink),
            Self::Gzip(pool) => pool.finish(sink),
        }
    }
}

/// zstd's own multi-threading, in rsync-friendly jobs.
pub(crate) struct ZstdStream {
    encoder: Encoder<'static>,
    out: Vec<u8>,
}

impl ZstdStream {
    fn new(level: i32, workers: u32) -> io::Result<Self> {
        let mut encoder = Encoder::new(level)?;
        // Workers that build large tables are few, so that the memory stays what it is at level 3.
        let workers = if level > LAST_SMALL_LEVEL { workers.min(2) } else { workers };
        encoder.set_parameter(CParameter::ChecksumFlag(true))?;
        encoder.set_parameter(CParameter::WindowLog(ZSTD_WINDOW_LOG))?;
        if level > LAST_SMALL_LEVEL {
            encoder.set_parameter(CParameter::HashLog(ZSTD_TABLE_LOG))?;
            encoder.set_parameter(CParameter::ChainLog(ZSTD_TABLE_LOG))?;
        }
        // With no worker at all there would be no jobs, hence no rsync-friendly places.
        encoder.set_parameter(CParameter::NbWorkers(workers.max(1)))?;
        encoder.set_parameter(CParameter::JobSize(ZSTD_JOB))?;
        encoder.set_parameter(CParameter::OverlapSizeLog(ZSTD_OVERLAP_LOG))?;
        encoder.set_parameter(CParameter::RSyncable(true))?;
        Ok(Self { encoder, out: vec![0; 128 * 1024] })
    }

    fn push(&mut self, data: &[u8], sink: &mut Sink) -> io::Result<()> {
        let mut input = InBuffer::around(data);
        while input.pos() < data.len() {
            let mut output = OutBuffer::around(&mut self.out[..]);
            self.encoder.run(&mut input, &mut output)?;
            sink.write(output.as_slice())?;
        }
        Ok(())
    }

    fn finish(mut self, sink: &mut Sink) -> io::Result<()> {
        loop {
            let mut output = OutBuffer::around(&mut self.out[..]);
            let left = self.encoder.finish(&mut output, true)?;
            sink.write(output.as_slice())?;
            if left == 0 {
                return Ok(());
            }
        }
    }
}
