//! The two directions, on a blocking thread.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use age::armor::ArmoredReader;
use age::stream::StreamReader;
use age::{DecryptError, Decryptor, Encryptor, Identity, Recipient};
use backupctl_adapter_process::{AtomicFile, Existing, write_failure};
use backupctl_adapter_stream::{BUFFER, Pipe};
use backupctl_application::context::{Interrupt, StageContext, interrupted};
use backupctl_application::ports::EncryptedFile;
use backupctl_domain::{ErrorCode, Failure};

use crate::keys::Keys;
use crate::sink::{FileSink, Written};

const ARMOR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";

/// One file to turn into another.
pub(crate) struct Job {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) ctx: StageContext,
    /// Set when nobody waits for the outcome any more.
    pub(crate) abandoned: Arc<AtomicBool>,
}

impl Job {
    fn check(&self) -> Result<(), Failure> {
        if self.abandoned.load(Ordering::Relaxed) {
            return Err(interrupted(Interrupt::Term));
        }
        self.ctx.cancel.check()
    }

    /// Copies everything, looking after each buffer whether to go on. `read_failure` tells what an
    /// error of the reader means.
    fn copy(
        &self,
        from: &mut impl Read,
        to: &mut impl Write,
        total: u64,
        read_failure: impl Fn(&io::Error) -> Failure,
    ) -> Result<(), Stop> {
        let mut buffer = vec![0; BUFFER];
        let mut done = 0;
        loop {
            self.check().map_err(Stop::Failure)?;
            let read = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Stop::Failure(read_failure(&e))),
            };
            to.write_all(&buffer[..read]).map_err(|_| Stop::Write)?;
            let before = done / BUFFER as u64;
            done += read as u64;
            if done / BUFFER as u64 != before || done == total {
                self.ctx.progress(done, Some(total));
            }
        }
    }
}

/// Why a copy ended early.
enum Stop {
    /// For this reason.
    Failure(Failure),
    /// The writing thread is gone and knows why.
    Write,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Encrypts to everybody who is configured.
pub(crate) fn encryptor(keys: &Keys) -> Result<Encryptor, Failure> {
    let recipients = keys.recipients()?;
    Encryptor::with_recipients(recipients.iter().map(|r| &**r as &dyn Recipient))
        .map_err(|e| Failure::internal(format!("age cannot encrypt to these recipients: {e}")))
}

/// What decrypts `source`, armored or not; `path` is for messages.
pub(crate) fn opened<'r>(
    keys: &Keys,
    source: impl Read + Send + 'r,
    path: &Path,
) -> Result<StreamReader<Box<dyn BufRead + Send + 'r>>, Failure> {
    let identities = keys.identities()?;
    let mut source = BufReader::with_capacity(BUFFER, source);
    let begin = source.fill_buf().map_err(|e| stream_failure(&e, path))?;
    // age's armor reader hands even plain bytes over in lines, so it serves armored files alone.
    let source: Box<dyn BufRead + Send + 'r> = if begin.starts_with(ARMOR) {
        Box::new(BufReader::new(ArmoredReader::new(source)))
    } else {
        Box::new(source)
    };
    Decryptor::new_buffered(source)
        .and_then(|d| d.decrypt(identities.iter().map(|i| &**i as &dyn Identity)))
        .map_err(|e| damaged(&e, path))
}

/// Encrypts `source` beside itself.
pub(crate) fn encrypt(keys: &Keys, job: &Job) -> Result<EncryptedFile, Failure> {
    job.check()?;
    let encryptor = encryptor(keys)?;
    let (mut source, total) = open(&job.source)
        .map_err(|e| read_failure(ErrorCode::DumpCorrupt, &e, &job.source).permanent())?;
    let file = AtomicFile::create(&job.target, Existing::Replace)?;
    let written = through_pipe(file.handle(), true, file.target(), |pipe| {
        let mut stream = encryptor.wrap_output(pipe).map_err(|_| Stop::Write)?;
        job.copy(&mut source, &mut stream, total, |e| {
            read_failure(ErrorCode::DumpCorrupt, e, &job.source)
        })?;
        stream.finish().map_err(|_| Stop::Write)?;
        Ok(())
    })?;
    job.check()?;
    let path = file.commit()?;
    let hash = written.hash.ok_or_else(|| Failure::internal("the encrypted file has no hash"))?;
    Ok(EncryptedFile { path, bytes: written.bytes, checksum: format!("blake3:{}", hash.to_hex()) })
}

