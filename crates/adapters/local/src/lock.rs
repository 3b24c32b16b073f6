//! One run of a project at a time: a lock file for people, a kernel lock on it that decides.

#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use backupctl_application::context::{Cancel, interrupted};
use backupctl_application::ports::{Acquired, BackupLock, Clock, LockGuard, LockHolder, LockState};
use backupctl_domain::notice::stamp;
use backupctl_domain::{Failure, ProjectName};
use tokio::sync::oneshot;

use crate::blocking::{blocking, make_dir, unusable};
use crate::kernel_lock::{LockedFile, Standing};

const NAME: &str = ".lock";
/// Held by the one run that waits for the lock.
const QUEUE_NAME: &str = ".lock.queue";

/// The [`BackupLock`] of the projects under one base folder.
pub struct FileLock {
    base_dir: PathBuf,
    clock: Arc<dyn Clock>,
}

impl FileLock {
    /// Locks `{base_dir}/{project}/.lock`; folders that are missing are made, 0700.
    pub fn new(base_dir: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self { base_dir: base_dir.into(), clock }
    }

    fn path(&self, project: &ProjectName) -> PathBuf {
        lock_path(&self.base_dir, project)
    }

    async fn try_acquire(
        &self,
        project: &ProjectName,
        recovering: bool,
    ) -> Result<Acquired, Failure> {
        let path = self.path(project);
        match take(path.clone(), NAME).await? {
            Some(locked) => self.guard(locked, path, recovering).await,
            None => Ok(Acquired::Busy(holder(path).await?)),
        }
    }

    /// Writes down who holds the lock, and makes the guard.
    async fn guard(
        &self,
        mut locked: LockedFile,
        path: PathBuf,
        recovering: bool,
    ) -> Result<Acquired, Failure> {
        let remark = if recovering { "recovering=true\n" } else { "" };
        let started = stamp(self.clock.now());
        let text = format!("pid={}\nstarted={started}\n{remark}", std::process::id());
        blocking(move || {
            let written = write_over(locked.file(), &text);
            let guard = Guard::new(locked, path);
            written.map_err(|e| unusable(e, &guard.path, "cannot write the lock file"))?;
            Ok(Acquired::Locked(Box::new(guard)))
        })
        .await
    }
}

/// Where a project's lock file is.
pub(crate) fn lock_path(base_dir: &Path, project: &ProjectName) -> PathBuf {
    base_dir.join(project.as_str()).join(NAME)
}

#[async_trait]
impl BackupLock for FileLock {
    async fn acquire(&self, project: &ProjectName) -> Result<Acquired, Failure> {
        self.try_acquire(project, false).await
    }

    async fn acquire_to_recover(&self, project: &ProjectName) -> Result<Acquired, Failure> {
        self.try_acquire(project, true).await
    }

    async fn acquire_or_queue(
        &self,
        project: &ProjectName,
        cancel: &Cancel,
    ) -> Result<Acquired, Failure> {
        let path = self.path(project);
        if let Some(locked) = take(path.clone(), NAME).await? {
            return self.guard(locked, path, false).await;
        }
        let Some(place) = take(path.with_file_name(QUEUE_NAME), QUEUE_NAME).await? else {
            return Ok(Acquired::Folded(holder(path).await?));
        };
        let place = Place(Some(place));
        let locked = tokio::select! {
            biased;
            why = cancel.cancelled() => return Err(interrupted(why)),
            locked = wait(path.clone()) => {
                locked.map_err(|e| unusable(e, &path, "cannot wait for the lock"))?
            }
        };
        // Whoever comes now finds the lock taken and the place in the queue free.
        drop(place);
        self.guard(locked, path, false).await
    }

    async fn state(&self, project: &ProjectName) -> Result<LockState, Failure> {
        let path = self.path(project);
        blocking(move || {
            let standing = LockedFile::standing(&path)
                .map_err(|e| unusable(e, &path, "cannot read the lock file"))?;
            Ok(match standing {
                Standing::Missing => LockState::Free,
                Standing::Free => LockState::Stale(read_holder(&path)),
                Standing::Held => LockState::Held(read_holder(&path)),
            })
        })
        .await
    }

    async fn clear_stale(&self, project: &ProjectName) -> Result<bool, Failure> {
        let path = self.path(project);
        blocking(move || {
            let cannot = |e| unusable(e, &path, "cannot remove the stale lock file");
            if LockedFile::standing(&path).map_err(cannot)? != Standing::Free {
                return Ok(false);
            }
            match LockedFile::try_take(&path).map_err(cannot)? {
                Some(locked) => locked.remove().map_err(cannot).map(|()| true),
                None => Ok(false),
            }
        })
        .await
    }
}

/// Takes the lock file at `path` in a folder that is made where it is missing.
async fn take(path: PathBuf, name: &'static str) -> Result<Option<LockedFile>, Failure> {
    blocking(move || {
        let dir = path.parent().unwrap_or(&path);
        make_dir(dir).map_err(|e| unusable(e, dir, "cannot make the project's folder"))?;
        LockedFile::try_take(&path)
            .map_err(|e| unusable(e, &path, &format!("cannot lock {name} at")))
    })
    .await
}

/// Waits for the lock in a thread of its own: a wait in the kernel cannot be called off, and one of
/// the runtime's threads would hold up the end of the process. A wait that nobody wants any more
/// gives the lock back as soon as it gets it.
async fn wait(path: PathBuf) -> io::Result<LockedFile> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new().name("lock-wait".to_owned()).spawn(move || {
        let result = LockedFile::wait(&path, || !sender.is_closed());
        let Some(result) = result.transpose() else { return };
        if let Err(Ok(unwanted)) = sender.send(result) {
            let _ = unwanted.remove();
        }
    })?;
    receiver.await.unwrap_or_else(|_| Err(io::Error::other("the waiting thread has ended")))
}

/// A place in the queue, whose file goes with it.
struct Place(Option<LockedFile>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(locked) = self.0.take() {
            let _ = locked.remove();
        }
    }
}

/// A held lock, whose file goes with it.
pub(crate) struct Guard {
    locked: Option<LockedFile>,
    path: PathBuf,
}

impl Guard {
    /// Guards the lock on the file at `path`.
    pub(crate) const fn new(locked: LockedFile, path: PathBuf) -> Self {
        Self { locked: Some(locked), path }
    }

    /// The lock file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl LockGuard for Guard {
    fn release(mut self: Box<Self>) -> Result<(), Failure> {
        match self.locked.take() {
            Some(locked) => {
                locked.remove().map_err(|e| unusable(e, &self.path, "cannot remove the lock file"))
            }
            None => Ok(()),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(locked) = self.locked.take() {
            // The kernel gives the lock back in any case; a file left over is only stale.
            let _ = locked.remove();
        }
    }
}

fn write_over(file: &mut fs::File, text: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())
}

async fn holder(path: PathBuf) -> Result<LockHolder, Failure> {
    blocking(move || Ok(read_holder(&path))).await
}

/// What the lock file tells; nothing of it is relied upon.
pub(crate) fn read_holder(path: &Path) -> LockHolder {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = |key: &str| text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
    LockHolder {
        pid: value("pid").and_then(|v| v.trim().parse().ok()),
        started: value("started").and_then(|v| v.trim().parse().ok()),
        recovering: value("recovering").is_some_and(|v| v.trim() == "true"),
    }
}
