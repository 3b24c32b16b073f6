//! Dumps Redis by `redis-cli --rdb -`, which syncs as a replica does, through our own compressor.
//!
//! Written to stdout, so that no uncompressed copy lies on a disk. What follows the RDB on stdout is
//! cut off (see [`rdb`]), its own checksum is proven as it comes, and `redis-check-rdb` reads all of
//! it again at the end: that takes a pipe as well as a file.

mod args;
mod rdb;
mod replies;

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
use backupctl_domain::manifest::Completeness;
use backupctl_domain::project::{Database, Engine};
use backupctl_domain::{ErrorCode, Failure, Stage};

use crate::blocking;
use crate::stream::{Watch, Written, into_failure, pump};
use crate::verify::read_through;
use rdb::{End, Rdb, RdbReader};
use replies::Info;

const CLI: &str = "redis-cli";
const CHECK: &str = "redis-check-rdb";
/// How long one of our few questions may take.
const QUESTION: Duration = Duration::from_secs(30);

/// Dumps all databases of one Redis server.
#[derive(Debug)]
pub struct RedisDumper {
    database: Database,
    journal: Option<PathBuf>,
    path: Option<OsString>,
}

impl RedisDumper {
    /// A dumper for `database`. `journal` is the file that notes running programs, for whoever cleans
    /// up after a crash.
    pub fn new(database: &Database, journal: Option<PathBuf>) -> Self {
        Self { database: database.clone(), journal, path: None }
    }

    /// Looks for the programs in these folders (as `PATH` holds them) instead of this process's `PATH`.
    #[must_use]
    pub fn search_path(mut self, path: impl Into<OsString>) -> Self {
        self.path = Some(path.into());
        self
    }

    fn place(&self) -> String {
        match self.database.host.as_str() {
            path if path.starts_with('/') => path.to_owned(),
            "" => format!("localhost:{}", self.database.port),
            host => format!("{host}:{}", self.database.port),
        }
    }

    fn tool(&self, program: &str) -> Tool {
        let mut tool =
            Tool::new(program).in_container(self.database.container.as_deref()).env("LC_ALL", "C");
        if let Some(path) = &self.path {
            tool = tool.env("PATH", path);
        }
        match &self.journal {
            Some(journal) => tool.journal(journal),
            None => tool,
        }
    }

    fn cli(&self) -> Result<Tool, Failure> {
        let tool = self.tool(CLI).args(args::server(&self.database)?);
        match &self.database.password {
            Some(password) => Ok(tool.env("REDISCLI_AUTH", password.expose()?)),
            None => Ok(tool),
        }
    }

    async fn version(&self, program: &str, ctx: &StageContext) -> Result<String, Failure> {
        let tool = self.tool(program).arg("--version").timeout(Some(QUESTION));
        let output = tool.run(ctx).await.map_err(|e| e.into_failure(ErrorCode::ToolMissing))?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        match version_of(&printed) {
            Some(version) if output.success() => Ok(version.to_owned()),
            _ => Err(Failure::new(
                ErrorCode::ToolMissing,
                format!("{program} --version failed with {}", output.status_text()),
            )
            .with_detail(output.last_lines(10))
            .with_remedy("install it again: `apt install --reinstall redis-tools`")),
        }
    }

