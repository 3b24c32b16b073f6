//! Roles and databases as one script for `psql`.
//!
//! It is composed here, of `pg_dumpall --globals-only` and a `pg_dump` for each database, instead of by one
//! `pg_dumpall`: that knows no `--exclude-table`, takes no snapshot that the catalog could be read in, and
//! passes over databases without a word.

use std::path::Path;
use std::time::{Duration, Instant};

use backupctl_adapter_process::{AtomicFile, Existing, Output, ProcessError, Tool};
use backupctl_application::context::StageContext;
use backupctl_application::ports::{DumpRequest, DumpedFile, VerifyRequest};
use backupctl_domain::manifest::{Completeness, Contents, listed};
use backupctl_domain::project::Engine;
use backupctl_domain::{ErrorCode, Failure};
use sqlx::Row;

use super::args::ExtraArgs;
use super::client::Client;
use super::compare::{Shown, remarks};
use super::program::Programs;
use super::script::{self, Found, ScriptReader};
use super::session::{Session, limited, place};
use super::{Format, PostgresDumper, pass_name, stderr, wrote_nothing};
use crate::blocking;
use crate::stream::{Packing, Pump, Watch, into_failure};
use crate::verify::read_back;

/// How long the list of databases may take.
const LIST_TIMEOUT: Duration = Duration::from_mins(2);
/// Databases of every server, which a script finds there and does not make.
pub(super) const OF_EVERY_SERVER: [&str; 2] = ["postgres", "template1"];

/// Roles and tablespaces of a server.
const ROLES: &str = "select 'role ' || rolname from pg_catalog.pg_roles where rolname !~ '^pg_'";
const TABLESPACES: &str =
    "select 'tablespace ' || spcname from pg_catalog.pg_tablespace where spcname !~ '^pg_'";
/// As `pg_dumpall` chooses them and in its order. A connection limit of -2 marks one whose `DROP
/// DATABASE` was cut short.
const DATABASES: &str = "select datname::text, datallowconn and datconnlimit <> -2
from pg_catalog.pg_database where datname <> 'template0' order by datname <> 'template1', datname";

/// Whether a file is such a script, by its name.
pub(super) fn is_script(path: &Path) -> bool {
    let inner = match Packing::of(path) {
        Packing::None => path.to_owned(),
        Packing::Zstd | Packing::Gzip => path.with_extension(""),
    };
    inner.extension().is_some_and(|e| e == "sql")
}

/// `DB_PERMISSION_DENIED` where the roles' passwords may not be read, found before anything is dumped.
pub(super) async fn check_rights(
    session: &mut Session,
    extra: &ExtraArgs,
    ctx: &StageContext,
) -> Result<(), Failure> {
    let sql = "select pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'select')";
    if extra.no_passwords || extra.globals.iter().any(|a| a.starts_with("--role")) {
        return Ok(());
    }
    if session.ask::<bool>(ctx, sql).await? {
        return Ok(());
    }
    Err(stderr::failure_of(
        "pg_dumpall",
        "exit status 1",
        "pg_dumpall: error: permission denied for table pg_authid",
        &session.place,
    ))
}

impl PostgresDumper {
    /// Dumps roles, tablespaces and the database, or every database.
    pub(super) async fn dump_script(
        &self,
        extra: &ExtraArgs,
        request: &DumpRequest,
        ctx: &StageContext,
    ) -> Result<DumpedFile, Failure> {
        let database = &self.client.database;
        let whole = database.is_whole_server();
        let mut home = Session::open_home(&self.client, ctx).await?;
        let programs = self.client.programs(&home.server_version, ctx).await?;
        let mut warnings = Vec::new();
        let databases = if whole {
            databases(&mut home, &mut warnings, ctx).await?
        } else {
            vec![database.name.clone()]
        };
        let globals = globals(&mut home, extra, ctx).await?;
        home.close().await;

        let mut script = Script {
            dumper: self,
            extra,
            request,
            ctx,
            begun: Instant::now(),
            pump: Some(self.begin(request, ctx)?),
            found: Vec::new(),
        };
        script.globals(&programs, &globals).await?;
        let mut unmatched: Option<Vec<String>> = None;
        let mut dumped = Vec::new();
        let mut nothing = true;
        for name in &databases {
            let Some(part) = script.database(&programs, name, whole).await? else {
                warnings.push(format!("database {name} was dropped while the dump was made"));
                continue;
            };
            nothing &= part.completeness == Completeness::NothingInDatabase;
            let patterns = unmatched.get_or_insert_with(|| part.unmatched.clone());
            patterns.retain(|pattern| part.unmatched.contains(pattern));
            dumped.push(name.clone());
        }
        let version = script.found.iter().find_map(|f| f.version.clone());
        if whole {
            check_connected(&dumped, &script.found, &place(database))?;
        }
        let pump = script.take_pump()?;
        let target = self.path(request);
        let written = blocking::run(ctx, None, "writing the dump", move |_, _| {
            let mut pump = pump;
            let end = format!("\n{}\n", script::END);
            pump.write(end.as_bytes())
                .and_then(|()| pump.finish())
                .map_err(|e| into_failure(e, &target))
        })
        .await?;

        warnings.extend(remarks(extra, &unmatched.unwrap_or_default()));
        if nothing {
            warnings
                .push(format!("database {} holds no tables: the dump is empty", place(database)));
        }
        if !self.encrypted && !extra.no_passwords {
            warnings.push(
                "the dump holds the password verifiers of the server's roles and is not encrypted: set `encryption`, or add `--no-role-passwords` to `database.options.extra_args`".to_owned(),
            );
        }
        let version = match version {
            Some(version) => version,
            None => self.client.ask_version(&programs.dump, ctx).await?,
        };
        let completeness =
            if nothing { Completeness::NothingInDatabase } else { Completeness::Complete };
        let tool = format!("pg_dump {version}");
        written.commit(Engine::Postgres, tool, completeness, warnings, ctx).await
    }

