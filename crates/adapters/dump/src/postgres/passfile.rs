//! The password on its way to `pg_dump`, as libpq reads it from a file.

use std::path::{Path, PathBuf};

use backupctl_domain::Failure;

use crate::secret_file::SecretFile;

/// A PGPASSFILE, removed when it is dropped.
#[derive(Debug)]
pub(crate) struct PassFile(SecretFile);

impl PassFile {
    /// Writes the password for whatever the tool connects to; it connects to one server alone.
    pub(crate) fn write(path: PathBuf, password: &str) -> Result<Self, Failure> {
        let line = format!("*:*:*:*:{}\n", escaped(password));
        SecretFile::write(path, &line).map(Self)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// As libpq reads it: a backslash before `:` and `\`.
fn escaped(password: &str) -> String {
    password.replace('\\', "\\\\").replace(':', "\\:")
}

#[cfg(test)]
mod tests {
    use std::fs;
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
