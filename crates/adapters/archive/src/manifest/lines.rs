//! The lines of the files, kept on disk until they are needed, so that memory does not grow with them.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::path::Path;

use serde::Serialize;

/// Lines, in a file without a name.
#[derive(Debug)]
pub(crate) struct Spool {
    file: BufWriter<File>,
    bytes: u64,
    lines: u64,
}

impl Spool {
    /// An empty one, in this folder.
    pub(crate) fn new(scratch: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(scratch)?;
        Ok(Self { file: BufWriter::with_capacity(64 << 10, file), bytes: 0, lines: 0 })
    }

    /// Adds a line.
    pub(crate) fn push(&mut self, line: &[u8]) -> io::Result<()> {
        self.file.write_all(line)?;
        self.file.write_all(b"\n")?;
        self.bytes += line.len() as u64 + 1;
        self.lines += 1;
        Ok(())
    }

    /// The bytes that the lines take, with a comma between each two.
    pub(crate) fn text_bytes(&self) -> u64 {
        self.bytes + self.lines.saturating_sub(1)
    }

    /// All lines, from the first.
    pub(crate) fn read(self) -> io::Result<BufReader<File>> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(BufReader::with_capacity(64 << 10, file))
    }
}

#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_to: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    encoded: bool,
}

/// The line of a file.
pub(crate) fn file_line(path: &[u8], size: u64, checksum: &str) -> io::Result<Vec<u8>> {
    let (path, encoded) = text_of(path, std::str::from_utf8(path).is_err());
    let (size, checksum) = (Some(size), Some(checksum));
    Ok(serde_json::to_vec(&Line { path: &path, size, checksum, link_to: None, encoded })?)
}

/// The line of another name of a file.
pub(crate) fn link_line(path: &[u8], to: &[u8]) -> io::Result<Vec<u8>> {
    let encode = std::str::from_utf8(path).is_err() || std::str::from_utf8(to).is_err();
    let ((path, encoded), (to, _)) = (text_of(path, encode), text_of(to, encode));
    let link_to = Some(to.as_str());
    Ok(serde_json::to_vec(&Line { path: &path, size: None, checksum: None, link_to, encoded })?)
}

/// A path as text, percent-encoded if that is asked for.
fn text_of(path: &[u8], encode: bool) -> (String, bool) {
    if !encode {
        return (String::from_utf8_lossy(path).into_owned(), false);
    }
    let encoded = |byte: &u8| match byte {
        b'%' | 0x80.. => format!("%{byte:02X}"),
        byte => char::from(*byte).to_string(),
    };
    (path.iter().map(encoded).collect(), true)
}
