//! The files of units below one root: `/`, or the folder of an image that is being made.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use backupctl_adapter_process::{AtomicFile, Existing, failure_from_io, write_failure};
use backupctl_application::ports::{
    FileState, InstalledUnit, UnitFile, UnitFiles, UnitOptions, UnitPlan,
};
use backupctl_domain::Failure;

use crate::parse;
use crate::render::{self, OWN_DIR, UNITS};
use crate::text::{Owner, owner};

/// What the names of our units begin with.
const PREFIX: &str = "backupctl";
/// The unit that remembers how all were chosen.
const MEMORY: &str = "backupctl-watch.service";

/// The files of units.
#[derive(Debug, Clone)]
pub struct UnitFolder {
    root: PathBuf,
}

impl UnitFolder {
    /// Below this root.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where a file of the plan really is.
    fn place(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Our files of a folder with their text; those of units by their names.
    fn marked(&self, folder: &str, units: bool) -> Result<Vec<(PathBuf, String)>, Failure> {
        let place = self.place(Path::new(folder));
        let entries = match fs::read_dir(&place) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|e| failure_from_io(e, &place, "cannot list"))?,
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| !units || is_unit(name)).collect();
        names.sort();
        let mut all = Vec::new();
        for name in names {
            let file = place.join(&name);
            // Binary or unreadable things are none of ours.
            if let Ok(text) = fs::read_to_string(&file)
                && owner(&text) != Owner::Foreign
            {
                all.push((Path::new(folder).join(name), text));
            }
        }
        Ok(all)
    }

    fn wants(&self, file: &UnitFile) -> PathBuf {
        let target =
            if file.is_timer() { "timers.target.wants" } else { "multi-user.target.wants" };
        self.place(Path::new(UNITS)).join(target).join(file.name())
    }
}

fn is_unit(name: &str) -> bool {
    let kind = Path::new(name).extension().and_then(|e| e.to_str());
    name.starts_with(PREFIX) && matches!(kind, Some("service" | "timer"))
}

/// Makes a folder and its parents. That of our own files is for root alone: there are secrets in it.
fn make_dir(dir: &Path) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    let mode = if dir.ends_with(OWN_DIR.trim_start_matches('/')) { 0o700 } else { 0o755 };
    match fs::DirBuilder::new().mode(mode).create(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

#[async_trait]
impl UnitFiles for UnitFolder {
    fn render(&self, plan: &UnitPlan) -> Result<Vec<UnitFile>, Failure> {
        render::files(plan)
    }

    async fn compare(&self, files: &[UnitFile]) -> Result<Vec<FileState>, Failure> {
        let mut all = Vec::with_capacity(files.len());
        for file in files {
            let place = self.place(&file.path);
            let text = match fs::read(&place) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    all.push(FileState::Missing);
                    continue;
                }
                read => read.map_err(|e| failure_from_io(e, &place, "cannot read"))?,
            };
            let text = String::from_utf8_lossy(&text);
            let meta =
                fs::metadata(&place).map_err(|e| failure_from_io(e, &place, "cannot read"))?;
            let mode = meta.permissions().mode() & 0o777;
            let mut what = Vec::new();
            if text != file.text {
                // What is beside the units holds secrets, or is one piece.
                what = if file.is_unit() {
                    parse::differences(&text, &file.text)
                } else {
                    vec!["content".to_owned()]
                };
            }
            let wide_open = mode & !file.mode & 0o777 != 0;
            if wide_open {
                what.push(format!("mode {mode:04o}, would be {:04o}", file.mode));
            }
            all.push(match owner(&text) {
                Owner::Foreign => FileState::Foreign,
                _ if what.is_empty() => FileState::Same,
                Owner::Ours => FileState::Stale(what),
                Owner::Edited => FileState::Edited(what),
            });
        }
        Ok(all)
    }

    async fn options(&self) -> Result<Option<UnitOptions>, Failure> {
        let place = self.place(&Path::new(UNITS).join(MEMORY));
        match fs::read_to_string(&place) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            read => {
                let text = read.map_err(|e| failure_from_io(e, &place, "cannot read"))?;
                Ok(parse::options(&text))
            }
        }
    }

    async fn services(&self) -> Result<Vec<InstalledUnit>, Failure> {
        let units = self.marked(UNITS, true)?.into_iter().filter_map(|(path, text)| {
            let name = path.file_name()?.to_str()?.to_owned();
            name.ends_with(".service").then(|| parse::service(&name, &text))
        });
        Ok(units.collect())
    }

    async fn ours(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut all = self.marked(UNITS, true)?;
        all.extend(self.marked(OWN_DIR, false)?);
        Ok(all.into_iter().map(|(path, _)| path).collect())
    }

    async fn write(&self, files: &[UnitFile]) -> Result<(), Failure> {
        for file in files {
            let place = self.place(&file.path);
            if let Some(dir) = place.parent() {
                make_dir(dir).map_err(|e| failure_from_io(e, dir, "cannot make the folder"))?;
            }
            let atomic = AtomicFile::create(&place, Existing::Replace)?;
            let mut handle = atomic.handle();
            handle
                .write_all(file.text.as_bytes())
                .and_then(|()| handle.set_permissions(fs::Permissions::from_mode(file.mode)))
                .map_err(|e| write_failure(&e, &place))?;
            atomic.commit()?;
        }
        Ok(())
    }

    async fn link(&self, files: &[UnitFile]) -> Result<(), Failure> {
        for file in files {
            let link = self.wants(file);
            if let Some(dir) = link.parent() {
                make_dir(dir).map_err(|e| failure_from_io(e, dir, "cannot make the folder"))?;
            }
            match symlink(&file.path, &link) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.map_err(|e| failure_from_io(e, &link, "cannot make the link"))?,
            }
        }
        Ok(())
    }

    async fn is_linked(&self, file: &UnitFile) -> Result<bool, Failure> {
        Ok(self.wants(file).symlink_metadata().is_ok())
    }

    async fn remove(&self, files: &[PathBuf]) -> Result<(), Failure> {
        for path in files {
            let file =
                UnitFile { path: path.clone(), text: String::new(), mode: 0, enabled: false };
            for place in [self.wants(&file), self.place(path)] {
                match fs::remove_file(&place) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    removed => {
                        removed.map_err(|e| failure_from_io(e, &place, "cannot remove"))?;
                    }
                }
            }
        }
        // Only where it is empty.
        let _ = fs::remove_dir(self.place(Path::new(OWN_DIR)));
        Ok(())
    }
}
