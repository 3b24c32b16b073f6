//! What every adapter needs that passes more bytes along than memory holds: compression on several
//! cores, the way back, threads that read ahead and write behind, and an eye on whether to go on.
//!
//! Here because dumps and archives are streams of the same kind; and because an archive is encrypted on
//! its way without knowing by what, which [`Envelope`] is for.

mod compress;
mod decompress;
mod envelope;
mod pipe;
mod pool;
mod read_ahead;
#[cfg(test)]
mod tests;
mod watch;

pub use compress::{Compressor, Cutting};
pub use decompress::{Decoder, Packing};
pub use envelope::{Envelope, Sealing};
pub use pipe::{BUFFER, BlockSink, Pipe};
pub use read_ahead::{BlockSource, ReadAhead, read_ahead};
pub use watch::Watch;

/// How much is read at once. A pipe gives less; files give this much.
pub const CHUNK: usize = 256 * 1024;

/// A hash in the form of `DumpInfo::checksum`.
pub fn checksum_text(hasher: &blake3::Hasher) -> String {
    format!("blake3:{}", hasher.finalize().to_hex())
}
