//! The few questions that we ask the server.
//!
//! They go through the client program: what it can reach and be let in by, the dump program can too,
//! since both read the same option file. The client gets that file by its stdin.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backupctl_adapter_process::{ProcessError, Tool};
use backupctl_application::context::StageContext;
use backupctl_domain::project::Database;
use backupctl_domain::{ErrorCode, Failure};

use super::options::{demands_tls, option_file, socket};
use super::scan::Family;
use super::stderr::{self, Doing};
use super::tools::Version;
use crate::secret_file::SecretFile;

/// The name that stands for every database of the server.
pub(crate) const ALL: &str = "all";
/// How long the catalog of a large server may take.
const ASK_TIMEOUT: Duration = Duration::from_mins(5);
/// How much an answer may hold: the names of some hundred thousand tables.
const ANSWER_LIMIT: usize = 32 << 20;
/// The last row of a whole answer.
const END: &str = "backupctl: end of the answer";
/// Variables of the clients that would change whom or what we dump.
const CLIENT_ENV: &[&str] = &[
    "LIBMYSQL_PLUGINS",
    "LIBMYSQL_PLUGIN_DIR",
    "MARIADB_PLUGIN_DIR",
    "MYSQL_GROUP_SUFFIX",
    "MYSQL_HOME",
    "MYSQL_HOST",
    "MYSQL_TCP_PORT",
    "MYSQL_UNIX_PORT",
];

/// Gives a program in a container its option file, which this machine's folders cannot: as a
/// here-document, for its stdin may be a dump.
const WITH_OPTIONS: &str =
    "exec \"$0\" --defaults-file=/dev/fd/3 \"$@\" 3<<END\n$BACKUPCTL_OPTION_FILE\nEND\n";

/// A database server as configured.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) database: Database,
    pub(crate) journal: Option<PathBuf>,
    /// Searched for programs instead of this process's PATH.
    pub(crate) path: Option<OsString>,
}

/// A client program with what it is always given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client<'a> {
    pub(crate) program: &'a Path,
    pub(crate) family: Family,
    /// Those of the user's own arguments that are about the connection.
    pub(crate) arguments: &'a [String],
}

/// Rows of an answer.
pub(crate) type Rows = Vec<Vec<String>>;

impl Server {
    /// What messages call the database: `shop at db:3306`.
    pub(crate) fn place(&self) -> String {
        let Database { name, host, port, .. } = &self.database;
        let name = if self.is_all() { "every database" } else { name };
        let host = if host.is_empty() { "localhost" } else { host };
        match socket(&self.database) {
            Some(socket) => format!("{name} at {}", socket.display()),
            None => format!("{name} at {host}:{port}"),
        }
    }

    /// Whether the whole server is meant.
    pub(crate) fn is_all(&self) -> bool {
        self.database.name == ALL
    }

    /// The option file for a program of that family, with the password.
    pub(crate) fn option_file(&self, family: Family) -> Result<String, Failure> {
        option_file(&self.database, family)
    }

    /// A program of either family, in an environment that does not talk it out of our settings.
    pub(crate) fn tool(&self, program: &Path) -> Tool {
        // MySQL's programs read a login file whatever file they are told to read; this one is not there.
        let mut tool = Tool::new(program)
            .in_container(self.database.container.as_deref())
            .env("LC_ALL", "C")
            .env("MYSQL_TEST_LOGIN_FILE", "/nonexistent/login.cnf");
        for name in CLIENT_ENV {
            tool = tool.env_remove(name);
        }
        if self.database.password.is_some() {
            tool = tool.env_remove("MYSQL_PWD");
        }
        if let Some(path) = &self.path {
            tool = tool.env("PATH", path);
        }
        match &self.journal {
            Some(journal) => tool.journal(journal),
            None => tool,
        }
    }

    /// A program with that option file, whose stdin is left free; on this machine the file is at `path`
    /// while the guard lives.
    pub(crate) fn tool_with_options(
        &self,
        program: &Path,
        options: &str,
        path: PathBuf,
    ) -> Result<(Tool, Option<SecretFile>), Failure> {
        if self.database.container.is_some() {
            let tool = self.tool(Path::new("sh")).env("BACKUPCTL_OPTION_FILE", options);
            return Ok((tool.args(["-c", WITH_OPTIONS]).arg(program), None));
        }
        let file = SecretFile::write(path, options)?;
        let tool = self.tool(program);
        Ok((tool.arg(format!("--defaults-file={}", file.path().display())), Some(file)))
    }

