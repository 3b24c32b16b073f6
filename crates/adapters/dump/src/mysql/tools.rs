//! Which of the two families' programs are used, and what their versions mean.

use std::fs;
use std::path::{Path, PathBuf};

use backupctl_adapter_process::{ProcessError, find_program};
use backupctl_application::context::StageContext;
use backupctl_domain::project::Engine;
use backupctl_domain::{ErrorCode, Failure};

use super::scan::Family;
use super::server::Server;

/// The dump programs of both families, MariaDB's first.
const DUMPS: [&str; 2] = ["mariadb-dump", "mysqldump"];
/// Their clients.
const CLIENTS: [&str; 2] = ["mariadb", "mysql"];

/// The dump program and the client beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tools {
    /// `mariadb-dump` or `mysqldump`.
    pub(crate) dump: PathBuf,
    /// Its version.
    pub(crate) version: Version,
    /// `mariadb` or `mysql`.
    pub(crate) client: PathBuf,
}

impl Tools {
    /// Looks for them; `TOOL_MISSING` where there are none.
    pub(crate) async fn find(server: &Server, ctx: &StageContext) -> Result<Self, Failure> {
        let (dump, version) = first_of(server, DUMPS, None, ctx).await?;
        // The client of its own folder is of its own family and version.
        let (client, _) = first_of(server, CLIENTS, dump.parent(), ctx).await?;
        Ok(Self { dump, version, client })
    }
}

/// The client and its version.
pub(crate) async fn find_client(
    server: &Server,
    ctx: &StageContext,
) -> Result<(PathBuf, Version), Failure> {
    first_of(server, CLIENTS, None, ctx).await
}

/// The engine's own program, or the other family's, which speaks the same protocol.
async fn first_of(
    server: &Server,
    [mariadb, mysql]: [&str; 2],
    folder: Option<&Path>,
    ctx: &StageContext,
) -> Result<(PathBuf, Version), Failure> {
    let own_is_mysql = server.database.engine == Engine::Mysql;
    let names = if own_is_mysql { [mysql, mariadb] } else { [mariadb, mysql] };
    if server.database.container.is_some() {
        return first_inside(server, names, ctx).await;
    }
    let mut beside = folder.into_iter().flat_map(|dir| names.map(|name| dir.join(name)));
    let found = beside.find_map(find_program).or_else(|| names.iter().find_map(find_program));
    let found = found.ok_or_else(|| {
        let program = names[0].to_owned();
        ProcessError::Missing { program }.into_failure(ErrorCode::ToolMissing)
    })?;
    let program = by_own_name(found);
    let version = server.version(&program, ctx).await?;
    Ok((program, version))
}

/// The same in the container, which only trying tells.
async fn first_inside(
    server: &Server,
    [own, other]: [&str; 2],
    ctx: &StageContext,
) -> Result<(PathBuf, Version), Failure> {
    let missing = match server.version(Path::new(own), ctx).await {
        Err(failure) if failure.code == ErrorCode::ToolMissing => failure,
        result => return Ok((own.into(), result?)),
    };
    match server.version(Path::new(other), ctx).await {
        Err(failure) if failure.code == ErrorCode::ToolMissing => Err(missing),
        result => Ok((other.into(), result?)),
    }
}

/// MariaDB keeps its old names as links, and grumbles when it is called by them.
fn by_own_name(found: PathBuf) -> PathBuf {
    match fs::canonicalize(&found) {
        Ok(real) if name_of(&real).starts_with("mariadb") => real,
        _ => found,
    }
}

/// A program's name without its folder.
pub(crate) fn name_of(program: &Path) -> String {
    program.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A program's family and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// Whose program it is.
    pub(crate) family: Family,
    /// Its version, e.g. `10.11.19`, `8.0.36`.
    pub(crate) number: String,
}

impl Version {
    /// Reads what `--version` prints.
    pub(crate) fn parse(printed: &str) -> Option<Self> {
        let family = if printed.contains("MariaDB") { Family::MariaDb } else { Family::MySql };
        // `Ver 10.19 Distrib 10.11.19-MariaDB, …`, `from 11.4.2-MariaDB, client 10.19 …`,
        // `Ver 8.0.36 for Linux …`: the first two name the protocol's version as well.
        let after = |word: &str| {
            printed.split_whitespace().skip_while(|w| *w != word).nth(1).map(str::to_owned)
        };
        let word = after("Distrib").or_else(|| after("from")).or_else(|| after("Ver"))?;
        let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
        let number = word[..end].trim_end_matches('.').to_owned();
        (!number.is_empty()).then_some(Self { family, number })
    }

    /// Whether the client knows the line with which newer dumps begin (MDEV-21778).
    pub(crate) fn knows_sandbox_line(&self) -> bool {
        const SINCE: &[(u32, u32, u32)] = &[
            (10, 5, 25),
            (10, 6, 18),
            (10, 11, 8),
            (11, 0, 6),
            (11, 1, 5),
            (11, 2, 4),
            (11, 4, 2),
        ];
        if self.family == Family::MySql {
            return false;
        }
        let own = numbers(&self.number);
        let since = SINCE.iter().find(|s| (s.0, s.1) == (own.0, own.1));
        since.map_or((own.0, own.1) > (11, 4), |s| own >= *s)
    }
}

/// The numbers of a version: `10.11.19-MariaDB` is (10, 11, 19).
pub(crate) fn numbers(version: &str) -> (u32, u32, u32) {
    let parts = version.split(|c: char| !c.is_ascii_digit());
    let mut parts = parts.map(|part| part.parse().unwrap_or_default());
    let mut next = || parts.next().unwrap_or_default();
    (next(), next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_both_families_print_them() {
        for (printed, family, number) in [
            (
                include_str!("../../tests/fixtures/mariadb-dump-version.stdout"),
                Family::MariaDb,
                "10.11.19",
            ),
            (
                "mariadb-dump from 11.4.2-MariaDB, client 10.19 for debian-linux-gnu (x86_64)",
                Family::MariaDb,
                "11.4.2",
            ),
            (
                "mysqldump  Ver 8.0.36-0ubuntu0.22.04.1 for Linux on x86_64 ((Ubuntu))",
                Family::MySql,
                "8.0.36",
            ),
            ("mysqldump  Ver 10.13 Distrib 5.7.44, for Linux (x86_64)", Family::MySql, "5.7.44"),
        ] {
            let number = number.to_owned();
            assert_eq!(Version::parse(printed), Some(Version { family, number }), "{printed}");
        }
        assert_eq!(Version::parse("usage: something"), None);
    }

    #[test]
    fn only_newer_clients_of_mariadb_know_the_sandbox_line() {
        let of = |family, number: &str| {
            Version { family, number: number.to_owned() }.knows_sandbox_line()
        };
        for good in ["10.5.25", "10.6.20", "10.11.8", "11.2.4", "11.4.2", "11.8.1", "12.0.1"] {
            assert!(of(Family::MariaDb, good), "{good}");
        }
        for bad in ["10.3.39", "10.5.24", "10.11.7", "10.8.3", "11.4.1"] {
            assert!(!of(Family::MariaDb, bad), "{bad}");
        }
        assert!(!of(Family::MySql, "8.4.0"));
    }
}
