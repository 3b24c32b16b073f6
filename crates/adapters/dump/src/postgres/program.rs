//! Which `pg_dump` and `pg_restore` are used: both of one version, new enough for the server.

use std::fs;
use std::path::{Path, PathBuf};

use backupctl_adapter_process::find_program;
use backupctl_domain::{ErrorCode, Failure};

/// Where distributions keep one version beside the other: `{folder}/{major}/bin` and
/// `{folder}-{major}/bin`.
const VERSIONED: &[&str] = &["/usr/lib/postgresql/", "/usr/pgsql-"];

/// A folder with both programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Programs {
    /// `pg_dump`.
    pub(crate) dump: PathBuf,
    /// `pg_restore`.
    pub(crate) restore: PathBuf,
    /// The major version where the folder tells it.
    pub(crate) major: Option<u32>,
}

impl Programs {
    /// Another program of the same version: beside these, or where PATH leads.
    pub(crate) fn other(&self, name: &str) -> Result<PathBuf, Failure> {
        if !self.dump.is_absolute() {
            return Ok(name.into());
        }
        let real = fs::canonicalize(&self.dump).unwrap_or_else(|_| self.dump.clone());
        let beside = [&self.dump, &real].map(|dump| dump.with_file_name(name));
        let found = beside.into_iter().find_map(find_program).or_else(|| find_program(name));
        found.ok_or_else(|| missing(name, None))
    }
}

/// The programs on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Installed {
    /// What PATH leads to.
    pub(crate) default: Programs,
    /// The versioned ones, newest first.
    pub(crate) versioned: Vec<Programs>,
}

impl Installed {
    /// Looks for them; `TOOL_MISSING` where PATH leads to none.
    pub(crate) fn find() -> Result<Self, Failure> {
        let versioned = versioned();
        let in_path =
            |name: &str| find_program(name).ok_or_else(|| missing(name, versioned.first()));
        let (dump, restore) = (in_path("pg_dump")?, in_path("pg_restore")?);
        // Debian's pg_dump in PATH is a script that looks for the newest version; that we do ourselves.
        let wrapper = fs::canonicalize(&dump).is_ok_and(|p| p.ends_with("pg_wrapper"));
        let default = match versioned.first() {
            Some(newest) if wrapper => newest.clone(),
            _ if wrapper => return Err(missing("pg_dump", None)),
            _ => {
                let real = fs::canonicalize(&dump).unwrap_or_else(|_| dump.clone());
                let beside = real.with_file_name("pg_restore");
                let restore = if beside.is_file() { beside } else { restore };
                Programs { dump, restore, major: None }
            }
        };
        Ok(Self { default, versioned })
    }

    /// What is looked for in a container, and only there.
    pub(crate) fn in_container() -> Self {
        let default =
            Programs { dump: "pg_dump".into(), restore: "pg_restore".into(), major: None };
        Self { default, versioned: Vec::new() }
    }

    /// What loads a dump of one version into a server of another: no newer than either needs, since a
    /// newer one may set what the server does not know.
    pub(crate) fn loading(&self, dump: Option<u32>, server: Option<u32>) -> &Programs {
        let fits = |needed: Option<u32>| self.versioned.iter().rev().find(|p| p.major >= needed);
        fits(dump.max(server)).or_else(|| fits(dump)).unwrap_or(&self.default)
    }

    /// The newest versioned programs of at least that major version.
    pub(crate) fn at_least(&self, major: u32) -> Option<&Programs> {
        self.versioned.first().filter(|p| p.major >= Some(major))
    }
}

fn versioned() -> Vec<Programs> {
    let mut found: Vec<Programs> = VERSIONED.iter().flat_map(|prefix| under(prefix)).collect();
    found.sort_by_key(|p| std::cmp::Reverse(p.major));
    found
}

fn under(prefix: &str) -> Vec<Programs> {
    let (dir, start) = prefix.rsplit_once('/').unwrap_or(("/", prefix));
    let Ok(entries) = fs::read_dir(Path::new(dir)) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name();
            let major = name.to_str()?.strip_prefix(start)?.parse::<f32>().ok()?;
            let bin = entry.path().join("bin");
            let dump = find_program(bin.join("pg_dump"))?;
            let restore = find_program(bin.join("pg_restore"))?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "9.6 is major version 9 here, as in server_version_num"
            )]
            Some(Programs { dump, restore, major: Some(major as u32) })
        })
        .collect()
}

fn missing(name: &str, elsewhere: Option<&Programs>) -> Failure {
    let failure =
        Failure::new(ErrorCode::ToolMissing, format!("{name} is not installed or not in PATH"));
    match elsewhere.and_then(|p| p.dump.parent()) {
        Some(bin) => {
            let bin = bin.display();
            failure.with_remedy(format!("add {bin}, where {name} is, to PATH"))
        }
        None => failure.with_remedy(
            "install it: `apt install postgresql-client` (or `cargo xtask setup` in a checkout)",
        ),
    }
}

/// The version in what `--version` prints: `15.18` of `pg_dump (PostgreSQL) 15.18 (Debian …)`; also of
/// a version string by itself.
pub(crate) fn version_of(printed: &str) -> Option<&str> {
    printed.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
}

/// The major version of `15.18`, `17beta1`, `9.6.24`.
pub(crate) fn major_of(version: &str) -> Option<u32> {
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// A tool that is older than the server.
pub(crate) fn too_old(tool: &str, server: &str) -> Failure {
    let major = major_of(server).unwrap_or_default();
    Failure::new(
        ErrorCode::DbVersionMismatch,
        format!("the server is PostgreSQL {server}, pg_dump is {tool}: it dumps no newer server"),
    )
    .with_remedy(format!(
        "install pg_dump of version {major} or newer: `apt install postgresql-client-{major}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_tools_and_servers_print() {
        let printed = include_str!("../../tests/fixtures/pg_dump-version.stdout");
        assert_eq!(version_of(printed), Some("15.18"));
        assert_eq!(version_of("16.2 (Ubuntu 16.2-1)"), Some("16.2"));
        assert_eq!(major_of("17beta1"), Some(17));
        assert_eq!(major_of("9.6.24"), Some(9));
        assert_eq!(major_of("x"), None);
    }

    #[test]
    fn a_tool_too_old_is_told_with_both_versions_and_the_package() {
        let failure = too_old("13.4", "15.18");
        assert_eq!(failure.code, ErrorCode::DbVersionMismatch);
        assert!(failure.message.contains("13.4") && failure.message.contains("15.18"));
        assert!(failure.remedy.contains("postgresql-client-15"));
    }
}