/// Decrypts `source` into `target`, which appears only once every chunk has authenticated.
pub(crate) fn decrypt(keys: &Keys, job: &Job) -> Result<(), Failure> {
    job.check()?;
    let (file, total) = open(&job.source)
        .map_err(|e| read_failure(ErrorCode::DecryptionFailed, &e, &job.source))?;
    let mut stream = opened(keys, file, &job.source)?;
    let file = AtomicFile::create(&job.target, Existing::Replace)?;
    through_pipe(file.handle(), false, file.target(), |pipe| {
        job.copy(&mut stream, pipe, total, |e| stream_failure(e, &job.source))
    })?;
    job.check()?;
    file.commit().map(drop)
}

/// Runs `work` with a pipe into `file`; the cause closest to the disk is the one that is told.
fn through_pipe(
    file: &File,
    hash: bool,
    path: &Path,
    work: impl FnOnce(&mut Pipe<'_, Written>) -> Result<(), Stop>,
) -> Result<Written, Failure> {
    thread::scope(|scope| {
        let mut pipe = Pipe::start(scope, FileSink::new(file, hash));
        let result = work(&mut pipe);
        let written = pipe.finish().map_err(|e| write_failure(&e, path));
        match result {
            Ok(()) => written,
            Err(Stop::Failure(failure)) => Err(failure),
            Err(Stop::Write) => Err(written.err().unwrap_or_else(|| {
                Failure::internal("the writing thread stopped without a reason")
            })),
        }
    })
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

fn read_failure(code: ErrorCode, error: &io::Error, path: &Path) -> Failure {
    Failure::new(code, format!("cannot read {}: {error}", path.display()))
        .with_remedy(format!("check that {} is there and its disk healthy", path.display()))
}

/// What an error while the payload is decrypted means: its own words for what is not authentic, the
/// system's for everything else.
pub(crate) fn stream_failure(error: &io::Error, path: &Path) -> Failure {
    let path_shown = path.display();
    let message = match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("{path_shown} is cut off: its end is missing"),
        io::ErrorKind::InvalidData => format!("{path_shown} is damaged: a part is not authentic"),
        _ => return read_failure(ErrorCode::DecryptionFailed, error, path),
    };
    Failure::new(ErrorCode::DecryptionFailed, message)
        .with_remedy("restore it from another snapshot")
}

/// What an error of the header means.
fn damaged(error: &DecryptError, path: &Path) -> Failure {
    let path_shown = path.display();
    let (message, remedy) = match error {
        DecryptError::NoMatchingKeys | DecryptError::KeyDecryptionFailed => (
            format!("{path_shown} is not encrypted to the configured identity"),
            "set `encryption.identity_file` to the identity of one of its recipients",
        ),
        DecryptError::UnknownFormat => (
            format!("{path_shown} is of a version of age that is not known"),
            "decrypt it with a newer age",
        ),
        DecryptError::Io(e) => return stream_failure(e, path),
        _ => (
            format!("{path_shown} is damaged: its header is not authentic"),
            "restore it from another snapshot",
        ),
    };
    Failure::new(ErrorCode::DecryptionFailed, message).with_remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_as_such_and_not_as_a_broken_pipe() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let failure = through_pipe(&full, true, Path::new("/dev/full"), |pipe| {
            let piece = vec![7; 300_000];
            loop {
                pipe.write_all(&piece).map_err(|_| Stop::Write)?;
            }
        })
        .unwrap_err();
        assert_eq!(failure.code, ErrorCode::DiskFull);
        assert!(failure.message.contains("the disk of /dev is full"), "{failure}");
    }
}
