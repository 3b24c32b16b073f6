//! Puts a SQLite dump in a database's place: unpacked beside it, checked, renamed.
//!
//! A `-wal` or `-journal` of the old database that is still there when the new file has its name would be
//! played into the new one, and damage it. So the old one is brought to rest first and kept locked until
//! the new one stands in its place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use backupctl_adapter_process::{AtomicFile, Existing, write_failure};
use backupctl_application::context::StageContext;
use backupctl_application::ports::{DatabaseLoader, LoadReport, TargetState, ToolInfo};
use backupctl_domain::manifest::listed;
use backupctl_domain::project::Database;
use backupctl_domain::{ErrorCode, Failure};
use rusqlite::{Connection, OpenFlags};

use super::source::{contents, is_busy, open, uri, with_suffix};
use super::{copy, sqlite_failure};
use crate::blocking::{self, Interrupts};
use crate::stream::{CHUNK, Decoder, Packing, Watch, into_failure, read_failure};

/// How long a writer may hold the database that is replaced.
const BUSY: Duration = Duration::from_secs(10);
/// How many things are named.
const NAMED: usize = 20;
/// What SQLite keeps beside a database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Loads into one SQLite file.
#[derive(Debug)]
pub struct SqliteLoader {
    database: Database,
}

impl SqliteLoader {
    /// A loader into the file at `database.path`.
    pub fn new(database: &Database) -> Self {
        Self { database: database.clone() }
    }

    /// The file itself where the path is a link: a rename must not take the link's place.
    fn path(&self) -> Result<PathBuf, Failure> {
        let path = self.database.path.clone().ok_or_else(|| {
            Failure::new(ErrorCode::InvalidConfig, "no file is named to load into")
                .with_remedy("name it: `--into sqlite:///path/to/file`")
        })?;
        Ok(fs::canonicalize(&path).unwrap_or(path))
    }
}

#[async_trait]
impl DatabaseLoader for SqliteLoader {
    async fn check_tool(&self) -> Result<ToolInfo, Failure> {
        self.path()?;
        Ok(ToolInfo { name: "SQLite".to_owned(), version: rusqlite::version().to_owned() })
    }

    async fn state(&self, ctx: &StageContext) -> Result<TargetState, Failure> {
        let path = self.path()?;
        blocking::run(ctx, None, "opening the database", move |_, _| state(&path)).await
    }

    async fn create(&self, ctx: &StageContext) -> Result<(), Failure> {
        let path = self.path()?;
        blocking::run(ctx, None, "creating the database", move |_, _| {
            let mut options = OpenOptions::new();
            let made = options.write(true).create_new(true).mode(0o600).open(&path);
            // An empty file is a database without tables.
            made.and_then(|file| file.sync_all()).map_err(|e| write_failure(&e, &path))
        })
        .await
    }

    async fn load(
        &self,
        dump: &Path,
        replace: bool,
        ctx: &StageContext,
    ) -> Result<LoadReport, Failure> {
        let (path, dump) = (self.path()?, dump.to_owned());
        blocking::run(ctx, None, "loading the dump", move |watch, interrupts| {
            load(&dump, &path, replace, &watch, interrupts)
        })
        .await
    }
}

fn state(path: &Path) -> Result<TargetState, Failure> {
    let found = match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(TargetState::Missing),
        found => found.map_err(|e| read_failure(&e, path))?,
    };
    if !found.is_file() {
        let message = format!("{} is no file", path.display());
        return Err(Failure::new(ErrorCode::PathNotWritable, message)
            .with_remedy("name the database file itself"));
    }
    // A database that nobody has open keeps its newest rows in a -wal too; an empty one has neither.
    if found.len() == 0 && !BESIDE.iter().any(|suffix| with_suffix(path, suffix).exists()) {
        return Ok(TargetState::Empty);
    }
    let objects = match open(path, "mode=ro").and_then(|c| contents(&c)) {
        Ok(objects) => objects.into_iter().take(NAMED).collect(),
        // Whatever it is, it is somebody's.
        Err(e) => vec![format!("what SQLite cannot read ({e})")],
    };
    Ok(if objects.is_empty() { TargetState::Empty } else { TargetState::Filled { objects } })
}

