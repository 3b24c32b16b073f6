//! What is left out of the assets, by restic's rules, so that a pattern means the same at every
//! destination.
//!
//! A pattern is a row of path components. It fits a path where it fits any row of components in it, so
//! everything below a folder that fits does too; one that begins with `/` fits from the first component
//! on. `**` stands for any number of components. Of several patterns the last one that fits decides,
//! and one that begins with `!` takes back.

mod glob;
#[cfg(test)]
mod tests;

use std::path::Path;

use backupctl_domain::{ErrorCode, Failure};

use glob::Glob;

use crate::tar::inner;

/// The patterns.
#[derive(Debug, Default)]
pub(crate) struct Exclude {
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    takes_back: bool,
    anchored: bool,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    /// One component.
    One(Glob),
    /// Any number of components.
    Any,
}

impl Exclude {
    /// Reads the patterns.
    ///
    /// # Errors
    ///
    /// `INVALID_CONFIG` for one that has no meaning.
    pub(crate) fn new(patterns: &[String]) -> Result<Self, Failure> {
        let patterns = patterns.iter().filter(|p| !p.is_empty()).map(|p| Pattern::new(p));
        Ok(Self { patterns: patterns.collect::<Result<_, _>>()? })
    }

    /// Whether this whole path is left out.
    pub(crate) fn excludes(&self, path: &Path) -> bool {
        if self.patterns.is_empty() {
            return false;
        }
        let parts: Vec<&[u8]> = inner(path).split(|b| *b == b'/').collect();
        let mut out = false;
        for pattern in &self.patterns {
            if pattern.takes_back == out && pattern.fits(&parts) {
                out = !pattern.takes_back;
            }
        }
        out
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Self, Failure> {
        let (takes_back, bare) = match text.strip_prefix('!') {
            Some(bare) => (true, bare),
            None => (false, text),
        };
        let mut parts = Vec::new();
        for part in bare.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                "**" => parts.push(Part::Any),
                part => parts.push(Part::One(Glob::new(part).ok_or_else(|| wrong(text))?)),
            }
        }
        Ok(Self { takes_back, anchored: bare.starts_with('/'), parts })
    }

    fn fits(&self, path: &[&[u8]]) -> bool {
        if self.parts.is_empty() {
            // `/` alone is everything.
            return self.anchored;
        }
        let last = if self.anchored { 0 } else { path.len() };
        (0..=last).any(|at| begins(&self.parts, &path[at..]))
    }
}

/// Whether the parts fit the beginning of the path.
fn begins(parts: &[Part], path: &[&[u8]]) -> bool {
    match parts {
        [] => true,
        [Part::Any, rest @ ..] => (0..=path.len()).any(|at| begins(rest, &path[at..])),
        [Part::One(glob), rest @ ..] => {
            path.split_first().is_some_and(|(name, below)| glob.fits(name) && begins(rest, below))
        }
    }
}

fn wrong(pattern: &str) -> Failure {
    Failure::new(
        ErrorCode::InvalidConfig,
        format!("the pattern {pattern:?} of `assets.exclude` has no meaning"),
    )
    .with_remedy("close its brackets, and write `\\[` for a bracket that stands for itself")
}
