//! Loads a dump by the `mariadb` or `mysql` client.
//!
//! Neither server takes back what a load has created, so the whole file is read first: a dump that is
//! cut or does not decompress reaches no server.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use backupctl_application::context::{Cancel, StageContext};
use backupctl_application::ports::{DatabaseLoader, LoadReport, TargetState, ToolInfo};
use backupctl_domain::manifest::{Contents, listed};
use backupctl_domain::project::Database;
use backupctl_domain::{ErrorCode, Failure, Stage};

use super::catalog::{Catalog, SYSTEM, is_of};
use super::scan::{Family, Scanned, Scanner, is_sandbox_line};
use super::server::{ALL, Client, Server, identifier};
use super::stderr::{self, Doing};
use super::tools::{Version, find_client, name_of};
use super::{check_whole, has_controls};
use crate::blocking;
use crate::stream::{CHUNK, Decoder, Packing, Watch, read_failure};

/// How many things of a filled database are named.
const NAMED: usize = 5;

/// Loads dumps into one database of a MySQL or MariaDB server, or into all that the dump names.
#[derive(Debug)]
pub struct MysqlLoader {
    server: Server,
    runtime_dir: PathBuf,
}

impl MysqlLoader {
    /// A loader into `database`; into every database that a dump names if its name is `all`.
    /// `runtime_dir` is a 0700 folder for the short life of an option file with the password;
    /// `journal` the file that notes running programs, for whoever cleans up after a crash.
    pub fn new(database: &Database, runtime_dir: PathBuf, journal: Option<PathBuf>) -> Self {
        let server = Server { database: database.clone(), journal, path: None };
        Self { server, runtime_dir }
    }

    /// Looks for the programs in these folders (as `PATH` holds them) instead of this process's `PATH`.
    #[must_use]
    pub fn search_path(mut self, path: impl Into<OsString>) -> Self {
        self.server.path = Some(path.into());
        self
    }

