//! Dumps PostgreSQL by `pg_dump`'s custom format, uncompressed, through our own compressor.
//!
//! The catalog is read in the very snapshot that `pg_dump` uses, and compared with the archive's table
//! of contents as it streams by: what the database shows and the dump lacks is `DUMP_INCOMPLETE`.

mod args;
mod catalog;
mod passfile;
mod pattern;
mod program;
mod session;
mod stderr;
mod toc;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backupctl_adapter_process::{AtomicFile, Existing, Output, ProcessError, Tool};
use backupctl_application::context::{Cancel, StageContext};
use backupctl_application::ports::{
    DatabaseDumper, DumpPreview, DumpRequest, DumpedFile, ToolInfo, VerifyRequest,
};
use backupctl_domain::manifest::{Completeness, Contents, completeness, listed};
use backupctl_domain::project::{Database, Engine};
use backupctl_domain::{DumpInfo, ErrorCode, Failure, Stage};

use crate::blocking;
use crate::stream::{Decoder, Packing, Watch, Written, into_failure, pump};
use crate::verify::read_back;
use args::ExtraArgs;
use catalog::Catalog;
use passfile::PassFile;
use program::{Installed, Programs, major_of, too_old, version_of};
use session::Session;
use toc::{TocReader, TocState};

/// Variables of libpq that would change whom or what we dump.
const LIBPQ_ENV: &[&str] = &[
    "PGAPPNAME",
    "PGCHANNELBINDING",
    "PGCLIENTENCODING",
    "PGCONNECT_TIMEOUT",
    "PGDATABASE",
    "PGDATESTYLE",
    "PGGEQO",
    "PGGSSDELEGATION",
    "PGGSSENCMODE",
    "PGGSSLIB",
    "PGHOST",
    "PGHOSTADDR",
    "PGKRBSRVNAME",
    "PGLOADBALANCEHOSTS",
    "PGMAXPROTOCOLVERSION",
    "PGMINPROTOCOLVERSION",
    "PGOPTIONS",
    "PGPORT",
    "PGREALM",
    "PGREQUIREAUTH",
    "PGREQUIREPEER",
    "PGREQUIRESSL",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGSSLCERT",
    "PGSSLCERTMODE",
    "PGSSLCOMPRESSION",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGSSLKEY",
    "PGSSLMAXPROTOCOLVERSION",
    "PGSSLMINPROTOCOLVERSION",
    "PGSSLMODE",
    "PGSSLNEGOTIATION",
    "PGSSLROOTCERT",
    "PGSSLSNI",
    "PGSYSCONFDIR",
    "PGTARGETSESSIONATTRS",
    "PGTZ",
    "PGUSER",
];
/// Without a password of ours, the tools may find one where libpq looks for it.
const PASSWORD_ENV: &[&str] = &["PGPASSWORD", "PGPASSFILE"];

/// How much `pg_restore --list` may print.
const LIST_LIMIT: usize = 16 << 20;

/// Dumps one PostgreSQL database.
#[derive(Debug)]
pub struct PostgresDumper {
    database: Database,
    runtime_dir: PathBuf,
    journal: Option<PathBuf>,
}

impl PostgresDumper {
    /// A dumper for `database`. `runtime_dir` is a 0700 folder for the short life of a password file;
    /// `journal` the file that notes running programs, for whoever cleans up after a crash.
    pub fn new(database: &Database, runtime_dir: PathBuf, journal: Option<PathBuf>) -> Self {
        Self { database: database.clone(), runtime_dir, journal }
    }

    /// What the configuration asks for and this version does not do.
    fn check_config(&self) -> Result<ExtraArgs, Failure> {
        let not_yet = |key: &str, what: &str, remedy: &str| {
            let message = format!("`{key}`: {what} is not available in this version");
            Err(Failure::new(ErrorCode::InvalidConfig, message).with_remedy(remedy))
        };
        if self.database.name == "all" {
            return not_yet(
                "database.name: all",
                "dumping every database of a server",
                "name one database in `database.name`, and make a project for each further one",
            );
        }
        if self.database.options.globals {
            return not_yet(
                "database.options.globals",
                "dumping roles and tablespaces",
                "remove `database.options.globals`; `pg_dumpall --globals-only` in `hooks.pre_backup` writes them to a file among `assets.paths`",
            );
        }
        args::check(&self.database.options.extra_args)
    }

    fn tool(&self, program: &Path) -> Tool {
        let mut tool = Tool::new(program).env("LC_ALL", "C");
        for name in LIBPQ_ENV {
            tool = tool.env_remove(name);
        }
        match &self.journal {
            Some(journal) => tool.journal(journal),
            None => tool,
        }
    }

