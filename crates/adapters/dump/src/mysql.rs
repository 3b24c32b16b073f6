//! Dumps MySQL and MariaDB by `mysqldump` or `mariadb-dump`, as one stream of SQL, through our own
//! compressor.
//!
//! Both programs end with status 0 although something is missing: they dump what the user may see.
//! So the catalog and the user's rights are read first, and compared with the SQL as it streams by.

mod args;
mod catalog;
mod grants;
mod head;
mod loader;
mod options;
mod rights;
mod scan;
mod server;
mod stderr;
mod tools;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backupctl_adapter_process::{AtomicFile, Existing, Output, ProcessError, Tool, last_lines};
use backupctl_application::context::{Cancel, StageContext};
use backupctl_application::ports::{
    DatabaseDumper, DumpPreview, DumpRequest, DumpedFile, ToolInfo, VerifyRequest,
};
use backupctl_domain::manifest::{Completeness, Contents, completeness, listed};
use backupctl_domain::project::Database;
use backupctl_domain::{ErrorCode, Failure, Stage};

use crate::blocking;
use crate::secret_file::SecretFile;
use crate::stream::{Watch, Written, into_failure, pump};
use crate::verify::read_back;
use args::ExtraArgs;
use catalog::{Catalog, Tables};
use options::quoted;
use scan::{Family, Scanned, Scanner};
use server::{Client, Server};
use stderr::Doing;
use tools::{Tools, name_of, numbers};

pub use loader::MysqlLoader;

/// Since which version MariaDB's programs dump the history of rows, and its servers take it back.
const HISTORY: (u32, u32, u32) = (10, 11, 0);
/// How much `--help` may print.
const HELP_LIMIT: usize = 1 << 20;

/// Dumps one database of a MySQL or MariaDB server, or all of them.
#[derive(Debug)]
pub struct MysqlDumper {
    server: Server,
    runtime_dir: PathBuf,
    encrypted: bool,
}

/// What a dump begins with.
struct Prepared {
    tools: Tools,
    extra: ExtraArgs,
    catalog: Catalog,
    /// Tables that the configuration leaves out whole.
    left_out: Tables,
    /// Tables whose rows it leaves out.
    without_rows: Tables,
}

impl Prepared {
    fn client(&self) -> Client<'_> {
        client(&self.tools, &self.extra)
    }

    /// Tables whose rows are dumped and whose history may be lost thereby, unless somebody has decided.
    fn with_history(&self) -> Vec<String> {
        let extra = &self.extra;
        if extra.history_is_chosen {
            return Vec::new();
        }
        let dumped = |table: &&(String, String)| {
            !self.left_out.contains(table)
                && !self.without_rows.contains(table)
                && !extra.ignored_databases.contains(&table.0)
        };
        let tables = self.catalog.versioned.iter().filter(dumped);
        tables.map(|(database, name)| format!("{database}.{name}")).collect()
    }

    /// Whether both the program and the server know how to keep it.
    fn keeps_history(&self) -> bool {
        self.tools.version.family == Family::MariaDb
            && numbers(&self.tools.version.number) >= HISTORY
            && self.catalog.is_mariadb()
            && numbers(&self.catalog.version) >= HISTORY
    }

    fn tool_name(&self) -> String {
        name_of(&self.tools.dump)
    }
}

fn client<'a>(tools: &'a Tools, extra: &'a ExtraArgs) -> Client<'a> {
    Client { program: &tools.client, family: tools.version.family, arguments: &extra.connection }
}

impl MysqlDumper {
    /// A dumper for `database`. `runtime_dir` is a 0700 folder for the short life of an option file
    /// with the password; `journal` the file that notes running programs, for whoever cleans up after
    /// a crash.
    pub fn new(database: &Database, runtime_dir: PathBuf, journal: Option<PathBuf>) -> Self {
        let server = Server { database: database.clone(), journal, path: None };
        Self { server, runtime_dir, encrypted: false }
    }

    /// Looks for the programs in these folders (as `PATH` holds them) instead of this process's `PATH`.
    #[must_use]
    pub fn search_path(mut self, path: impl Into<OsString>) -> Self {
        self.server.path = Some(path.into());
        self
    }

    /// Says whether the dump is going to be encrypted; of one with password hashes in it that is
    /// not, its warnings tell.
    #[must_use]
    pub fn encrypted(mut self, encrypted: bool) -> Self {
        self.encrypted = encrypted;
        self
    }

