//! Snapshot tags: their grammar and its round trip (spec: pipeline.md §3).
//!
//! restic splits a `--tag` value at commas, so a comma inside a path is written `%2C`, and `%`
//! itself `%25`. It also trims each tag, so a space at the end of a path is written `%20`.

#[cfg(test)]
mod tests;

use std::fmt;

use crate::ProjectName;

const COMBINED: &str = "backupctl:combined";
const DB: &str = "backupctl:db";
const ASSETS: &str = "backupctl:assets:";
const PROJECT: &str = "project:";

/// One restic tag that backupctl writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tag {
    /// `backupctl:combined`: dump and assets in one snapshot.
    Combined,
    /// `backupctl:db`: the dump alone.
    Db,
    /// `backupctl:assets:{path}`: one asset path alone.
    Assets(String),
    /// `project:{name}`: which project the snapshot belongs to.
    Project(ProjectName),
}

impl Tag {
    /// Reads a tag as restic shows it; `None` for a tag that backupctl did not write.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            COMBINED => Some(Self::Combined),
            DB => Some(Self::Db),
            _ => {
                if let Some(path) = text.strip_prefix(ASSETS) {
                    Some(Self::Assets(decode(path)))
                } else {
                    let name = text.strip_prefix(PROJECT)?;
                    ProjectName::new(name).ok().map(Self::Project)
                }
            }
        }
    }

    /// The tag as people read it: like `Display`, with the path decoded.
    pub fn shown(&self) -> String {
        match self {
            Self::Assets(path) => format!("{ASSETS}{path}"),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Combined => f.write_str(COMBINED),
            Self::Db => f.write_str(DB),
            Self::Assets(path) => write!(f, "{ASSETS}{}", encode(path)),
            Self::Project(name) => write!(f, "{PROJECT}{name}"),
        }
    }
}

/// A tag as people read it, whoever wrote it.
pub fn shown(text: &str) -> String {
    Tag::parse(text).map_or_else(|| text.to_owned(), |tag| tag.shown())
}

fn encode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let (path, space) = path.strip_suffix(' ').map_or((path, ""), |path| (path, "%20"));
    for c in path.chars() {
        match c {
            '%' => out.push_str("%25"),
            ',' => out.push_str("%2C"),
            c => out.push(c),
        }
    }
    out.push_str(space);
    out
}

fn decode(text: &str) -> String {
    // Only the escapes that `encode` writes are undone; any other `%` stands for itself.
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let tail = &rest[at..];
        let (c, len) = match tail.as_bytes().get(1..3) {
            Some(b"25") => ('%', 3),
            Some(b"2C" | b"2c") => (',', 3),
            Some(b"20") if tail.len() == 3 => (' ', 3),
            _ => ('%', 1),
        };
        out.push(c);
        rest = &tail[len..];
    }
    out.push_str(rest);
    out
}
