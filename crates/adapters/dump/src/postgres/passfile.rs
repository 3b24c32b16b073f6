//! The password on its way to the tools: a file that only we can read, there for one call.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use backupctl_adapter_process::write_failure;
use backupctl_domain::Failure;

/// A PGPASSFILE, removed when it is dropped.
#[derive(Debug)]
pub(crate) struct PassFile(PathBuf);

impl PassFile {
    /// Writes the password for whatever the tool connects to; it connects to one server alone.
    pub(crate) fn write(path: PathBuf, password: &str) -> Result<Self, Failure> {
        // One that an earlier attempt could not take away.
        let _ = fs::remove_file(&path);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| write_failure(&e, &path))?;
        let guard = Self(path);
        writeln!(file, "*:*:*:*:{}", escaped(password)).map_err(|e| write_failure(&e, &guard.0))?;
        Ok(guard)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PassFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// As libpq reads it: a backslash before `:` and `\`.
fn escaped(password: &str) -> String {
    password.replace('\\', "\\\\").replace(':', "\\:")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_file_is_private_escaped_and_gone_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let file = PassFile::write(dir.path().join("pgpass"), r"a:b\c").unwrap();
        let path = file.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap(), "*:*:*:*:a\\:b\\\\c\n");
        drop(file);
        assert!(!path.exists());
    }
}