    /// Finds the programs, asks the server, and refuses what could not be whole.
    async fn prepare(&self, ctx: &StageContext) -> Result<Prepared, Failure> {
        let options = &self.server.database.options;
        let extra = args::check(&options.extra_args)?;
        let tools = Tools::find(&self.server, ctx).await?;
        self.check_abilities(&tools, ctx).await?;
        let catalog = Catalog::read(&self.server, &client(&tools, &extra), ctx).await?;
        self.server.check_cipher(&catalog.cipher)?;
        let default = (!self.server.is_all()).then_some(self.server.database.name.as_str());
        let named = |patterns: &[String]| {
            patterns.iter().flat_map(|p| catalog.matching(p, default)).collect::<Tables>()
        };
        let left_out = named(&options.exclude_tables);
        let without_rows = named(&options.exclude_table_data);
        rights::check(&catalog, &self.server, &extra, &left_out)?;
        Ok(Prepared { tools, extra, catalog, left_out, without_rows })
    }

    /// Refuses what the installed program cannot do.
    async fn check_abilities(&self, tools: &Tools, ctx: &StageContext) -> Result<(), Failure> {
        let options = &self.server.database.options;
        let wanted = [
            (
                !options.exclude_table_data.is_empty(),
                "--ignore-table-data",
                "exclude_table_data",
                "leave out the rows of a table and keep its definition",
                "name the tables in `database.options.exclude_tables`, which leaves out both",
            ),
            (
                options.globals,
                "--system",
                "globals",
                "dump users and grants",
                "set `database.name: all`, whose dump holds the tables of the schema `mysql`",
            ),
        ];
        if wanted.iter().all(|w| !w.0) {
            return Ok(());
        }
        let tool = self.server.tool(&tools.dump).args(["--no-defaults", "--help"]);
        let tool = tool.capture_limit(HELP_LIMIT).timeout(Some(Duration::from_secs(30)));
        let output = tool.run(ctx).await.map_err(|e| e.into_failure(ErrorCode::ToolMissing))?;
        let help = String::from_utf8_lossy(&output.stdout);
        let knows = |option| help.lines().any(|line| line.trim_start().starts_with(option));
        let unknown = wanted.into_iter().find(|w| w.0 && !knows(w.1));
        let Some((_, _, key, what, instead)) = unknown else { return Ok(()) };
        let (tool, number) = (name_of(&tools.dump), &tools.version.number);
        Err(Failure::new(
            ErrorCode::InvalidConfig,
            format!("`database.options.{key}`: {tool} {number} cannot {what}"),
        )
        .with_remedy(format!(
            "install a newer mariadb-dump (`apt install mariadb-client`), or remove `database.options.{key}` and {instead}"
        )))
    }

    /// The arguments for the dump program, its option file apart.
    fn arguments(&self, prepared: &Prepared) -> Vec<String> {
        let Database { name, options, .. } = &self.server.database;
        let mut arguments = vec![
            "--single-transaction",
            "--quick",
            "--routines",
            "--events",
            "--triggers",
            // They are of no table, and need a right over the whole server.
            "--no-tablespaces",
        ];
        if prepared.tools.version.family == Family::MySql {
            // Else the dump sets what the server it is loaded into may have already, and needs rights
            // over the whole server.
            arguments.push("--set-gtid-purged=OFF");
            let server_has_statistics =
                !prepared.catalog.is_mariadb() && numbers(&prepared.catalog.version).0 >= 8;
            if numbers(&prepared.tools.version.number).0 >= 8 && !server_has_statistics {
                arguments.push("--column-statistics=0");
            }
        }
        if prepared.keeps_history() && !prepared.with_history().is_empty() {
            arguments.push("--dump-history");
        }
        if options.globals {
            arguments.push("--system=users");
        }
        if self.server.is_all() {
            arguments.extend(["--all-databases", "--flush-privileges"]);
        }
        arguments.extend(options.extra_args.iter().map(String::as_str));
        if !self.server.is_all() {
            // A name may begin with a dash.
            arguments.extend(["--", name]);
        }
        arguments.into_iter().map(str::to_owned).collect()
    }

    /// The option file for the dump program, with what it is to leave out: that may be thousands.
    fn options(&self, prepared: &Prepared) -> Result<String, Failure> {
        let mut text = self.server.option_file(prepared.tools.version.family)?;
        text.push_str("[mysqldump]\n");
        for (option, tables) in
            [("ignore-table", &prepared.left_out), ("ignore-table-data", &prepared.without_rows)]
        {
            for (database, name) in tables {
                let _ = writeln!(text, "{option}={}", quoted(&format!("{database}.{name}")));
            }
        }
        Ok(text)
    }

