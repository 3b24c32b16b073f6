//! The one pass that every dump goes through: read, compress, hash, write.
//!
//! Errors inside travel as [`io::Error`], because the pass is run from a reader's callback; a
//! [`Failure`] is carried in one whole and taken out again by [`into_failure`].

mod sink;

use std::io::{self, Read};
use std::path::Path;

use backupctl_adapter_process::{AtomicFile, write_failure};
use backupctl_adapter_stream::{Compressor, Cutting};
use backupctl_application::context::StageContext;
use backupctl_application::ports::DumpedFile;
use backupctl_domain::manifest::Completeness;
use backupctl_domain::project::{Compression, Engine};
use backupctl_domain::{DumpInfo, ErrorCode, Failure};

use crate::blocking;

use sink::Sink;

pub(crate) use backupctl_adapter_stream::{CHUNK, Decoder, Packing, Watch, checksum_text};

/// A written file that does not stand under its name yet.
#[derive(Debug)]
pub(crate) struct Written {
    /// The file, complete, not yet committed.
    pub(crate) file: AtomicFile,
    /// The bytes read.
    pub(crate) raw_bytes: u64,
    /// The bytes written.
    pub(crate) bytes: u64,
    /// `blake3:…` of the bytes written.
    pub(crate) checksum: String,
}

impl Written {
    /// Gives the file its name and says what it is, unless the run was told to stop. `tool` is the
    /// program and its version, e.g. `pg_dump 15.18`.
    pub(crate) async fn commit(
        self,
        engine: Engine,
        tool: String,
        completeness: Completeness,
        warnings: Vec<String>,
        ctx: &StageContext,
    ) -> Result<DumpedFile, Failure> {
        ctx.cancel.check()?;
        let Self { file, raw_bytes, bytes, checksum } = self;
        let path = blocking::run(ctx, None, "writing the dump", move |_, _| file.commit()).await?;
        let info = DumpInfo {
            file: path.to_string_lossy().into_owned(),
            bytes,
            raw_bytes,
            checksum,
            engine: engine.as_str().to_owned(),
            tool_version: tool,
        };
        Ok(DumpedFile { path, info, completeness, warnings })
    }
}

/// Reads `source` to its end into `file`. `tap` sees every byte before it is compressed.
///
/// At most `max_bytes` are written (`DISK_LOW` beyond that). The file is neither synced nor renamed:
/// whoever calls knows whether the source ended well, and commits.
pub(crate) fn pump(
    source: &mut dyn Read,
    file: AtomicFile,
    compression: Option<Compression>,
    max_bytes: Option<u64>,
    watch: &mut Watch,
    tap: impl FnMut(&[u8]),
) -> io::Result<Written> {
    let mut pump = Pump::new(file, compression, max_bytes, watch.clone())?;
    pump.take(source, tap)?;
    pump.finish()
}

/// The same pass over several sources that become one file, one after the other.
pub(crate) struct Pump {
    compressor: Compressor,
    sink: Sink,
    watch: Watch,
    raw_bytes: u64,
}

impl Pump {
    /// Begins the file.
    pub(crate) fn new(
        file: AtomicFile,
        compression: Option<Compression>,
        max_bytes: Option<u64>,
        watch: Watch,
    ) -> io::Result<Self> {
        let compressor = Compressor::new(compression, Cutting::ByContent)?;
        Ok(Self { compressor, sink: Sink::new(file, max_bytes), watch, raw_bytes: 0 })
    }

    /// Reads a source to its end.
    pub(crate) fn take(
        &mut self,
        source: &mut dyn Read,
        mut tap: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = match source.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            tap(&buffer[..read]);
            self.write(&buffer[..read])?;
        }
    }

    /// Adds these bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.compressor.push(bytes, &mut self.sink)?;
        self.raw_bytes += bytes.len() as u64;
        self.watch.advance(bytes.len())
    }

    /// The bytes that came in so far.
    pub(crate) fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// Ends the file, which is neither synced nor renamed yet.
    pub(crate) fn finish(mut self) -> io::Result<Written> {
        self.compressor.finish(&mut self.sink)?;
        self.watch.report();
        let (file, bytes, checksum) = self.sink.finish()?;
        Ok(Written { file, raw_bytes: self.raw_bytes, bytes, checksum })
    }
}

/// The failure that travelled in an error, or what the error means for a file written at `path`.
pub(crate) fn into_failure(error: io::Error, path: &Path) -> Failure {
    match error.downcast::<Failure>() {
        Ok(failure) => failure,
        Err(error) => write_failure(&error, path),
    }
}

/// What an error of reading `path`, a file of our own, means.
pub(crate) fn read_failure(error: &io::Error, path: &Path) -> Failure {
    let shown = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::new(ErrorCode::DumpTruncated, format!("{shown} is gone")).permanent()
        }
        io::ErrorKind::PermissionDenied => {
            Failure::new(ErrorCode::PathNotWritable, format!("cannot read {shown}: {error}"))
        }
        _ => Failure::new(ErrorCode::DumpCorrupt, format!("reading {shown} failed: {error}")),
    }
}

#[cfg(test)]
mod tests;
