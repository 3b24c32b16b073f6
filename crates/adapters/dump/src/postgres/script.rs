//! Reads plain SQL dumps as `psql` would, and knows what is in them.
//!
//! A script tells what it holds in comments (`-- Name: orders; Type: TABLE; …`), and that it is whole by a
//! trailer. Rows and function bodies may hold lines that look the same, so a line counts only where `psql`
//! would take it for a comment.

mod split;
#[cfg(test)]
mod tests;

use backupctl_domain::manifest::Contents;

use super::program::version_of;
use super::toc::contents_name;
pub(crate) use split::{Kind, Splitter};

/// What a script of ours begins and ends with: `pg_dumpall` puts its own trailer behind the roles alone.
pub(crate) const BEGIN: &str = "-- backupctl: a script for psql, from pg_dumpall and pg_dump";
/// The last line.
pub(crate) const END: &str = "-- backupctl: the script is complete";

const CLUSTER: &str = "-- PostgreSQL database cluster dump";
const DATABASE: &str = "-- PostgreSQL database dump";
const COMPLETE: &str = " complete";

/// A thing that a script makes, as its comment names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// `TABLE`, `FUNCTION`, …
    pub(crate) kind: String,
    /// The schema; `-` where it has none.
    pub(crate) schema: String,
    /// The name, unquoted; a routine's with its arguments.
    pub(crate) name: String,
}

/// How many parts have begun, and how many have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) begun: u32,
    pub(crate) ended: u32,
}

impl Parts {
    fn whole(self) -> bool {
        self.begun == self.ended
    }
}

/// What was found in a script so far.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Relations and the like, by [`contents_name`].
    pub(crate) contents: Contents,
    /// Everything, in the script's order; empty unless asked for.
    pub(crate) entries: Vec<Entry>,
    /// Roles and tablespaces: `role bob`, `tablespace fast`.
    pub(crate) globals: Contents,
    /// Databases that it makes.
    pub(crate) created: Vec<String>,
    /// Databases that it connects to, in order.
    pub(crate) connected: Vec<String>,
    /// Roles and tablespaces.
    pub(crate) cluster: Parts,
    /// Databases.
    pub(crate) databases: Parts,
    /// The version of the `pg_dump` that wrote it.
    pub(crate) version: Option<String>,
    ours: Parts,
    cluster_last: bool,
}

impl Found {
    /// Takes one piece of the script.
    pub(crate) fn take(&mut self, kind: Kind, piece: &[u8], keep_entries: bool) {
        match kind {
            Kind::Comment => self.comment(&line_of(piece), keep_entries),
            Kind::Meta => self.connected.extend(connect_name(&line_of(piece))),
            Kind::Statement if piece.starts_with(b"CREATE ") => {
                self.globals.extend(global_name(&line_of(piece)));
            }
            Kind::Statement | Kind::Rest => {}
        }
    }

    fn comment(&mut self, line: &str, keep_entries: bool) {
        if line.starts_with(BEGIN) {
            self.ours.begun += 1;
        } else if line == END {
            self.ours.ended += 1;
        } else if let Some(rest) = line.strip_prefix(CLUSTER) {
            count(&mut self.cluster, rest);
            self.cluster_last = true;
        } else if let Some(rest) = line.strip_prefix(DATABASE) {
            count(&mut self.databases, rest);
            self.cluster_last = false;
        } else if let Some(rest) = line.strip_prefix("-- Dumped by pg_dump version ") {
            self.version = version_of(rest).map(str::to_owned);
        } else if let Some(entry) = entry_of(line) {
            if entry.kind == "DATABASE" {
                self.created.push(entry.name.clone());
            }
            self.contents.extend(contents_name(&entry.kind, &entry.schema, &entry.name));
            if keep_entries {
                self.entries.push(entry);
            }
        }
    }

    /// Why it is not what one program writes: roles and tablespaces, or one database.
    pub(crate) fn lacks_part(&self, cluster: bool) -> Option<&'static str> {
        let one = Parts { begun: 1, ended: 1 };
        match cluster {
            true if self.cluster != one => {
                Some("`PostgreSQL database cluster dump complete` is missing")
            }
            false if self.databases != one => {
                Some("`PostgreSQL database dump complete` is missing")
            }
            _ => None,
        }
    }

    /// Why it is not a whole script; `None` for one that is.
    pub(crate) fn lacks(&self) -> Option<&'static str> {
        if self.cluster.begun + self.databases.begun == 0 {
            return Some("it does not begin as a script of pg_dump or pg_dumpall");
        }
        if !self.databases.whole() {
            return Some("`PostgreSQL database dump complete` is missing");
        }
        if !self.cluster.whole() {
            return Some("`PostgreSQL database cluster dump complete` is missing");
        }
        // pg_dumpall's own trailer stands behind the last database.
        let last_is_missing = self.cluster.begun > 0 && !self.cluster_last;
        if !self.ours.whole() || self.ours.begun == 0 && last_is_missing {
            return Some("it ends before the last of its parts");
        }
        None
    }
}

