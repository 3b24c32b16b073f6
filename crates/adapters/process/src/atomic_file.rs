//! A file that stands under its name only when it is whole and on disk (pipeline.md §4).
//!
//! Here because every adapter that writes what a program or a stream gives it needs the same promise.

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use backupctl_domain::{ErrorCode, Failure};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// What is to become of a file that already has the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and writing is an error: nothing takes a finished dump's place.
    Refuse,
    /// It is replaced, at once and whole: what is made from another file can be made again.
    Replace,
}

/// A file being written as `.{name}.partial`, 0600, removed again unless it is committed.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    partial: PathBuf,
    target: PathBuf,
    existing: Existing,
    committed: bool,
}

impl AtomicFile {
    /// Begins the file at `target`, in the same folder. A partial of the same name is an earlier
    /// attempt's and goes.
    ///
    /// # Errors
    ///
    /// `PATH_NOT_WRITABLE`, also for a name in use where that is refused, `DISK_FULL`.
    pub fn create(target: &Path, existing: Existing) -> Result<Self, Failure> {
        Self::create_as(target.file_name().unwrap_or_default(), target, existing)
    }

    /// The same with the partial name of another file, for one that is written in two steps.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn create_as(
        name: impl Into<OsString>,
        target: &Path,
        existing: Existing,
    ) -> Result<Self, Failure> {
        let mut hidden = OsString::from(".");
        hidden.push(name.into());
        hidden.push(".partial");
        let (partial, target) = (target.with_file_name(hidden), target.to_owned());
        check_target(&target, existing)?;
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
        Ok(Self { file, partial, target, existing, committed: false })
    }

    /// Where the bytes go.
    pub const fn handle(&self) -> &File {
        &self.file
    }

    /// Where it is while it is being written.
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// Where it will be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Makes it durable and gives it its name; the folder is synced too.
    ///
    /// # Errors
    ///
    /// Those of [`create`](Self::create); nothing new has the name then.
    pub fn commit(mut self) -> Result<PathBuf, Failure> {
        self.file.sync_all().map_err(|e| write_failure(&e, &self.target))?;
        self.rename()?;
        self.committed = true;
        let dir = match self.target.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
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
        let replace =
            || fs::rename(&self.partial, &self.target).map_err(|e| write_failure(&e, &self.target));
        if self.existing == Existing::Replace {
            return replace();
        }
        match renameat_with(CWD, &self.partial, CWD, &self.target, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(in_use(&self.target)),
            // Not every file system and kernel has it; then the name must be free now.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                check_target(&self.target, self.existing)?;
                replace()
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

/// Whether the name may be taken. A folder is never replaced.
fn check_target(target: &Path, existing: Existing) -> Result<(), Failure> {
    match (target.symlink_metadata(), existing) {
        (Ok(_), Existing::Refuse) => Err(in_use(target)),
        (Ok(found), Existing::Replace) if found.is_dir() => Err(in_use(target)),
        _ => Ok(()),
    }
}

fn in_use(target: &Path) -> Failure {
    Failure::new(ErrorCode::PathNotWritable, format!("{} already exists", target.display()))
        .with_remedy("move it away, then try again: backupctl does not overwrite it")
}

/// What an error of writing, creating or syncing `path` means.
pub fn write_failure(error: &io::Error, path: &Path) -> Failure {
    let shown = path.display();
    let dir = path.parent().unwrap_or(path).display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Failure::new(ErrorCode::DiskFull, format!("the disk of {dir} is full: {error}"))
                .with_remedy(format!("free space on the disk of {dir}, or set `base_dir` to a larger one"))
        }
        io::ErrorKind::FileTooLarge => Failure::new(
            ErrorCode::FsFileTooLarge,
            format!("the file system of {dir} cannot hold a file as large as {shown}: {error}"),
        )
        .with_remedy("use a disk whose file system has no such limit (FAT32 ends at 4 GiB), or raise the file size limit of the process (`ulimit -f`)"),
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::AlreadyExists => {
            Failure::new(ErrorCode::PathNotWritable, format!("cannot write {shown}: {error}"))
                .with_remedy(format!("make {dir} a folder that the user running backupctl may write"))
        }
        _ => Failure::new(ErrorCode::PathNotWritable, format!("writing {shown} failed: {error}"))
            .with_remedy(format!("check the disk of {dir} (`dmesg` tells of input/output errors)")),
    }
}
