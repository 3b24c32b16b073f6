//! Which files have other names, so that each is stored once.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::unread::Few;

/// What all names together may take: a tree of millions of linked files is no reason to run out of
/// memory.
const ROOM: usize = 64 << 20;
/// What a name takes beside its own bytes.
const EACH: usize = 96;

/// The files with more than one name of which not all names were seen.
#[derive(Debug)]
pub(super) struct Links {
    seen: HashMap<(u64, u64), (Vec<u8>, u64)>,
    room: usize,
    /// Files for which there was none.
    forgotten: Few,
}

impl Default for Links {
    fn default() -> Self {
        Self::with_room(ROOM)
    }
}

impl Links {
    fn with_room(room: usize) -> Self {
        Self { seen: HashMap::new(), room, forgotten: Few::default() }
    }

    /// The name under which this file is stored already.
    pub(super) fn find(&mut self, metadata: &Metadata) -> Option<Vec<u8>> {
        if metadata.nlink() < 2 {
            return None;
        }
        let key = (metadata.dev(), metadata.ino());
        let (path, left) = self.seen.get_mut(&key)?;
        *left -= 1;
        if *left > 0 {
            return Some(path.clone());
        }
        let (path, _) = self.seen.remove(&key)?;
        self.room += path.len() + EACH;
        Some(path)
    }

    /// The file is stored under this name now, which `inner` is in the archive.
    pub(super) fn remember(&mut self, metadata: &Metadata, path: &Path, inner: &[u8]) {
        if metadata.nlink() < 2 {
            return;
        }
        let Some(room) = self.room.checked_sub(inner.len() + EACH) else {
            self.forgotten.add(path);
            return;
        };
        self.room = room;
        let key = (metadata.dev(), metadata.ino());
        self.seen.insert(key, (inner.to_owned(), metadata.nlink() - 1));
    }

    /// What is stored more than once.
    pub(super) fn note(&self) -> Option<String> {
        let what = "stored whole under each name, for too many files have several:";
        self.forgotten.note(what, "file", "files")
    }
}
