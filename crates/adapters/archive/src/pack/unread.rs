//! Sources that are not in the archive: counted, and named as far as anybody reads a list.

use std::fmt::Display;
use std::path::Path;

/// More are not named one by one.
const MOST: usize = 1000;
/// A note names so many.
const FEW: usize = 5;

/// What could not be read, with the reasons.
#[derive(Debug, Default)]
pub(super) struct Unread {
    texts: Vec<String>,
    more: u64,
}

impl Unread {
    pub(super) fn add(&mut self, path: &Path, why: &dyn Display) {
        if self.texts.len() < MOST {
            self.texts.push(format!("{} ({why})", path.display()));
        } else {
            self.more += 1;
        }
    }

    pub(super) fn into_texts(mut self) -> Vec<String> {
        if self.more > 0 {
            self.texts.push(format!("{} more", self.more));
        }
        self.texts
    }
}

/// What was left out without harm.
#[derive(Debug, Default)]
pub(super) struct Few {
    names: Vec<String>,
    count: u64,
}

impl Few {
    pub(super) fn add(&mut self, path: &Path) {
        self.count += 1;
        if self.names.len() < FEW {
            self.names.push(path.display().to_string());
        }
    }

    /// All of it in a sentence; `None` where there is nothing.
    pub(super) fn note(&self, what: &str, one: &str, many: &str) -> Option<String> {
        let noun = if self.count == 1 { one } else { many };
        let rest = if self.count > FEW as u64 { ", …" } else { "" };
        let Self { names, count } = self;
        (*count > 0).then(|| format!("{what} {count} {noun}: {}{rest}", names.join(", ")))
    }
}
