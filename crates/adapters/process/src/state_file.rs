//! Small files in which an adapter remembers something between runs. Losing one costs time or
//! knowledge, never data.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Makes a folder of this program's own, and those above it, 0700.
///
/// # Errors
///
/// The system's.
pub fn make_private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Does `work` on the files of a folder while no other process does; the folder is made where it is
/// missing.
///
/// # Errors
///
/// The system's, and those of the work.
pub fn while_locked(dir: &Path, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    make_private(dir)?;
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(dir.join(".lock"))?;
    lock.lock()?;
    work()
}

/// Replaces a file at once and whole, 0600; to be called while its folder is locked.
///
/// # Errors
///
/// The system's.
pub fn write_state(file: &Path, content: &[u8]) -> io::Result<()> {
    let partial = file.with_extension("partial");
    let mut out =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&partial)?;
    out.write_all(content)?;
    out.sync_all()?;
    fs::rename(&partial, file)
}
