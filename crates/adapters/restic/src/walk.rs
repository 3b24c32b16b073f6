//! Counts files on disk: how big a local repository is, and what a restore has really brought.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Files and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// When an inode was last changed: seconds and nanoseconds of the file system's own clock.
pub(crate) type Changed = (i64, i64);

/// Counts everything but folders under `dir` that was changed after `since`. Entries that go
/// away meanwhile are passed over; links are counted, not followed.
pub(crate) fn count(dir: &Path, since: Option<Changed>) -> io::Result<Count> {
    let mut total = Count::default();
    let mut open = vec![fs::read_dir(dir)?];
    while let Some(entries) = open.last_mut() {
        let Some(entry) = entries.next() else {
            open.pop();
            continue;
        };
        let entry = entry?;
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            if let Ok(inner) = fs::read_dir(entry.path()) {
                open.push(inner);
            }
        } else if since.is_none_or(|since| changed(&meta) > since) {
            total.files += 1;
            if meta.is_file() {
                total.bytes += meta.len();
            }
        }
    }
    Ok(total)
}

/// The present by the clock of the file system that `dir` is on: what is written there from now on
/// is changed later, whatever this machine's clock says. `None` for an empty folder, where
/// everything is new.
pub(crate) fn mark(dir: &Path) -> io::Result<Option<Changed>> {
    if fs::read_dir(dir)?.next().is_none() {
        return Ok(None);
    }
    let path = dir.join(format!(".backupctl-restore-{}", std::process::id()));
    let file = fs::File::create(&path)?;
    let meta = file.metadata();
    fs::remove_file(&path)?;
    let now = changed(&meta?);
    // A file system that counts whole seconds: what is written in the same one is new as well.
    Ok(Some(if now.1 == 0 { (now.0 - 1, 0) } else { now }))
}

/// Whether a restore since then has brought this path of a snapshot below `dir`. Links are not
/// followed.
pub(crate) fn came(dir: &Path, path: &Path, since: Option<Changed>) -> bool {
    let restored = dir.join(path.strip_prefix("/").unwrap_or(path));
    fs::symlink_metadata(restored)
        .is_ok_and(|meta| since.is_none_or(|since| changed(&meta) > since))
}

fn changed(meta: &fs::Metadata) -> Changed {
    (meta.ctime(), meta.ctime_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_at_every_depth_are_counted_and_folders_are_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/f"), "12345").unwrap();
        fs::write(dir.path().join("g"), "1").unwrap();
        assert_eq!(count(dir.path(), None).unwrap(), Count { files: 2, bytes: 6 });
        let later = (i64::MAX, 0);
        assert_eq!(count(dir.path(), Some(later)).unwrap(), Count::default());
    }
}
