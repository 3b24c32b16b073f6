//! Loads dumps into PostgreSQL: archives by `pg_restore`, scripts by `psql`.
//!
//! The whole file is unpacked and looked through before the first byte is loaded, and one database is
//! loaded in one transaction: what is cut or damaged leaves the database as it was.

mod archive;
mod filter;
mod replace;
mod script;
mod server;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backupctl_adapter_process::{Output, Tool, write_failure};
use backupctl_application::context::{Cancel, StageContext};
use backupctl_application::ports::{DatabaseLoader, LoadReport, TargetState, ToolInfo};
use backupctl_domain::manifest::listed;
use backupctl_domain::project::Database;
use backupctl_domain::{ErrorCode, Failure, Stage};

use super::client::Client;
use super::passfile::PassFile;
use super::program::{Programs, major_of};
use super::roles::Roles;
use super::script::{Found, ScriptReader, quoted};
use super::session::{Session, limited};
use super::stderr;
use super::toc::{TocReader, TocState};
use crate::blocking;
use crate::stream::{CHUNK, Decoder, Packing, Watch, into_failure, read_failure};

/// How long the question of what is there may take.
const STATE_TIMEOUT: Duration = Duration::from_mins(2);
/// How many remarks of a program are told.
const NOTES: usize = 10;

/// Relations and routines of the user, tables first; some of them.
const OBJECTS: &str = r"
select what from (
  select c.relkind not in ('r', 'p') as second,
    case c.relkind when 'v' then 'view ' when 'm' then 'materialized view ' when 'S' then 'sequence '
      when 'f' then 'foreign table ' else 'table ' end || n.nspname || '.' || c.relname as what,
    n.nspname, 'pg_catalog.pg_class'::pg_catalog.regclass as class, c.oid
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  union all
  select true, 'function ' || n.nspname || '.' || p.proname, n.nspname,
    'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid
  from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
) found
where nspname::text !~ '^pg_' and nspname <> 'information_schema' and not exists (
  select 1 from pg_catalog.pg_depend d
  where d.classid = found.class and d.objid = found.oid and d.objsubid = 0 and d.deptype = 'e')
order by second, what limit 20";

/// Tables of the user.
const TABLES: &str = r"
select count(*) from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname::text !~ '^pg_' and n.nspname <> 'information_schema'
and not exists (
  select 1 from pg_catalog.pg_depend d
  where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
    and d.objid = c.oid and d.objsubid = 0 and d.deptype = 'e')";

/// Loads into one PostgreSQL database, or into a whole server (`name: all`).
#[derive(Debug)]
pub struct PostgresLoader {
    client: Client,
}

/// What a dump turned out to be.
enum Dump {
    /// In `pg_dump`'s custom format; without roles where its table of contents is not known here.
    Archive { roles: Option<Roles>, version: Option<String> },
    /// SQL.
    Script(Box<Found>),
}

impl PostgresLoader {
    /// A loader into `database`. `runtime_dir` and `journal` as for the dumper.
    pub fn new(database: &Database, runtime_dir: PathBuf, journal: Option<PathBuf>) -> Self {
        Self { client: Client::new(database, runtime_dir, journal) }
    }

    /// Looks for docker's client in these folders (as `PATH` holds them) instead of this process's
    /// `PATH`.
    #[must_use]
    pub fn search_path(mut self, path: impl Into<OsString>) -> Self {
        self.client.path = Some(path.into());
        self
    }

    async fn session(&self, ctx: &StageContext) -> Result<Session, Failure> {
        Session::open_home(&self.client, ctx).await
    }

    /// The programs that load a dump of that version here.
    fn programs(&self, dump: Option<&str>, session: &Session) -> Result<Programs, Failure> {
        let server = major_of(&session.server_version);
        Ok(self.client.installed()?.loading(dump.and_then(major_of), server).clone())
    }

