//! Reads a `mongodump` archive as it streams by and tells whether it is whole.
//!
//! The format (mongo-tools, `common/archive/spec.md`): a magic number; a prelude of a header and one
//! document for each collection; then blocks, of several collections in any order, each a header, the
//! documents, and a terminator. A collection ends with a block of its own that carries the CRC-64 of
//! all its documents. Nothing ends the archive as a whole, so that one cut between two blocks looks
//! whole to whoever does not count: what the prelude announces must have come to its end.
//!
//! Only what is not the data is kept: memory grows with the number of collections alone.

use std::collections::BTreeMap;

use super::bson::{self, Value, fields, get};
use crate::crc64::Crc64;

const MAGIC: [u8; 4] = [0x6d, 0xe2, 0x99, 0x81];
const TERMINATOR: [u8; 4] = [0xff; 4];
/// The one version of the format that there is.
const VERSION: &str = "0.1";
/// The longest document that the tools take: what the server allows and a margin.
const LONGEST: usize = 16 * 1024 * 1024 + 16 * 1024;
/// Where a time series' documents are, unless the server has them under its own name.
const BUCKETS: &str = "system.buckets.";

/// What is known of an archive that has been read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything is there.
    Whole,
    /// It ends in the middle of something.
    Cut(String),
    /// It is none, or some of its bytes are others than were written.
    Bad(String),
    /// These were announced, and their end never came.
    Unfinished(Vec<String>),
}

/// What an archive holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// The server's version, as `mongodump` has seen it.
    pub(crate) server_version: String,
    /// `mongodump`'s own.
    pub(crate) tool_version: String,
    /// The documents of each collection, by `database.collection`.
    pub(crate) documents: BTreeMap<String, u64>,
}

/// A reader that is fed the archive from its first byte.
#[derive(Debug)]
pub(crate) struct ArchiveReader {
    place: Place,
    /// What is read piece by piece and not handed on: the magic number, a length, a header.
    buffer: Vec<u8>,
    /// How long the buffer is to become.
    wanted: usize,
    at: u64,
    fault: Option<String>,
    summary: Summary,
    announced: Vec<Announced>,
    namespaces: BTreeMap<String, Namespace>,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Magic,
    /// The first document.
    Header,
    /// A document of the prelude, or its terminator.
    Prelude,
    /// A block's header, or the end of the archive.
    Block,
    /// A document of this collection, or the block's terminator.
    Documents(String),
    /// The rest of a document of this collection.
    Rest {
        of: String,
        left: usize,
    },
    /// The terminator behind a collection's end.
    AfterEnd,
}

/// A collection of the prelude: the names under which its documents may come.
#[derive(Debug)]
struct Announced {
    name: String,
    /// Of a time series.
    buckets: Option<String>,
}

#[derive(Debug)]
struct Namespace {
    crc: Crc64,
    documents: u64,
    ended: bool,
}

impl ArchiveReader {
    /// A reader that has seen nothing.
    pub(crate) fn new() -> Self {
        Self {
            place: Place::Magic,
            buffer: Vec::new(),
            wanted: MAGIC.len(),
            at: 0,
            fault: None,
            summary: Summary::default(),
            announced: Vec::new(),
            namespaces: BTreeMap::new(),
        }
    }