/// Reads a script from its first byte.
#[derive(Debug, Default)]
pub(crate) struct ScriptReader {
    splitter: Splitter,
    found: Found,
    keep_entries: bool,
}

impl ScriptReader {
    /// A reader that also keeps every entry.
    pub(crate) fn with_entries() -> Self {
        Self { keep_entries: true, ..Self::default() }
    }

    /// Takes the next bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let Self { splitter, found, keep_entries } = self;
        splitter.feed(bytes, &mut |kind, piece| found.take(kind, piece, *keep_entries));
    }

    /// The script has ended: what was in it, and whether it ended between two statements.
    pub(crate) fn finish(mut self) -> (Found, bool) {
        let at_rest = self.splitter.at_rest();
        let Self { splitter, found, keep_entries } = &mut self;
        splitter.flush(&mut |kind, piece| found.take(kind, piece, *keep_entries));
        (self.found, at_rest)
    }
}

fn count(parts: &mut Parts, rest: &str) {
    match rest {
        "" => parts.begun += 1,
        COMPLETE => parts.ended += 1,
        _ => {}
    }
}

fn line_of(piece: &[u8]) -> String {
    String::from_utf8_lossy(piece).trim_end_matches(['\n', '\r']).to_owned()
}

/// `-- Name: orders; Type: TABLE; Schema: public; Owner: bob`, perhaps `-- Data for Name: …` and with a
/// tablespace behind. The name may hold anything, so it is read from the right.
fn entry_of(line: &str) -> Option<Entry> {
    let rest = line.strip_prefix("-- ")?;
    let rest =
        rest.strip_prefix("Data for ").or(rest.strip_prefix("Statistics for ")).unwrap_or(rest);
    let rest = rest.strip_prefix("Name: ")?;
    let (rest, _owner) = rest.rsplit_once("; Owner: ")?;
    let (rest, schema) = rest.rsplit_once("; Schema: ")?;
    let (name, kind) = rest.rsplit_once("; Type: ")?;
    Some(Entry { kind: kind.to_owned(), schema: schema.to_owned(), name: name.to_owned() })
}

/// The database of `\connect shop` or `\connect -reuse-previous=on "dbname='a b'"`.
fn connect_name(line: &str) -> Option<String> {
    let rest = line.strip_prefix("\\connect ")?.trim();
    let Some(quoted) = rest.strip_prefix("-reuse-previous=on ") else {
        return Some(unquoted(rest));
    };
    let conninfo = unquoted(quoted.trim());
    let value = conninfo.strip_prefix("dbname=")?;
    let Some(value) = value.strip_prefix('\'').and_then(|v| v.strip_suffix('\'')) else {
        return Some(value.to_owned());
    };
    let mut name = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        name.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    Some(name)
}

/// `role bob` of `CREATE ROLE bob;`, `tablespace fast` of `CREATE TABLESPACE fast OWNER …`.
pub(crate) fn global_name(statement: &str) -> Option<String> {
    for (start, kind) in [("CREATE ROLE ", "role"), ("CREATE TABLESPACE ", "tablespace")] {
        if let Some(rest) = statement.strip_prefix(start) {
            return first_name(rest).map(|name| format!("{kind} {name}"));
        }
    }
    None
}

/// The identifier that a text begins with.
pub(crate) fn first_name(text: &str) -> Option<String> {
    let text = text.trim_start();
    let end = match text.strip_prefix('"') {
        None => text.find(|c: char| c.is_whitespace() || ";,()".contains(c)),
        Some(rest) => {
            let mut quote = None;
            let mut chars = rest.char_indices().peekable();
            while let Some((i, c)) = chars.next() {
                if c == '"' && chars.next_if(|(_, next)| *next == '"').is_none() {
                    quote = Some(i + 2);
                    break;
                }
            }
            Some(quote?)
        }
    };
    let name = unquoted(&text[..end.unwrap_or(text.len())]);
    (!name.is_empty()).then_some(name)
}

fn unquoted(text: &str) -> String {
    match text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => text.to_owned(),
    }
}

/// An identifier as SQL takes it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
