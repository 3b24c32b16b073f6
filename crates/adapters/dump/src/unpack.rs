//! Unpacks dump files for a restore.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use backupctl_adapter_process::{AtomicFile, Existing, write_failure};
use backupctl_application::context::StageContext;
use backupctl_application::ports::{UnpackedFile, Unpacker};
use backupctl_domain::{ErrorCode, Failure};

use crate::blocking;
use crate::stream::{CHUNK, Decoder, Packing, Watch, into_failure, read_failure};
use crate::verify::Hashing;

/// Decompresses files on the local disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileUnpacker;

#[async_trait]
impl Unpacker for FileUnpacker {
    async fn unpack(
        &self,
        source: &Path,
        ctx: &StageContext,
    ) -> Result<Option<UnpackedFile>, Failure> {
        let source = source.to_owned();
        let packing = Packing::of(&source);
        if packing == Packing::None {
            return Ok(None);
        }
        let done = blocking::run(ctx, None, "decompressing", move |watch, _| {
            unpack(&source, packing, &watch)
        });
        done.await.map(Some)
    }

    async fn checksum(&self, source: &Path, ctx: &StageContext) -> Result<String, Failure> {
        let source = source.to_owned();
        blocking::run(ctx, None, "reading", move |watch, _| {
            let file = File::open(&source).map_err(|e| read_failure(&e, &source))?;
            let hashed = Hashing::new(file).finish(&watch);
            let (_, checksum) = hashed.map_err(|e| match e.downcast::<Failure>() {
                Ok(failure) => failure,
                Err(e) => read_failure(&e, &source),
            })?;
            Ok(checksum)
        })
        .await
    }
}

fn unpack(source: &Path, packing: Packing, watch: &Watch) -> Result<UnpackedFile, Failure> {
    let file = File::open(source).map_err(|e| read_failure(&e, source))?;
    let corrupt = |e: &io::Error| {
        Failure::new(
            ErrorCode::DumpCorrupt,
            format!("{} does not decompress: {e}", source.display()),
        )
        .permanent()
        .with_remedy(
            "restore the file again, or take an older snapshot: `backupctl snapshots` lists them",
        )
    };
    let mut decoder = Decoder::new(file, packing).map_err(|e| corrupt(&e))?;
    // A restore that is tried again makes the same file again.
    let target = AtomicFile::create(&source.with_extension(""), Existing::Replace)?;
    let path: PathBuf = target.target().to_owned();
    let mut watch = watch.of(None);
    let mut buffer = vec![0; CHUNK];
    let mut bytes = 0_u64;
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                target.handle().write_all(&buffer[..read]).map_err(|e| write_failure(&e, &path))?;
                bytes += read as u64;
                watch.advance(read).map_err(|e| into_failure(e, &path))?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(corrupt(&e)),
        }
    }
    let empty = file_is_empty(source);
    if empty {
        return Err(corrupt(&io::ErrorKind::UnexpectedEof.into()));
    }
    watch.report();
    let path = target.commit()?;
    Ok(UnpackedFile { path, bytes })
}

/// A cut at the very beginning leaves nothing, and nothing decompresses without a complaint.
fn file_is_empty(path: &Path) -> bool {
    path.metadata().is_ok_and(|m| m.len() == 0)
}
