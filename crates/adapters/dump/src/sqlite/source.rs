//! Opens a SQLite database to be read, without leaving a trace beside it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backupctl_domain::manifest::Contents;
use backupctl_domain::{ErrorCode, Failure};
use rusqlite::{Connection, OpenFlags};

use super::sqlite_failure;
use crate::percent::encode;
use crate::stream::Watch;

/// How long a writer may hold the database: so many tries of so long each.
const BUSY_TRIES: u32 = 60;
const BUSY_TRY: Duration = Duration::from_millis(500);

/// An open database inside a read transaction.
pub(crate) struct Source {
    pub(crate) connection: Connection,
    path: PathBuf,
    /// What the file was like, where nobody else had it open and so no lock could be taken.
    unlocked: Option<Fingerprint>,
}

/// What changes when somebody writes the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fingerprint(u64, u64, i64, i64, i64, i64);

impl Source {
    /// Opens the database and begins to read, so that it stays as it is until this is dropped.
    ///
    /// A database in WAL mode that nobody has open has neither `-wal` nor `-shm`. Reading it the
    /// usual way would make both and, read-only, leave them there; so it is opened as immutable, and
    /// [`is_unchanged`](Self::is_unchanged) tells afterwards whether that was true. `shared` forbids it.
    pub(crate) fn open(path: &Path, shared: bool, watch: &Watch) -> Result<Self, Failure> {
        let wal_mode = inspect(path)?;
        let beside = |suffix: &str| with_suffix(path, suffix).exists();
        let alone = wal_mode && !shared && !beside("-wal") && !beside("-shm");
        let unlocked = if alone { Some(fingerprint(path)?) } else { None };
        let fail = |e: rusqlite::Error| sqlite_failure(&e, path);
        let connection =
            open(path, if alone { "mode=ro&immutable=1" } else { "mode=ro" }).map_err(fail)?;
        connection.busy_timeout(BUSY_TRY).map_err(fail)?;
        for left in (0..BUSY_TRIES).rev() {
            watch.check()?;
            let begun = connection.execute_batch("begin; select count(*) from sqlite_schema");
            if begun.is_err() {
                let _ = connection.execute_batch("rollback");
            }
            match begun {
                Ok(()) => break,
                Err(e) if left > 0 && is_busy(&e) => {}
                Err(e) => return Err(fail(e)),
            }
        }
        Ok(Self { connection, path: path.to_owned(), unlocked })
    }

    /// False if somebody may have written the database while it was read without a lock.
    pub(crate) fn is_unchanged(&self) -> Result<bool, Failure> {
        let Some(before) = self.unlocked else { return Ok(true) };
        let beside = |suffix: &str| with_suffix(&self.path, suffix).exists();
        Ok(fingerprint(&self.path)? == before && !beside("-wal") && !beside("-shm"))
    }

    /// The size of the database as it is read, in bytes.
    pub(crate) fn bytes(&self) -> Result<u64, Failure> {
        let ask = |pragma| self.connection.query_row(pragma, [], |row| row.get::<_, u32>(0));
        let fail = |e| sqlite_failure(&e, &self.path);
        let pages = ask("pragma page_count").map_err(fail)?;
        Ok(u64::from(pages) * u64::from(ask("pragma page_size").map_err(fail)?))
    }
}

/// Opens a file by URI with these parameters.
pub(crate) fn open(path: &Path, parameters: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(uri(path, parameters), flags)
}

/// The URI of a file, whatever its name holds.
pub(super) fn uri(path: &Path, parameters: &str) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    format!("file:{}?{parameters}", encode(path.as_os_str().as_bytes(), b"/-_."))
}

/// The tables, views, indexes and triggers of a database.
pub(crate) fn contents(connection: &Connection) -> rusqlite::Result<Contents> {
    let mut statement = connection.prepare(
        "select type || ' ' || name from sqlite_schema where name not like 'sqlite\\_%' escape '\\'",
    )?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    names.collect()
}

/// Whether the file is a database in WAL mode; a failure where it is none at all.
fn inspect(path: &Path) -> Result<bool, Failure> {
    let shown = path.display();
    let unreadable = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Failure::new(ErrorCode::DbNotFound, format!("there is no database file {shown}"))
                .with_remedy(
                    "correct `database.path`, or start the application that makes the file",
                )
        }
        io::ErrorKind::PermissionDenied => {
            denied(format!("the database file {shown} cannot be read: {e}"))
        }
        _ => Failure::new(ErrorCode::DumpCorrupt, format!("reading {shown} failed: {e}"))
            .permanent()
            .with_remedy("check the disk of that file (`dmesg` tells of input/output errors)"),
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(denied(format!("{shown} is no file"))
            .with_remedy("set `database.path` to the database file itself"));
    }
    if metadata.len() == 0 {
        return Err(Failure::new(
            ErrorCode::DumpEmpty,
            format!("the database file {shown} is empty"),
        )
        .permanent()
        .with_remedy("correct `database.path`, or restore the file: 0 bytes hold no database"));
    }
    let mut header = [0; 100];
    let mut file = File::open(path).map_err(unreadable)?;
    match file.read_exact(&mut header) {
        Ok(()) if header.starts_with(b"SQLite format 3\0") => {
            Ok(header[18] == 2 || header[19] == 2)
        }
        Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => Err(unreadable(e)),
        _ => Err(Failure::new(ErrorCode::DumpCorrupt, format!("{shown} is not a SQLite database"))
            .permanent()
            .with_remedy(
                "correct `database.path`; an encrypted database must be dumped by its application",
            )),
    }
}

pub(crate) fn denied(message: String) -> Failure {
    Failure::new(ErrorCode::DbPermissionDenied, message).with_remedy(
        "let the user running backupctl read the database file and its folder (`-wal` and `-shm` beside it too)",
    )
}

fn fingerprint(path: &Path) -> Result<Fingerprint, Failure> {
    let m = fs::metadata(path).map_err(|e| denied(format!("{}: {e}", path.display())))?;
    Ok(Fingerprint(m.ino(), m.len(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec()))
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned().into_vec();
    name.extend(suffix.bytes());
    OsString::from_vec(name).into()
}

pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_file_name_makes_a_uri_of_that_file() {
        assert_eq!(
            uri(Path::new("/srv/a b?c#d%.db"), "mode=ro"),
            "file:/srv/a%20b%3Fc%23d%25.db?mode=ro"
        );
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("q?mode=memory&ü#1%41.db");
        Connection::open(dir.path().join("x.db"))
            .unwrap()
            .execute_batch("create table t(a)")
            .unwrap();
        fs::rename(dir.path().join("x.db"), &path).unwrap();
        let found = contents(&open(&path, "mode=ro").unwrap()).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["table t"]);
    }
}
