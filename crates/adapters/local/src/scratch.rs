//! Private folders for what a restore needs for a while.
//!
//! `{base_dir}/{project}/.restore-{pid}-{number}`, 0700, held by a kernel lock on the folder itself:
//! one that nobody holds was left by a process that died, and goes at the next recovery.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use backupctl_application::ports::{CleanupReport, ScratchDir};
use backupctl_domain::Failure;

use crate::blocking::{make_dir, unusable};
use crate::kernel_lock::is_missing;

/// What the names of the folders begin with.
const PREFIX: &str = ".restore-";

/// A folder of this process.
pub(crate) struct Scratch {
    path: PathBuf,
    /// Keeps recoveries from taking the folder for a left-over.
    _held: File,
}

impl Scratch {
    /// Makes one below the project's folder.
    pub(crate) fn make(project_dir: &Path) -> Result<Self, Failure> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        make_dir(project_dir)
            .map_err(|e| unusable(e, project_dir, "cannot make the project's folder"))?;
        loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = project_dir.join(format!("{PREFIX}{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                // A left-over of a process that had this number before.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                done => done.map_err(|e| unusable(e, &path, "cannot make the folder"))?,
            }
            match hold(&path) {
                Ok(Some(held)) => return Ok(Self { path, _held: held }),
                // A recovery has found it in the moment between, and removes it.
                Ok(None) => {}
                Err(e) if is_missing(&e) => {}
                Err(e) => return Err(unusable(e, &path, "cannot lock the folder")),
            }
        }
    }
}

impl ScratchDir for Scratch {
    fn path(&self) -> &Path {
        &self.path
    }

    fn remove(self: Box<Self>) -> Result<(), Failure> {
        remove(&self.path).map_err(|e| unusable(e, &self.path, "cannot remove"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!(%error, "{} is left until the next recovery", self.path.display());
        }
    }
}

/// Removes the folders whose processes are gone.
pub(crate) fn remove_left(project_dir: &Path) -> Result<CleanupReport, Failure> {
    let entries = match fs::read_dir(project_dir) {
        Err(e) if is_missing(&e) => return Ok(CleanupReport::default()),
        entries => entries.map_err(|e| unusable(e, project_dir, "cannot list"))?,
    };
    let mut report = CleanupReport::default();
    for entry in entries.filter_map(Result::ok) {
        let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !folder || !entry.file_name().to_str().is_some_and(is_ours) {
            continue;
        }
        let path = entry.path();
        let cannot = |e| unusable(e, &path, "cannot remove the left-over folder");
        match hold(&path) {
            Ok(Some(_held)) => remove(&path).map_err(cannot)?,
            Ok(None) => continue,
            Err(e) if is_missing(&e) => continue,
            Err(e) => return Err(cannot(e)),
        }
        report.removed.push(path);
    }
    report.removed.sort();
    Ok(report)
}

fn is_ours(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let numbers = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
    numbers.is_some_and(|(pid, count)| number(pid) && number(count))
}

/// Takes the lock of the folder that stands at the path; `None` where somebody holds it.
fn hold(path: &Path) -> io::Result<Option<File>> {
    let folder = File::open(path)?;
    match folder.try_lock() {
        Ok(()) if path.exists() => Ok(Some(folder)),
        Ok(()) => Err(io::ErrorKind::NotFound.into()),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if !is_missing(&e) => Err(e),
        _ => Ok(()),
    }
}
