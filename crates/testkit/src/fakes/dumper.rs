//! A database that is a few bytes.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backupctl_application::context::StageContext;
use backupctl_application::ports::{
    DatabaseDumper, DumpPreview, DumpRequest, DumpedFile, ToolInfo, VerifyRequest,
};
use backupctl_domain::manifest::Completeness;
use backupctl_domain::project::Engine;
use backupctl_domain::{DumpInfo, ErrorCode, Failure};

use super::faults::injectable;
use super::{Core, Journal, checksum, locked};

struct Database {
    content: Vec<u8>,
    completeness: Completeness,
    warnings: Vec<String>,
    bytes: Option<u64>,
    requests: Vec<DumpRequest>,
    proofs: Vec<VerifyRequest>,
}

/// A [`DatabaseDumper`]. Operations: `check_tool`, `check_database`, `dump`, `verify`.
///
/// Writes a real small file where `DumpRequest::dir` exists, else tells of a file that is not there.
/// Clones share everything but the engine.
#[derive(Clone)]
pub struct FakeDumper {
    core: Arc<Core>,
    engine: Engine,
    database: Arc<Mutex<Database>>,
}

injectable!(FakeDumper);

impl FakeDumper {
    /// A PostgreSQL database.
    pub fn new(journal: &Arc<Journal>) -> Self {
        let operations = &["check_tool", "check_database", "dump", "verify"];
        Self {
            core: Arc::new(Core::new(journal, operations)),
            engine: Engine::Postgres,
            database: Arc::new(Mutex::new(Database {
                content: b"rows of a fake database\n".repeat(64),
                completeness: Completeness::Complete,
                warnings: Vec::new(),
                bytes: Some(1 << 20),
                requests: Vec::new(),
                proofs: Vec::new(),
            })),
        }
    }

    /// The same database under another engine's name.
    #[must_use]
    pub fn with_engine(&self, engine: Engine) -> Self {
        Self { engine, ..self.clone() }
    }

    /// Sets what a dump holds; an empty one is `DUMP_EMPTY`.
    pub fn set_content(&self, content: impl Into<Vec<u8>>) {
        locked(&self.database).content = content.into();
    }

    /// Sets what the comparison of catalog and dump finds.
    pub fn set_completeness(&self, completeness: Completeness) {
        locked(&self.database).completeness = completeness;
    }

    /// Sets what a dump warns of.
    pub fn set_warnings(&self, warnings: &[&str]) {
        locked(&self.database).warnings = warnings.iter().map(|w| (*w).to_owned()).collect();
    }

    /// Sets the database's size on its server.
    pub fn set_database_bytes(&self, bytes: Option<u64>) {
        locked(&self.database).bytes = bytes;
    }

    /// Every dump that was asked for.
    pub fn requests(&self) -> Vec<DumpRequest> {
        locked(&self.database).requests.clone()
    }

    /// Every proof that was asked for.
    pub fn proofs(&self) -> Vec<VerifyRequest> {
        locked(&self.database).proofs.clone()
    }

    fn tool(&self) -> ToolInfo {
        let name = match self.engine {
            Engine::Postgres => "pg_dump",
            Engine::Mysql => "mysqldump",
            Engine::Mariadb => "mariadb-dump",
            Engine::Mongodb => "mongodump",
            Engine::Sqlite => "sqlite",
            Engine::Redis => "redis-cli",
        };
        ToolInfo { name: name.to_owned(), version: "15.18".to_owned() }
    }
}

/// A partial file that goes away unless it is put in its place.
struct Partial(Option<PathBuf>);

impl Partial {
    fn begin(path: PathBuf, content: &[u8]) -> Result<Self, Failure> {
        let write = || {
            let mut options = fs::OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(content)
        };
        write().map_err(|e: std::io::Error| {
            let message = format!("{} cannot be written: {e}", path.display());
            Failure::new(ErrorCode::PathNotWritable, message)
        })?;
        Ok(Self(Some(path)))
    }

    fn finish(mut self, target: &Path) {
        if let Some(path) = self.0.take() {
            fs::rename(path, target).expect("a partial file can be renamed");
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

#[async_trait]
impl DatabaseDumper for FakeDumper {
    async fn check_tool(&self) -> Result<ToolInfo, Failure> {
        self.core.call("check_tool", "check dump tool", None).await?;
        Ok(self.tool())
    }

    async fn check_database(&self, ctx: &StageContext) -> Result<DumpPreview, Failure> {
        self.core.call("check_database", "check database", Some(&ctx.cancel)).await?;
        let database_bytes = locked(&self.database).bytes;
        Ok(DumpPreview { server_version: "15.18".to_owned(), database_bytes })
    }

    async fn dump(&self, request: &DumpRequest, ctx: &StageContext) -> Result<DumpedFile, Failure> {
        let (content, completeness, warnings) = {
            let mut database = locked(&self.database);
            database.requests.push(request.clone());
            let completeness = database.completeness.clone();
            (database.content.clone(), completeness, database.warnings.clone())
        };
        let mut ext = self.engine.extension().to_owned();
        if let Some(compression) = request.compression {
            ext = format!("{ext}.{}", compression.algorithm.extension());
        }
        let name = request.name.with_ext(ext);
        let path = request.dir.join(name.to_string());
        let partial = if request.dir.is_dir() {
            Some(Partial::begin(request.dir.join(name.partial()), &content)?)
        } else {
            None
        };
        self.core.call("dump", "dump", Some(&ctx.cancel)).await?;
        let bytes = content.len() as u64;
        if content.is_empty() {
            return Err(Failure::new(ErrorCode::DumpEmpty, "the dump tool wrote nothing"));
        }
        if request.max_bytes.is_some_and(|max| bytes > max) {
            return Err(Failure::new(ErrorCode::DiskLow, "the dump would fill the disk"));
        }
        if let Completeness::Missing(names) = &completeness {
            let message = format!("the dump lacks {}", names.join(", "));
            return Err(Failure::new(ErrorCode::DumpIncomplete, message));
        }
        ctx.progress(bytes, None);
        if let Some(partial) = partial {
            partial.finish(&path);
        }
        let tool = self.tool();
        let info = DumpInfo {
            file: path.to_string_lossy().into_owned(),
            bytes,
            raw_bytes: bytes,
            checksum: checksum(&content),
            engine: self.engine.as_str().to_owned(),
            tool_version: format!("{} {}", tool.name, tool.version),
        };
        Ok(DumpedFile { path, info, completeness, warnings })
    }

    async fn verify(&self, request: &VerifyRequest, ctx: &StageContext) -> Result<(), Failure> {
        locked(&self.database).proofs.push(request.clone());
        self.core.call("verify", "verify", Some(&ctx.cancel)).await?;
        // A dump that was never on disk has nothing to be read back.
        if !request.path.parent().is_some_and(Path::is_dir) {
            return Ok(());
        }
        let file = request.path.display();
        let content = fs::read(&request.path).map_err(|e| {
            Failure::new(ErrorCode::DumpCorrupt, format!("{file} cannot be read: {e}"))
        })?;
        if (content.len() as u64) < request.info.bytes {
            return Err(Failure::new(ErrorCode::DumpTruncated, format!("{file} ends too early")));
        }
        if checksum(&content) != request.info.checksum {
            let message = format!("{file} is not what was written");
            return Err(Failure::new(ErrorCode::ChecksumMismatch, message));
        }
        Ok(())
    }
}
