//! Dumps SQLite in-process: the online backup API into a copy, checked, then compressed.
//!
//! The source is opened read-only and never created: a missing file dumped as an empty database is
//! how others looked healthy while doing nothing.

mod copy;
mod loader;
mod source;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use backupctl_adapter_process::{AtomicFile, Existing, write_failure};
use backupctl_application::context::StageContext;
use backupctl_application::ports::{
    DatabaseDumper, DumpPreview, DumpRequest, DumpedFile, ToolInfo, VerifyRequest,
};
use backupctl_domain::human::ByteSize;
use backupctl_domain::manifest::{Completeness, completeness, listed};
use backupctl_domain::project::{Database, Engine};
use backupctl_domain::{DumpInfo, ErrorCode, Failure};

use crate::blocking::{self, Interrupts};
use crate::stream::{Packing, Watch, Written, into_failure, pump, read_failure};
use crate::verify::{Hashing, read_back};
use source::{Source, contents};

pub use loader::SqliteLoader;

/// Dumps one SQLite database.
#[derive(Debug)]
pub struct SqliteDumper {
    database: Database,
}

impl SqliteDumper {
    /// A dumper for the file at `database.path`.
    pub fn new(database: &Database) -> Self {
        Self { database: database.clone() }
    }

    fn path(&self) -> Result<PathBuf, Failure> {
        self.database.path.clone().ok_or_else(|| {
            Failure::new(ErrorCode::InvalidConfig, "`database.path` is missing")
                .with_remedy("set `database.path` to the SQLite file")
        })
    }

    /// Options that mean nothing here and that somebody might count on.
    fn ignored_options(&self) -> Vec<String> {
        let options = &self.database.options;
        [
            ("extra_args", !options.extra_args.is_empty()),
            ("exclude_tables", !options.exclude_tables.is_empty()),
            ("exclude_table_data", !options.exclude_table_data.is_empty()),
            ("globals", options.globals),
        ]
        .iter()
        .filter(|(_, set)| *set)
        .map(|(key, _)| {
            format!("`database.options.{key}` has no effect on SQLite: the whole file is dumped")
        })
        .collect()
    }
}

#[async_trait]
impl DatabaseDumper for SqliteDumper {
    async fn check_tool(&self) -> Result<ToolInfo, Failure> {
        self.path()?;
        Ok(ToolInfo { name: "SQLite".to_owned(), version: rusqlite::version().to_owned() })
    }

    async fn check_database(&self, ctx: &StageContext) -> Result<DumpPreview, Failure> {
        let path = self.path()?;
        blocking::run(ctx, None, "opening the database", move |watch, _| {
            let source = Source::open(&path, false, &watch)?;
            Ok(DumpPreview {
                server_version: rusqlite::version().to_owned(),
                database_bytes: Some(source.bytes()?),
            })
        })
        .await
    }

    async fn dump(&self, request: &DumpRequest, ctx: &StageContext) -> Result<DumpedFile, Failure> {
        let path = self.path()?;
        let request = request.clone();
        let limit = request.timeout;
        let mut dumped = blocking::run(ctx, limit, "the SQLite dump", move |watch, interrupts| {
            match dump(&path, &request, false, &watch, interrupts)? {
                Some(dumped) => Ok(dumped),
                // Somebody opened the database while it was read as one that nobody has open.
                None => dump(&path, &request, true, &watch, interrupts)?
                    .ok_or_else(|| Failure::internal("a locked database has changed")),
            }
        })
        .await?;
        dumped.warnings.extend(self.ignored_options());
        Ok(dumped)
    }

    async fn verify(&self, request: &VerifyRequest, ctx: &StageContext) -> Result<(), Failure> {
        let request = request.clone();
        let limit = request.timeout;
        blocking::run(ctx, limit, "reading the dump back", move |watch, interrupts| {
            verify(&request, &watch, interrupts)
        })
        .await
    }
}

/// `None` where the database has changed under a reader without a lock.
fn dump(
    path: &Path,
    request: &DumpRequest,
    shared: bool,
    watch: &Watch,
    interrupts: &Interrupts,
) -> Result<Option<DumpedFile>, Failure> {
    let source = Source::open(path, shared, watch)?;
    let raw_bytes = source.bytes()?;
    check_room(raw_bytes, request.max_bytes, path)?;
    let extension = Engine::Sqlite.extension();
    let copy_name = request.name.with_ext(extension).to_string();
    let name = match request.compression {
        None => copy_name.clone(),
        Some(c) => format!("{copy_name}.{}", c.algorithm.extension()),
    };
    // Both names are found by whoever removes what a killed run has left.
    let target = request.dir.join(&name);
    let file = AtomicFile::create_as(format!("{copy_name}.copy"), &target, Existing::Refuse)?;
    let mut counted = watch.of(Some(raw_bytes));
    copy::copy(&source, &file, &mut counted)?;
    counted.report();
    let catalog = contents(&source.connection).map_err(|e| sqlite_failure(&e, path))?;
    if !source.is_unchanged()? {
        return Ok(None);
    }
    drop(source);

    let (found, remark) = copy::check(file.partial(), interrupts, watch)?;
    let mut warnings: Vec<String> = remark.into_iter().collect();
    let completeness = completeness(&catalog, &found, |_| false);
    match &completeness {
        Completeness::Missing(names) => {
            return Err(Failure::new(
                ErrorCode::DumpIncomplete,
                format!("the copy of {} lacks {}", path.display(), listed(names, 10)),
            ));
        }
        Completeness::NothingInDatabase => {
            warnings.push(format!(
                "the database {} holds no tables: the dump is empty",
                path.display()
            ));
        }
        Completeness::Complete => {}
    }
    let written = pack(file, raw_bytes, request, watch)?;
    watch.check()?;
    let Written { file, raw_bytes, bytes, checksum } = written;
    let path = file.commit()?;
    let info = DumpInfo {
        file: path.to_string_lossy().into_owned(),
        bytes,
        raw_bytes,
        checksum,
        engine: Engine::Sqlite.as_str().to_owned(),
        tool_version: format!("SQLite {}", rusqlite::version()),
    };
    Ok(Some(DumpedFile { path, info, completeness, warnings }))
}

