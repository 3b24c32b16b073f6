//! Cleanup and unpacking on the real files of a test's work folder.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backupctl_application::context::StageContext;
use backupctl_application::ports::{
    CleanupReport, LocalCleanup, ScratchDir, UnpackedFile, Unpacker,
};
use backupctl_domain::retention::expired_dumps;
use backupctl_domain::{DumpName, ErrorCode, Failure, ProjectName, RunId};
use jiff::civil::DateTime;

use super::faults::injectable;
use super::{Core, Journal, checksum, locked};

/// A [`LocalCleanup`]. Operations: `expired`, `cleanup`, `remove_partials`, `remove_file`, `move_up`, `scratch`,
/// `remove_left_scratch`.
///
/// Works on `{base_dir}/{project}`; a folder that does not exist holds nothing.
pub struct FakeCleanup {
    core: Core,
    base_dir: PathBuf,
    living: Arc<Mutex<Vec<PathBuf>>>,
}

injectable!(FakeCleanup);

impl FakeCleanup {
    /// A cleanup of the projects under that folder.
    pub fn new(journal: &Arc<Journal>, base_dir: &Path) -> Self {
        let operations = &[
            "expired",
            "cleanup",
            "remove_partials",
            "remove_file",
            "move_up",
            "scratch",
            "remove_left_scratch",
        ];
        let core = Core::new(journal, operations);
        Self { core, base_dir: base_dir.to_owned(), living: Arc::default() }
    }

    fn expired_now(&self, project: &ProjectName, local_days: u32, now: DateTime) -> Vec<DumpName> {
        let dumps: Vec<DumpName> = names(&self.base_dir.join(project.as_str()))
            .iter()
            .filter_map(|name| DumpName::parse(project, name))
            .collect();
        expired_dumps(&dumps, now, local_days)
    }

    fn remove_where(
        &self,
        project: &ProjectName,
        mut goes: impl FnMut(&str) -> bool,
    ) -> CleanupReport {
        let dir = self.base_dir.join(project.as_str());
        let mut report = CleanupReport::default();
        for name in names(&dir) {
            let path = dir.join(&name);
            if goes(&name) {
                report.freed_bytes += fs::metadata(&path).map_or(0, |m| m.len());
                fs::remove_file(&path).expect("a file of the work folder can be removed");
                report.removed.push(path);
            }
        }
        report
    }
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|e| e.file_type().is_ok_and(|t| t.is_file()))
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

#[async_trait]
impl LocalCleanup for FakeCleanup {
    async fn expired(
        &self,
        project: &ProjectName,
        local_days: u32,
        now: DateTime,
    ) -> Result<Vec<DumpName>, Failure> {
        self.core.call("expired", "expired", None).await?;
        Ok(self.expired_now(project, local_days, now))
    }

    async fn cleanup(
        &self,
        project: &ProjectName,
        local_days: u32,
        now: DateTime,
        stored: &[String],
    ) -> Result<CleanupReport, Failure> {
        self.core.call("cleanup", "cleanup", None).await?;
        let (go, stay): (Vec<DumpName>, Vec<DumpName>) = self
            .expired_now(project, local_days, now)
            .into_iter()
            .partition(|d| stored.contains(&d.run));
        let mut report =
            self.remove_where(project, |name| go.iter().any(|d| d.to_string() == name));
        let dir = self.base_dir.join(project.as_str());
        report.kept = stay.iter().map(|d| dir.join(d.to_string())).collect();
        Ok(report)
    }

    async fn remove_partials(
        &self,
        project: &ProjectName,
        runs: &[RunId],
    ) -> Result<CleanupReport, Failure> {
        self.core.call("remove_partials", format!("remove_partials {project}"), None).await?;
        let runs: Vec<String> = runs.iter().map(|r| r.short()).collect();
        Ok(self.remove_where(project, |name| {
            DumpName::parse_partial(project, name).is_some_and(|d| runs.contains(&d.run))
        }))
    }

