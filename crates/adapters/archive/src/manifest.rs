//! `MANIFEST.json`: what an archive holds, as the last thing in it, for people and for the proof.
//!
//! Pretty JSON with one file a line, in the order of the archive, so that it can be written and compared
//! without being held in memory. The checksums are BLAKE3 over each file's content, so that whoever has
//! unpacked an archive by hand checks it with
//! `jq -r '.files[] | select(.checksum) | (.checksum | ltrimstr("blake3:")) + "  " + .path'
//! MANIFEST.json | b3sum --check`. A path that is no text is percent-encoded, and its line says
//! `"encoded": true`.

mod lines;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, Write};
use std::path::PathBuf;

use backupctl_domain::{DumpInfo, Failure};
use serde::{Deserialize, Serialize};

pub(crate) use lines::{Spool, file_line, link_line};

/// Its name in the archive.
pub(crate) const NAME: &str = "MANIFEST.json";
/// The remark by which its entry is told from a source of the same name.
pub(crate) const MARK: &str = "backupctl manifest";
/// The form described here.
pub(crate) const FORM: u32 = 1;

const BEGIN: &str = "  \"files\": [";
const END: &str = "]}";
/// No head that means well is longer.
const MAX_HEAD: usize = 32 << 20;

/// Everything but the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The form of the manifest.
    pub(crate) backupctl_manifest: u32,
    pub(crate) project: String,
    pub(crate) run_id: String,
    pub(crate) started_at: String,
    /// The machine.
    pub(crate) host: String,
    /// The program and version that wrote it.
    pub(crate) version: String,
    /// What is recorded of the dump.
    pub(crate) dump: Option<DumpInfo>,
    /// Sources that could not be read.
    pub(crate) unread: Vec<String>,
    /// Asset paths without any entry: left out by a pattern, or not to be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) absent: Vec<PathBuf>,
}

/// The remark at the very beginning of an archive: enough to list it without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Opening {
    /// The form of the archive.
    pub(crate) backupctl: u32,
    pub(crate) project: String,
    pub(crate) run_id: String,
    pub(crate) started_at: String,
    /// The dump's file name.
    pub(crate) dump: Option<String>,
    pub(crate) assets: Vec<PathBuf>,
}

/// The text before the lines.
pub(crate) fn head_text(head: &Head) -> io::Result<String> {
    let text = serde_json::to_string_pretty(head)?;
    let open = text.strip_suffix("\n}").unwrap_or(&text);
    Ok(format!("{open},\n{BEGIN}\n"))
}

/// The text behind them.
pub(crate) fn tail_text() -> String {
    format!("{END}\n")
}

/// Where a manifest and an archive's content part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Difference {
    /// It is no manifest, or one of another version.
    Unreadable,
    /// This file is not what the manifest says, or only one of the two knows it.
    File(String),
}

/// Reads a manifest and compares its lines with those that were made of the content. All of `manifest` is
/// read even where a difference is found.
pub(crate) fn compare(
    manifest: &mut impl BufRead,
    found: Spool,
) -> io::Result<Result<(Head, u64), Difference>> {
    let mut line = Vec::new();
    let mut head = Vec::new();
    loop {
        read_line(manifest, &mut line)?;
        if line == BEGIN.as_bytes() {
            break;
        }
        if line.is_empty() || head.len() + line.len() > MAX_HEAD {
            io::copy(manifest, &mut io::sink())?;
            return Ok(Err(Difference::Unreadable));
        }
        head.extend_from_slice(&line);
    }
    let open = head.strip_suffix(b",").unwrap_or(&head);
    let parsed: Option<Head> = serde_json::from_slice(&[open, b"}"].concat()).ok();
    let head = parsed.filter(|head| head.backupctl_manifest == FORM);
    let mut files = 0;
    let mut difference = None;
    let mut found = found.read()?;
    let mut expected = Vec::new();
    loop {
        read_line(manifest, &mut line)?;
        read_line(&mut found, &mut expected)?;
        let listed = line.strip_suffix(b",").unwrap_or(&line);
        let ended = line == END.as_bytes();
        if ended && expected.is_empty() {
            break;
        }
        files += 1;
        if ended || line.is_empty() || listed != expected {
            let of = if expected.is_empty() { listed } else { &expected };
            difference = Some(Difference::File(path_of(of)));
            break;
        }
    }
    io::copy(manifest, &mut io::sink())?;
    Ok(match (head, difference) {
        (None, _) => Err(Difference::Unreadable),
        (Some(_), Some(difference)) => Err(difference),
        (Some(head), None) => Ok((head, files)),
    })
}

fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<()> {
    line.clear();
    io::Read::take(&mut *from, MAX_HEAD as u64).read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(())
}

fn path_of(line: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
    value["path"].as_str().map_or_else(|| NAME.to_owned(), str::to_owned)
}

impl Opening {
    /// The text of the remark.
    pub(crate) fn text(&self) -> Result<String, Failure> {
        serde_json::to_string(self)
            .map_err(|e| Failure::internal(format!("the archive cannot be described: {e}")))
    }

    /// Reads a remark; `None` for one that is not ours.
    pub(crate) fn parse(comment: &str) -> Option<Self> {
        serde_json::from_str(comment).ok()
    }
}

/// Writes the whole manifest's text to `out`: the head, the spooled lines, the end.
pub(crate) fn write(
    head: &str,
    lines: Spool,
    out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    out(head.as_bytes())?;
    let mut lines = lines.read()?;
    let mut line = Vec::new();
    let mut block = Vec::new();
    loop {
        read_line(&mut lines, &mut line)?;
        if line.is_empty() {
            break;
        }
        block.write_all(&line)?;
        if !lines.fill_buf()?.is_empty() {
            block.push(b',');
        }
        block.push(b'\n');
        if block.len() > 64 << 10 {
            out(&block)?;
            block.clear();
        }
    }
    out(&block)?;
    out(tail_text().as_bytes())
}