    /// The dump program with its option file. Into a container that goes by stdin, which nobody else
    /// writes: what there is to leave out may be more than a variable holds.
    fn tool_with_options(
        &self,
        prepared: &Prepared,
        request: &DumpRequest,
    ) -> Result<(Tool, Option<SecretFile>), Failure> {
        let (program, text) = (&prepared.tools.dump, self.options(prepared)?);
        if self.server.database.container.is_some() {
            let tool = self.server.tool(program).arg("--defaults-file=/dev/stdin");
            return Ok((tool.input(text), None));
        }
        // Named as a partial file of this run, so that what a killed run leaves is cleared with those.
        let path = self.runtime_dir.join(request.name.with_ext("mycnf").partial());
        self.server.tool_with_options(program, &text, path)
    }

    /// Runs the dump program into the partial file.
    async fn stream(
        &self,
        prepared: &Prepared,
        request: &DumpRequest,
        ctx: &StageContext,
    ) -> Result<(Output, Written, Scanned), Failure> {
        let mut ext = self.server.database.engine.extension().to_owned();
        if let Some(compression) = request.compression {
            ext = format!("{ext}.{}", compression.algorithm.extension());
        }
        let name = request.name.with_ext(ext).to_string();
        let file = AtomicFile::create(&request.dir.join(name), Existing::Refuse)?;
        let target = file.target().to_owned();
        let (tool, options) = self.tool_with_options(prepared, request)?;
        let tool = tool.args(self.arguments(prepared)).timeout(request.timeout);
        let (compression, max_bytes) = (request.compression, request.max_bytes);
        let mut watch = Watch::new(ctx);
        let mut scanner = Scanner::new(&self.server.database.name);
        let ran = tool.run_reading(ctx, move |stdout| {
            let tap = |chunk: &[u8]| scanner.feed(chunk);
            let written = pump(stdout, file, compression, max_bytes, &mut watch, tap)?;
            Ok((written, scanner.finish()))
        });
        let ran = ran.await;
        drop(options);
        match ran {
            Ok((output, (written, scanned))) => Ok((output, written, scanned)),
            Err(ProcessError::Pipe(error, _)) => Err(into_failure(error, &target)),
            Err(ProcessError::TimedOut { limit, stderr, .. }) => {
                let timed_out = blocking::timed_out(&prepared.tool_name(), limit);
                Err(timed_out.with_detail(last_lines(&stderr, 10)))
            }
            Err(other) => Err(other.into_failure(ErrorCode::DumpTimeout)),
        }
    }

    fn check_end(
        &self,
        prepared: &Prepared,
        output: &Output,
        written: &Written,
        scanned: &Scanned,
    ) -> Result<(), Failure> {
        let (tool, place) = (prepared.tool_name(), self.server.place());
        if !output.success() {
            let (doing, status) = (Doing::Dumping(&tool), output.status_text());
            return Err(stderr::failure(&doing, &status, &output.stderr, &place));
        }
        let fail = |code, what: &str| {
            let message = format!("{tool} of {place} ended with status 0 and {what}");
            Err(Failure::new(code, message).with_detail(output.last_lines(10)))
        };
        if written.raw_bytes == 0 {
            return fail(ErrorCode::DumpEmpty, "wrote nothing");
        }
        if !scanned.complete {
            return fail(
                ErrorCode::DumpTruncated,
                "what it wrote does not end with `-- Dump completed`",
            );
        }
        if self.server.database.options.globals && scanned.users == 0 {
            return fail(
                ErrorCode::DumpIncomplete,
                "wrote no users, though `database.options.globals` asks for them",
            );
        }
        Ok(())
    }

    /// What is to be dumped and cannot be found in the SQL again.
    fn unreadable(prepared: &Prepared) -> Vec<String> {
        let excluded = prepared.catalog.excluded(&prepared.left_out, &prepared.extra);
        let names = prepared.catalog.contents.iter();
        let names = names.filter(|name| has_controls(name) && !excluded.contains(*name));
        names.map(|name| name.escape_debug().to_string()).collect()
    }

    /// Compares; what has gone since the catalog was read is not missing.
    async fn compare(
        &self,
        prepared: &Prepared,
        contents: &Contents,
        ctx: &StageContext,
    ) -> Result<Completeness, Failure> {
        let excluded = prepared.catalog.excluded(&prepared.left_out, &prepared.extra);
        let found = completeness(&prepared.catalog.contents, contents, |name| {
            excluded.contains(name) || has_controls(name)
        });
        let Completeness::Missing(mut names) = found else { return Ok(found) };
        let now = Catalog::read(&self.server, &prepared.client(), ctx).await?;
        names.retain(|name| now.contents.contains(name));
        if names.is_empty() {
            return Ok(Completeness::Complete);
        }
        let (place, names) = (self.server.place(), listed(&names, 10));
        Err(Failure::new(
            ErrorCode::DumpIncomplete,
            format!("the dump of {place} lacks what the server shows: {names}"),
        )
        .with_remedy(
            "use a dump program of the server's own family and version, grant the user access to them, or leave them out by `database.options.exclude_tables`",
        ))
    }
}