    async fn remove_file(&self, path: &Path) -> Result<(), Failure> {
        self.core.call("remove_file", format!("remove_file {}", path.display()), None).await?;
        match fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                let message = format!("{} cannot be removed: {e}", path.display());
                Err(Failure::new(ErrorCode::PathNotWritable, message))
            }
            _ => Ok(()),
        }
    }

    async fn move_up(&self, from: &Path, to: &Path, root: &Path) -> Result<(), Failure> {
        self.core.call("move_up", format!("move_up {}", to.display()), None).await?;
        fs::rename(from, to).map_err(|e| {
            let message = format!("{} cannot be moved: {e}", from.display());
            Failure::new(ErrorCode::PathNotWritable, message)
        })?;
        let mut dir = from.parent();
        while let Some(empty) = dir.filter(|d| *d != root && fs::remove_dir(d).is_ok()) {
            dir = empty.parent();
        }
        Ok(())
    }

    async fn scratch(&self, project: &ProjectName) -> Result<Box<dyn ScratchDir>, Failure> {
        self.core.call("scratch", format!("scratch {project}"), None).await?;
        let number = locked(&self.living).len();
        let name = format!(".restore-{}-{number}", std::process::id());
        let path = self.base_dir.join(project.as_str()).join(name);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|e| {
            let message = format!("{} cannot be made: {e}", path.display());
            Failure::new(ErrorCode::PathNotWritable, message)
        })?;
        locked(&self.living).push(path.clone());
        Ok(Box::new(FakeScratch { path, living: Arc::clone(&self.living) }))
    }

    async fn remove_left_scratch(&self, project: &ProjectName) -> Result<CleanupReport, Failure> {
        self.core.call("remove_left_scratch", format!("left scratch {project}"), None).await?;
        let mut report = CleanupReport::default();
        let dir = self.base_dir.join(project.as_str());
        for entry in fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
            let numbers = entry.file_name().into_string().ok();
            let ours = numbers.as_deref().and_then(|n| n.strip_prefix(".restore-")).is_some_and(
                |numbers| {
                    numbers.split('-').count() == 2
                        && numbers.split('-').all(|n| n.parse::<u32>().is_ok())
                },
            );
            if ours && !locked(&self.living).contains(&entry.path()) {
                fs::remove_dir_all(entry.path()).expect("a folder of the work folder can go");
                report.removed.push(entry.path());
            }
        }
        Ok(report)
    }
}

struct FakeScratch {
    path: PathBuf,
    living: Arc<Mutex<Vec<PathBuf>>>,
}

impl ScratchDir for FakeScratch {
    fn path(&self) -> &Path {
        &self.path
    }

    fn remove(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}

impl Drop for FakeScratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
        locked(&self.living).retain(|p| *p != self.path);
    }
}

/// An [`Unpacker`] for the fakes' dumps, which are packed in name only. Operations: `unpack`,
/// `checksum`.
pub struct FakeUnpacker {
    core: Core,
}

injectable!(FakeUnpacker);

impl FakeUnpacker {
    /// One that works.
    pub fn new(journal: &Arc<Journal>) -> Self {
        Self { core: Core::new(journal, &["unpack", "checksum"]) }
    }
}

fn read(source: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(source).map_err(|e| {
        Failure::new(ErrorCode::DumpCorrupt, format!("{} cannot be read: {e}", source.display()))
    })
}

#[async_trait]
impl Unpacker for FakeUnpacker {
    async fn unpack(
        &self,
        source: &Path,
        ctx: &StageContext,
    ) -> Result<Option<UnpackedFile>, Failure> {
        self.core.call("unpack", "unpack", Some(&ctx.cancel)).await?;
        if !source.extension().is_some_and(|e| e == "zst" || e == "gz") {
            return Ok(None);
        }
        let content = read(source)?;
        let path = source.with_extension("");
        fs::write(&path, &content).map_err(|e| {
            let message = format!("{} cannot be written: {e}", path.display());
            Failure::new(ErrorCode::PathNotWritable, message)
        })?;
        Ok(Some(UnpackedFile { path, bytes: content.len() as u64 }))
    }

    async fn checksum(&self, source: &Path, ctx: &StageContext) -> Result<String, Failure> {
        self.core.call("checksum", "checksum", Some(&ctx.cancel)).await?;
        read(source).map(|content| checksum(&content))
    }
}
