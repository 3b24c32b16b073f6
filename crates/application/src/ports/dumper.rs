//! Dumping a database into one file, and proving that file.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use backupctl_domain::manifest::Completeness;
use backupctl_domain::project::Compression;
use backupctl_domain::{DumpInfo, DumpName, Failure};

use crate::context::StageContext;

/// A program and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolInfo {
    /// Its name, e.g. `pg_dump`; the library's for an engine dumped in-process.
    pub name: String,
    /// Its version, e.g. `15.18`.
    pub version: String,
}

/// What is known of a database before it is dumped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpPreview {
    /// The server's version.
    pub server_version: String,
    /// The database's size on the server in bytes, if it tells.
    pub database_bytes: Option<u64>,
}

/// Where and how to dump.
#[derive(Debug, Clone)]
pub struct DumpRequest {
    /// The folder, which exists.
    pub dir: PathBuf,
    /// The file's name, without an extension: the dumper adds its own.
    pub name: DumpName,
    /// The compression; none if `None`.
    pub compression: Option<Compression>,
    /// After how long the dump is ended (`DUMP_TIMEOUT`).
    pub timeout: Option<Duration>,
    /// Bytes that may be written before the disk would be too full; `None` for no limit.
    pub max_bytes: Option<u64>,
}

/// A finished dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpedFile {
    /// Where it is.
    pub path: PathBuf,
    /// What the record keeps of it.
    pub info: DumpInfo,
    /// What the comparison of catalog and dump found.
    pub completeness: Completeness,
    /// What was noticed and is no failure.
    pub warnings: Vec<String>,
}

/// A dump to prove.
#[derive(Debug, Clone)]
pub struct VerifyRequest {
    /// Where it is.
    pub path: PathBuf,
    /// What was written: checksum, sizes.
    pub info: DumpInfo,
    /// After how long the check is given up (`DUMP_TIMEOUT`).
    pub timeout: Option<Duration>,
    /// Bytes that may be written meanwhile before the disk would be too full; `None` for no limit.
    pub max_bytes: Option<u64>,
}

/// Dumps one database.
///
/// Promises: memory does not grow with the data; the file is written as `.{name}.partial`, 0600,
/// fsynced, renamed, its folder fsynced; on any failure, and when cancelled, no file of that name or
/// its partial is left; every process of a pipe must have succeeded; nothing dumped is `DUMP_EMPTY`.
/// What the catalog shows and the dump lacks is `DUMP_INCOMPLETE`, found by `dump` or `verify`.
#[async_trait]
pub trait DatabaseDumper: Send + Sync {
    /// The dump tool, found and new enough. Talks to no server.
    async fn check_tool(&self) -> Result<ToolInfo, Failure>;
    /// Talks to the server: reachable, user and database accepted, version within the tool's.
    async fn check_database(&self, ctx: &StageContext) -> Result<DumpPreview, Failure>;
    /// Dumps the database.
    async fn dump(&self, request: &DumpRequest, ctx: &StageContext) -> Result<DumpedFile, Failure>;
    /// Proves the whole file: checksum, whole decompression, the engine's own reader over all of it.
    async fn verify(&self, request: &VerifyRequest, ctx: &StageContext) -> Result<(), Failure>;
}