    /// The programs for a server of that version, and `pg_dump`'s version if it had to be asked.
    async fn programs(&self, server: &str, ctx: &StageContext) -> Result<Programs, Failure> {
        let installed = Installed::find()?;
        let Some(needed) = major_of(server) else { return Ok(installed.default) };
        if installed.default.major >= Some(needed) {
            return Ok(installed.default);
        }
        let version = self.ask_version(&installed.default.dump, ctx).await?;
        if major_of(&version) >= Some(needed) {
            return Ok(installed.default);
        }
        installed.at_least(needed).cloned().ok_or_else(|| too_old(&version, server))
    }

    async fn ask_version(&self, program: &Path, ctx: &StageContext) -> Result<String, Failure> {
        let tool = self.tool(program).arg("--version").timeout(Some(Duration::from_secs(30)));
        let output = tool.run(ctx).await.map_err(|e| e.into_failure(ErrorCode::ToolMissing))?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        match version_of(&printed) {
            Some(version) if output.success() => Ok(version.to_owned()),
            _ => Err(Failure::new(
                ErrorCode::ToolMissing,
                format!("{} --version failed with {}", program.display(), output.status_text()),
            )
            .with_detail(output.last_lines(10))
            .with_remedy("install it again: `apt install --reinstall postgresql-client`")),
        }
    }

    fn dump_tool(
        &self,
        programs: &Programs,
        snapshot: Option<&str>,
        request: &DumpRequest,
    ) -> Result<(Tool, Option<PassFile>), Failure> {
        let Database { host, port, name, password, options, .. } = &self.database;
        let host = if host.is_empty() { "localhost" } else { host };
        let mut tool = self
            .tool(&programs.dump)
            .args(["--format=custom", "--compress=0", "--no-password"])
            .arg(format!("--host={host}"))
            .arg(format!("--port={port}"))
            .arg(format!("--username={}", session::options(&self.database)?.get_username()))
            .arg(format!("--dbname={}", conninfo(name)))
            .env("PGCONNECT_TIMEOUT", "10")
            .env("PGAPPNAME", "backupctl")
            .timeout(request.timeout);
        if let Some(snapshot) = snapshot {
            tool = tool.arg(format!("--snapshot={snapshot}"));
        }
        for pattern in &options.exclude_tables {
            tool = tool.arg(format!("--exclude-table={pattern}"));
        }
        for pattern in &options.exclude_table_data {
            tool = tool.arg(format!("--exclude-table-data={pattern}"));
        }
        if let Some(mode) = &options.sslmode {
            tool = tool.env("PGSSLMODE", mode);
        }
        if let Some(cert) = &options.sslrootcert {
            tool = tool.env("PGSSLROOTCERT", cert);
        }
        tool = tool.args(&options.extra_args);
        let Some(password) = password else { return Ok((tool, None)) };
        // Named as a partial file of this run, so that what a killed run leaves is cleared with those.
        let name = request.name.with_ext("pgpass").partial();
        let file = PassFile::write(self.runtime_dir.join(name), password.expose()?)?;
        for name in PASSWORD_ENV {
            tool = tool.env_remove(name);
        }
        Ok((tool.env("PGPASSFILE", file.path()), Some(file)))
    }

    /// The names in an archive whose format our own reader does not know.
    async fn list(
        &self,
        programs: &Programs,
        path: &Path,
        packing: Packing,
        ctx: &StageContext,
    ) -> Result<Contents, Failure> {
        let path = path.to_owned();
        let tool = self
            .tool(&programs.restore)
            .arg("--list")
            .capture_limit(LIST_LIMIT)
            .timeout(Some(Duration::from_mins(10)));
        let (output, _) = tool
            .run_writing(ctx, move |stdin| {
                // It reads no further than the table of contents and closes the pipe.
                let mut decoder = Decoder::new(std::fs::File::open(path)?, packing)?;
                io::copy(&mut decoder, &mut { stdin })
            })
            .await
            .map_err(|e| e.into_failure(ErrorCode::DumpTimeout))?;
        if !output.success() {
            return Err(unreadable(&output));
        }
        Ok(toc::contents_of_list(&String::from_utf8_lossy(&output.stdout)))
    }
}

