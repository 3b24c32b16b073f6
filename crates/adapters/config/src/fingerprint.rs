//! Whether the configuration may have changed, told without reading it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::load::dotenv_of;

/// The marks of the file and of its `.env`, as one number; that of no file for `None`.
///
/// The time of the last change of the entry itself is among them: a tool that keeps the time of
/// writing (`cp -p`, `rsync -t`) cannot set that one back.
pub(crate) fn of(file: Option<&Path>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in file.into_iter().flat_map(|file| [file.to_owned(), dotenv_of(file)]) {
        let marks = std::fs::metadata(&path).ok().map(|m| {
            (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec())
        });
        (path, marks).hash(&mut hasher);
    }
    hasher.finish()
}
