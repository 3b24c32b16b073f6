//! Reads a dump file back: what it was packed with is told by its name.

use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::CHUNK;

/// What a file is packed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Nothing.
    None,
    /// zstd.
    Zstd,
    /// gzip.
    Gzip,
}

impl Packing {
    /// By the last extension of the name.
    pub fn of(path: &Path) -> Self {
        match path.extension().and_then(|e| e.to_str()) {
            Some("zst") => Self::Zstd,
            Some("gz") => Self::Gzip,
            _ => Self::None,
        }
    }
}

/// Unpacks while it is read. A stream cut inside a frame or member is an error, an empty one too.
pub struct Decoder<R: Read>(Inner<R>);

enum Inner<R: Read> {
    Plain(R),
    Zstd(zstd::stream::read::Decoder<'static, BufReader<R>>),
    Gzip(Box<MultiGzDecoder<BufReader<R>>>),
}

impl<R: Read> Decoder<R> {
    /// Unpacks `source`.
    pub fn new(source: R, packing: Packing) -> io::Result<Self> {
        let buffered = |source| BufReader::with_capacity(CHUNK, source);
        Ok(Self(match packing {
            Packing::None => Inner::Plain(source),
            Packing::Zstd => {
                Inner::Zstd(zstd::stream::read::Decoder::with_buffer(buffered(source))?)
            }
            Packing::Gzip => Inner::Gzip(Box::new(MultiGzDecoder::new(buffered(source)))),
        }))
    }

    /// The source again, wherever the format's end has left it.
    pub fn into_source(self) -> R {
        match self.0 {
            Inner::Plain(source) => source,
            Inner::Zstd(decoder) => decoder.finish().into_inner(),
            Inner::Gzip(decoder) => decoder.into_inner().into_inner(),
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Plain(source) => source.read(buf),
            Inner::Zstd(decoder) => decoder.read(buf),
            Inner::Gzip(decoder) => decoder.read(buf),
        }
    }
}
