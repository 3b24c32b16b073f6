//! Dumps MongoDB by `mongodump --archive`, uncompressed, through our own compressor.
//!
//! There is no catalog to compare with but the one that `mongodump` reads itself: the archive's prelude
//! announces every collection, its end markers tell that each came whole, and the counts on stderr
//! tell how many documents each should have. `mongorestore --dryRun` returns before it has read an
//! archive's body, so our own reader proves the file.

mod archive;
mod args;
mod bson;
mod counts;
mod stderr;
mod wire;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backupctl_adapter_process::{AtomicFile, Existing, Output, ProcessError, Tool};
use backupctl_application::context::{Cancel, StageContext};
use backupctl_application::ports::{
    DatabaseDumper, DumpPreview, DumpRequest, DumpedFile, ToolInfo, VerifyRequest,
};
use backupctl_domain::manifest::{Completeness, listed};
use backupctl_domain::project::{Database, Engine};
use backupctl_domain::{ErrorCode, Failure, Secret, Stage};

use crate::blocking;
use crate::secret_file::SecretFile;
use crate::stream::{Watch, Written, into_failure, pump};
use crate::verify::read_back;
use archive::{ArchiveReader, Summary, Verdict};
use args::ExtraArgs;

/// The program.
const TOOL: &str = "mongodump";
/// Takes the password from its environment to mongodump's stdin, where that asks for it: a file of ours
/// would not be seen inside a container.
const BY_STDIN: &str = r#"printf '%s\n' "$BACKUPCTL_MONGODB_PASSWORD" | mongodump "$@""#;
/// The oldest version that takes a password by `--config`.
const OLDEST: (u32, u32) = (100, 3);
/// Enough of stderr for the counts of some ten thousand collections.
const STDERR_LIMIT: usize = 1 << 20;
/// A collection that nobody has: asking to dump it needs a connection, a login and the right to list
/// collections, and dumps nothing.
const NOBODYS: &str = "backupctl_looks_whether_it_may_list_collections";
/// How long a visit may take; the tool itself gives up on a silent server after 30 s.
const VISIT: Duration = Duration::from_mins(1);

/// Dumps one MongoDB database, or every one of a server.
#[derive(Debug)]
pub struct MongodbDumper {
    database: Database,
    runtime_dir: PathBuf,
    journal: Option<PathBuf>,
    path: Option<OsString>,
}

/// What the configuration comes to.
struct Plan {
    extra: ExtraArgs,
    tls: Vec<String>,
}

/// What messages call the database: `shop at db:27017`.
fn place(database: &Database) -> String {
    let name = if database.name == "all" { "(every one)" } else { &database.name };
    match args::socket(database) {
        Some(path) => format!("{name} at {path}"),
        None if database.host.is_empty() => format!("{name} at localhost:{}", database.port),
        None => format!("{name} at {}:{}", database.host, database.port),
    }
}

impl MongodbDumper {
    /// A dumper for `database`. `runtime_dir` is a 0700 folder for the short life of a password file;
    /// `journal` the file that notes running programs, for whoever cleans up after a crash.
    pub fn new(database: &Database, runtime_dir: PathBuf, journal: Option<PathBuf>) -> Self {
        Self { database: database.clone(), runtime_dir, journal, path: None }
    }

    /// Looks for `mongodump` in these folders (as `PATH` holds them) instead of this process's `PATH`.
    #[must_use]
    pub fn search_path(mut self, path: impl Into<OsString>) -> Self {
        self.path = Some(path.into());
        self
    }

    fn all(&self) -> bool {
        self.database.name == "all"
    }

    /// What `mongodump` cannot do, or must not be told to.
    fn plan(&self) -> Result<Plan, Failure> {
        let options = &self.database.options;
        let invalid = |message: &str, remedy: &str| {
            Err(Failure::new(ErrorCode::InvalidConfig, message).with_remedy(remedy))
        };
        if !options.exclude_table_data.is_empty() {
            return invalid(
                "`database.options.exclude_table_data`: mongodump dumps a collection whole or not at all",
                "name the collections in `database.options.exclude_tables` instead",
            );
        }
        if !options.exclude_tables.is_empty() && self.all() {
            return invalid(
                "`database.options.exclude_tables`: mongodump leaves collections out of one database alone, not with `database.name: all`",
                "name one database in `database.name`, or remove `database.options.exclude_tables`",
            );
        }
        let extra = args::check(&options.extra_args, self.all())?;
        Ok(Plan { extra, tls: args::tls(&self.database)? })
    }

