//! What the system's errors mean for a folder of archives. The remedies speak of its disk.

use std::io;
use std::path::Path;

use backupctl_domain::{ErrorCode, Failure};
use rustix::io::Errno;

use crate::folder::Folder;

/// What an error of writing to the folder means. A failure that travelled in the error comes out whole.
/// `device` is what was mounted, if it was [`visible`] when the work began.
pub(crate) fn write_failure(error: io::Error, folder: &Folder, device: Option<&str>) -> Failure {
    let error = match error.downcast::<Failure>() {
        Ok(failure) => return failure,
        Err(error) => error,
    };
    if is_gone(&error, folder, device) {
        return taken_out(folder.path());
    }
    path_failure(&error, folder.path())
}

/// A device that has a file by which its absence can be told. In a container it may have none.
pub(crate) fn visible(device: &str) -> Option<&str> {
    Some(device).filter(|device| device.starts_with("/dev/") && Path::new(device).exists())
}

/// What an error of reading an archive means.
pub(crate) fn read_failure(error: io::Error, folder: &Folder, file: &str) -> Failure {
    let error = match error.downcast::<Failure>() {
        Ok(failure) => return failure,
        Err(error) => error,
    };
    if is_gone(&error, folder, None) {
        return taken_out(folder.path());
    }
    let path = folder.path().join(file);
    let path = path.display();
    // Not that it is damaged: another cable, or another try, may bring it.
    if matches!(Errno::from_io_error(&error), Some(Errno::IO | Errno::TIMEDOUT | Errno::REMOTEIO)) {
        return Failure::new(ErrorCode::PathNotWritable, format!("cannot read {path}: {error}"))
            .with_remedy(
                "plug the disk in anew and try again; if it stays (`dmesg` tells of input/output \
                 errors), replace the disk and restore from another archive",
            );
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Failure::new(ErrorCode::PathNotWritable, format!("cannot read {path}: {error}"))
            .with_remedy(format!("give the user running backupctl the right to read {path}"));
    }
    Failure::new(ErrorCode::ChecksumMismatch, format!("{path} cannot be read: {error}"))
        .permanent()
        .with_remedy(
            "check the disk (`dmesg` tells of input/output errors) and replace it if it is failing; \
             restore from another archive",
        )
}

/// The failure of a disk that was there when work began.
pub(crate) fn taken_out(path: &Path) -> Failure {
    let path = path.display();
    Failure::new(
        ErrorCode::NotMounted,
        format!("the disk at {path} was taken out while it was in use"),
    )
    .with_remedy(format!("plug the disk in, mount it at {path}, and start the backup again"))
}

/// What an error at the folder itself means.
pub(crate) fn path_failure(error: &io::Error, path: &Path) -> Failure {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::new(
            ErrorCode::DiskFull,
            format!("the disk of {path} is full: {error}"),
        )
        .with_remedy(format!(
            "free space on the disk of {path}, keep fewer archives (`retention`, then `backupctl \
                     prune`), or set `archive.path` to a larger disk"
        )),
        io::ErrorKind::FileTooLarge => {
            too_large(&format!("the archive has grown larger than a file may be at {path}"))
        }
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::AlreadyExists => {
            Failure::new(ErrorCode::PathNotWritable, format!("cannot write to {path}: {error}"))
                .with_remedy(format!(
                    "make `archive.path` {path} a folder that the user running backupctl may write \
                     to, on a disk that is not mounted read-only"
                ))
        }
        _ => Failure::new(ErrorCode::PathNotWritable, format!("writing to {path} failed: {error}"))
            .with_remedy(
                "check the disk (`dmesg` tells of input/output errors), and replace it if it is \
                 failing",
            ),
    }
}

/// The failure of an archive that no file can hold.
pub(crate) fn too_large(message: &str) -> Failure {
    Failure::new(ErrorCode::FsFileTooLarge, message).with_remedy(
        "set `archive.split_size` to less than the limit (e.g. `3900MiB` on FAT32, which ends at 4 GiB), or \
         make the disk one of ext4 or exFAT, which deletes what is on it; where the limit is the \
         process's own, raise it (`ulimit -f unlimited`)",
    )
}

/// Whether an error says that the disk is not there any more.
fn is_gone(error: &io::Error, folder: &Folder, device: Option<&str>) -> bool {
    match Errno::from_io_error(error) {
        Some(Errno::NODEV | Errno::NXIO | Errno::NOTCONN | Errno::SHUTDOWN | Errno::STALE) => true,
        // A full disk is full, whatever has happened to its mount meanwhile.
        Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) | None => false,
        Some(_) => {
            let unplugged = device.is_some_and(|device| !Path::new(device).exists());
            unplugged || folder.is_unplugged() || !folder.is_there()
        }
    }
}
