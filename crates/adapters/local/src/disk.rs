//! Disks and folders of this machine.

#[cfg(test)]
mod tests;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use backupctl_adapter_process::failure_from_io;
use backupctl_application::ports::{Disk, FileSystem};
use backupctl_domain::Failure;
use rustix::fs::{AtFlags, CWD, StatVfsMountFlags, StatxFlags, statvfs, statx};

use crate::blocking::{blocking, make_dir, unusable};
use crate::kernel_lock::is_missing;
use crate::mounts::place_of;

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// The largest file of FAT, whose sizes have 32 bits.
const FAT_MAX_FILE: u64 = u32::MAX as u64;

/// As many symbolic links in a row as the kernel follows.
const MAX_LINKS: usize = 40;

/// The [`Disk`] of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

#[async_trait]
impl Disk for SystemDisk {
    async fn file_system(&self, path: &Path) -> Result<FileSystem, Failure> {
        let path = path.to_owned();
        blocking(move || file_system(&path)).await
    }

    async fn is_empty_dir(&self, path: &Path) -> Option<bool> {
        let path = path.to_owned();
        let look = move || {
            Ok(match fs::read_dir(&path) {
                Ok(mut entries) => Some(entries.next().is_none()),
                // A file, or a folder that may not be read (or sits on a dead network disk): not known
                // to be empty, and only what the system calls missing is missing. Whoever reads it
                // then fails, and says why.
                Err(_) => match path.try_exists() {
                    Ok(false) => None,
                    Ok(true) | Err(_) => Some(false),
                },
            })
        };
        blocking(look).await.ok().flatten()
    }

    async fn file_size(&self, path: &Path) -> Option<u64> {
        let path = path.to_owned();
        let look = move || Ok(fs::metadata(&path).ok().filter(fs::Metadata::is_file));
        blocking(look).await.ok().flatten().map(|m| m.len())
    }

    async fn ensure_dir(&self, path: &Path, probe: bool) -> Result<(), Failure> {
        let path = path.to_owned();
        blocking(move || ensure_dir(&path, probe)).await
    }

    async fn remove_empty_dir(&self, path: &Path) -> bool {
        let path = path.to_owned();
        blocking(move || Ok(fs::remove_dir(path).is_ok())).await.unwrap_or(false)
    }
}

fn file_system(path: &Path) -> Result<FileSystem, Failure> {
    let there = existing(path).map_err(|e| failure_from_io(e, path, "cannot look at"))?;
    let stat = statvfs(&there)
        .map_err(|e| failure_from_io(e.into(), &there, "cannot ask the file system of"))?;
    let mountinfo =
        fs::read(MOUNTINFO).map_err(|e| failure_from_io(e, Path::new(MOUNTINFO), "cannot read"))?;
    let id = statx(CWD, &there, AtFlags::empty(), StatxFlags::MNT_ID)
        .ok()
        .filter(|told| told.stx_mask & StatxFlags::MNT_ID.bits() != 0)
        .map(|told| told.stx_mnt_id);
    let place = place_of(&String::from_utf8_lossy(&mountinfo), &there, id).ok_or_else(|| {
        Failure::internal(format!("no mount in {MOUNTINFO} holds {}", there.display()))
    })?;
    let mount = place.mount;
    Ok(FileSystem {
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        max_file_bytes: max_file_bytes(&mount.kind),
        read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
        mount_point: mount.point,
        is_root: place.is_root,
        device: mount.device,
        kind: mount.kind,
    })
}

fn max_file_bytes(kind: &str) -> Option<u64> {
    matches!(kind, "vfat" | "msdos").then_some(FAT_MAX_FILE)
}

/// The path, or the nearest parent of it that exists, without symbolic links. A link to something
/// that is missing counts as its target: that is where a file would be made.
fn existing(path: &Path) -> io::Result<PathBuf> {
    let mut path = std::path::absolute(path)?;
    let mut links = 0;
    loop {
        match path.canonicalize() {
            Err(e) if is_missing(&e) => {}
            done => return done,
        }
        let parent = path.parent().map(Path::to_owned).unwrap_or_default();
        path = match fs::read_link(&path) {
            Ok(target) if links < MAX_LINKS => {
                links += 1;
                parent.join(target)
            }
            _ if parent.as_os_str().is_empty() => return Err(io::ErrorKind::NotFound.into()),
            _ => parent,
        };
    }
}

fn ensure_dir(path: &Path, probe: bool) -> Result<(), Failure> {
    make_dir(path).map_err(|e| unusable(e, path, "cannot make the folder"))?;
    if !probe {
        return Ok(());
    }
    let file = path.join(format!(".probe-{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&file)
        .and_then(|mut f| f.write_all(b"backupctl"));
    let removed = match fs::remove_file(&file) {
        Err(e) if !is_missing(&e) => Err(e),
        _ => Ok(()),
    };
    written.and(removed).map_err(|e| unusable(e, path, "cannot write into"))
}
