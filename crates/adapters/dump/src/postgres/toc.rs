//! Reads the table of contents of a custom-format archive while it streams by.
//!
//! `pg_dump` writes header and table of contents before the data (`pg_backup_archiver.c`,
//! `WriteHead` and `WriteToc`; formats 1.12 to 1.16, PostgreSQL 9.0 to 18). Only names are kept, so the
//! data behind them costs nothing.

use std::borrow::Cow;

use backupctl_domain::manifest::Contents;

use super::roles::Roles;

/// Larger than any entry that is not a mistake: entries hold definitions, not data.
const MAX_ENTRY: usize = 16 << 20;
/// The oldest and newest minor format version known.
const KNOWN: std::ops::RangeInclusive<u8> = 12..=16;

/// What was found so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TocState {
    /// Not all of it has passed yet.
    Reading,
    /// All of it was read.
    Done,
    /// It cannot be read, and why.
    Unreadable(String),
}

/// A reader that is fed the archive from its first byte.
#[derive(Debug)]
pub(crate) struct TocReader {
    state: TocState,
    buffer: Vec<u8>,
    /// No use to try again before the buffer is this long.
    retry_at: usize,
    head: Option<Head>,
    left: u64,
    contents: Contents,
    roles: Roles,
}

#[derive(Debug, Clone)]
struct Head {
    minor: u8,
    int_size: usize,
    off_size: usize,
    dump_version: Option<String>,
}

/// Why a piece could not be read from what is there.
enum Gap {
    /// More bytes are needed.
    More,
    /// No bytes will help.
    Bad(String),
}

impl TocReader {
    /// A reader that has seen nothing.
    pub(crate) fn new() -> Self {
        Self {
            state: TocState::Reading,
            buffer: Vec::new(),
            retry_at: 0,
            head: None,
            left: 0,
            contents: Contents::new(),
            roles: Roles::default(),
        }
    }

    /// Takes the next bytes of the archive.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.state != TocState::Reading {
            return;
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= self.retry_at {
            self.advance();
        }
    }

    /// The roles that it names.
    pub(crate) fn roles(&self) -> &Roles {
        &self.roles
    }

    /// The archive has ended: what was in it, by [`contents_name`], and `pg_dump`'s version.
    pub(crate) fn finish(mut self) -> (TocState, Contents, Option<String>) {
        if self.state == TocState::Reading {
            self.advance();
        }
        if self.state == TocState::Reading {
            self.state =
                TocState::Unreadable("the archive ends inside its table of contents".to_owned());
        }
        (self.state, self.contents, self.head.and_then(|h| h.dump_version))
    }

    fn advance(&mut self) {
        let mut at = 0;
        let gap = loop {
            let mut cursor = Cursor { bytes: &self.buffer[at..], at: 0 };
            let step = match &self.head {
                None => read_head(&mut cursor).map(|(head, entries)| {
                    self.head = Some(head);
                    self.left = entries;
                }),
                Some(_) if self.left == 0 => {
                    self.state = TocState::Done;
                    self.buffer = Vec::new();
                    return;
                }
                Some(head) => read_entry(&mut cursor, head).map(|entry| {
                    let Entry { kind, name, schema, owner, definition } = entry;
                    self.contents.extend(contents_name(&kind, &schema, &name));
                    self.roles.add(&kind, &owner, &definition);
                    self.left -= 1;
                }),
            };
            match step {
                Ok(()) => at += cursor.at,
                Err(gap) => break gap,
            }
        };
        self.buffer.drain(..at);
        match gap {
            Gap::Bad(why) => self.give_up(why),
            Gap::More if self.buffer.len() > MAX_ENTRY => {
                self.give_up(format!("an entry is larger than {MAX_ENTRY} bytes"));
            }
            // A long entry is not read anew for every chunk of it.
            Gap::More => self.retry_at = self.buffer.len() * 3 / 2,
        }
    }

    fn give_up(&mut self, why: String) {
        self.state = TocState::Unreadable(why);
        self.buffer = Vec::new();
    }
}

/// How an entry is called in a [`Contents`]: `table public.orders`, `data of table public.orders`;
/// `None` for what is not compared.
pub(crate) fn contents_name(kind: &str, schema: &str, name: &str) -> Option<String> {
    let kind = match kind {
        "TABLE" => "table",
        "TABLE DATA" => "data of table",
        "VIEW" => "view",
        "MATERIALIZED VIEW" => "materialized view",
        "SEQUENCE" => "sequence",
        "FOREIGN TABLE" => "foreign table",
        // Not compared, but a database with one of these is not empty.
        "FUNCTION" => "function",
        "PROCEDURE" => "procedure",
        "AGGREGATE" => "aggregate",
        "TYPE" => "type",
        "DOMAIN" => "domain",
        "BLOB" | "BLOBS" | "BLOB METADATA" => "large object",
        _ => return None,
    };
    Some(format!("{kind} {schema}.{name}"))
}

