//! Compresses what is pushed, on several cores, with memory that the level does not blow up.

use std::io::{self, Write};
use std::mem;
use std::num::NonZero;
use std::thread;

use backupctl_domain::project::{Algorithm, Compression};
use flate2::write::GzEncoder;
use zstd::bulk;
use zstd::zstd_safe::{CParameter, compress_bound};

use super::pool::{Cuts, Packer, Pool};

/// More threads than this compress faster than any database delivers, and cost memory each.
const MAX_WORKERS: u32 = 4;

/// A cut every 512 KiB on average after the first 256 KiB. Larger blocks would compress half a percent
/// better, and a change would reach further.
const ZSTD_CUTS: Cuts = Cuts { min: 256 << 10, max: 1536 << 10, mask: 0xffff_e000_0000_0000 };
/// 2 MiB, more than a block: higher levels would set up as much as 128 MiB.
const ZSTD_WINDOW_LOG: u32 = 21;
/// Caps the tables of the levels above 5 at 4 MiB each.
const ZSTD_TABLE_LOG: u32 = 20;
/// Up to this level the tables are small by themselves.
const LAST_SMALL_LEVEL: i32 = 5;

/// A cut every 256 KiB on average after the first 256 KiB.
const GZIP_CUTS: Cuts = Cuts { min: 256 << 10, max: 1 << 20, mask: 0xffff_c000_0000_0000 };

/// Blocks of this size, for streams that nothing is going to deduplicate: nothing is hashed for them,
/// and they compress a little better.
const EVEN_BLOCK: usize = 1 << 20;
const EVEN_CUTS: Cuts = Cuts { min: EVEN_BLOCK, max: EVEN_BLOCK, mask: u64::MAX };

/// Where a compressed stream begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cutting {
    /// Where the content says so: what has not changed compresses to the same bytes wherever it stands,
    /// and deduplicates.
    ByContent,
    /// After so many bytes, which is cheapest.
    Evenly,
}

/// A compressor that is pushed to.
pub struct Compressor(Inner);

enum Inner {
    /// Passes the bytes on.
    Plain,
    /// zstd frames, each with a checksum, or gzip members: one after the other.
    Blocks(Pool),
}

impl Compressor {
    /// A compressor of that kind on all cores.
    pub fn new(compression: Option<Compression>, cutting: Cutting) -> io::Result<Self> {
        let Some(Compression { algorithm, level }) = compression else {
            return Ok(Self(Inner::Plain));
        };
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let workers = u32::try_from(cores).unwrap_or(MAX_WORKERS).clamp(1, MAX_WORKERS);
        let cuts = |by_content| match cutting {
            Cutting::ByContent => by_content,
            Cutting::Evenly => EVEN_CUTS,
        };
        Ok(Self(Inner::Blocks(match algorithm {
            Algorithm::Zstd => {
                // Workers that build large tables are few, so that the memory stays what it is at
                // level 3.
                let workers = if level > LAST_SMALL_LEVEL { workers.min(2) } else { workers };
                let packers = (0..workers).map(|_| Zstd::new(level));
                Pool::new(cuts(ZSTD_CUTS), packers.collect::<io::Result<Vec<_>>>()?)?
            }
            Algorithm::Gzip => {
                let level = flate2::Compression::new(level.clamp(1, 9).unsigned_abs());
                Pool::new(cuts(GZIP_CUTS), (0..workers).map(|_| Gzip(level)).collect())?
            }
        })))
    }

    /// Compresses `data`; what is ready goes to `sink`.
    pub fn push(&mut self, data: &[u8], sink: &mut dyn Write) -> io::Result<()> {
        match &mut self.0 {
            Inner::Plain => sink.write_all(data),
            Inner::Blocks(pool) => pool.push(data, sink),
        }
    }

    /// Compresses what is left and ends the format properly.
    pub fn finish(self, sink: &mut dyn Write) -> io::Result<()> {
        match self.0 {
            Inner::Plain => Ok(()),
            Inner::Blocks(pool) => pool.finish(sink),
        }
    }
}

struct Zstd(bulk::Compressor<'static>);

impl Zstd {
    fn new(level: i32) -> io::Result<Self> {
        let mut compressor = bulk::Compressor::new(level)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        compressor.set_parameter(CParameter::WindowLog(ZSTD_WINDOW_LOG))?;
        if level > LAST_SMALL_LEVEL {
            compressor.set_parameter(CParameter::HashLog(ZSTD_TABLE_LOG))?;
            compressor.set_parameter(CParameter::ChainLog(ZSTD_TABLE_LOG))?;
        }
        Ok(Self(compressor))
    }
}

impl Packer for Zstd {
    fn pack(&mut self, block: &[u8], frame: &mut Vec<u8>) -> io::Result<()> {
        frame.reserve(compress_bound(block.len()));
        self.0.compress_to_buffer(block, frame).map(drop)
    }
}

struct Gzip(flate2::Compression);

impl Packer for Gzip {
    fn pack(&mut self, block: &[u8], frame: &mut Vec<u8>) -> io::Result<()> {
        let mut encoder = GzEncoder::new(mem::take(frame), self.0);
        encoder.write_all(block)?;
        *frame = encoder.finish()?;
        Ok(())
    }
}
