//! The way from the tar to the disk: compressed, sealed, and handed to the thread that writes, each on a
//! thread of its own.

use std::io::{self, Write};
use std::thread::Scope;

use backupctl_adapter_stream::{BlockSink, Compressor, Cutting, Envelope, Pipe, Sealing};
use backupctl_domain::Failure;
use backupctl_domain::project::Compression;

/// Takes the tar.
pub(crate) struct Outlet<'scope> {
    compressor: Compressor,
    end: Pipe<'scope, ()>,
}

impl<'scope> Outlet<'scope> {
    /// What is written to it reaches `out` compressed and sealed, if that is asked for.
    pub(crate) fn new(
        scope: &'scope Scope<'scope, '_>,
        compression: Option<Compression>,
        envelope: Option<&dyn Envelope>,
        out: Pipe<'scope, ()>,
    ) -> Result<Self, Failure> {
        let compressor = Compressor::new(compression, Cutting::Evenly)
            .map_err(|e| Failure::internal(format!("the compressor does not start: {e}")))?;
        let end = match envelope {
            Some(envelope) => Pipe::start(scope, Sealer(envelope.seal(Box::new(out))?)),
            None => out,
        };
        Ok(Self { compressor, end })
    }

    /// Writes all that is left, and the ends of the formats.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.compressor.finish(&mut self.end)?;
        self.end.finish()
    }
}

impl Write for Outlet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.compressor.push(bytes, &mut self.end)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Sealer<'w>(Box<dyn Sealing + Send + 'w>);

impl BlockSink for Sealer<'_> {
    type Done = ();

    fn block(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn finish(self) -> io::Result<()> {
        self.0.finish()
    }
}
