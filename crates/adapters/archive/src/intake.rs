//! The way back from the disk to the tar: read and hashed, decrypted, and unpacked, on threads of their
//! own.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};
use std::thread;

use backupctl_adapter_stream::{
    CHUNK, Decoder, Envelope, Packing, ReadAhead, Watch, checksum_text, read_ahead,
};
use backupctl_domain::archive_name::Packed;
use backupctl_domain::{ErrorCode, Failure};
use rustix::fs::{Advice, fadvise};

use crate::Inner;
use crate::damage::while_reading;
use crate::failure::read_failure;
use crate::folder::{Folder, Found};
use crate::manifest::Opening;
use crate::tar;

/// What the bytes on the disk are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raw {
    pub(crate) bytes: u64,
    /// `blake3:…`; empty where it was not asked for.
    pub(crate) checksum: String,
}

/// An archive about to be read.
pub(crate) struct Intake<'a> {
    folder: &'a Folder,
    found: &'a Found,
    envelope: Option<&'a dyn Envelope>,
    path: String,
    fresh: bool,
}

impl Inner {
    /// Reads an archive; `fresh` reads it from the disk itself and not from memory.
    pub(crate) fn intake<'a>(
        &'a self,
        folder: &'a Folder,
        found: &'a Found,
        fresh: bool,
    ) -> Result<Intake<'a>, Failure> {
        let path = folder.path().join(found.name.to_string()).display().to_string();
        let envelope = self.settings.envelope.as_deref().filter(|_| found.name.encrypted);
        if found.name.encrypted && envelope.is_none() {
            let message = format!("{path} is encrypted, and no encryption is configured");
            return Err(Failure::new(ErrorCode::EncryptionKeyMissing, message).with_remedy(
                "set `encryption.type: age` and `encryption.identity_file` to the identity of one of \
                 its recipients",
            ));
        }
        Ok(Intake { folder, found, envelope, path, fresh })
    }

    /// Whether what is in an archive can be seen.
    pub(crate) fn can_open(&self, found: &Found) -> bool {
        let opens = |envelope: &dyn Envelope| envelope.can_open();
        !found.name.encrypted || self.settings.envelope.as_deref().is_some_and(opens)
    }

    /// The remark at the beginning of an archive; `None` where it cannot be read.
    pub(crate) fn opening(&self, folder: &Folder, found: &Found) -> Option<Opening> {
        if !self.can_open(found) {
            return None;
        }
        let intake = self.intake(folder, found, false).ok()?;
        let file: Box<dyn Read + Send> = Box::new(folder.read(found.files.first()?).ok()?);
        let source: Box<dyn Read + '_> = match intake.envelope {
            Some(envelope) => envelope.open(file, folder.path()).ok()?,
            None => file,
        };
        let mut reader = tar::Reader::new(Decoder::new(source, intake.packing()).ok()?);
        reader.next().ok()?;
        Opening::parse(reader.comment()?)
    }
}

impl Intake<'_> {
    /// The archive's whole path, for messages.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    fn packing(&self) -> Packing {
        match self.found.name.algorithm {
            Some(Packed::Zstd) => Packing::Zstd,
            Some(Packed::Gzip) => Packing::Gzip,
            None => Packing::None,
        }
    }

    /// Hands the archive's entries to `work`, which is to read them to the end, and tells what the bytes
    /// on the disk are. `inside` tells which entry `work` is at.
    pub(crate) fn read<T>(
        &self,
        hash: bool,
        watch: &Watch,
        inside: &Mutex<String>,
        work: impl FnOnce(&mut tar::Reader<ReadAhead>) -> io::Result<T>,
    ) -> Result<(T, Raw), Failure> {
        let raw = Mutex::new(None);
        let result = thread::scope(|scope| {
            let stop = watch.clone();
            let watch = watch.of(Some(self.found.bytes));
            let bare = read_ahead(scope, "decrypt", |blocks| {
                let fresh = RawReader::new(self.folder, self.found, self.fresh, watch, hash);
                let mut reader = Explained { raw: fresh, intake: self };
                if let Some(envelope) = self.envelope {
                    let path = std::path::Path::new(&self.path);
                    let mut opened =
                        envelope.open(Box::new(&mut reader), path).map_err(io::Error::other)?;
                    let mut opened = Decrypted { inner: &mut *opened, envelope, path };
                    blocks.copy(&mut opened)?;
                } else {
                    blocks.copy(&mut reader)?;
                }
                // What follows the sealed stream belongs to the file too.
                io::copy(&mut reader, &mut io::sink())?;
                let done = reader.raw.finish();
                *raw.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
                Ok(())
            })?;
            let packing = self.packing();
            let unpacked = match packing {
                Packing::None => bare,
                Packing::Zstd | Packing::Gzip => read_ahead(scope, "unpack", move |blocks| {
                    blocks.copy(&mut Decoder::new(bare, packing)?)
                })?,
            };
            let mut reader = tar::Reader::watched(unpacked, stop);
            work(&mut reader)
        });
        let inside = inside.lock().unwrap_or_else(PoisonError::into_inner);
        let value = result.map_err(|e| while_reading(e, &self.path, &inside))?;
        let raw = raw.into_inner().unwrap_or_else(PoisonError::into_inner);
        let raw = raw.ok_or_else(|| Failure::internal("an archive was not read to its end"))?;
        Ok((value, raw))
    }
}