/// `DISK_LOW` where an uncompressed copy has no room.
fn check_room(raw_bytes: u64, max_bytes: Option<u64>, path: &Path) -> Result<(), Failure> {
    let Some(max) = max_bytes.filter(|max| raw_bytes > *max) else { return Ok(()) };
    let (needs, may) = (ByteSize(raw_bytes), ByteSize(max));
    Err(Failure::new(
        ErrorCode::DiskLow,
        format!("an uncompressed copy of {} needs {needs}, {may} may be used", path.display()),
    )
    .with_remedy(
        "free space on the disk of `base_dir`, or lower `min_free_gb` if less may remain free",
    ))
}

/// Compresses the copy, which then goes; without compression the copy itself is the file.
fn pack(
    copy: AtomicFile,
    raw_bytes: u64,
    request: &DumpRequest,
    watch: &Watch,
) -> Result<Written, Failure> {
    let mut reader = File::open(copy.partial()).map_err(|e| read_failure(&e, copy.partial()))?;
    let Some(compression) = request.compression else {
        let hashed = Hashing::new(reader).finish(watch);
        let (bytes, checksum) = hashed.map_err(|e| into_failure(e, copy.partial()))?;
        return Ok(Written { file: copy, raw_bytes: bytes, bytes, checksum });
    };
    let target = copy.target().to_owned();
    let file = AtomicFile::create(&target, Existing::Refuse)?;
    let room = request.max_bytes.map(|max| max.saturating_sub(raw_bytes));
    let mut watch = watch.of(Some(raw_bytes));
    pump(&mut reader, file, Some(compression), room, &mut watch, |_| ())
        .map_err(|e| into_failure(e, &target))
}

fn verify(request: &VerifyRequest, watch: &Watch, interrupts: &Interrupts) -> Result<(), Failure> {
    let VerifyRequest { path, info, max_bytes, .. } = request;
    if Packing::of(path) == Packing::None {
        read_back(path, info, watch, |_| Ok(()))?;
        return copy::check(path, interrupts, watch).map(drop);
    }
    check_room(info.raw_bytes, *max_bytes, path)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".verify");
    let unpacked = AtomicFile::create(&path.with_file_name(name), Existing::Replace)?;
    let target = unpacked.partial().to_owned();
    let mut left = info.raw_bytes;
    let write = |chunk: &[u8]| {
        // What unpacks to more than was dumped is condemned at its end, and takes no room until then.
        let within = usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len()));
        left -= within as u64;
        let written = unpacked.handle().write_all(&chunk[..within]);
        written.map_err(|e| io::Error::other(write_failure(&e, &target)))
    };
    read_back(path, info, watch, write)?;
    // Never committed: it goes when this returns.
    copy::check(unpacked.partial(), interrupts, watch).map(drop)
}

/// What an error of SQLite about the file at `path` means.
pub(crate) fn sqlite_failure(error: &rusqlite::Error, path: &Path) -> Failure {
    use rusqlite::ErrorCode as Sqlite;
    let shown = path.display();
    match error.sqlite_error_code() {
        Some(Sqlite::DatabaseBusy | Sqlite::DatabaseLocked) => Failure::new(
            ErrorCode::DbTimeout,
            format!("{shown} was locked by a writer for 30 s: {error}"),
        )
        .with_remedy("find the writer with `fuser` or `lsof`, move `cron` to a quieter time, or let the application use WAL mode"),
        Some(Sqlite::DiskFull) => {
            Failure::new(ErrorCode::DiskFull, format!("the disk is full while copying to {shown}"))
                .with_remedy("free space on the disk of `base_dir`, which needs room for the whole database uncompressed")
        }
        Some(
            Sqlite::CannotOpen | Sqlite::PermissionDenied | Sqlite::ReadOnly,
        ) => source::denied(format!("{shown} cannot be opened: {error}")),
        Some(Sqlite::OperationInterrupted) => {
            Failure::new(ErrorCode::Interrupted, format!("reading {shown} was interrupted"))
        }
        _ => Failure::new(ErrorCode::DumpCorrupt, format!("{shown} cannot be read: {error}"))
            .permanent()
            .with_remedy("check it with `sqlite3 FILE 'pragma integrity_check'`; repair it with `.recover`, or go back to an older snapshot"),
    }
}
