//! Backups as plain encrypted archives on a disk: one file a run, which opens with standard tools
//! (`age -d -i KEY FILE | zstd -d | tar x`) wherever the disk is plugged in.
//!
//! Everything goes through once, in bounded memory: sources are read and hashed, packed as tar,
//! compressed on several cores, encrypted, hashed again and written, each where another one need not
//! wait for it. A file stands under its name only when it is whole and on the disk, and counts as a copy
//! only once it was read back. What is remembered on this machine helps to tell a good archive from a
//! damaged one without the key; nothing depends on it.

mod admin;
mod damage;
mod exclude;
mod failure;
mod folder;
mod inspect;
mod intake;
mod list;
mod manifest;
mod memory;
mod mount;
mod outlet;
mod pack;
mod prove;
mod prune;
mod restore;
mod source;
mod storage;
mod store;
mod tar;
mod walk;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use backupctl_adapter_stream::{Envelope, Watch};
use backupctl_application::context::{Interrupt, StageContext, interrupted};
use backupctl_application::ports::{Clock, Disk};
use backupctl_domain::destination::ArchiveTarget;
use backupctl_domain::project::Compression;
use backupctl_domain::{ErrorCode, Failure, ProjectName};
use jiff::tz::TimeZone;

use memory::Memory;

/// One project's archives at one destination.
pub struct ArchiveSettings {
    /// The project.
    pub project: ProjectName,
    /// The destination's name.
    pub destination: String,
    /// The folder, and how it is written to.
    pub target: ArchiveTarget,
    /// How archives are compressed; `None` for not at all.
    pub compression: Option<Compression>,
    /// What is left out of them, in restic's patterns.
    pub exclude: Vec<String>,
    /// What encrypts them; `None` for nothing.
    pub envelope: Option<Arc<dyn Envelope>>,
    /// The time zone of their names.
    pub timezone: TimeZone,
    /// The machine's name.
    pub host: String,
    /// The program and its version, e.g. `backupctl 0.1.0`.
    pub version: String,
    /// Where things are remembered between runs: a folder of this program's own.
    pub state_dir: PathBuf,
    /// Tells about mounts and space.
    pub disk: Arc<dyn Disk>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for ArchiveSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveSettings")
            .field("project", &self.project)
            .field("destination", &self.destination)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// Stores, proves, thins out and restores one project's archives in one folder.
#[derive(Debug)]
pub struct Archive {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: ArchiveSettings,
    memory: Memory,
}

impl Archive {
    /// Takes the settings; nothing is touched yet.
    ///
    /// # Errors
    ///
    /// `INVALID_CONFIG` for a folder that is not a whole path, or a size that splits nothing.
    pub fn new(settings: ArchiveSettings) -> Result<Arc<Self>, Failure> {
        let target = &settings.target;
        if !target.path.is_absolute() {
            let message = format!("`archive.path` {} is not a whole path", target.path.display());
            return Err(Failure::new(ErrorCode::InvalidConfig, message)
                .with_remedy("write `archive.path` from the root on, beginning with `/`"));
        }
        if target.split_size == Some(0) {
            return Err(Failure::new(ErrorCode::InvalidConfig, "`archive.split_size` is 0")
                .with_remedy("set `archive.split_size` to a size such as `4GiB`, or remove it"));
        }
        let memory = Memory::new(&settings.state_dir, &target.path, &settings.project);
        Ok(Arc::new(Self { inner: Arc::new(Inner { settings, memory }) }))
    }

    /// Runs blocking work on its own thread. Work whose caller has gone is told to stop: nobody would
    /// know of the file that it makes.
    async fn blocking<T: Send + 'static>(
        &self,
        ctx: &StageContext,
        work: impl FnOnce(&Inner, Watch) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let abandoned = Arc::new(AtomicBool::new(false));
        let _guard = AbandonOnDrop(Arc::clone(&abandoned));
        let watch = Watch::with_stop(ctx, abandoned, || interrupted(Interrupt::Term));
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || work(&inner, watch)).await.unwrap_or_else(|e| {
            Err(Failure::internal(format!("the archive's thread ended early: {e}")))
        })
    }
}

impl Inner {
    /// Where temporary files without a name go: not onto the disk of the archives.
    fn scratch(&self) -> Result<PathBuf, Failure> {
        self.memory.folder()
    }

    /// The folder as people know it.
    fn location(&self) -> String {
        self.settings.target.path.display().to_string()
    }
}

struct AbandonOnDrop(Arc<AtomicBool>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