/// A database's name as a connection string: a name with `=` in it or one that begins as a URL would
/// otherwise be taken for a whole connection string.
fn conninfo(name: &str) -> String {
    format!("dbname='{}'", name.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[async_trait]
impl DatabaseDumper for PostgresDumper {
    async fn check_tool(&self) -> Result<ToolInfo, Failure> {
        self.check_config()?;
        let ctx = StageContext::new(Stage::Dump, Cancel::new(), Arc::default());
        let installed = Installed::find()?;
        let version = self.ask_version(&installed.default.dump, &ctx).await?;
        Ok(ToolInfo { name: "pg_dump".to_owned(), version })
    }

    async fn check_database(&self, ctx: &StageContext) -> Result<DumpPreview, Failure> {
        self.check_config()?;
        let mut session = Session::open(&self.database, ctx).await?;
        self.programs(&session.server_version, ctx).await?;
        let sql = "select pg_catalog.pg_database_size(pg_catalog.current_database())";
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
        let extra = self.check_config()?;
        let mut session = Session::open(&self.database, ctx).await?;
        let programs = self.programs(&session.server_version, ctx).await?;
        let snapshot =
            if extra.own_transaction { None } else { session.export_snapshot(ctx).await? };
        let catalog = match &extra.selects {
            Some(_) => None,
            None => Some(Catalog::read(&mut session, &self.database.options, ctx).await?),
        };
        let (output, written, toc) =
            self.stream(&programs, snapshot.as_deref(), request, ctx).await?;
        self.check_end(&output, &written)?;

        let mut warnings = Vec::new();
        let (state, mut contents, version) = toc.finish();
        if let TocState::Unreadable(why) = state {
            tracing::debug!(reason = %why, "reading the archive's contents by pg_restore --list");
            let packing = Packing::of(written.file.target());
            contents = self.list(&programs, written.file.partial(), packing, ctx).await?;
        }
        let completeness = match (&catalog, &extra.selects) {
            (Some(catalog), _) => {
                let exact = snapshot.is_some();
                self.compare(catalog, &contents, exact, &mut session, ctx).await?
            }
            (None, selects) => {
                let arg = selects.as_deref().unwrap_or_default();
                warnings.push(format!(
                    "the dump was not compared with the database's catalog: {arg} in `database.options.extra_args` chooses what is dumped"
                ));
                Completeness::Complete
            }
        };
        if completeness == Completeness::NothingInDatabase {
            warnings.push(format!("database {} holds no tables: the dump is empty", session.place));
        }
        session.close().await;
        let tool_version = match version.as_deref().and_then(version_of) {
            Some(version) => version.to_owned(),
            None => self.ask_version(&programs.dump, ctx).await?,
        };
        ctx.cancel.check()?;
        let Written { file, raw_bytes, bytes, checksum } = written;
        let path = blocking::run(ctx, None, "writing the dump", move |_, _| file.commit()).await?;
        let info = DumpInfo {
            file: path.to_string_lossy().into_owned(),
            bytes,
            raw_bytes,
            checksum,
            engine: Engine::Postgres.as_str().to_owned(),
            tool_version: format!("pg_dump {tool_version}"),
        };
        Ok(DumpedFile { path, info, completeness, warnings })
    }

    async fn verify(&self, request: &VerifyRequest, ctx: &StageContext) -> Result<(), Failure> {
        let installed = Installed::find()?;
        let made_by = version_of(&request.info.tool_version).and_then(major_of).unwrap_or_default();
        let programs = installed.at_least(made_by).unwrap_or(&installed.default);
        let tool = self.tool(&programs.restore).arg("--file=/dev/null").timeout(request.timeout);
        let VerifyRequest { path, info, .. } = request.clone();
        let watch = Watch::new(ctx);
        let ran = tool.run_writing(ctx, move |stdin| {
            let mut reading = true;
            let checked = read_back(&path, &info, &watch, |chunk| {
                if !reading {
                    return Ok(());
                }
                match stdin.write_all(chunk) {
                    // It has seen enough, or too much; its status tells. Ours goes on to the end.
                    Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                        reading = false;
                        Ok(())
                    }
                    other => other,
                }
            });
            checked.map_err(io::Error::other)
        });
        let (output, checked) = match ran.await {
            Err(ProcessError::TimedOut { limit, .. }) => {
                return Err(blocking::timed_out("reading the dump back", limit));
            }
            other => other.map_err(|e| e.into_failure(ErrorCode::DumpTimeout))?,
        };
        checked.map_err(|e| into_failure(e, &request.path))?;
        if output.success() { Ok(()) } else { Err(unreadable(&output)) }
    }
}

impl PostgresDumper {
    /// Runs `pg_dump` into the partial file.
    async fn stream(
        &self,
        programs: &Programs,
        snapshot: Option<&str>,
        request: &DumpRequest,
        ctx: &StageContext,
    ) -> Result<(Output, Written, TocReader), Failure> {
        let mut ext = Engine::Postgres.extension().to_owned();
        if let Some(compression) = request.compression {
            ext = format!("{ext}.{}", compression.algorithm.extension());
        }
        let name = request.name.with_ext(ext).to_string();
        let file = AtomicFile::create(&request.dir.join(name), Existing::Refuse)?;
        let target = file.target().to_owned();
        let (tool, pass_file) = self.dump_tool(programs, snapshot, request)?;
        let (compression, max_bytes) = (request.compression, request.max_bytes);
        let mut watch = Watch::new(ctx);
        let mut toc = TocReader::new();
        let ran = tool.run_reading(ctx, move |stdout| {
            let tap = |chunk: &[u8]| toc.feed(chunk);
            let written = pump(stdout, file, compression, max_bytes, &mut watch, tap)?;
            Ok((written, toc))
        });
        let ran = ran.await;
        drop(pass_file);
        match ran {
            Ok((output, (written, toc))) => Ok((output, written, toc)),
            Err(ProcessError::Pipe(error, _)) => Err(into_failure(error, &target)),
            Err(ProcessError::TimedOut { limit, stderr, .. }) => {
                Err(blocking::timed_out("pg_dump", limit).with_detail(stderr::tail(&stderr)))
            }
            Err(other) => Err(other.into_failure(ErrorCode::DumpTimeout)),
        }
    }

    fn check_end(&self, output: &Output, written: &Written) -> Result<(), Failure> {
        let place = session::place(&self.database);
        if !output.success() {
            return Err(stderr::dump_failure(&output.status_text(), &output.stderr, &place));
        }
        if written.raw_bytes == 0 {
            return Err(Failure::new(
                ErrorCode::DumpEmpty,
                format!("pg_dump of {place} ended with status 0 and wrote nothing"),
            )
            .with_detail(stderr::tail(&output.stderr)));
        }
        Ok(())
    }

    /// Compares; where both were not read in one snapshot, what has gone meanwhile is not missing.
    async fn compare(
        &self,
        catalog: &Catalog,
        contents: &Contents,
        exact: bool,
        session: &mut Session,
        ctx: &StageContext,
    ) -> Result<Completeness, Failure> {
        let mut found =
            completeness(&catalog.contents, contents, |name| catalog.excluded.contains(name));
        if let (Completeness::Missing(names), false) = (&mut found, exact) {
            let now = Catalog::read(session, &self.database.options, ctx).await?;
            names.retain(|name| now.contents.contains(name) && !now.excluded.contains(name));
            if names.is_empty() {
                return Ok(Completeness::Complete);
            }
        }
        judged(found, &session.place)
    }
}

/// What the comparison has found, or the failure that it is.
fn judged(found: Completeness, place: &str) -> Result<Completeness, Failure> {
    let Completeness::Missing(names) = found else { return Ok(found) };
    let names = listed(&names, 10);
    Err(Failure::new(
        ErrorCode::DumpIncomplete,
        format!("the dump of {place} lacks what the database shows: {names}"),
    )
    .with_remedy(
        "grant the backup role access to them, or leave them out by `database.options.exclude_tables`",
    ))
}

fn unreadable(output: &Output) -> Failure {
    Failure::new(
        ErrorCode::DumpCorrupt,
        format!("pg_restore cannot read the dump ({})", output.status_text()),
    )
    .with_detail(output.last_lines(10))
    .with_remedy(
        "run the backup again; if it happens twice, compare the versions of pg_dump and pg_restore",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_archive_lacks_is_named() {
        let of = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Contents>();
        let catalog =
            of(&["table public.a", "data of table public.a", "view public.v", "table x.log"]);
        let archive = of(&["table public.a"]);
        let found = completeness(&catalog, &archive, |name| name == "table x.log");
        let failure = judged(found, "shop at db:5432").unwrap_err();
        assert_eq!(failure.code, ErrorCode::DumpIncomplete);
        assert!(failure.message.ends_with("shows: data of table public.a, view public.v"));
        assert!(judged(Completeness::NothingInDatabase, "shop").is_ok());
    }

    #[test]
    fn a_database_name_is_never_a_connection_string() {
        assert_eq!(conninfo("shop"), "dbname='shop'");
        assert_eq!(conninfo(r"host=x it's\"), r"dbname='host=x it\'s\\'");
    }
}
