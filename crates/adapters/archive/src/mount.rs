//! Whether the disk is mounted that the folder is meant to be on, and whether the next archive has room.

use std::io;

use backupctl_application::ports::FileSystem;
use backupctl_domain::{ByteSize, ErrorCode, Failure};
use rustix::process::{Resource, getrlimit};

use crate::failure::{path_failure, too_large};
use crate::folder::Limits;
use crate::memory::Remembered;
use crate::{Archive, Inner};

impl Archive {
    /// The file system of the folder, if it is the one that is meant.
    ///
    /// # Errors
    ///
    /// `NOT_MOUNTED`.
    pub(crate) async fn mounted(&self) -> Result<FileSystem, Failure> {
        let system = self.any_mount().await?;
        let target = &self.inner.settings.target;
        let before = self.inner.memory.read().mount_point;
        let deeper = before.filter(|before| {
            *before != system.mount_point
                && before.starts_with(&system.mount_point)
                && target.path.starts_with(before)
        });
        match deeper {
            Some(before) if target.require_mount => {
                let (path, before) = (target.path.display(), before.display());
                Err(Failure::new(
                    ErrorCode::NotMounted,
                    format!(
                        "the disk of {path}, which was mounted at {before}, is not there: the \
                         folder is on the file system of {} now",
                        system.mount_point.display()
                    ),
                )
                .with_remedy(format!(
                    "mount the disk at {before}; if archives are to go where the folder is now, run \
                     `backupctl init {}`",
                    self.inner.settings.project
                )))
            }
            _ => Ok(system),
        }
    }

    /// The same, wherever the disk was mounted before.
    pub(crate) async fn any_mount(&self) -> Result<FileSystem, Failure> {
        let settings = &self.inner.settings;
        let path = &settings.target.path;
        let system = settings.disk.file_system(path).await?;
        // An automounter's own file system holds nothing.
        let is_absent = system.is_root || system.kind == "autofs";
        if settings.target.require_mount && is_absent {
            let path = path.display();
            return Err(Failure::new(
                ErrorCode::NotMounted,
                format!("no disk is mounted at {path}: it is on the root file system"),
            )
            .with_remedy(format!(
                "plug the disk in and mount it at {path} or above; if archives are to go onto the \
                 root file system, set `archive.require_mount: false`"
            )));
        }
        Ok(system)
    }
}

impl Inner {
    /// Fails where the disk cannot be written to.
    pub(crate) fn check_writable(&self, system: &FileSystem) -> Result<(), Failure> {
        if system.read_only {
            let error = io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
            return Err(path_failure(&error, &self.settings.target.path));
        }
        Ok(())
    }

    /// How large the files may get.
    pub(crate) fn limits(&self, system: &FileSystem) -> Limits {
        let process = getrlimit(Resource::Fsize).current;
        let file = match (system.max_file_bytes, process) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Limits { split: self.settings.target.split_size, file }
    }

    /// Fails where the next archive would not fit, as far as that can be told before it is made.
    /// `least` are the bytes that it has in any case.
    pub(crate) fn check_room(
        &self,
        system: &FileSystem,
        known: &Remembered,
        least: u64,
    ) -> Result<(), Failure> {
        let path = self.location();
        let estimate = known.last_bytes.map_or(0, |last| last.saturating_add(last / 5)).max(least);
        let shown = ByteSize(estimate);
        if estimate > system.free_bytes {
            let free = ByteSize(system.free_bytes);
            return Err(Failure::new(
                ErrorCode::DiskLow,
                format!("{free} are free at {path}, and the next archive may take {shown}"),
            )
            .with_remedy(format!(
                "free space on the disk of {path}, keep fewer archives (`retention`, then `backupctl \
                 prune {}`), or set `archive.path` to a larger disk",
                self.settings.project
            )));
        }
        let limits = self.limits(system);
        let Some(limit) = limits.file else { return Ok(()) };
        let what = format!("a file at {path} ({}) ends at {}", system.kind, ByteSize(limit));
        match limits.split {
            Some(split) if split > limit => {
                Err(too_large(&format!("{what}, and `archive.split_size` is {}", ByteSize(split))))
            }
            None if estimate > limit => {
                Err(too_large(&format!("{what}, and the next archive may take {shown}")))
            }
            _ => Ok(()),
        }
    }
}
