//! Dumps PostgreSQL, through our own compressor: one database by `pg_dump`'s custom format, roles and
//! whole servers as a script for `psql`, since no other format holds them.
//!
//! The catalog is read in the very snapshot that `pg_dump` uses, and compared with what the dump says of
//! itself as it streams by: what the database shows and the dump lacks is `DUMP_INCOMPLETE`.

mod archive;
mod args;
mod catalog;
mod client;
mod compare;
mod loader;
mod passfile;
mod pattern;
mod program;
mod roles;
mod script;
mod script_dump;
mod session;
mod stderr;
mod toc;
mod tunnel;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use backupctl_adapter_process::{Output, Tool};
use backupctl_application::context::{Cancel, StageContext};
use backupctl_application::ports::{
    DatabaseDumper, DumpPreview, DumpRequest, DumpedFile, ToolInfo, VerifyRequest,
};
use backupctl_domain::project::Database;
use backupctl_domain::{ErrorCode, Failure, Stage};

use args::ExtraArgs;
use client::{Client, conninfo};
use passfile::PassFile;
use program::Programs;
use session::Session;

pub use loader::PostgresLoader;

/// Dumps one PostgreSQL database, or all of a server.
#[derive(Debug)]
pub struct PostgresDumper {
    client: Client,
    encrypted: bool,
}

/// In which form `pg_dump` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Custom,
    /// SQL, perhaps with what makes the database and connects to it.
    Plain {
        create: bool,
    },
}

impl PostgresDumper {
    /// A dumper for `database`. `runtime_dir` is a 0700 folder for the short life of a password file;
    /// `journal` the file that notes running programs, for whoever cleans up after a crash.
    pub fn new(database: &Database, runtime_dir: PathBuf, journal: Option<PathBuf>) -> Self {
        Self { client: Client::new(database, runtime_dir, journal), encrypted: false }
    }

    /// Says whether the dump is going to be encrypted; of one with password verifiers in it that is
    /// not, the run warns.
    #[must_use]
    pub fn encrypted(mut self, encrypted: bool) -> Self {
        self.encrypted = encrypted;
        self
    }

    /// Looks for docker's client in these folders (as `PATH` holds them) instead of this process's
    /// `PATH`.
    #[must_use]
    pub fn search_path(mut self, path: impl Into<OsString>) -> Self {
        self.client.path = Some(path.into());
        self
    }

    fn is_script(&self) -> bool {
        self.client.database.extension() == "sql"
    }

    fn extra_args(&self) -> Result<ExtraArgs, Failure> {
        args::check(&self.client.database.options.extra_args, self.is_script())
    }

    /// Where the finished dump will be.
    fn path(&self, request: &DumpRequest) -> PathBuf {
        let mut ext = self.client.database.extension().to_owned();
        if let Some(compression) = request.compression {
            ext = format!("{ext}.{}", compression.algorithm.extension());
        }
        request.dir.join(request.name.with_ext(ext).to_string())
    }

    /// `pg_dump` for the database of `client`, and the password file that it needs until it has ended.
    fn dump_tool(
        client: &Client,
        programs: &Programs,
        format: Format,
        extra: &[String],
        snapshot: Option<&str>,
        request: &DumpRequest,
    ) -> Result<(Tool, Option<PassFile>), Failure> {
        let Database { name, options, .. } = &client.database;
        let (tool, file) = client.connecting(&programs.dump, &pass_name(request))?;
        let mut tool = tool.arg(format!("--dbname={}", conninfo(name)));
        tool = match format {
            Format::Custom => tool.args(["--format=custom", "--compress=0"]),
            Format::Plain { create: false } => tool.arg("--format=plain"),
            Format::Plain { create: true } => tool.args(["--format=plain", "--create"]),
        };
        if let Some(snapshot) = snapshot {
            tool = tool.arg(format!("--snapshot={snapshot}"));
        }
        for pattern in &options.exclude_tables {
            tool = tool.arg(format!("--exclude-table={pattern}"));
        }
        for pattern in &options.exclude_table_data {
            tool = tool.arg(format!("--exclude-table-data={pattern}"));
        }
        Ok((tool.args(extra), file))
    }
}

/// Named as a partial file of this run, so that what a killed run leaves is cleared with those.
fn pass_name(request: &DumpRequest) -> String {
    request.name.with_ext("pgpass").partial()
}

fn wrote_nothing(place: &str, output: &Output) -> Failure {
    Failure::new(
        ErrorCode::DumpEmpty,
        format!("pg_dump of {place} ended with status 0 and wrote nothing"),
    )
    .with_detail(stderr::tail(&output.stderr))
}

#[async_trait]
impl DatabaseDumper for PostgresDumper {
    async fn check_tool(&self) -> Result<ToolInfo, Failure> {
        self.extra_args()?;
        let ctx = StageContext::new(Stage::Dump, Cancel::new(), Arc::default());
        let installed = self.client.installed()?;
        let other = if self.is_script() {
            installed.default.other("pg_dumpall")?
        } else {
            installed.default.restore.clone()
        };
        let version = self.client.ask_version(&installed.default.dump, &ctx).await?;
        // Those of this machine have been found; one in a container has to be asked.
        if self.client.database.container.is_some() {
            self.client.ask_version(&other, &ctx).await?;
        }
        Ok(ToolInfo { name: "pg_dump".to_owned(), version })
    }

    async fn check_database(&self, ctx: &StageContext) -> Result<DumpPreview, Failure> {
        let extra = self.extra_args()?;
        let database = &self.client.database;
        let whole = database.is_whole_server();
        let mut session = Session::open_home(&self.client, ctx).await?;
        self.client.programs(&session.server_version, ctx).await?;
        if self.is_script() {
            script_dump::check_rights(&mut session, &extra, ctx).await?;
        }
        let sql = if whole {
            "select coalesce(sum(pg_catalog.pg_database_size(oid)), 0)::bigint from pg_catalog.pg_database where datallowconn"
        } else {
            "select pg_catalog.pg_database_size(pg_catalog.current_database())"
        };
        // Not every role may ask for it everywhere, and nothing depends on it.
        let bytes = session.ask::<i64>(ctx, sql).await.ok();
        let server_version = session.server_version.clone();
        session.close().await;
        ctx.cancel.check()?;
        Ok(DumpPreview {
            server_version,
            database_bytes: bytes.and_then(|b| u64::try_from(b).ok()),
        })
    }

    async fn dump(&self, request: &DumpRequest, ctx: &StageContext) -> Result<DumpedFile, Failure> {
        let extra = self.extra_args()?;
        if self.is_script() {
            self.dump_script(&extra, request, ctx).await
        } else {
            self.dump_archive(&extra, request, ctx).await
        }
    }

    async fn verify(&self, request: &VerifyRequest, ctx: &StageContext) -> Result<(), Failure> {
        // What the file is, not what the configuration has become since.
        if script_dump::is_script(&request.path) {
            script_dump::verify(request, ctx).await
        } else {
            self.verify_archive(request, ctx).await
        }
    }
}