#[async_trait]
impl DatabaseDumper for MysqlDumper {
    async fn check_tool(&self) -> Result<ToolInfo, Failure> {
        args::check(&self.server.database.options.extra_args)?;
        let ctx = StageContext::new(Stage::Dump, Cancel::new(), Arc::default());
        let tools = Tools::find(&self.server, &ctx).await?;
        self.check_abilities(&tools, &ctx).await?;
        Ok(ToolInfo { name: name_of(&tools.dump), version: tools.version.number })
    }

    async fn check_database(&self, ctx: &StageContext) -> Result<DumpPreview, Failure> {
        let prepared = self.prepare(ctx).await?;
        let all = self.server.is_all();
        let scope = if all { "" } else { " where TABLE_SCHEMA = database()" };
        let sql =
            format!("select sum(DATA_LENGTH + INDEX_LENGTH) from information_schema.TABLES{scope}");
        let database = (!all).then_some(self.server.database.name.as_str());
        // Nothing depends on it.
        let size = self.server.ask(&prepared.client(), database, &sql, ctx).await.ok();
        ctx.cancel.check()?;
        let size = size.and_then(|rows| rows.first()?.first()?.parse().ok());
        Ok(DumpPreview { server_version: prepared.catalog.version, database_bytes: size })
    }

    async fn dump(&self, request: &DumpRequest, ctx: &StageContext) -> Result<DumpedFile, Failure> {
        let prepared = self.prepare(ctx).await?;
        let (output, written, scanned) = self.stream(&prepared, request, ctx).await?;
        self.check_end(&prepared, &output, &written, &scanned)?;

        let mut warnings = Vec::new();
        let completeness = match &prepared.extra.selects {
            None => self.compare(&prepared, &scanned.contents, ctx).await?,
            Some(argument) => {
                warnings.push(format!(
                    "the dump was not compared with the server's catalog: {argument} in `database.options.extra_args` chooses what is dumped"
                ));
                Completeness::Complete
            }
        };
        if let Some(argument) = &prepared.extra.without_rows {
            warnings.push(format!(
                "the dump lacks rows: {argument} in `database.options.extra_args` leaves them out"
            ));
        }
        let with_history = prepared.with_history();
        if !with_history.is_empty() && !prepared.keeps_history() {
            warnings.push(format!(
                "the dump lacks the history of rows of system-versioned tables: {}; `--dump-history` needs mariadb-dump and a server of 10.11 or newer",
                listed(&with_history, 10)
            ));
        }
        let unreadable = Self::unreadable(&prepared);
        if !unreadable.is_empty() {
            warnings.push(format!(
                "whether the dump holds these was not compared, for their names hold control characters: {}",
                listed(&unreadable, 10)
            ));
        }
        if completeness == Completeness::NothingInDatabase {
            let place = self.server.place();
            warnings.push(format!("database {place} holds no tables: the dump is empty"));
        }
        let hashes = ["table mysql.global_priv", "table mysql.user"];
        let holds_hashes =
            scanned.users > 0 || hashes.iter().any(|table| scanned.contents.contains(*table));
        if holds_hashes && !self.encrypted {
            warnings.push("the dump holds the password hashes of the server's users and is not encrypted: set `encryption`".to_owned());
        }
        let tool = format!("{} {}", prepared.tool_name(), prepared.tools.version.number);
        written.commit(self.server.database.engine, tool, completeness, warnings, ctx).await
    }

    async fn verify(&self, request: &VerifyRequest, ctx: &StageContext) -> Result<(), Failure> {
        let VerifyRequest { path, info, .. } = request.clone();
        let what = "reading the dump back";
        let scanned = blocking::run(ctx, request.timeout, what, move |watch, _| {
            let mut scanner = Scanner::new("");
            read_back(&path, &info, &watch, |chunk| {
                scanner.feed(chunk);
                Ok(())
            })?;
            Ok(scanner.finish())
        });
        check_whole(&scanned.await?, &request.path)
    }
}

/// Whether a name may break a line, and with it what the dump's lines begin with.
fn has_controls(name: &str) -> bool {
    name.chars().any(char::is_control)
}

/// Whether a file that was read to its end is a dump to its end.
fn check_whole(scanned: &Scanned, path: &Path) -> Result<(), Failure> {
    let shown = path.display();
    if scanned.family.is_none() {
        let message = format!("{shown} does not begin as a dump of mysqldump or mariadb-dump does");
        return Err(Failure::new(ErrorCode::DumpCorrupt, message));
    }
    if !scanned.complete {
        let message = format!("{shown} does not end with `-- Dump completed`");
        return Err(Failure::new(ErrorCode::DumpTruncated, message));
    }
    Ok(())
}