    fn tool(&self, program: &str) -> Tool {
        let mut tool = Tool::new(program)
            .in_container(self.database.container.as_deref())
            .env("LC_ALL", "C")
            .capture_limit(STDERR_LIMIT);
        if let Some(path) = &self.path {
            tool = tool.env("PATH", path);
        }
        match &self.journal {
            Some(journal) => tool.journal(journal),
            None => tool,
        }
    }

    /// What every call needs but the password.
    fn connected(&self, tool: Tool, plan: &Plan) -> Tool {
        let tool = tool.args(args::server(&self.database)).args(&plan.tls);
        let tool = match &self.database.user {
            Some(user) => tool.arg(format!("--username={user}")),
            None => tool,
        };
        tool.arg("--archive")
    }

    fn password(&self) -> Result<Option<&str>, Failure> {
        self.database.password.as_ref().map(Secret::expose).transpose()
    }

    /// `mongodump` for a dump, whose stdin nobody writes, and the file with its password.
    fn dump_tool(
        &self,
        plan: &Plan,
        request: &DumpRequest,
    ) -> Result<(Tool, Option<SecretFile>), Failure> {
        let (tool, secret) = match (self.password()?, &self.database.container) {
            (None, _) => (self.tool(TOOL), None),
            (Some(password), Some(_)) => {
                let tool = self.tool("sh").args(["-c", BY_STDIN, TOOL]);
                (tool.env("BACKUPCTL_MONGODB_PASSWORD", password), None)
            }
            (Some(password), None) => {
                // Named as a partial file of this run, so that what a killed run leaves is cleared
                // with those.
                let name = request.name.with_ext("mongo").partial();
                let path = self.runtime_dir.join(name);
                let file = SecretFile::write(path, &args::config(password))?;
                let config = format!("--config={}", file.path().display());
                (self.tool(TOOL).arg(config), Some(file))
            }
        };
        let options = &self.database.options;
        let mut tool = self.connected(tool, plan);
        if !self.all() {
            tool = tool.arg(format!("--db={}", self.database.name));
            if options.globals {
                tool = tool.arg("--dumpDbUsersAndRoles");
            }
        }
        for name in &options.exclude_tables {
            tool = tool.arg(format!("--excludeCollection={name}"));
        }
        Ok((tool.args(&options.extra_args).timeout(request.timeout), secret))
    }

    async fn version(&self, ctx: &StageContext) -> Result<String, Failure> {
        let tool = self.tool(TOOL).arg("--version").timeout(Some(Duration::from_secs(30)));
        let output = tool.run(ctx).await.map_err(|e| e.into_failure(ErrorCode::ToolMissing))?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let again =
            "install it again: the package `mongodb-database-tools` from MongoDB's repository";
        let Some(version) = version_of(&printed).filter(|_| output.success()) else {
            return Err(Failure::new(
                ErrorCode::ToolMissing,
                format!("mongodump --version failed with {}", output.status_text()),
            )
            .with_detail(output.last_lines(10))
            .with_remedy(again));
        };
        if too_old(version) {
            let (major, minor) = OLDEST;
            return Err(Failure::new(
                ErrorCode::ToolTooOld,
                format!("mongodump is {version}, needed is {major}.{minor} or newer: older ones take a password only where everybody sees it"),
            )
            .with_remedy(again));
        }
        Ok(version.to_owned())
    }

    /// Logs in and asks for the collections, by `mongodump` itself. The password comes by its stdin,
    /// where it asks for one: no run stands behind this that would clear a file away.
    async fn visit(&self, plan: &Plan, ctx: &StageContext) -> Result<(), Failure> {
        let db = if self.all() { "admin" } else { &self.database.name };
        let tool = self
            .connected(self.tool(TOOL), plan)
            .args([format!("--db={db}"), format!("--collection={NOBODYS}")])
            .args(&plan.extra.connection)
            .timeout(Some(VISIT));
        let password = self.password()?.map(|password| format!("{password}\n"));
        let ran = tool.run_writing(ctx, move |stdin| {
            stdin.write_all(password.unwrap_or_default().as_bytes())
        });
        // Whether it has read the password, its status tells.
        let (output, _) = ran.await.map_err(|e| e.into_failure(ErrorCode::DbTimeout))?;
        self.check_end(&output)
    }

