//! A folder for one test, gone when the test is.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder under `/tmp`, 0700, removed with its content on drop.
#[derive(Debug)]
pub struct WorkDir {
    dir: TempDir,
}

impl Default for WorkDir {
    fn default() -> Self {
        Self::new()
    }
}

impl WorkDir {
    /// Makes the folder. Always under `/tmp`: a unix socket's path must stay below 108 bytes.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("backupctl-test-")
            .tempdir_in("/tmp")
            .expect("a folder can be made under /tmp");
        Self { dir }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path in it; nothing is made.
    pub fn join(&self, rest: impl AsRef<Path>) -> PathBuf {
        self.path().join(rest)
    }

    /// Makes a folder in it, with its parents.
    pub fn dir(&self, rest: impl AsRef<Path>) -> PathBuf {
        let path = self.join(rest);
        fs::create_dir_all(&path).expect("a folder can be made in the work folder");
        path
    }

    /// Writes a file in it, with its parents.
    pub fn file(&self, rest: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(rest);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("a folder can be made in the work folder");
        }
        fs::write(&path, content).expect("a file can be written in the work folder");
        path
    }

    /// The names of the entries of a folder in it, sorted; empty where there is no such folder.
    pub fn names(&self, rest: impl AsRef<Path>) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.join(rest)) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .filter_map(Result::ok)
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}