    /// A program that talks to the server, and its password file.
    fn connecting(&self, program: &Path, dump: &Path) -> Result<(Tool, Option<PassFile>), Failure> {
        let dir = &self.client.runtime_dir;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|e| write_failure(&e, dir))?;
        // Of the dump's name, so that a killed process leaves what is known as a run's partial.
        let name = dump.file_name().unwrap_or_default().to_string_lossy();
        let stem = name.split('.').next().unwrap_or_default();
        self.client.connecting(program, &format!(".{stem}.pgpass.partial"))
    }
}

#[async_trait]
impl DatabaseLoader for PostgresLoader {
    async fn check_tool(&self) -> Result<ToolInfo, Failure> {
        let ctx = StageContext::new(Stage::Sync, Cancel::new(), Arc::default());
        let installed = self.client.installed()?;
        let psql = installed.default.other("psql")?;
        let version = self.client.ask_version(&installed.default.restore, &ctx).await?;
        if self.client.database.container.is_some() {
            self.client.ask_version(&psql, &ctx).await?;
        }
        Ok(ToolInfo { name: "pg_restore".to_owned(), version })
    }

    async fn state(&self, ctx: &StageContext) -> Result<TargetState, Failure> {
        let mut session = match self.session(ctx).await {
            Err(failure) if failure.code == ErrorCode::DbNotFound => {
                return Ok(TargetState::Missing);
            }
            other => other?,
        };
        let objects = self.objects(&mut session, ctx).await?;
        session.close().await;
        Ok(if objects.is_empty() { TargetState::Empty } else { TargetState::Filled { objects } })
    }

    async fn create(&self, ctx: &StageContext) -> Result<(), Failure> {
        let Database { name, .. } = &self.client.database;
        if self.client.database.is_whole_server() {
            return Ok(());
        }
        let mut session = Session::open_server(&self.client, ctx).await?;
        // The other template may hold what the dump brings.
        let done =
            session.run(ctx, format!("create database {} template template0", quoted(name))).await;
        session.close().await;
        done.map_err(|failure| match failure.code {
            ErrorCode::DbPermissionDenied => failure
                .with_remedy("name a user that may create databases (`ALTER ROLE … CREATEDB`), or create it yourself and load without --create"),
            _ => failure,
        })
    }

    async fn load(
        &self,
        dump: &Path,
        replace: bool,
        ctx: &StageContext,
    ) -> Result<LoadReport, Failure> {
        let file = dump.to_owned();
        let kind =
            blocking::run(ctx, None, "reading the dump", move |watch, _| inspect(&file, &watch))
                .await?;
        let mut session = self.session(ctx).await?;
        let objects = self.objects(&mut session, ctx).await?;
        if !replace && !objects.is_empty() {
            return Err(filled(&session.place, &objects));
        }
        match kind {
            Dump::Archive { .. } if self.client.database.is_whole_server() => Err(wrong_target(
                "the dump is of one database, and the target is a whole server",
                "name one database to load into",
            )),
            Dump::Archive { roles, version } => {
                self.load_archive(dump, roles.as_ref(), version.as_deref(), replace, session, ctx)
                    .await
            }
            Dump::Script(found) if self.client.database.is_whole_server() => {
                self.load_server(dump, &found, replace, session, ctx).await
            }
            Dump::Script(found) => self.load_script(dump, &found, replace, session, ctx).await,
        }
    }
}

impl PostgresLoader {
    /// What is there, for a message.
    async fn objects(
        &self,
        session: &mut Session,
        ctx: &StageContext,
    ) -> Result<Vec<String>, Failure> {
        let mut objects = session.texts(ctx, OBJECTS).await?;
        if self.client.database.is_whole_server() {
            let others = session.texts(ctx, server::DATABASES).await?;
            objects.splice(0..0, others.into_iter().map(|name| format!("database {name}")));
        }
        Ok(objects)
    }
}

fn filled(place: &str, objects: &[String]) -> Failure {
    Failure::new(
        ErrorCode::PathNotWritable,
        format!("database {place} is not empty; it holds {}", listed(objects, 5)),
    )
    .with_remedy("name an empty or new database (--create), or add --force: what the dump brings then takes the place of what has its name")
}