    fn begin(&self, request: &DumpRequest, ctx: &StageContext) -> Result<Pump, Failure> {
        let target = self.path(request);
        let file = AtomicFile::create(&target, Existing::Refuse)?;
        Pump::new(file, request.compression, request.max_bytes, Watch::new(ctx))
            .map_err(|e| into_failure(e, &target))
    }
}

/// A script being written.
struct Script<'a> {
    dumper: &'a PostgresDumper,
    extra: &'a ExtraArgs,
    request: &'a DumpRequest,
    ctx: &'a StageContext,
    begun: Instant,
    /// Away while a program's output goes through it.
    pump: Option<Pump>,
    /// What was found in each part; without the names that are compared already.
    found: Vec<Found>,
}

/// A database's part of it.
struct Part {
    completeness: Completeness,
    unmatched: Vec<String>,
}

impl Script<'_> {
    /// Roles and tablespaces; `expected` are those that were there before.
    async fn globals(&mut self, programs: &Programs, expected: &Contents) -> Result<(), Failure> {
        let Self { dumper, extra, request, ctx, .. } = self;
        let (client, ctx) = (&dumper.client, *ctx);
        let program = programs.other("pg_dumpall")?;
        let (tool, pass_file) = client.connecting(&program, &pass_name(request))?;
        let home = Session::open_home(client, ctx).await?;
        let tool = tool
            .args(["--globals-only", &format!("--database={}", home.database)])
            .args(&extra.globals);
        home.close().await;
        let place = place(&client.database);
        let text = format!("--\n{}\n--\n\n", script::BEGIN);
        let (output, found) = self.part("pg_dumpall", tool, text, &place).await?;
        drop(pass_file);
        if let Some(why) = found.lacks_part(true) {
            return Err(cut("pg_dumpall", &place, why, &output));
        }
        let missing: Vec<String> = expected.difference(&found.globals).cloned().collect();
        let still = if missing.is_empty() {
            Contents::new()
        } else {
            let mut home = Session::open_server(client, ctx).await?;
            let now = globals(&mut home, self.extra, ctx).await?;
            home.close().await;
            now
        };
        let missing: Vec<String> = missing.into_iter().filter(|n| still.contains(n)).collect();
        if !missing.is_empty() {
            return Err(lacking(&place, &missing));
        }
        self.found.push(found);
        Ok(())
    }

    /// One database; `None` where it has been dropped meanwhile.
    async fn database(
        &mut self,
        programs: &Programs,
        name: &str,
        whole: bool,
    ) -> Result<Option<Part>, Failure> {
        let Self { dumper, extra, request, ctx, .. } = self;
        let (client, ctx): (Client, _) = (dumper.client.of(name), *ctx);
        let mut shown = match Shown::open(&client, extra, ctx).await {
            Err(failure) if whole && failure.code == ErrorCode::DbNotFound => return Ok(None),
            other => other?,
        };
        let create = whole && !OF_EVERY_SERVER.contains(&name);
        let mut text = format!("\n--\n-- Database \"{}\"\n--\n\n", name.replace(['\n', '\r'], " "));
        if whole && !create {
            text.extend(["\\connect ", name, "\n\n"]);
        }
        let format = Format::Plain { create };
        let snapshot = shown.snapshot.as_deref();
        let (tool, pass_file) =
            PostgresDumper::dump_tool(&client, programs, format, &extra.dump, snapshot, request)?;
        let place = shown.session.place.clone();
        let (output, mut found) = self.part("pg_dump", tool, text, &place).await?;
        drop(pass_file);
        if let Some(why) = found.lacks_part(false) {
            return Err(cut("pg_dump", &place, why, &output));
        }
        let contents = std::mem::take(&mut found.contents);
        let completeness =
            shown.compare(&contents, true, &client.database.options, self.ctx).await?;
        let unmatched = std::mem::take(&mut shown.unmatched);
        shown.session.close().await;
        self.found.push(found);
        Ok(Some(Part { completeness, unmatched }))
    }

    /// Runs one program into the script, behind `text`.
    async fn part(
        &mut self,
        program: &str,
        tool: Tool,
        text: String,
        place: &str,
    ) -> Result<(Output, Found), Failure> {
        let limit = match self.request.timeout {
            None => None,
            Some(limit) => match limit.checked_sub(self.begun.elapsed()) {
                Some(left) if !left.is_zero() => Some(left),
                _ => return Err(blocking::timed_out(program, limit)),
            },
        };
        let mut pump = self.take_pump()?;
        let ran = tool.timeout(limit).run_reading(self.ctx, move |stdout| {
            let mut reader = ScriptReader::default();
            reader.feed(text.as_bytes());
            pump.write(text.as_bytes())?;
            let before = pump.raw_bytes();
            pump.take(stdout, |chunk| reader.feed(chunk))?;
            let wrote = pump.raw_bytes() > before;
            Ok((pump, reader.finish(), wrote))
        });
        let target = self.dumper.path(self.request);
        let (output, (pump, (found, at_rest), wrote)) = ran.await.map_err(|error| match error {
            ProcessError::Pipe(error, _) => into_failure(error, &target),
            ProcessError::TimedOut { stderr, .. } => {
                blocking::timed_out(program, self.request.timeout.unwrap_or_default())
                    .with_detail(stderr::tail(&stderr))
            }
            other => other.into_failure(ErrorCode::DumpTimeout),
        })?;
        if !output.success() {
            let status = output.status_text();
            return Err(stderr::failure_of(program, &status, &output.stderr, place));
        }
        if !wrote {
            return Err(wrote_nothing(place, &output));
        }
        if !at_rest {
            return Err(cut(program, place, "it ends inside a statement", &output));
        }
        self.pump = Some(pump);
        Ok((output, found))
    }

    fn take_pump(&mut self) -> Result<Pump, Failure> {
        self.pump.take().ok_or_else(|| Failure::internal("a script goes on after it has failed"))
    }
}

