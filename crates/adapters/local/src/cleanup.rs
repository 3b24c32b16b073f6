//! Removes what backupctl itself has written to a project's folder, and nothing else.
//!
//! A file is ours only if it is a regular file whose whole name parses as a dump's of this project.

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use backupctl_application::ports::{CleanupReport, LocalCleanup, ScratchDir};
use backupctl_domain::project::EncryptionType;
use backupctl_domain::retention::expired_dumps;
use backupctl_domain::{DumpName, ErrorCode, Failure, ProjectName, RunId};
use jiff::civil::DateTime;

use crate::blocking::{blocking, unusable};
use crate::kernel_lock::is_missing;
use crate::scratch::{self, Scratch};

/// The [`LocalCleanup`] of the projects under one base folder.
#[derive(Debug, Clone)]
pub struct ProjectFiles {
    base_dir: PathBuf,
}

impl ProjectFiles {
    /// The files in `{base_dir}/{project}`.
    pub fn new(base_dir: impl Into<PathBuf>) -> Self {
        Self { base_dir: base_dir.into() }
    }

    fn dir(&self, project: &ProjectName) -> PathBuf {
        self.base_dir.join(project.as_str())
    }
}

#[async_trait]
impl LocalCleanup for ProjectFiles {
    async fn expired(
        &self,
        project: &ProjectName,
        local_days: u32,
        now: DateTime,
    ) -> Result<Vec<DumpName>, Failure> {
        let (dir, project) = (self.dir(project), project.clone());
        blocking(move || expired(&dir, &project, local_days, now)).await
    }

    async fn cleanup(
        &self,
        project: &ProjectName,
        local_days: u32,
        now: DateTime,
        stored: &[String],
    ) -> Result<CleanupReport, Failure> {
        let (dir, project, stored) = (self.dir(project), project.clone(), stored.to_vec());
        blocking(move || {
            let expired = expired(&dir, &project, local_days, now)?;
            let (go, stay): (Vec<DumpName>, Vec<DumpName>) =
                expired.into_iter().partition(|dump| stored.contains(&dump.run));
            let mut report = remove(&dir, go.iter().map(DumpName::to_string))?;
            report.kept = stay.iter().map(|dump| dir.join(dump.to_string())).collect();
            Ok(report)
        })
        .await
    }

    async fn remove_partials(
        &self,
        project: &ProjectName,
        runs: &[RunId],
    ) -> Result<CleanupReport, Failure> {
        let (dir, project) = (self.dir(project), project.clone());
        let runs: Vec<String> = runs.iter().map(|run| run.short()).collect();
        blocking(move || {
            let names = file_names(&dir)?;
            let of_runs = |name: &DumpName| runs.contains(&name.run);
            let left_over = names.iter().filter(|name| {
                DumpName::parse_partial(&project, name).is_some_and(|n| of_runs(&n))
                    || DumpName::parse(&project, name)
                        .is_some_and(|n| of_runs(&n) && is_encrypted_too(&n, &names))
            });
            remove(&dir, left_over.cloned())
        })
        .await
    }

    async fn remove_file(&self, path: &Path) -> Result<(), Failure> {
        let path = path.to_owned();
        blocking(move || remove_one(&path).map(|_| ())).await
    }

    async fn move_up(&self, from: &Path, to: &Path, root: &Path) -> Result<(), Failure> {
        let (from, to, root) = (from.to_owned(), to.to_owned(), root.to_owned());
        blocking(move || move_up(&from, &to, &root)).await
    }

    async fn scratch(&self, project: &ProjectName) -> Result<Box<dyn ScratchDir>, Failure> {
        let dir = self.dir(project);
        blocking(move || Ok(Box::new(Scratch::make(&dir)?) as Box<dyn ScratchDir>)).await
    }

    async fn remove_left_scratch(&self, project: &ProjectName) -> Result<CleanupReport, Failure> {
        let dir = self.dir(project);
        blocking(move || scratch::remove_left(&dir)).await
    }
}

fn expired(
    dir: &Path,
    project: &ProjectName,
    local_days: u32,
    now: DateTime,
) -> Result<Vec<DumpName>, Failure> {
    let names = file_names(dir)?;
    let dumps: Vec<DumpName> =
        names.iter().filter_map(|name| DumpName::parse(project, name)).collect();
    // The plain and the encrypted file of a run have one time, so that both count as the newest if
    // either does.
    Ok(expired_dumps(&dumps, now, local_days))
}

/// Whether the encrypted form of a plain dump stands beside it: the process died after putting that
/// in place, before it removed the plain one.
fn is_encrypted_too(plain: &DumpName, names: &[String]) -> bool {
    [EncryptionType::Age, EncryptionType::Gpg].iter().any(|kind| {
        let encrypted = plain.with_ext(format!("{}.{}", plain.ext, kind.extension())).to_string();
        names.contains(&encrypted)
    })
}

/// The names of the regular files in a folder, sorted; none where there is no folder. A name that is
/// no text is none of ours.
fn file_names(dir: &Path) -> Result<Vec<String>, Failure> {
    let cannot = |e| unusable(e, dir, "cannot list");
    let entries = match fs::read_dir(dir) {
        Err(e) if is_missing(&e) => return Ok(Vec::new()),
        entries => entries.map_err(cannot)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(cannot)?;
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    names.sort();
    Ok(names)
}

/// Removes each of these files, and says the first failure when all were tried.
fn remove(dir: &Path, names: impl Iterator<Item = String>) -> Result<CleanupReport, Failure> {
    let mut report = CleanupReport::default();
    let mut failed = None;
    for name in names {
        let path = dir.join(name);
        match remove_one(&path) {
            Ok(Some(bytes)) => {
                report.freed_bytes += bytes;
                report.removed.push(path);
            }
            Ok(None) => {}
            Err(failure) => failed = failed.or(Some(failure)),
        }
    }
    match failed {
        None => Ok(report),
        Some(failure) => Err(failure),
    }
}

/// Removes a file and returns its size; `None` where there was none.
fn remove_one(path: &Path) -> Result<Option<u64>, Failure> {
    let bytes = fs::symlink_metadata(path).map_or(0, |m| m.len());
    match fs::remove_file(path) {
        Ok(()) => Ok(Some(bytes)),
        Err(e) if is_missing(&e) => Ok(None),
        Err(e) => Err(unusable(e, path, "cannot remove")),
    }
}

fn move_up(from: &Path, to: &Path, root: &Path) -> Result<(), Failure> {
    if from == to {
        return Ok(());
    }
    match fs::rename(from, to) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound && !from.exists() => {
            let message = format!("the restore has not brought {}", from.display());
            return Err(Failure::new(ErrorCode::SnapshotUnproven, message));
        }
        Err(e) => return Err(unusable(e, to, &format!("cannot move {} to", from.display()))),
    }
    for dir in from.ancestors().skip(1).take_while(|dir| *dir != root && dir.starts_with(root)) {
        // Ends at the first folder with something else in it.
        if fs::remove_dir(dir).is_err() {
            break;
        }
    }
    Ok(())
}
