//! A file that stands under its name only when it is whole and on disk (pipeline.md §4).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use backupctl_domain::{ErrorCode, Failure};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::write_failure;

/// The name of a file while it is being written.
pub(crate) fn partial_name(name: &str) -> String {
    format!(".{name}.partial")
}

/// A file being written as `.{name}.partial`, removed again unless it is committed.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    file: File,
    partial: PathBuf,
    target: PathBuf,
    committed: bool,
}

impl AtomicFile {
    /// Begins the file `name` in `dir`: 0600, in the same folder. A file that already has the name
    /// is an error; a partial of the same name is an earlier attempt's and goes.
    pub(crate) fn create(dir: &Path, name: &str) -> Result<Self, Failure> {
        Self::create_as(dir, &partial_name(name), name)
    }

    /// The same under another partial name.
    pub(crate) fn create_as(dir: &Path, partial: &str, name: &str) -> Result<Self, Failure> {
        let (partial, target) = (dir.join(partial), dir.join(name));
        if target.symlink_metadata().is_ok() {
            return Err(exists(&target));
        }
        let open = || {
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&partial)
        };
        let file = open()
            .or_else(|e| {
                if e.kind() != io::ErrorKind::AlreadyExists {
                    return Err(e);
                }
                fs::remove_file(&partial)?;
                open()
            })
            .map_err(|e| write_failure(&e, &target))?;
        Ok(Self { file, partial, target, committed: false })
    }

    /// Where the bytes go.
    pub(crate) fn handle(&mut self) -> &mut File {
        &mut self.file
    }

    /// Where it is while it is being written.
    pub(crate) fn partial(&self) -> &Path {
        &self.partial
    }

    /// Where it will be.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Makes it durable and gives it its name; the folder is synced too.
    pub(crate) fn commit(mut self) -> Result<PathBuf, Failure> {
        self.file.sync_all().map_err(|e| write_failure(&e, &self.target))?;
        self.rename()?;
        self.committed = true;
        let dir = self.target.parent().unwrap_or(Path::new("."));
        let synced = File::open(dir).and_then(|d| match d.sync_all() {
            // Some file systems know no sync of a folder; they are in step by themselves.
            Err(e)
                if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) =>
            {
                Ok(())
            }
            other => other,
        });
        if let Err(e) = synced {
            // A name that may not outlive a crash is none that may be reported.
            let _ = fs::remove_file(&self.target);
            return Err(write_failure(&e, &self.target));
        }
        Ok(self.target.clone())
    }

    fn rename(&self) -> Result<(), Failure> {
        match renameat_with(CWD, &self.partial, CWD, &self.target, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::EXIST) => Err(exists(&self.target)),
            // Not every file system and kernel has it; the name was free when we began.
            Err(
                rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP,
            ) => {
                if self.target.symlink_metadata().is_ok() {
                    return Err(exists(&self.target));
                }
                fs::rename(&self.partial, &self.target).map_err(|e| write_failure(&e, &self.target))
            }
            Err(e) => Err(write_failure(&e.into(), &self.target)),
        }
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

fn exists(target: &Path) -> Failure {
    Failure::new(ErrorCode::PathNotWritable, format!("{} already exists", target.display()))
        .with_remedy("move that file away, then try again: backupctl overwrites nothing")
}