    fn check_end(&self, output: &Output) -> Result<(), Failure> {
        if output.success() {
            return Ok(());
        }
        let place = place(&self.database);
        Err(stderr::dump_failure(&output.status_text(), &output.stderr, &place))
    }

    /// Runs `mongodump` into the partial file.
    async fn stream(
        &self,
        plan: &Plan,
        request: &DumpRequest,
        ctx: &StageContext,
    ) -> Result<(Output, Written, ArchiveReader), Failure> {
        let mut ext = Engine::Mongodb.extension().to_owned();
        if let Some(compression) = request.compression {
            ext = format!("{ext}.{}", compression.algorithm.extension());
        }
        let name = request.name.with_ext(ext).to_string();
        let file = AtomicFile::create(&request.dir.join(name), Existing::Refuse)?;
        let target = file.target().to_owned();
        let (tool, secret) = self.dump_tool(plan, request)?;
        let (compression, max_bytes) = (request.compression, request.max_bytes);
        let mut watch = Watch::new(ctx);
        let mut reader = ArchiveReader::new();
        let ran = tool.run_reading(ctx, move |stdout| {
            let tap = |chunk: &[u8]| reader.feed(chunk);
            let written = pump(stdout, file, compression, max_bytes, &mut watch, tap)?;
            Ok((written, reader))
        });
        let ran = ran.await;
        drop(secret);
        match ran {
            Ok((output, (written, reader))) => Ok((output, written, reader)),
            Err(ProcessError::Pipe(error, _)) => Err(into_failure(error, &target)),
            Err(ProcessError::TimedOut { limit, stderr, .. }) => {
                Err(blocking::timed_out(TOOL, limit).with_detail(stderr::tail(&stderr)))
            }
            Err(other) => Err(other.into_failure(ErrorCode::DumpTimeout)),
        }
    }

    /// What the archive holds against what `mongodump` has announced and counted.
    fn compare(&self, reader: ArchiveReader, output: &Output) -> Result<Summary, Failure> {
        let place = place(&self.database);
        let (verdict, summary) = reader.finish();
        let detail = || stderr::tail(&output.stderr);
        if let Verdict::Unfinished(names) = verdict {
            return Err(Failure::new(
                ErrorCode::DumpIncomplete,
                format!(
                    "mongodump of {place} ended with status 0, and its archive has no end of {}",
                    listed(&names, 10)
                ),
            )
            .with_detail(detail())
            .with_remedy("run the backup again; if it happens twice, update mongodump"));
        }
        judged(verdict, &format!("the dump of {place}")).map_err(|f| f.with_detail(detail()))?;
        let differing = counts::differences(&counts::of(&output.stderr), &summary.documents);
        if differing.is_empty() {
            return Ok(summary);
        }
        Err(Failure::new(
            ErrorCode::DumpIncomplete,
            format!(
                "the dump of {place} lacks what mongodump has counted: {}",
                listed(&differing, 10)
            ),
        )
        .with_detail(detail())
        .with_remedy("run the backup again; if it happens twice, update mongodump"))
    }

    /// A server lists to a user what that user may read, and `mongodump` is content with that.
    fn check_sight(&self, plan: &Plan, summary: &Summary) -> Result<(), Failure> {
        let Some(user) = self.database.user.as_ref().filter(|_| self.all()) else { return Ok(()) };
        if plan.extra.selects.is_some() || sees_admin(summary) {
            return Ok(());
        }
        Err(Failure::new(
            ErrorCode::DumpIncomplete,
            format!(
                "the dump of {} holds nothing of the database admin, which every server has: user {user} lacks the role `backup` and may see only some databases",
                place(&self.database)
            ),
        )
        .with_remedy(format!(
            "`use admin; db.grantRolesToUser('{user}', [{{role: 'backup', db: 'admin'}}])` in the user's authentication database, or a project for each database by its name"
        )))
    }

    fn warnings(&self, plan: &Plan, summary: &Summary) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(arg) = &plan.extra.selects {
            warnings.push(format!(
                "{arg} in `database.options.extra_args` chooses what is dumped: the rest is in no backup of this project"
            ));
        }
        if summary.documents.is_empty() {
            warnings.push(format!(
                "database {} holds no collections: the dump is empty (MongoDB takes a wrong name for an empty database)",
                place(&self.database)
            ));
        }
        warnings
    }
}

/// Every server has this one collection.
fn sees_admin(summary: &Summary) -> bool {
    summary.documents.contains_key("admin.system.version")
}

