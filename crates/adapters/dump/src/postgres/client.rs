//! The client programs of one server: which are used, and what each of them is told.
//!
//! The same for dumping and for loading, so that both mean the same server by the same settings.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backupctl_adapter_process::Tool;
use backupctl_application::context::StageContext;
use backupctl_domain::project::Database;
use backupctl_domain::{ErrorCode, Failure};

use super::passfile::PassFile;
use super::program::{Installed, Programs, major_of, too_old, version_of};
use super::session::user_of;

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

/// How the programs reach a server.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) database: Database,
    /// A 0700 folder for the short life of a password file.
    pub(crate) runtime_dir: PathBuf,
    journal: Option<PathBuf>,
    /// Where docker's client is looked for; in this process's `PATH` for `None`.
    pub(crate) path: Option<OsString>,
}

impl Client {
    pub(crate) fn new(database: &Database, runtime_dir: PathBuf, journal: Option<PathBuf>) -> Self {
        Self { database: database.clone(), runtime_dir, journal, path: None }
    }

    /// The same server with another database of it.
    pub(crate) fn of(&self, name: &str) -> Self {
        let database = Database { name: name.to_owned(), ..self.database.clone() };
        Self { database, ..self.clone() }
    }

    /// A program that talks to no server, or is not told yet to which.
    pub(crate) fn tool(&self, program: &Path) -> Tool {
        let container = self.database.container.as_deref();
        let mut tool = Tool::new(program).in_container(container).env("LC_ALL", "C");
        if let Some(path) = &self.path {
            tool = tool.env("PATH", path);
        }
        for name in LIBPQ_ENV {
            tool = tool.env_remove(name);
        }
        match &self.journal {
            Some(journal) => tool.journal(journal),
            None => tool,
        }
    }

    /// A program that talks to the server, and the password file that it needs until it has ended,
    /// which is called `pass_name`. The database is still to be named.
    pub(crate) fn connecting(
        &self,
        program: &Path,
        pass_name: &str,
    ) -> Result<(Tool, Option<PassFile>), Failure> {
        let Database { host, port, password, options, .. } = &self.database;
        let host = if host.is_empty() { "localhost" } else { host };
        let mut tool = self
            .tool(program)
            .arg("--no-password")
            .arg(format!("--host={host}"))
            .arg(format!("--port={port}"))
            .arg(format!("--username={}", user_of(&self.database)?))
            .env("PGCONNECT_TIMEOUT", "10")
            .env("PGAPPNAME", "backupctl");
        if let Some(mode) = &options.sslmode {
            tool = tool.env("PGSSLMODE", mode);
        }
        if let Some(cert) = &options.sslrootcert {
            tool = tool.env("PGSSLROOTCERT", cert);
        }
        let Some(password) = password else { return Ok((tool, None)) };
        if self.database.container.is_some() {
            // A file of ours is not seen in there.
            return Ok((tool.env("PGPASSWORD", password.expose()?), None));
        }
        let file = PassFile::write(self.runtime_dir.join(pass_name), password.expose()?)?;
        for name in PASSWORD_ENV {
            tool = tool.env_remove(name);
        }
        Ok((tool.env("PGPASSFILE", file.path()), Some(file)))
    }

    /// The programs to choose from.
    pub(crate) fn installed(&self) -> Result<Installed, Failure> {
        match self.database.container {
            Some(_) => Ok(Installed::in_container()),
            None => Installed::find(),
        }
    }

    /// The content of a file where the programs run, which `key` names.
    pub(crate) async fn read_inside(
        &self,
        path: &Path,
        key: &str,
        ctx: &StageContext,
    ) -> Result<Vec<u8>, Failure> {
        let tool = self.tool("cat".as_ref()).arg(path).timeout(Some(Duration::from_secs(30)));
        let output = tool.run(ctx).await.map_err(|e| e.into_failure(ErrorCode::DbTimeout))?;
        if output.success() {
            return Ok(output.stdout);
        }
        let (path, container) = (path.display(), self.database.container.as_deref());
        let message = format!(
            "`{key}` cannot be read in container {}: {path}: {}",
            container.unwrap_or_default(),
            output.last_lines(1)
        );
        Err(Failure::new(ErrorCode::InvalidConfig, message)
            .with_remedy(format!("name a file in `{key}` as it is seen from inside the container")))
    }

    /// The programs for a server of that version, and `pg_dump`'s version if it had to be asked.
    pub(crate) async fn programs(
        &self,
        server: &str,
        ctx: &StageContext,
    ) -> Result<Programs, Failure> {
        let installed = self.installed()?;
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

    /// A program's version by its own word.
    pub(crate) async fn ask_version(
        &self,
        program: &Path,
        ctx: &StageContext,
    ) -> Result<String, Failure> {
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
}

/// A database's name as a connection string: a name with `=` in it or one that begins as a URL would
/// otherwise be taken for a whole connection string.
pub(crate) fn conninfo(name: &str) -> String {
    format!("dbname='{}'", name.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_name_is_never_a_connection_string() {
        assert_eq!(conninfo("shop"), "dbname='shop'");
        assert_eq!(conninfo(r"host=x it's\"), r"dbname='host=x it\'s\\'");
    }
}