    async fn info(&self, ctx: &StageContext) -> Result<Info, Failure> {
        let place = self.place();
        let tool = self.cli()?.arg("INFO").timeout(Some(QUESTION));
        let output = match tool.run(ctx).await {
            Err(ProcessError::TimedOut { limit, .. }) => {
                return Err(Failure::new(
                    ErrorCode::DbTimeout,
                    format!("redis {place}: no answer within {} s", limit.as_secs()),
                )
                .with_remedy(
                    "check `database.host` and `database.port`, the firewalls between here and the server, and its load; a server without TLS leaves a TLS greeting unanswered (`database.options.sslmode`)",
                ));
            }
            other => other.map_err(|e| e.into_failure(ErrorCode::DbTimeout))?,
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // redis-cli asks on as the default user where its login is refused; `--rdb` would not.
        let refused = output.stderr.contains("AUTH failed");
        match replies::info(&text).filter(|_| !refused) {
            Some(info) if info.loading => Err(replies::failure(
                &format!("redis {place}"),
                "LOADING Redis is loading its data",
            )),
            Some(info) => Ok(info),
            None => {
                // An answer that is an error comes on stdout, and with status 0.
                let answer = if refused { String::new() } else { ctx.redactor.redact(&text) };
                let said = format!("{answer}\n{}", output.stderr);
                Err(replies::failure(&format!("redis-cli of {place} failed"), &said))
            }
        }
    }

    /// Runs `redis-cli --rdb -` into the partial file.
    async fn stream(
        &self,
        request: &DumpRequest,
        ctx: &StageContext,
    ) -> Result<(Output, Written, Rdb), Failure> {
        let mut ext = Engine::Redis.extension().to_owned();
        if let Some(compression) = request.compression {
            ext = format!("{ext}.{}", compression.algorithm.extension());
        }
        let name = request.name.with_ext(ext).to_string();
        let file = AtomicFile::create(&request.dir.join(name), Existing::Refuse)?;
        let target = file.target().to_owned();
        let tool = self.cli()?.args(["--rdb", "-"]).timeout(request.timeout);
        let (compression, max_bytes) = (request.compression, request.max_bytes);
        let mut watch = Watch::new(ctx);
        let ran = tool.run_reading(ctx, move |stdout| {
            let mut reader = RdbReader::new(stdout);
            let written = pump(&mut reader, file, compression, max_bytes, &mut watch, |_| ())?;
            Ok((written, reader.finish()))
        });
        match ran.await {
            Ok((output, (written, rdb))) => Ok((output, written, rdb)),
            Err(ProcessError::Pipe(error, _)) => Err(into_failure(error, &target)),
            Err(ProcessError::TimedOut { limit, stderr, .. }) => {
                let said = backupctl_adapter_process::last_lines(&stderr, 10);
                Err(blocking::timed_out(CLI, limit).with_detail(said))
            }
            Err(other) => Err(other.into_failure(ErrorCode::DumpTimeout)),
        }
    }

    fn check_end(&self, output: &Output, written: &Written, rdb: &Rdb) -> Result<(), Failure> {
        let what = format!("redis-cli of {} failed with {}", self.place(), output.status_text());
        if !output.success() {
            return Err(replies::failure(&what, &output.stderr));
        }
        if written.raw_bytes == 0 {
            return Err(Failure::new(
                ErrorCode::DumpEmpty,
                format!("redis-cli of {} ended with status 0 and wrote nothing", self.place()),
            )
            .with_detail(output.last_lines(10)));
        }
        let End::Bad(why) = rdb.end else { return Ok(()) };
        Err(Failure::new(
            ErrorCode::DumpTruncated,
            format!(
                "redis-cli of {} ended with status 0, and what it wrote is no whole RDB: {why}",
                self.place()
            ),
        )
        .with_detail(output.last_lines(10))
        .with_remedy("run the backup again; if it happens twice, update redis-cli"))
    }

    /// Whether the dump has keys where the server has some.
    async fn compare(
        &self,
        before: &Info,
        rdb: &Rdb,
        ctx: &StageContext,
    ) -> Result<Completeness, Failure> {
        match rdb.keys {
            Some(true) | None => return Ok(Completeness::Complete),
            Some(false) if before.keys == 0 => return Ok(Completeness::NothingInDatabase),
            Some(false) => {}
        }
        // They may have gone meanwhile.
        let after = self.info(ctx).await?;
        if after.keys == 0 {
            return Ok(Completeness::NothingInDatabase);
        }
        Err(Failure::new(
            ErrorCode::DumpIncomplete,
            format!("redis {} has {} keys, the dump has none", self.place(), after.keys),
        )
        .with_remedy("dump the server itself, not a proxy in front of it; look into its log"))
    }

    /// Options that mean nothing here and that somebody might count on.
    fn ignored_options(&self) -> Vec<String> {
        let options = &self.database.options;
        [
            ("exclude_tables", !options.exclude_tables.is_empty()),
            ("exclude_table_data", !options.exclude_table_data.is_empty()),
            ("globals", options.globals),
        ]
        .iter()
        .filter(|(_, set)| *set)
        .map(|(key, _)| {
            format!("`database.options.{key}` has no effect on Redis: the whole server is dumped")
        })
        .collect()
    }
}

/// The version in what the tools print: `7.0.15` of `redis-cli 7.0.15`.
fn version_of(printed: &str) -> Option<&str> {
    printed.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
}

/// What `redis-check-rdb` says no to; it says all of it on stdout.
fn unreadable(output: &Output) -> Failure {
    let said = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), output.stderr);
    let detail = backupctl_adapter_process::last_lines(&said, 10);
    let failure = |code, what: &str| {
        let message = format!("redis-check-rdb {what} ({})", output.status_text());
        Failure::new(code, message).with_detail(detail.clone())
    };
    if said.contains("Can't handle RDB format version") {
        return failure(ErrorCode::DbVersionMismatch, "is older than the server that was dumped")
            .with_remedy("install redis-tools as new as the server");
    }
    failure(ErrorCode::DumpCorrupt, "cannot read the dump").with_remedy(
        "run the backup again; if it happens twice, compare the versions of redis-check-rdb and the server",
    )
}

#[async_trait]
impl DatabaseDumper for RedisDumper {
    async fn check_tool(&self) -> Result<ToolInfo, Failure> {
        self.cli()?;
        let ctx = StageContext::new(Stage::Dump, Cancel::new(), Arc::default());
        let version = self.version(CLI, &ctx).await?;
        self.version(CHECK, &ctx).await?;
        Ok(ToolInfo { name: CLI.to_owned(), version })
    }

    async fn check_database(&self, ctx: &StageContext) -> Result<DumpPreview, Failure> {
        let info = self.info(ctx).await?;
        ctx.cancel.check()?;
        // What it takes in memory says little of what it takes in a file.
        Ok(DumpPreview { server_version: info.version, database_bytes: None })
    }

    async fn dump(&self, request: &DumpRequest, ctx: &StageContext) -> Result<DumpedFile, Failure> {
        let tool_version = self.version(CLI, ctx).await?;
        let before = self.info(ctx).await?;
        let (output, written, rdb) = self.stream(request, ctx).await?;
        self.check_end(&output, &written, &rdb)?;
        let completeness = self.compare(&before, &rdb, ctx).await?;
        let mut warnings = self.ignored_options();
        if completeness == Completeness::NothingInDatabase {
            warnings.push(format!("redis {} holds no keys: the dump is empty", self.place()));
        }
        if matches!(rdb.end, End::Unproven) {
            warnings.push(
                "nothing proves the bytes that came: the server writes no checksum: `CONFIG SET rdbchecksum yes`, and `rdbchecksum yes` in its configuration"
                    .to_owned(),
            );
        }
        let tool = format!("{CLI} {tool_version}");
        written.commit(Engine::Redis, tool, completeness, warnings, ctx).await
    }

    async fn verify(&self, request: &VerifyRequest, ctx: &StageContext) -> Result<(), Failure> {
        let tool = self.tool(CHECK).arg("/dev/stdin");
        let output = read_through(tool, request, ctx).await?;
        if output.success() { Ok(()) } else { Err(unreadable(&output)) }
    }
}
