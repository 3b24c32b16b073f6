//! A file that appears under its name only when it is whole and on disk.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use backupctl_domain::{ErrorCode, Failure};

/// A file written as `.{name}.partial`, 0600. Dropped without [`AtomicFile::commit`] it leaves
/// nothing behind.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    partial: PathBuf,
    target: PathBuf,
    committed: bool,
}

impl AtomicFile {
    /// Begins the file. A partial that an earlier, dead run has left under the same name goes.
    pub(crate) fn create(target: &Path) -> Result<(Self, File), Failure> {
        let Some(name) = target.file_name() else {
            return Err(Failure::internal(format!("{} names no file", target.display())));
        };
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(".partial");
        let partial = target.with_file_name(hidden);
        match fs::remove_file(&partial) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(write_failure(&e, &partial, "cannot remove an old partial file"));
            }
            _ => {}
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial)
            .map_err(|e| write_failure(&e, &partial, "cannot create"))?;
        Ok((Self { partial, target: target.to_owned(), committed: false }, file))
    }

    /// Brings the bytes to disk and gives the file its name.
    pub(crate) fn commit(mut self, file: &File) -> Result<(), Failure> {
        file.sync_all().map_err(|e| write_failure(&e, &self.partial, "cannot flush"))?;
        fs::rename(&self.partial, &self.target)
            .map_err(|e| write_failure(&e, &self.target, "cannot rename the partial file to"))?;
        self.committed = true;
        let dir = match self.target.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        File::open(dir).and_then(|d| d.sync_all()).map_err(|e| {
            let _ = fs::remove_file(&self.target);
            write_failure(&e, dir, "cannot flush the folder")
        })
    }

    /// The name while it is written.
    pub(crate) fn partial(&self) -> &Path {
        &self.partial
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// The failure of a write to `path`.
pub(crate) fn write_failure(error: &io::Error, path: &Path, what: &str) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorCode::DiskFull,
        io::ErrorKind::FileTooLarge => ErrorCode::FsFileTooLarge,
        _ => ErrorCode::PathNotWritable,
    };
    Failure::new(code, format!("{what} {}: {error}", path.display()))
}