    /// What is there; `None` where there is no such database.
    async fn catalog(
        &self,
        program: &Path,
        family: Family,
        ctx: &StageContext,
    ) -> Result<Option<Catalog>, Failure> {
        let client = Client { program, family, arguments: &[] };
        match Catalog::read(&self.server, &client, ctx).await {
            Ok(catalog) => {
                self.server.check_cipher(&catalog.cipher)?;
                Ok(Some(catalog))
            }
            Err(failure) if failure.code == ErrorCode::DbNotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The failure of a load on whose way something may have been loaded already.
    fn partly(&self, mut failure: Failure) -> Failure {
        let what = if self.server.is_all() { "the databases" } else { "the database" };
        failure.message.push_str("; what came before that is loaded, and stays");
        let again = format!("drop {what} that it went into, or load again with --force");
        failure.remedy = match failure.remedy.as_str() {
            "" => again,
            remedy => format!("{remedy}; then {again}"),
        };
        failure
    }

    fn missing(&self) -> Failure {
        let message = format!("there is no database {}", self.server.place());
        Failure::new(ErrorCode::DbNotFound, message)
    }

    /// Reads the whole file: is it a dump to its end, and one for this target?
    async fn prove(&self, dump: &Path, ctx: &StageContext) -> Result<Scanned, Failure> {
        let path = dump.to_owned();
        let name = self.server.database.name.clone();
        let scanned = blocking::run(ctx, None, "reading the dump", move |watch, _| {
            let mut scanner = Scanner::new(&name);
            let read = unpacked(&path, &watch, |chunk| {
                scanner.feed(chunk);
                Ok(())
            });
            read.map_err(|e| unreadable(e, &path))?;
            Ok(scanner.finish())
        })
        .await?;
        check_whole(&scanned, dump).map_err(Failure::permanent)?;
        let refused = |what: String, remedy: String| {
            let message = format!("{} {what}", dump.display());
            Err(Failure::new(ErrorCode::InvalidConfig, message).with_remedy(remedy))
        };
        match (scanned.names_databases, self.server.is_all()) {
            (true, false) => refused(
                format!(
                    "holds databases by name: it cannot be loaded into {} alone",
                    self.server.place()
                ),
                format!("load it into every database that it names: give `{ALL}` as the database"),
            ),
            (false, true) => refused(
                "is of one database and does not say of which".to_owned(),
                "name the database to load it into".to_owned(),
            ),
            _ => Ok(scanned),
        }
    }

    /// Streams the dump into the client.
    async fn feed(
        &self,
        program: &Path,
        version: &Version,
        dump: &Path,
        scanned: Scanned,
        ctx: &StageContext,
    ) -> Result<(), Failure> {
        let stem = dump.file_name().unwrap_or_default().to_string_lossy();
        let stem = stem.split('.').next().unwrap_or_default();
        let options = self.runtime_dir.join(format!(".{stem}.mycnf.partial"));
        let text = self.server.option_file(version.family)?;
        let (tool, options) = self.server.tool_with_options(program, &text, options)?;
        // The dump is data: no command of the client is obeyed in it but DELIMITER.
        let mut tool = tool.args(["--batch", "--binary-mode"]);
        if !self.server.is_all() {
            tool = tool.arg(format!("--database={}", self.server.database.name));
        }
        let mut first = FirstLine::new(!version.knows_sandbox_line());
        let mut conditions = Conditions { at: scanned.wants_condition, next: 0, passed: 0 };
        let (path, watch) = (dump.to_owned(), Watch::new(ctx));
        let ran = tool.run_writing(ctx, move |stdin| {
            unpacked(&path, &watch, |chunk| {
                conditions.pass(chunk, &mut |piece| first.pass(piece, stdin))
            })
        });
        let ran = ran.await;
        drop(options);
        let (output, fed) = ran.map_err(|e| e.into_failure(ErrorCode::DumpTimeout))?;
        if !output.success() {
            let (tool, place) = (name_of(program), self.server.place());
            let (doing, status) = (Doing::Loading(&tool), output.status_text());
            return Err(stderr::failure(&doing, &status, &output.stderr, &place));
        }
        fed.map_err(|e| unreadable(e, dump))
    }
}

#[async_trait]
impl DatabaseLoader for MysqlLoader {
    async fn check_tool(&self) -> Result<ToolInfo, Failure> {
        let ctx = StageContext::new(Stage::Sync, Cancel::new(), Arc::default());
        let (program, version) = find_client(&self.server, &ctx).await?;
        Ok(ToolInfo { name: name_of(&program), version: version.number })
    }

    async fn state(&self, ctx: &StageContext) -> Result<TargetState, Failure> {
        let (program, version) = find_client(&self.server, ctx).await?;
        let catalog = self.catalog(&program, version.family, ctx).await?;
        Ok(catalog.map_or(TargetState::Missing, |catalog| state_of(&catalog)))
    }

    async fn create(&self, ctx: &StageContext) -> Result<(), Failure> {
        if self.server.is_all() {
            return Ok(());
        }
        let (program, version) = find_client(&self.server, ctx).await?;
        let client = Client { program: &program, family: version.family, arguments: &[] };
        let name = identifier(&self.server.database.name);
        let sql = format!("create database {name} character set utf8mb4");
        self.server.ask(&client, None, &sql, ctx).await.map(drop)
    }

    async fn load(
        &self,
        dump: &Path,
        replace: bool,
        ctx: &StageContext,
    ) -> Result<LoadReport, Failure> {
        let (program, version) = find_client(&self.server, ctx).await?;
        let before = self.catalog(&program, version.family, ctx).await?;
        let before = before.ok_or_else(|| self.missing())?;
        if let (TargetState::Filled { objects }, false) = (state_of(&before), replace) {
            let (place, objects) = (self.server.place(), objects.join(", "));
            let message = format!("database {place} is not empty: it holds {objects}");
            return Err(Failure::new(ErrorCode::PathNotWritable, message).with_remedy(
                "load into an empty database, or say that what is there is to be replaced",
            ));
        }
        let scanned = self.prove(dump, ctx).await?;
        let (family, users, brought) = (scanned.family, scanned.users, scanned.contents.clone());
        let fed = self.feed(&program, &version, dump, scanned, ctx).await;
        fed.map_err(|failure| self.partly(failure))?;

        let after = self.catalog(&program, version.family, ctx).await?;
        let after = after.ok_or_else(|| self.missing())?;
        // An event whose time is over is dropped as soon as it is created.
        let (over, lacking): (Vec<String>, Vec<String>) =
            not_arrived(&brought, &after).into_iter().partition(|name| name.starts_with("event "));
        if !lacking.is_empty() {
            return Err(Failure::new(
                ErrorCode::DumpIncomplete,
                format!(
                    "the dump was loaded into {} without an error, and the server does not show all that it holds: {}",
                    self.server.place(),
                    listed(&lacking, 10)
                ),
            )
            .with_remedy(
                "load it into a server of the family and version that was dumped, as a user that may create and see everything in it",
            ));
        }
        let mut notes = Vec::new();
        if !over.is_empty() {
            notes.push(format!(
                "the server does not keep events whose time is over: {}",
                listed(&over, 10)
            ));
        }
        let to = if after.is_mariadb() { Family::MariaDb } else { Family::MySql };
        if let Some(from) = family.filter(|from| *from != to) {
            notes.push(format!(
                "the dump was made by {}'s tool and the server is {}: compare what was loaded, for some types and collations differ",
                from.name(),
                to.name()
            ));
        }
        if users > 0 {
            notes.push(format!("the dump brought {users} users of the server with their rights"));
        }
        Ok(LoadReport { tables: after.table_count(), notes })
    }
}

/// What a dump holds and the server does not show. It may write names in its own case, and the server's
/// own databases are not looked at.
fn not_arrived(dump: &Contents, server: &Catalog) -> Vec<String> {
    let there: HashSet<String> = server.contents.iter().map(|name| name.to_lowercase()).collect();
    let lacks = |name: &&String| {
        !SYSTEM.iter().any(|system| is_of(name, system))
            && !has_controls(name)
            && !there.contains(&name.to_lowercase())
    };
    dump.iter().filter(lacks).cloned().collect()
}

fn state_of(catalog: &Catalog) -> TargetState {
    let objects: Vec<String> = catalog.things().take(NAMED).cloned().collect();
    if objects.is_empty() { TargetState::Empty } else { TargetState::Filled { objects } }
}

/// Hands over the file's content, unpacked, from its first byte to its last.
fn unpacked(
    path: &Path,
    watch: &Watch,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let file = File::open(path).map_err(|e| io::Error::other(read_failure(&e, path)))?;
    let mut decoder = Decoder::new(file, Packing::of(path))?;
    let mut watch = watch.of(None);
    let mut buffer = vec![0; CHUNK];
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                take(&buffer[..read])?;
                watch.advance(read)?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// What an error of reading the dump means.
fn unreadable(error: io::Error, path: &Path) -> Failure {
    match error.downcast::<Failure>() {
        Ok(failure) => failure,
        Err(e) => {
            let message = format!("{} does not decompress: {e}", path.display());
            Failure::new(ErrorCode::DumpCorrupt, message).permanent().with_remedy(
                "restore the file again, or take an older snapshot: `backupctl snapshots` lists them",
            )
        }
    }
}

/// Passes a dump on with `IF NOT EXISTS` where it is wanting.
struct Conditions {
    at: Vec<u64>,
    next: usize,
    passed: u64,
}

impl Conditions {
    fn pass(
        &mut self,
        mut chunk: &[u8],
        to: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        while let Some(at) = self.at.get(self.next) {
            let left = usize::try_from(at.saturating_sub(self.passed)).unwrap_or(usize::MAX);
            if left > chunk.len() {
                break;
            }
            let (before, rest) = chunk.split_at(left);
            to(before)?;
            to(b" IF NOT EXISTS")?;
            chunk = rest;
            self.passed += left as u64;
            self.next += 1;
        }
        self.passed += chunk.len() as u64;
        to(chunk)
    }
}

/// Passes a dump on, without its first line if that is one at which the client would stop.
struct FirstLine {
    /// What has come of it; `None` once it is dealt with.
    held: Option<Vec<u8>>,
}

impl FirstLine {
    fn new(skips: bool) -> Self {
        Self { held: skips.then(Vec::new) }
    }

    fn pass(&mut self, chunk: &[u8], to: &mut dyn Write) -> io::Result<()> {
        let Some(mut held) = self.held.take() else { return to.write_all(chunk) };
        held.extend_from_slice(chunk);
        let end = held.iter().position(|b| *b == b'\n');
        match end {
            // Too little to tell, or not all of it.
            None if held.len() < 32 || is_sandbox_line(&held) => {
                self.held = Some(held);
                Ok(())
            }
            Some(end) if is_sandbox_line(&held) => to.write_all(&held[end + 1..]),
            _ => to.write_all(&held),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_does_not_show_after_a_load_is_named() {
        let mut server = Catalog::default();
        server.add(&["database", "shop"], true);
        server.add(&["table", "shop", "orders", "BASE TABLE"], true);
        let dump = ["database Shop", "table Shop.Orders", "table mysql.user", "trigger shop.tr"];
        let dump = dump.map(str::to_owned).into();
        assert_eq!(not_arrived(&dump, &server), ["trigger shop.tr"]);
    }

    #[test]
    fn users_that_may_be_there_are_created_on_that_condition() {
        let dump = b"a;\nCREATE USER `u`;\nCREATE USER `v`;\nb;\n";
        for step in [1, 3, 14, 15, 100] {
            let mut out = Vec::new();
            let mut conditions = Conditions { at: vec![14, 31], next: 0, passed: 0 };
            for chunk in dump.chunks(step) {
                let mut take = |piece: &[u8]| out.write_all(piece);
                conditions.pass(chunk, &mut take).unwrap();
            }
            let expected =
                "a;\nCREATE USER IF NOT EXISTS `u`;\nCREATE USER IF NOT EXISTS `v`;\nb;\n";
            assert_eq!(String::from_utf8(out).unwrap(), expected, "chunks of {step}");
        }
    }

    #[test]
    fn the_sandbox_line_is_left_out_for_clients_that_stop_at_it_and_nothing_else_is() {
        let with: &[u8] = b"/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump\nrest\n";
        let without: &[u8] = b"-- MariaDB dump of something that is longer than that\nrest\n";
        for step in [1, 5, 33, 1000] {
            for (dump, skips, expected) in [
                (with, true, &b"-- MariaDB dump\nrest\n"[..]),
                (with, false, with),
                (without, true, without),
            ] {
                let mut out = Vec::new();
                let mut first = FirstLine::new(skips);
                for chunk in dump.chunks(step) {
                    first.pass(chunk, &mut out).unwrap();
                }
                assert_eq!(out, expected, "chunks of {step}");
            }
        }
    }
}
