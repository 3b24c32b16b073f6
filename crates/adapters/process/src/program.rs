//! Where programs are, and which package brings one that is missing.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// Searched where PATH is not set, as the C library does.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Finds a program by name in PATH, or by a path as it is; `None` unless it is an executable file.
pub fn find_program(name: impl AsRef<OsStr>) -> Option<PathBuf> {
    find_in(name.as_ref(), None)
}

/// The same in `path` instead of this process's PATH, where given.
pub(crate) fn find_in(name: &OsStr, path: Option<&OsStr>) -> Option<PathBuf> {
    if is_path(name) {
        return Some(PathBuf::from(name)).filter(|p| is_program(p));
    }
    let path = path.map_or_else(inherited_path, OsStr::to_owned);
    std::env::split_paths(&path)
        .filter(|dir| !dir.as_os_str().is_empty())
        .map(|dir| dir.join(name))
        .find(|file| is_program(file))
}

/// Whether a program is named by a path rather than to be searched.
pub(crate) fn is_path(name: &OsStr) -> bool {
    name.as_encoded_bytes().contains(&b'/')
}

#[expect(clippy::disallowed_methods, reason = "starting programs by name is what PATH is for")]
fn inherited_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into())
}

fn is_program(file: &Path) -> bool {
    file.is_file() && access(file, Access::EXEC_OK).is_ok()
}

/// What to do about a missing program.
pub(crate) fn remedy(program: &str) -> String {
    if is_path(OsStr::new(program)) {
        return format!(
            "install the program at {program}, or correct its path in the configuration"
        );
    }
    match package(program) {
        Some(package) => {
            format!("install it: `apt install {package}` (or `cargo xtask setup` in a checkout)")
        }
        None => format!("install {program}, or add its folder to PATH"),
    }
}

/// The Debian package that brings a program.
fn package(program: &str) -> Option<&'static str> {
    Some(match program {
        "restic" => "restic",
        "pg_dump" | "pg_dumpall" | "pg_restore" | "psql" => "postgresql-client",
        "mariadb-dump" | "mariadb" => "mariadb-client",
        "mysqldump" | "mysql" => "default-mysql-client",
        "mongodump" | "mongorestore" => "mongodb-database-tools",
        "redis-cli" | "redis-check-rdb" => "redis-tools",
        "ssh" | "sftp" | "ssh-keygen" | "ssh-keyscan" => "openssh-client",
        "age" | "age-keygen" => "age",
        "gpg" => "gnupg",
        "sqlite3" => "sqlite3",
        "zstd" => "zstd",
        "gzip" => "gzip",
        "tar" => "tar",
        _ => return None,
    })
}
