//! Proves that a file is the one that was written: its bytes by their checksum, its stream by
//! unpacking all of it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use backupctl_adapter_process::{Output, ProcessError, Tool};
use backupctl_application::context::StageContext;
use backupctl_application::ports::VerifyRequest;
use backupctl_domain::{DumpInfo, ErrorCode, Failure};

use crate::blocking;
use crate::stream::{CHUNK, Decoder, Packing, Watch, checksum_text, into_failure, read_failure};

/// A reader that hashes and counts what passes.
pub(crate) struct Hashing<R> {
    source: R,
    hasher: blake3::Hasher,
    count: u64,
}

impl<R: Read> Hashing<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, hasher: blake3::Hasher::new(), count: 0 }
    }

    /// Reads what is left; the whole count and checksum.
    pub(crate) fn finish(mut self, watch: &Watch) -> Result<(u64, String), io::Error> {
        let mut buffer = vec![0; CHUNK];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return Ok((self.count, checksum_text(&self.hasher))),
                Ok(_) => watch.check().map_err(io::Error::other)?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buf)?;
        self.hasher.update(&buf[..read]);
        self.count += read as u64;
        Ok(read)
    }
}

/// Reads the file back in one pass and hands every unpacked byte to `out`.
///
/// `DUMP_TRUNCATED` for a file or stream that is too short, `CHECKSUM_MISMATCH` for one whose bytes
/// are others, `DUMP_CORRUPT` for one that does not unpack although its bytes are right. An error of
/// `out` ends the pass and comes back as the failure it carries.
pub(crate) fn read_back(
    path: &Path,
    info: &DumpInfo,
    watch: &Watch,
    mut out: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), Failure> {
    let shown = path.display();
    let file = File::open(path).map_err(|e| read_failure(&e, path))?;
    let length = file.metadata().map_err(|e| read_failure(&e, path))?.len();
    if length < info.bytes {
        return Err(again(Failure::new(
            ErrorCode::DumpTruncated,
            format!("{shown} has {length} bytes, {} were written", info.bytes),
        )));
    }
    let read = |e: io::Error| match e.downcast::<Failure>() {
        Ok(failure) => failure,
        Err(e) => read_failure(&e, path),
    };
    let mut decoder = Decoder::new(Hashing::new(file), Packing::of(path)).map_err(read)?;
    let mut watch = watch.of(Some(info.raw_bytes));
    let mut buffer = vec![0; CHUNK];
    let mut raw_bytes = 0_u64;
    let unpacked = loop {
        match decoder.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(read) => {
                raw_bytes += read as u64;
                out(&buffer[..read]).map_err(|e| into_failure(e, path))?;
                watch.advance(read).map_err(|e| into_failure(e, path))?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => break Err(e),
        }
    };
    // The bytes speak first: a stream that does not unpack because a byte is another one is told
    // as what it is.
    let (count, checksum) = decoder.into_source().finish(&watch).map_err(read)?;
    watch.report();
    if count != info.bytes || checksum != info.checksum {
        return Err(again(Failure::new(
            ErrorCode::ChecksumMismatch,
            format!(
                "{shown} has {count} bytes with {checksum}, written were {} with {}",
                info.bytes, info.checksum
            ),
        )));
    }
    if let Err(e) = unpacked {
        return Err(again(Failure::new(
            ErrorCode::DumpCorrupt,
            format!("{shown} does not decompress: {e}"),
        )));
    }
    if raw_bytes != info.raw_bytes {
        return Err(again(Failure::new(
            ErrorCode::DumpTruncated,
            format!("{shown} decompresses to {raw_bytes} bytes, the dump had {}", info.raw_bytes),
        )));
    }
    Ok(())
}

fn again(failure: Failure) -> Failure {
    failure.with_remedy(
        "run the backup again; if it happens twice, check the disk of `base_dir` (`smartctl -a`, \
         `dmesg`) and the machine's memory",
    )
}

/// Proves the file as [`read_back`] does while `tool` reads every unpacked byte of it from its stdin:
/// the outcome of the tool, whose status is the caller's to judge.
pub(crate) async fn read_through(
    tool: Tool,
    request: &VerifyRequest,
    ctx: &StageContext,
) -> Result<Output, Failure> {
    let VerifyRequest { path, info, .. } = request.clone();
    let watch = Watch::new(ctx);
    let ran = tool.timeout(request.timeout).run_writing(ctx, move |stdin| {
        let mut reading = true;
        let checked = read_back(&path, &info, &watch, |chunk| {
            if !reading {
                return Ok(());
            }
            match stdin.write_all(chunk) {
                // It has seen enough, or too much; its status tells. Ours goes on to the end.
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                    reading = false;
                    Ok(())
                }
                other => other,
            }
        });
        checked.map_err(io::Error::other)
    });
    let (output, checked) = match ran.await {
        Err(ProcessError::TimedOut { limit, .. }) => {
            return Err(blocking::timed_out("reading the dump back", limit));
        }
        other => other.map_err(|e| e.into_failure(ErrorCode::DumpTimeout))?,
    };
    checked.map_err(|e| into_failure(e, &request.path))?;
    Ok(output)
}