    /// A program's family and version.
    pub(crate) async fn version(
        &self,
        program: &Path,
        ctx: &StageContext,
    ) -> Result<Version, Failure> {
        let tool = self.tool(program).arg("--version").timeout(Some(Duration::from_secs(30)));
        let output = tool.run(ctx).await.map_err(|e| e.into_failure(ErrorCode::ToolMissing))?;
        let printed = String::from_utf8_lossy(&output.stdout);
        Version::parse(&printed).filter(|_| output.success()).ok_or_else(|| {
            Failure::new(
                ErrorCode::ToolMissing,
                format!("{} --version failed with {}", program.display(), output.status_text()),
            )
            .with_detail(output.last_lines(10))
            .with_remedy("install it again: `apt install --reinstall mariadb-client`")
        })
    }

    /// Asks the server, in `database` if one is named: the rows of every answer, one behind the other.
    pub(crate) async fn ask(
        &self,
        client: &Client<'_>,
        database: Option<&str>,
        sql: &str,
        ctx: &StageContext,
    ) -> Result<Rows, Failure> {
        let mut tool = self
            .tool(client.program)
            .arg("--defaults-file=/dev/stdin")
            .args(["--batch", "--skip-column-names"])
            .args(client.arguments)
            .capture_limit(ANSWER_LIMIT)
            .timeout(Some(ASK_TIMEOUT));
        if let Some(database) = database {
            tool = tool.arg(format!("--database={database}"));
        }
        // Names are compared as they are, whatever modes the server has for its users.
        tool = tool.arg(format!("--execute=set session sql_mode=''; {sql}; select '{END}'"));
        let options = self.option_file(client.family)?;
        let ran = tool.run_writing(ctx, move |stdin| stdin.write_all(options.as_bytes())).await;
        let place = self.place();
        let output = match ran {
            Ok((output, _)) => output,
            Err(ProcessError::TimedOut { limit, .. }) => {
                let message = format!("database {place}: no answer within {} s", limit.as_secs());
                return Err(Failure::new(ErrorCode::DbTimeout, message));
            }
            Err(other) => return Err(other.into_failure(ErrorCode::DbTimeout)),
        };
        if !output.success() {
            let status = output.status_text();
            return Err(stderr::failure(&Doing::Asking, &status, &output.stderr, &place));
        }
        let mut rows = rows(&output.stdout);
        match rows.pop() {
            Some(last) if last == [END] => Ok(rows),
            _ => Err(Failure::new(
                ErrorCode::DbDisconnected,
                format!("database {place}: the answer to a question about its catalog is cut off"),
            )),
        }
    }

    /// Fails where the configuration demands TLS and a session had none: MariaDB's client goes
    /// without where the server offers none.
    pub(crate) fn check_cipher(&self, cipher: &str) -> Result<(), Failure> {
        if !cipher.is_empty() || !demands_tls(&self.database) || socket(&self.database).is_some() {
            return Ok(());
        }
        let mode = self.database.options.sslmode.as_deref().unwrap_or_default();
        let message = format!(
            "database {}: the server offers no TLS, and `database.options.sslmode` is {mode}",
            self.place()
        );
        Err(Failure::new(ErrorCode::DbConnectionRefused, message).permanent().with_remedy(
            "give the server a certificate (ssl_cert, ssl_key), or set `database.options.sslmode: prefer`",
        ))
    }
}

/// A name as SQL holds it.
pub(crate) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// What `--batch` prints: columns split by tabs, with `\t`, `\n`, `\0` and `\\` inside them.
fn rows(printed: &[u8]) -> Rows {
    let text = String::from_utf8_lossy(printed);
    text.lines().map(|line| line.split('\t').map(unescaped).collect()).collect()
}

fn unescaped(field: &str) -> String {
    let mut out = String::with_capacity(field.len());
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('0') => out.push('\0'),
            Some(other) => out.push(other),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_split_and_unescaped() {
        let printed = b"table\tshop\ta\\tb\\\\c\\nd\nview\t\tNULL\n";
        let expected = [vec!["table", "shop", "a\tb\\c\nd"], vec!["view", "", "NULL"]];
        assert_eq!(rows(printed), expected);
    }
}