fn wrong_target(message: &str, remedy: &str) -> Failure {
    Failure::new(ErrorCode::InvalidConfig, message).with_remedy(remedy)
}

async fn tables(session: &mut Session, ctx: &StageContext) -> Result<u64, Failure> {
    let place = session.place.clone();
    let asked = sqlx::query_scalar::<_, i64>(TABLES).fetch_one(session.connection());
    let count = limited(ctx, STATE_TIMEOUT, &place, asked).await?;
    Ok(u64::try_from(count).unwrap_or_default())
}

/// The text of a program that ended well: warnings of the server, which are no failure.
fn notes_of(output: &Output) -> Vec<String> {
    let warning = |line: &&str| line.contains("WARNING:") || line.contains("warning:");
    output.stderr.lines().filter(warning).take(NOTES).map(|l| l.trim().to_owned()).collect()
}

/// Whether program and feeding have both ended well.
fn judge(
    program: &str,
    output: &Output,
    fed: io::Result<()>,
    dump: &Path,
    place: &str,
) -> Result<(), Failure> {
    // Not to be passed over even if the status is 0.
    let complains = output.stderr.lines().any(|l| l.contains("ERROR:") || l.contains("error:"));
    if !output.success() || complains || output.stderr.contains("errors ignored") {
        return Err(stderr::load_failure(program, &output.status_text(), &output.stderr, place));
    }
    match fed {
        // It has had what it needs, and says so by its status.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        fed => fed.map_err(|e| into_failure(e, dump)),
    }
}

/// Reads all of the file: it must unpack, and a script must be whole.
fn inspect(path: &Path, watch: &Watch) -> Result<Dump, Failure> {
    let mut first = Vec::new();
    let mut toc = TocReader::new();
    let mut script = ScriptReader::with_entries();
    unpack(path, watch, |chunk| {
        let missing = ARCHIVE.len().saturating_sub(first.len());
        first.extend_from_slice(&chunk[..missing.min(chunk.len())]);
        // Both are told the little that it takes to know which it is.
        if first == ARCHIVE {
            toc.feed(chunk);
        } else {
            script.feed(chunk);
        }
        Ok(())
    })
    .map_err(|e| damaged(e, path))?;
    if first == ARCHIVE {
        let roles = toc.roles().clone();
        let (state, _, version) = toc.finish();
        let roles = (state == TocState::Done).then_some(roles);
        return Ok(Dump::Archive { roles, version });
    }
    let (found, at_rest) = script.finish();
    match found.lacks() {
        None if at_rest => Ok(Dump::Script(Box::new(found))),
        why => {
            let why = why.unwrap_or("it ends inside a statement");
            Err(unsound(format!("{} is no whole dump: {why}", path.display())))
        }
    }
}

/// How an archive begins.
const ARCHIVE: &[u8] = b"PGDMP";

fn unsound(message: String) -> Failure {
    Failure::new(ErrorCode::DumpCorrupt, message).permanent().with_remedy(
        "restore the file again, or take an older snapshot: `backupctl snapshots` lists them",
    )
}

fn damaged(error: io::Error, path: &Path) -> Failure {
    match error.downcast::<Failure>() {
        Ok(failure) => failure,
        Err(e) => unsound(format!("{} does not decompress: {e}", path.display())),
    }
}

/// Hands every unpacked byte of a file to `out`.
fn unpack(
    path: &Path,
    watch: &Watch,
    mut out: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut watch = watch.of(None);
    let file = File::open(path).map_err(|e| io::Error::other(read_failure(&e, path)))?;
    let mut decoder = Decoder::new(file, Packing::of(path))?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                out(&buffer[..read])?;
                watch.advance(read)?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    watch.report();
    Ok(())
}

/// Writes an unpacked file to a program.
fn feed_all(path: &Path, watch: &Watch, stdin: &mut (dyn Write + Send)) -> io::Result<()> {
    unpack(path, watch, |chunk| stdin.write_all(chunk))
}
