//! What is remembered of schedules: a small file a project, written whole or not at all.

#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use backupctl_adapter_process::{AtomicFile, Existing};
use backupctl_application::ports::{Change, ScheduleStore};
use backupctl_domain::schedule::memory::{MachineMemory, ScheduleMemory};
use backupctl_domain::{Failure, ProjectName};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::blocking::{blocking, make_dir, unusable};
use crate::kernel_lock::{LockedFile, is_missing};

/// The folder below `base_dir`. No project's name begins with a dot.
const DIR: &str = ".schedule";
/// Held while something is changed.
const LOCK: &str = ".lock";
/// The machine's own file: a name that no project can have.
const MACHINE: &str = "_machine";

/// The [`ScheduleStore`] below one base folder.
#[derive(Debug, Clone)]
pub struct ScheduleFiles {
    dir: PathBuf,
}

impl ScheduleFiles {
    /// Remembers in `{base_dir}/.schedule`; made, 0700, with the first thing to remember.
    pub fn new(base_dir: &Path) -> Self {
        Self { dir: base_dir.join(DIR) }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }

    async fn load<T: DeserializeOwned + Default + Send + 'static>(
        &self,
        name: &str,
    ) -> Result<T, Failure> {
        let path = self.file(name);
        blocking(move || read(&path)).await
    }

    async fn change<T>(&self, name: &str, change: Change<T>) -> Result<T, Failure>
    where
        T: Serialize + DeserializeOwned + Default + Clone + PartialEq + Send + 'static,
    {
        let (dir, path) = (self.dir.clone(), self.file(name));
        blocking(move || {
            make_dir(&dir).map_err(|e| unusable(e, &dir, "cannot make the folder"))?;
            let lock = dir.join(LOCK);
            let held = LockedFile::wait(&lock, || true)
                .map_err(|e| unusable(e, &lock, "cannot lock the schedules by"))?;
            let before: T = read(&path)?;
            let mut after = before.clone();
            change(&mut after);
            if after != before {
                write(&path, &after)?;
            }
            drop(held);
            Ok(after)
        })
        .await
    }
}

/// What the file says; the empty memory where there is none. One that cannot be understood is put
/// aside: it must not keep a backup from being made, and what it said is not thrown away.
fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<T, Failure> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(e) if is_missing(&e) => return Ok(T::default()),
        Err(e) => return Err(unusable(e, path, "cannot read what is remembered of schedules in")),
    };
    match serde_json::from_slice(&text) {
        Ok(memory) => Ok(memory),
        Err(why) => {
            let aside = path.with_extension("json.rejected");
            tracing::error!(
                file = %path.display(), kept = %aside.display(),
                "what was remembered of this schedule cannot be understood and is put aside; a pause \
                 is forgotten: {why}"
            );
            fs::rename(path, &aside)
                .map_err(|e| unusable(e, path, "cannot put aside what cannot be understood in"))?;
            Ok(T::default())
        }
    }
}

fn write<T: Serialize>(path: &Path, memory: &T) -> Result<(), Failure> {
    let mut text = serde_json::to_vec(memory)
        .map_err(|e| Failure::internal(format!("a memory that is no JSON: {e}")))?;
    text.push(b'\n');
    let file = AtomicFile::create(path, Existing::Replace)?;
    let written: io::Result<()> = file.handle().write_all(&text);
    written.map_err(|e| unusable(e, path, "cannot write what is remembered of schedules to"))?;
    file.commit()?;
    Ok(())
}

#[async_trait]
impl ScheduleStore for ScheduleFiles {
    async fn project(&self, project: &ProjectName) -> Result<ScheduleMemory, Failure> {
        self.load(project.as_str()).await
    }

    async fn update_project(
        &self,
        project: &ProjectName,
        change: Change<ScheduleMemory>,
    ) -> Result<ScheduleMemory, Failure> {
        self.change(project.as_str(), change).await
    }

    async fn machine(&self) -> Result<MachineMemory, Failure> {
        self.load(MACHINE).await
    }

    async fn update_machine(
        &self,
        change: Change<MachineMemory>,
    ) -> Result<MachineMemory, Failure> {
        self.change(MACHINE, change).await
    }
}