    /// Takes the next bytes of the archive. After the first fault it looks at none any more.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.fault.is_none() {
            let taken = self.step(bytes);
            self.at += taken as u64;
            bytes = &bytes[taken..];
        }
    }

    /// The archive has ended.
    pub(crate) fn finish(mut self) -> (Verdict, Summary) {
        let verdict = self.verdict();
        let documents = self.namespaces.into_iter().map(|(name, n)| (name, n.documents));
        self.summary.documents = documents.collect();
        (verdict, self.summary)
    }

    fn verdict(&self) -> Verdict {
        if let Some(fault) = &self.fault {
            return Verdict::Bad(fault.clone());
        }
        if self.place != Place::Block || !self.buffer.is_empty() {
            let what = match &self.place {
                Place::Magic => "its magic number".to_owned(),
                Place::Header | Place::Prelude => "its prelude".to_owned(),
                Place::Block => "a block's header".to_owned(),
                Place::Documents(of) | Place::Rest { of, .. } => format!("the documents of {of}"),
                Place::AfterEnd => "a collection's end".to_owned(),
            };
            return Verdict::Cut(format!("the archive ends at byte {} inside {what}", self.at));
        }
        let ended = |name: &String| self.namespaces.get(name).is_some_and(|n| n.ended);
        let begun = self.namespaces.iter().filter(|(_, n)| !n.ended).map(|(name, _)| name);
        let never = self.announced.iter().filter(|a| {
            let seen = |name| self.namespaces.contains_key(name);
            let begun = seen(&a.name) || a.buckets.as_ref().is_some_and(seen);
            !begun && !ended(&a.name) && !a.buckets.as_ref().is_some_and(ended)
        });
        let unfinished: Vec<String> = begun.chain(never.map(|a| &a.name)).cloned().collect();
        if unfinished.is_empty() { Verdict::Whole } else { Verdict::Unfinished(unfinished) }
    }

    /// Takes some bytes and tells how many.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if let Place::Rest { of, left } = &mut self.place {
            let taken = bytes.len().min(*left);
            let (piece, last) = (&bytes[..taken], taken == *left);
            *left -= taken;
            let of = of.clone();
            if let Some(namespace) = self.namespaces.get_mut(&of) {
                namespace.crc.update(piece);
                namespace.documents += u64::from(last);
            }
            if last {
                if piece.last() != Some(&0) {
                    self.fail(&format!("a document of {of} does not end as documents do"));
                }
                self.next(Place::Documents(of));
            }
            return taken;
        }
        let taken = bytes.len().min(self.wanted - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == self.wanted
            && let Err(fault) = self.complete()
        {
            self.fail(&fault);
        }
        taken
    }

    /// What was waited for is there.
    fn complete(&mut self) -> Result<(), String> {
        if self.place == Place::Magic {
            if self.buffer != MAGIC {
                return Err("it does not begin as archives of mongodump do".to_owned());
            }
            self.next(Place::Header);
            return Ok(());
        }
        if self.wanted > 4 {
            let document = std::mem::take(&mut self.buffer);
            return self.document(&document);
        }
        if self.buffer == TERMINATOR {
            let next = match self.place {
                Place::Prelude | Place::Documents(_) | Place::AfterEnd => Place::Block,
                _ => return Err("a terminator is where a header should be".to_owned()),
            };
            self.next(next);
            return Ok(());
        }
        let mut length = [0; 4];
        length.copy_from_slice(&self.buffer);
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if !(bson::SHORTEST..=LONGEST).contains(&length) {
            return Err(format!("{length} is no document's length"));
        }
        match &self.place {
            Place::Documents(of) => {
                if let Some(namespace) = self.namespaces.get_mut(of) {
                    namespace.crc.update(&self.buffer);
                }
                let rest = Place::Rest { of: of.clone(), left: length - 4 };
                self.next(rest);
                Ok(())
            }
            Place::AfterEnd => Err("documents follow a collection's end".to_owned()),
            _ => {
                self.wanted = length;
                Ok(())
            }
        }
    }

    /// A whole header.
    fn document(&mut self, document: &[u8]) -> Result<(), String> {
        let fields = fields(document).ok_or("a header is no document")?;
        let text = |name: &str| get(&fields, name).and_then(Value::text);
        let need = |name: &str| text(name).ok_or_else(|| format!("a header has no field `{name}`"));
        match self.place {
            Place::Header => {
                let version = need("version")?;
                if version != VERSION {
                    return Err(format!("its format is version {version}, known is {VERSION}"));
                }
                need("server_version")?.clone_into(&mut self.summary.server_version);
                need("tool_version")?.clone_into(&mut self.summary.tool_version);
                self.next(Place::Prelude);
                Ok(())
            }
            Place::Prelude => {
                let (db, collection) = (need("db")?, need("collection")?);
                // Older tools write no type at all.
                let series = text("type") == Some("timeseries");
                let buckets = series.then(|| format!("{db}.{BUCKETS}{collection}"));
                self.announced.push(Announced { name: format!("{db}.{collection}"), buckets });
                self.next(Place::Prelude);
                Ok(())
            }
            _ => {
                let name = format!("{}.{}", need("db")?, need("collection")?);
                let Some(Value::Bool(end)) = get(&fields, "EOF") else {
                    return Err("a header has no field `EOF`".to_owned());
                };
                let Some(Value::Int(crc)) = get(&fields, "CRC") else {
                    return Err("a header has no field `CRC`".to_owned());
                };
                self.block(name, end, crc)
            }
        }
    }

    /// A block begins.
    fn block(&mut self, name: String, end: bool, crc: i64) -> Result<(), String> {
        let known = |a: &Announced| a.name == name || a.buckets.as_ref() == Some(&name);
        if !self.announced.iter().any(known) {
            return Err(format!("it holds {name}, which its prelude does not announce"));
        }
        let namespace = self.namespaces.entry(name.clone()).or_insert_with(|| Namespace {
            crc: Crc64::ecma(),
            documents: 0,
            ended: false,
        });
        if namespace.ended {
            return Err(format!("{name} goes on behind its end"));
        }
        if !end {
            if crc != 0 {
                return Err(format!("a block of {name} has a checksum before its end"));
            }
            self.next(Place::Documents(name));
            return Ok(());
        }
        let found = namespace.crc.value();
        if found != crc.cast_unsigned() {
            return Err(format!(
                "the documents of {name} have the checksum {found:016x}, written were those of {:016x}",
                crc.cast_unsigned()
            ));
        }
        namespace.ended = true;
        self.next(Place::AfterEnd);
        Ok(())
    }

    fn next(&mut self, place: Place) {
        self.place = place;
        self.buffer.clear();
        self.wanted = 4;
    }

    fn fail(&mut self, what: &str) {
        let at = self.at;
        self.fault.get_or_insert_with(|| format!("the archive is damaged near byte {at}: {what}"));
    }
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