fn read_head(c: &mut Cursor<'_>) -> Result<(Head, u64), Gap> {
    if c.take(5)? != b"PGDMP" {
        return Err(Gap::Bad("it does not begin as a custom-format archive".to_owned()));
    }
    let (major, minor, _revision) = (c.byte()?, c.byte()?, c.byte()?);
    if major != 1 || !KNOWN.contains(&minor) {
        return Err(Gap::Bad(format!("archive format {major}.{minor} is not known")));
    }
    let (int_size, off_size) = (usize::from(c.byte()?), usize::from(c.byte()?));
    if !(1..=8).contains(&int_size) || !(1..=8).contains(&off_size) {
        return Err(Gap::Bad("its header is damaged".to_owned()));
    }
    if c.byte()? != 1 {
        return Err(Gap::Bad("it is not in the custom format".to_owned()));
    }
    if minor >= 15 {
        c.byte()?;
    } else {
        c.int(int_size)?;
    }
    for _ in 0..7 {
        c.int(int_size)?;
    }
    c.text(int_size)?;
    c.text(int_size)?;
    let dump_version = c.text(int_size)?.map(String::from_utf8_lossy).map(Cow::into_owned);
    let entries = c.int(int_size)?;
    let entries =
        u64::try_from(entries).map_err(|_| Gap::Bad("its header is damaged".to_owned()))?;
    Ok((Head { minor, int_size, off_size, dump_version }, entries))
}

/// What is kept of an entry.
struct Entry<'a> {
    kind: Cow<'a, str>,
    schema: Cow<'a, str>,
    name: Cow<'a, str>,
    owner: Cow<'a, str>,
    definition: Cow<'a, str>,
}

fn read_entry<'a>(c: &mut Cursor<'a>, head: &Head) -> Result<Entry<'a>, Gap> {
    let n = head.int_size;
    c.int(n)?; // dump id
    c.int(n)?; // has data
    c.text(n)?; // table oid
    c.text(n)?; // oid
    let tag = c.text(n)?;
    let kind = c.text(n)?;
    c.int(n)?; // section
    let definition = c.text(n)?;
    c.text(n)?; // drop statement
    c.text(n)?; // copy statement
    let schema = c.text(n)?;
    c.text(n)?; // tablespace
    if head.minor >= 14 {
        c.text(n)?; // table access method
    }
    if head.minor >= 16 {
        c.int(n)?; // kind of relation
    }
    let owner = c.text(n)?;
    c.text(n)?; // with oids
    while c.text(n)?.is_some() {} // dependencies
    c.take(1 + head.off_size)?; // offset of the data
    let text = |bytes: Option<&'a [u8]>| String::from_utf8_lossy(bytes.unwrap_or_default());
    Ok(Entry {
        kind: text(kind),
        schema: text(schema),
        name: text(tag),
        owner: text(owner),
        definition: text(definition),
    })
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Gap> {
        let end = self.at.checked_add(count).ok_or(Gap::More)?;
        let taken = self.bytes.get(self.at..end).ok_or(Gap::More)?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Gap> {
        Ok(self.take(1)?[0])
    }

    /// A sign byte, then the magnitude with its lowest byte first.
    fn int(&mut self, size: usize) -> Result<i64, Gap> {
        let sign = self.byte()?;
        let magnitude = self.take(size)?.iter().rev().fold(0_u64, |n, b| n << 8 | u64::from(*b));
        let value =
            i64::try_from(magnitude).map_err(|_| Gap::Bad("a number is damaged".to_owned()))?;
        Ok(if sign == 0 { value } else { -value })
    }

    /// A length, then that many bytes; a negative length is no text at all.
    fn text(&mut self, int_size: usize) -> Result<Option<&'a [u8]>, Gap> {
        let length = self.int(int_size)?;
        match usize::try_from(length) {
            Err(_) => Ok(None),
            Ok(length) if length > MAX_ENTRY => Err(Gap::Bad("a length is damaged".to_owned())),
            Ok(length) => self.take(length).map(Some),
        }
    }
}

/// The contents by `pg_restore --list`, for an archive format newer than this reader.
pub(crate) fn contents_of_list(list: &str) -> Contents {
    let mut contents = Contents::new();
    for line in list.lines().filter(|l| !l.starts_with(';')) {
        // `217; 1259 16535 TABLE public events postgres`: behind the semicolon two oids, the kind,
        // schema, name and owner.
        let Some((_, rest)) = line.split_once("; ") else { continue };
        let mut words = rest.splitn(3, ' ');
        let Some(rest) = words.nth(2) else { continue };
        let kinds = [
            "TABLE DATA",
            "TABLE",
            "VIEW",
            "MATERIALIZED VIEW",
            "SEQUENCE",
            "FOREIGN TABLE",
            "FUNCTION",
        ];
        for kind in kinds {
            let Some(rest) = rest.strip_prefix(kind).and_then(|r| r.strip_prefix(' ')) else {
                continue;
            };
            let Some((schema, rest)) = rest.split_once(' ') else { continue };
            let name = rest.rsplit_once(' ').map_or(rest, |(name, _owner)| name);
            contents.extend(contents_name(kind, schema, name));
            break;
        }
    }
    contents
}

#[cfg(test)]
#[path = "toc_tests.rs"]
mod tests;