fn load(
    dump: &Path,
    path: &Path,
    replace: bool,
    watch: &Watch,
    interrupts: &Interrupts,
) -> Result<LoadReport, Failure> {
    match state(path)? {
        TargetState::Missing => {
            let message = format!("there is no database file {}", path.display());
            return Err(Failure::new(ErrorCode::DbNotFound, message)
                .with_remedy("add --create to have it made"));
        }
        TargetState::Filled { objects } if !replace => {
            return Err(Failure::new(
                ErrorCode::PathNotWritable,
                format!("{} is not empty; it holds {}", path.display(), listed(&objects, 5)),
            )
            .with_remedy("name a new file (--create), or add --force to replace this one whole"));
        }
        _ => {}
    }
    check_unused(path)?;
    let file = AtomicFile::create(path, Existing::Replace)?;
    unpack(dump, &file, watch)?;
    let (found, remark) = copy::check(file.partial(), interrupts, watch)
        .map_err(|failure| unsound(failure.message))?;
    keep_owner(&file, path)?;
    let mut notes: Vec<String> = remark.into_iter().collect();

    // From here on nobody else gets at the old database.
    let old = at_rest(path, &mut notes)?;
    check_unused(path)?;
    for suffix in BESIDE {
        let beside = with_suffix(path, suffix);
        match fs::remove_file(&beside) {
            Ok(()) => {
                notes.push(format!("removed {}, of the database that was there", beside.display()));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(write_failure(&e, &beside)),
        }
    }
    // Gone for good before the new file has the name, whatever happens to the machine.
    sync_folder(path)?;
    watch.check()?;
    file.commit()?;
    drop(old);
    let tables = found.iter().filter(|name| name.starts_with("table ")).count() as u64;
    Ok(LoadReport { tables, notes })
}

fn unpack(dump: &Path, file: &AtomicFile, watch: &Watch) -> Result<(), Failure> {
    let source = File::open(dump).map_err(|e| read_failure(&e, dump))?;
    let broken = |e: &io::Error| unsound(format!("{} does not decompress: {e}", dump.display()));
    let mut decoder = Decoder::new(source, Packing::of(dump)).map_err(|e| broken(&e))?;
    let mut watch = watch.of(None);
    let mut buffer = vec![0; CHUNK];
    let mut bytes = 0;
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                let written = file.handle().write_all(&buffer[..read]);
                written.map_err(|e| write_failure(&e, file.target()))?;
                watch.advance(read).map_err(|e| into_failure(e, dump))?;
                bytes += read;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(broken(&e)),
        }
    }
    watch.report();
    // SQLite takes a file of no bytes for a good database.
    if bytes == 0 { Err(unsound(format!("{} is empty", dump.display()))) } else { Ok(()) }
}

fn unsound(message: String) -> Failure {
    Failure::new(ErrorCode::DumpCorrupt, message).permanent().with_remedy(
        "restore the file again, or take an older snapshot: `backupctl snapshots` lists them",
    )
}

/// The application that could read the old file must be able to read the new one.
fn keep_owner(file: &AtomicFile, path: &Path) -> Result<(), Failure> {
    let old = fs::metadata(path).map_err(|e| read_failure(&e, path))?;
    let new = file.handle().metadata().map_err(|e| write_failure(&e, path))?;
    if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
        fchown(file.handle(), Some(old.uid()), Some(old.gid())).map_err(|e| {
            Failure::new(
                ErrorCode::PathNotWritable,
                format!(
                    "{} belongs to user {} and cannot be given to it: {e}",
                    path.display(),
                    old.uid()
                ),
            )
            .with_remedy("restore as that user or as root")
        })?;
    }
    let mode = fs::Permissions::from_mode(old.permissions().mode() & 0o7777);
    file.handle().set_permissions(mode).map_err(|e| write_failure(&e, path))
}

/// Takes the old database out of WAL mode and locks it, as long as the connection lives: its `-wal` and
/// `-journal` are then played into it and gone. `None` for a file that SQLite cannot read.
fn at_rest(path: &Path, notes: &mut Vec<String>) -> Result<Option<Connection>, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let locked = Connection::open_with_flags(uri(path, "mode=rw"), flags).and_then(|connection| {
        connection.busy_timeout(BUSY)?;
        let text = |sql| connection.query_row(sql, [], |row| row.get::<_, String>(0));
        // Busy as long as anybody else has a database in WAL mode open.
        text("pragma journal_mode = delete")?;
        connection.execute_batch("begin exclusive")?;
        // Unless somebody was quick between the two, no reader is left now.
        let mode = text("pragma journal_mode")?;
        Ok((connection, mode))
    });
    match locked {
        Ok((connection, mode)) if mode == "delete" => Ok(Some(connection)),
        Ok((_, mode)) => Err(in_use(path, &format!("was opened meanwhile (journal mode {mode})"))),
        Err(e) if is_busy(&e) => Err(in_use(path, &format!("is open elsewhere ({e})"))),
        Err(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            notes.push(format!("{} was no database", path.display()));
            Ok(None)
        }
        Err(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt) => {
            notes.push(format!("the database in {} was damaged", path.display()));
            Ok(None)
        }
        Err(e) => Err(sqlite_failure(&e, path)),
    }
}

/// Fails where another process has the file open, as far as this user may see: one that is at rest holds
/// no lock, and would go on writing to the file that has lost its name.
fn check_unused(path: &Path) -> Result<(), Failure> {
    let Ok(processes) = fs::read_dir("/proc") else { return Ok(()) };
    let ours = std::process::id().to_string();
    for process in processes.filter_map(Result::ok) {
        let pid = process.file_name().to_string_lossy().into_owned();
        if !pid.bytes().all(|b| b.is_ascii_digit()) || pid == ours {
            continue;
        }
        let Ok(files) = fs::read_dir(process.path().join("fd")) else { continue };
        let has_it = |file: fs::DirEntry| fs::read_link(file.path()).is_ok_and(|to| to == path);
        if files.filter_map(Result::ok).any(has_it) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Err(in_use(path, &format!("is open in process {pid} ({})", name.trim())));
        }
    }
    Ok(())
}

fn in_use(path: &Path, how: &str) -> Failure {
    Failure::new(ErrorCode::PathNotWritable, format!("the database {} {how}", path.display()))
        .with_remedy(
            "stop the application that uses it, then load again; the database is as it was",
        )
}

fn sync_folder(path: &Path) -> Result<(), Failure> {
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(dir).and_then(|d| d.sync_all()) {
        Err(e) if !matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Err(write_failure(&e, dir))
        }
        _ => Ok(()),
    }
}
