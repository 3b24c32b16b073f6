//! The files of one snapshot.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::fakes::digest;

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    content: Vec<u8>,
    bytes: u64,
    modified: Option<SystemTime>,
}

/// Paths and contents.
#[derive(Default)]
pub(super) struct Tree {
    files: BTreeMap<PathBuf, Entry>,
}

/// What comparing a tree with its parent has found.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) new: u64,
    pub(super) changed: u64,
    pub(super) unmodified: u64,
    pub(super) bytes_added: u64,
}

impl Tree {
    /// Reads what is at these paths; a path where nothing is stands for one file.
    pub(super) fn read(paths: &[PathBuf], exclude: &[String]) -> Self {
        let mut tree = Self::default();
        for path in paths {
            if path.exists() {
                tree.walk(path, exclude);
            } else {
                let content = path.to_string_lossy().into_owned().into_bytes();
                let bytes = content.len() as u64;
                let entry = Entry { content, bytes, modified: None };
                tree.files.insert(path.join("file"), entry);
            }
        }
        tree
    }

    /// Adds the dump file, under the path that it has in the snapshot, with the size that it is said to
    /// have.
    pub(super) fn add_dump(&mut self, path: &Path, listed: PathBuf, bytes: u64) {
        let content = fs::read(path).unwrap_or_else(|_| b"a dump".to_vec());
        let modified = fs::metadata(path).and_then(|m| m.modified()).ok();
        self.files.insert(listed, Entry { content, bytes, modified });
    }

    fn walk(&mut self, path: &Path, exclude: &[String]) {
        if exclude.iter().any(|pattern| is_excluded(path, pattern)) {
            return;
        }
        if path.is_dir() {
            let Ok(entries) = fs::read_dir(path) else { return };
            for entry in entries.filter_map(Result::ok) {
                self.walk(&entry.path(), exclude);
            }
        } else if let (Ok(content), Ok(data)) = (fs::read(path), fs::metadata(path)) {
            let modified = data.modified().ok();
            self.files.insert(path.to_owned(), Entry { content, bytes: data.len(), modified });
        }
    }

    pub(super) fn compare(&self, parent: Option<&Self>) -> Counts {
        let mut counts = Counts::default();
        for (path, entry) in &self.files {
            let before = parent.and_then(|p| p.files.get(path));
            match before {
                Some(before) if before == entry => counts.unmodified += 1,
                Some(_) => counts.changed += 1,
                None => counts.new += 1,
            }
            if before.is_none_or(|before| before.content != entry.content) {
                counts.bytes_added += entry.bytes;
            }
        }
        counts
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.values().map(|e| e.bytes).sum()
    }

    pub(super) fn len(&self) -> u64 {
        self.files.len() as u64
    }

    /// Each distinct content with its size.
    pub(super) fn blobs(&self) -> impl Iterator<Item = (String, u64)> {
        self.files.values().map(|e| (digest(&e.content), e.bytes))
    }

    /// The files at or below these paths; all for no path.
    pub(super) fn under<'a>(
        &'a self,
        include: &'a [PathBuf],
    ) -> impl Iterator<Item = (&'a Path, &'a [u8])> {
        self.files
            .iter()
            .filter(|(path, _)| include.is_empty() || include.iter().any(|i| path.starts_with(i)))
            .map(|(path, entry)| (path.as_path(), entry.content.as_slice()))
    }
}

/// Of restic's patterns the simplest: a whole path, a name, or `*.ext`.
fn is_excluded(path: &Path, pattern: &str) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match pattern.strip_prefix('*') {
        Some(end) => name.ends_with(end),
        None => Path::new(pattern) == path || name == pattern,
    }
}