/// The checksum of an archive's bytes, read from the disk without being opened.
pub(crate) fn raw(folder: &Folder, found: &Found, watch: &Watch) -> Result<Raw, Failure> {
    let mut raw = RawReader::new(folder, found, true, watch.of(Some(found.bytes)), true);
    let mut buffer = vec![0; CHUNK];
    loop {
        match raw.read(&mut buffer) {
            Ok(0) => return Ok(raw.finish()),
            Ok(_) => {}
            Err(e) => return Err(read_failure(e, folder, &found.name.to_string())),
        }
    }
}

/// The files of an archive, one behind the other.
struct RawReader<'a> {
    folder: &'a Folder,
    names: std::slice::Iter<'a, String>,
    current: Option<File>,
    fresh: bool,
    watch: Watch,
    hasher: Option<blake3::Hasher>,
    bytes: u64,
}

impl<'a> RawReader<'a> {
    fn new(folder: &'a Folder, found: &'a Found, fresh: bool, watch: Watch, hash: bool) -> Self {
        let hasher = hash.then(blake3::Hasher::new);
        let names = found.files.iter();
        Self { folder, names, current: None, fresh, watch, hasher, bytes: 0 }
    }

    fn finish(self) -> Raw {
        self.watch.report();
        let checksum = self.hasher.as_ref().map(checksum_text).unwrap_or_default();
        Raw { bytes: self.bytes, checksum }
    }
}

impl Read for RawReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(file) = &mut self.current else {
                let Some(name) = self.names.next() else { return Ok(0) };
                let file = self.folder.read(name)?;
                // What is asked for is best effort; whether it is heard changes no result.
                if self.fresh {
                    let _ = fadvise(&file, 0, None, Advice::DontNeed);
                }
                let _ = fadvise(&file, 0, None, Advice::Sequential);
                self.current = Some(file);
                continue;
            };
            match file.read(buf) {
                Ok(0) if buf.is_empty() => return Ok(0),
                Ok(0) => self.current = None,
                Ok(read) => {
                    if let Some(hasher) = &mut self.hasher {
                        hasher.update(&buf[..read]);
                    }
                    self.bytes += read as u64;
                    self.watch.advance(read)?;
                    return Ok(read);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// Errors of the disk, told as such before the layers above give them another meaning.
struct Explained<'a> {
    raw: RawReader<'a>,
    intake: &'a Intake<'a>,
}

impl Read for Explained<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let name = || self.intake.found.name.to_string();
        self.raw
            .read(buf)
            .map_err(|e| io::Error::other(read_failure(e, self.intake.folder, &name())))
    }
}

/// Errors of the decryption, told as what they mean.
struct Decrypted<'a> {
    inner: &'a mut dyn Read,
    envelope: &'a dyn Envelope,
    path: &'a std::path::Path,
}

impl Read for Decrypted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf).map_err(|error| match error.downcast::<Failure>() {
            Ok(failure) => io::Error::other(failure),
            Err(error) => io::Error::other(self.envelope.read_failure(&error, self.path)),
        })
    }
}
