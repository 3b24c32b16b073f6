//! The content of one file: read, hashed, written, at exactly the size that was announced.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use backupctl_adapter_stream::{Watch, checksum_text};

use crate::tar::{Entry, Extent};

/// What holes are hashed as, and what missing bytes are written as.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Copies a file's pieces to `out`; the checksum is of the whole content. What the file no longer gives
/// is written as zeros, and told.
pub(super) fn copy(
    entry: &Entry,
    file: &File,
    buffer: &mut [u8],
    out: &mut dyn Write,
    watch: &mut Watch,
) -> io::Result<(String, Option<String>)> {
    let mut hasher = blake3::Hasher::new();
    let mut trouble = None;
    let mut at = 0;
    let whole = [Extent { offset: 0, len: entry.size }];
    for extent in entry.extents.as_deref().unwrap_or(&whole) {
        hash_zeros(&mut hasher, extent.offset - at, || check(watch))?;
        at = extent.offset;
        let end = extent.offset + extent.len;
        while at < end {
            let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            let read = if trouble.is_none() { read(file, &mut buffer[..most], at) } else { Ok(0) };
            let bytes = match read {
                Ok(read) if read > 0 => &buffer[..read],
                failed => {
                    trouble.get_or_insert_with(|| match failed {
                        Err(e) => format!("{e}, {at} bytes on"),
                        Ok(_) => "it shrank while it was read".to_owned(),
                    });
                    &ZEROS[..most.min(ZEROS.len())]
                }
            };
            hasher.update(bytes);
            out.write_all(bytes)?;
            at += bytes.len() as u64;
            watch.advance(bytes.len())?;
        }
    }
    hash_zeros(&mut hasher, entry.size - at, || check(watch))?;
    Ok((checksum_text(&hasher), trouble))
}

/// Hashes a hole. It may be larger than any disk: `check` tells when to stop.
pub(crate) fn hash_zeros(
    hasher: &mut blake3::Hasher,
    mut bytes: u64,
    check: impl Fn() -> io::Result<()>,
) -> io::Result<()> {
    while bytes > 0 {
        check()?;
        let now = bytes.min(ZEROS.len() as u64);
        hasher.update(&ZEROS[..usize::try_from(now).unwrap_or_default()]);
        bytes -= now;
    }
    Ok(())
}

fn check(watch: &Watch) -> io::Result<()> {
    watch.check().map_err(io::Error::other)
}

fn read(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, at) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