/// The databases to dump, with a warning for each that lets nobody in.
async fn databases(
    home: &mut Session,
    warnings: &mut Vec<String>,
    ctx: &StageContext,
) -> Result<Vec<String>, Failure> {
    let place = home.place.clone();
    let rows = sqlx::query(DATABASES).fetch_all(home.connection());
    let rows = limited(ctx, LIST_TIMEOUT, &place, rows).await?;
    let mut names = Vec::new();
    for row in rows {
        let name = row.try_get::<String, usize>(0).unwrap_or_default();
        if row.try_get::<bool, usize>(1).unwrap_or_default() {
            names.push(name);
        } else {
            warnings.push(format!(
                "database {name} was not dumped: it lets nobody connect (`ALTER DATABASE … ALLOW_CONNECTIONS true`, or drop it if a `DROP DATABASE` was cut short)"
            ));
        }
    }
    Ok(names)
}

async fn globals(
    session: &mut Session,
    extra: &ExtraArgs,
    ctx: &StageContext,
) -> Result<Contents, Failure> {
    let mut found: Contents = session.texts(ctx, ROLES).await?.into_iter().collect();
    if !extra.no_tablespaces {
        found.extend(session.texts(ctx, TABLESPACES).await?);
    }
    Ok(found)
}

/// `DUMP_INCOMPLETE` for a database that the script does not connect to.
fn check_connected(dumped: &[String], found: &[Found], place: &str) -> Result<(), Failure> {
    let connected = |name: &&String| found.iter().any(|f| f.connected.contains(*name));
    let missing: Vec<String> =
        dumped.iter().filter(|n| !connected(n)).map(|name| format!("database {name}")).collect();
    if missing.is_empty() { Ok(()) } else { Err(lacking(place, &missing)) }
}

fn lacking(place: &str, missing: &[String]) -> Failure {
    Failure::new(
        ErrorCode::DumpIncomplete,
        format!("the dump of {place} lacks what the server shows: {}", listed(missing, 10)),
    )
    .with_remedy("compare pg_dumpall and pg_dump in PATH with the server's version, and run the backup again")
}

fn cut(program: &str, place: &str, why: &str, output: &Output) -> Failure {
    Failure::new(
        ErrorCode::DumpTruncated,
        format!("{program} of {place} ended with status 0 and wrote no whole script: {why}"),
    )
    .with_detail(stderr::tail(&output.stderr))
}

/// Reads the whole script back, to the last of its trailers.
pub(super) async fn verify(request: &VerifyRequest, ctx: &StageContext) -> Result<(), Failure> {
    let VerifyRequest { path, info, timeout, .. } = request.clone();
    blocking::run(ctx, timeout, "reading the dump back", move |watch, _| {
        let mut reader = ScriptReader::default();
        read_back(&path, &info, &watch, |chunk| {
            reader.feed(chunk);
            Ok(())
        })?;
        let (found, at_rest) = reader.finish();
        match found.lacks() {
            None if at_rest => Ok(()),
            why => Err(Failure::new(
                ErrorCode::DumpCorrupt,
                format!(
                    "{} is no whole script: {}",
                    path.display(),
                    why.unwrap_or("its end is cut")
                ),
            )),
        }
    })
    .await
}
