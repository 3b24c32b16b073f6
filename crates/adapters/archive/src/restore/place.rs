//! Moves what was unpacked into place: whole folders at once where nothing is there yet, entry by entry
//! where something is.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use backupctl_domain::{ErrorCode, Failure};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, openat, renameat, renameat_with, statat,
    unlinkat,
};
use rustix::io::Errno;

/// Fails if something is in the way that is not to be replaced: a folder where a file is to go, or
/// anything else where a folder is.
pub(super) fn conflicts(from: impl AsFd, to: impl AsFd, shown: &Path) -> Result<(), Failure> {
    let failed = |e: io::Error, path: &Path| super::target_failure(&e, path);
    for name in names(from.as_fd()).map_err(|e| failed(e, shown))? {
        let path = shown.join(OsStr::from_bytes(name.to_bytes()));
        let Some(there) = kind(to.as_fd(), &name).map_err(|e| failed(e, &path))? else { continue };
        let comes = kind(from.as_fd(), &name).map_err(|e| failed(e, &path))?;
        // Gone since it was listed.
        let Some(comes) = comes else { continue };
        match (comes == FileType::Directory, there == FileType::Directory) {
            (true, true) => {
                let from = folder(from.as_fd(), &name).map_err(|e| failed(e, &path))?;
                let to = folder(to.as_fd(), &name).map_err(|e| failed(e, &path))?;
                conflicts(from, to, &path)?;
            }
            (false, false) => {}
            _ => {
                let (there, comes, path) = (named(there), named(comes), path.display());
                return Err(Failure::new(
                    ErrorCode::PathNotWritable,
                    format!("{path} is {there} in the target and {comes} in the archive"),
                )
                .with_remedy(format!("name another folder (`--target`), or move {path} away")));
            }
        }
    }
    Ok(())
}

fn named(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a file",
        FileType::Directory => "a folder",
        FileType::Symlink => "a symbolic link",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::Unknown => "something else",
    }
}

/// Moves everything in `from` into `to`.
pub(super) fn merge(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    let (from, to) = (from.as_fd(), to.as_fd());
    for name in names(from)? {
        let name = name.as_c_str();
        let taken = match renameat_with(from, name, to, name, RenameFlags::NOREPLACE) {
            Ok(()) => continue,
            Err(Errno::EXIST | Errno::NOTEMPTY) => true,
            // Not every file system and kernel has it.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => kind(to, name)?.is_some(),
            Err(e) => return Err(e.into()),
        };
        if taken && kind(from, name)? == Some(FileType::Directory) {
            merge(folder(from, name)?, folder(to, name)?)?;
            unlinkat(from, name, AtFlags::REMOVEDIR)?;
        } else {
            renameat(from, name, to, name)?;
        }
    }
    Ok(())
}

fn names(folder: BorrowedFd<'_>) -> io::Result<Vec<std::ffi::CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn kind(folder: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<FileType>> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn folder(above: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(above, name, flags, Mode::empty())?)
}