/// The failure that an archive is, unless it is whole.
fn judged(verdict: Verdict, what: &str) -> Result<(), Failure> {
    let (code, why) = match verdict {
        Verdict::Whole => return Ok(()),
        Verdict::Cut(why) => (ErrorCode::DumpTruncated, why),
        Verdict::Bad(why) => (ErrorCode::DumpCorrupt, why),
        Verdict::Unfinished(names) => {
            let why = format!("the archive has no end of {}", listed(&names, 10));
            (ErrorCode::DumpTruncated, why)
        }
    };
    Err(Failure::new(code, format!("{what} is no whole archive: {why}")).with_remedy(
        "run the backup again; if it happens twice, update mongodump, and check the machine's disk and memory",
    ))
}

/// The version in what `mongodump --version` prints: `100.9.4` of `mongodump version: 100.9.4`.
fn version_of(printed: &str) -> Option<&str> {
    let version = printed.lines().find_map(|l| l.strip_prefix("mongodump version: "))?.trim();
    // Tools of before 100.0 called themselves after the server: r4.2.8.
    let number = version.trim_start_matches('r');
    number.starts_with(|c: char| c.is_ascii_digit()).then_some(number)
}

fn too_old(version: &str) -> bool {
    let mut numbers = version.split('.').map(|n| n.parse().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default()) < OLDEST
}

#[async_trait]
impl DatabaseDumper for MongodbDumper {
    async fn check_tool(&self) -> Result<ToolInfo, Failure> {
        self.plan()?;
        let ctx = StageContext::new(Stage::Dump, Cancel::new(), Arc::default());
        let version = self.version(&ctx).await?;
        Ok(ToolInfo { name: TOOL.to_owned(), version })
    }

    async fn check_database(&self, ctx: &StageContext) -> Result<DumpPreview, Failure> {
        let plan = self.plan()?;
        self.version(ctx).await?;
        let server_version = wire::version(&self.database, ctx).await?;
        self.visit(&plan, ctx).await?;
        ctx.cancel.check()?;
        let server_version = server_version.unwrap_or_else(|| "unknown".to_owned());
        Ok(DumpPreview { server_version, database_bytes: None })
    }

    async fn dump(&self, request: &DumpRequest, ctx: &StageContext) -> Result<DumpedFile, Failure> {
        let plan = self.plan()?;
        let tool_version = self.version(ctx).await?;
        // A server that refuses is told at once; mongodump would try for half a minute.
        wire::version(&self.database, ctx).await?;
        let (output, written, reader) = self.stream(&plan, request, ctx).await?;
        self.check_end(&output)?;
        if written.raw_bytes == 0 {
            return Err(Failure::new(
                ErrorCode::DumpEmpty,
                format!(
                    "mongodump of {} ended with status 0 and wrote nothing",
                    place(&self.database)
                ),
            )
            .with_detail(stderr::tail(&output.stderr)));
        }
        let summary = self.compare(reader, &output)?;
        self.check_sight(&plan, &summary)?;
        let warnings = self.warnings(&plan, &summary);
        let completeness = if summary.documents.is_empty() {
            Completeness::NothingInDatabase
        } else {
            Completeness::Complete
        };
        let tool = format!("{TOOL} {tool_version}");
        written.commit(Engine::Mongodb, tool, completeness, warnings, ctx).await
    }

    async fn verify(&self, request: &VerifyRequest, ctx: &StageContext) -> Result<(), Failure> {
        let VerifyRequest { path, info, .. } = request.clone();
        blocking::run(ctx, request.timeout, "reading the dump back", move |watch, _| {
            let mut reader = ArchiveReader::new();
            read_back(&path, &info, &watch, |chunk| {
                reader.feed(chunk);
                Ok(())
            })?;
            judged(reader.finish().0, &path.display().to_string())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_tool_prints() {
        let printed = "mongodump version: 100.9.4\ngit version: 5e28b9a\nGo version: go1.21.5\n";
        assert_eq!(version_of(printed), Some("100.9.4"));
        assert_eq!(version_of("mongodump version: r4.2.8\n"), Some("4.2.8"));
        assert_eq!(version_of("command not found"), None);
        assert!(too_old("4.2.8") && too_old("100.2.1"));
        assert!(!too_old("100.3.0") && !too_old("100.12.1") && !too_old("101.0.0"));
    }
}
