//! The way from the tar to the disk: compressed, sealed, and handed to the thread that writes.

use std::io::{self, Write};

use backupctl_adapter_stream::{Compressor, Cutting, Envelope, Sealing};
use backupctl_domain::Failure;
use backupctl_domain::project::Compression;

/// Takes the tar.
pub(crate) struct Outlet<'w> {
    compressor: Compressor,
    end: End<'w>,
}

enum End<'w> {
    Sealed(Box<dyn Sealing + Send + 'w>),
    Bare(Box<dyn Write + Send + 'w>),
}

impl<'w> Outlet<'w> {
    /// What is written to it reaches `out` compressed and sealed, if that is asked for.
    pub(crate) fn new(
        compression: Option<Compression>,
        envelope: Option<&dyn Envelope>,
        out: Box<dyn Write + Send + 'w>,
    ) -> Result<Self, Failure> {
        let compressor = Compressor::new(compression, Cutting::Evenly)
            .map_err(|e| Failure::internal(format!("the compressor does not start: {e}")))?;
        let end = match envelope {
            Some(envelope) => End::Sealed(envelope.seal(out)?),
            None => End::Bare(out),
        };
        Ok(Self { compressor, end })
    }

    /// Writes all that is left, and the ends of the formats.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.compressor.finish(self.end.writer())?;
        match self.end {
            End::Sealed(sealing) => sealing.finish(),
            End::Bare(mut out) => out.flush(),
        }
    }
}

impl End<'_> {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Sealed(sealing) => sealing,
            Self::Bare(out) => out,
        }
    }
}

impl Write for Outlet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.compressor.push(bytes, self.end.writer())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
