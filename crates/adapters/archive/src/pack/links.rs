//! Which files have other names, so that each is stored once.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// The files with more than one name of which not all names were seen.
#[derive(Debug, Default)]
pub(super) struct Links {
    seen: HashMap<(u64, u64), (Vec<u8>, u64)>,
}

impl Links {
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
        self.seen.remove(&key).map(|(path, _)| path)
    }

    /// The file is stored under this name now.
    pub(super) fn remember(&mut self, metadata: &Metadata, path: &[u8]) {
        if metadata.nlink() > 1 {
            let key = (metadata.dev(), metadata.ino());
            self.seen.insert(key, (path.to_owned(), metadata.nlink() - 1));
        }
    }
}
