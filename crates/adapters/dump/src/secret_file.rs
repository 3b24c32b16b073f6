//! A secret on its way to a tool: a file that only we can read, there for one call.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use backupctl_adapter_process::write_failure;
use backupctl_domain::Failure;

/// A file of mode 0600, removed when it is dropped.
#[derive(Debug)]
pub(crate) struct SecretFile(PathBuf);

impl SecretFile {
    /// Writes the whole content. The name should be that of a partial file of the run, so that what
    /// a killed run leaves is cleared with those.
    pub(crate) fn write(path: PathBuf, content: &str) -> Result<Self, Failure> {
        // One that an earlier attempt could not take away.
        let _ = fs::remove_file(&path);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| write_failure(&e, &path))?;
        let guard = Self(path);
        file.write_all(content.as_bytes()).map_err(|e| write_failure(&e, &guard.0))?;
        Ok(guard)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
