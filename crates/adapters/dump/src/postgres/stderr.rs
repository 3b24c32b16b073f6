//! What `pg_dump`'s and `pg_restore`'s words mean. They exit with 1 for everything: only the text tells.

use backupctl_domain::{ErrorCode, Failure};

use super::program::{too_old, version_of};

/// Words of a message, the code that they mean, whether a retry is of no use although the code says
/// so, and what to do; an empty remedy is the code's own. The first line that matches decides.
type Rule = (&'static [&'static str], ErrorCode, bool, &'static str);

const RULES: &[Rule] = &[
    (
        &["row-level security"],
        ErrorCode::DbPermissionDenied,
        true,
        "dump as the tables' owner or a role with BYPASSRLS: `ALTER ROLE … BYPASSRLS`",
    ),
    (
        &["pg_authid"],
        ErrorCode::DbPermissionDenied,
        true,
        "dump as a superuser, or add `--no-role-passwords` to `database.options.extra_args`: roles then come back without their passwords",
    ),
    (
        &["permission denied", "must be owner of", "must be superuser"],
        ErrorCode::DbPermissionDenied,
        true,
        "grant the backup role what it lacks, e.g. `GRANT pg_read_all_data TO …` (PostgreSQL 14 and newer)",
    ),
    (
        &[
            "password authentication failed",
            "no password supplied",
            "authentication failed",
            "pg_hba.conf",
            "role \"",
            "no matching entries in passwd",
        ],
        ErrorCode::DbAuthFailed,
        true,
        "check `database.user` and `database.password`, and the server's pg_hba.conf for this host",
    ),
    (
        &["does not exist\u{0}database"],
        ErrorCode::DbNotFound,
        true,
        "check `database.name`; `psql -l` lists the databases of the server",
    ),
    (
        &[
            "no matching tables were found",
            "no matching schemas were found",
            "invalid option",
            "unrecognized option",
            "no matching extensions were found",
            "invalid regular expression",
            "improper qualified name",
        ],
        ErrorCode::InvalidConfig,
        true,
        "correct `database.options`",
    ),
    (
        &["no space left on device", "disk quota exceeded"],
        ErrorCode::DiskFull,
        true,
        "free space on the disk that is named; it may be the server's (temporary files)",
    ),
    (
        &[
            "statement timeout",
            "lock timeout",
            "could not obtain lock",
            "deadlock detected",
            "conflict with recovery",
        ],
        ErrorCode::DbTimeout,
        false,
        "find what holds the lock in pg_stat_activity, or move `cron` to a quieter time; a statement_timeout of the role ends long dumps (`ALTER ROLE … SET statement_timeout = 0`)",
    ),
    (
        &["timeout expired", "connection timed out"],
        ErrorCode::DbTimeout,
        false,
        "check `database.host` and `database.port`, and the firewalls between here and the server",
    ),
    (
        &[
            "too many clients",
            "remaining connection slots",
            "too many connections",
            "is starting up",
            "is shutting down",
            "in recovery mode",
            "not accepting connections",
        ],
        ErrorCode::DbConnectionRefused,
        false,
        "wait until the server takes connections again, or raise its max_connections",
    ),
    (
        &[
            "ssl error",
            "certificate verify failed",
            "does not support ssl",
            "root certificate file",
            "server certificate for",
        ],
        ErrorCode::DbConnectionRefused,
        true,
        "set `database.options.sslmode` and `database.options.sslrootcert` to what the server offers",
    ),
    (
        &[
            "connection refused",
            "could not translate host name",
            "no route to host",
            "network is unreachable",
            "connection to server on socket",
        ],
        ErrorCode::DbConnectionRefused,
        false,
        "check `database.host` and `database.port`, and that PostgreSQL runs and listens there",
    ),
    (
        &[
            "could not read block",
            "invalid page",
            "missing chunk number",
            "invalid memory alloc",
            "could not access status of transaction",
            "could not open relation mapping",
        ],
        ErrorCode::DumpCorrupt,
        true,
        "the server cannot read its own data: check its disk and log, and restore the table from an older snapshot",
    ),
    (
        &[
            "terminating connection",
            "server closed the connection",
            "connection has been closed unexpectedly",
            "could not receive data from server",
            "connection reset by peer",
            "broken pipe",
            "eof detected",
            "no connection to the server",
        ],
        ErrorCode::DbDisconnected,
        false,
        "look into the server's log for why it ended the connection",
    ),
    (
        &["could not open output file", "read-only file system"],
        ErrorCode::PathNotWritable,
        true,
        "",
    ),
];

/// What a failed `pg_dump` means. `status` is as in `exit status 1`, `stderr` without secrets, `database`
/// tells which one: `shop at db:5432`.
pub(crate) fn dump_failure(status: &str, stderr: &str, database: &str) -> Failure {
    failure_of("pg_dump", status, stderr, database)
}

/// The same of any program that dumps.
pub(crate) fn failure_of(tool: &str, status: &str, stderr: &str, database: &str) -> Failure {
    let detail = tail(stderr);
    if let Some(failure) = version_mismatch(stderr) {
        return failure.with_detail(detail);
    }
    let complaints = complaints(tool, stderr);
    let said = said(tool, &complaints);
    let lower = complaints.join("\n").to_lowercase();
    for (words, code, permanent, remedy) in RULES {
        if !words.iter().any(|w| matches(&lower, w)) {
            continue;
        }
        let mut failure =
            Failure::new(*code, format!("{tool} of {database} failed with {status}: {said}"))
                .with_detail(detail);
        if *permanent {
            failure = failure.permanent();
        }
        return if remedy.is_empty() { failure } else { failure.with_remedy(*remedy) };
    }
    let message = if said.is_empty() {
        format!("{tool} of {database} failed with {status} and said nothing")
    } else {
        format!("{tool} of {database} failed with {status}: {said}")
    };
    Failure::new(ErrorCode::DumpTruncated, message)
        .with_detail(detail)
        .with_remedy(format!("read {tool}'s own words, and the server's log of that time"))
}

/// Words of programs that load, before those of programs that dump. None is better by trying again.
const LOAD_RULES: &[(&[&str], ErrorCode, &str)] = &[
    (
        &["already exists", "duplicate key value"],
        ErrorCode::PathNotWritable,
        "name an empty or new database (--create), or add --force: what the dump brings then takes the place of what has its name",
    ),
    (
        &["depend on it", "depends on "],
        ErrorCode::PathNotWritable,
        "something that the dump does not hold depends on what it would replace: load it into a new database (--create)",
    ),
    (
        &["column \"\0does not exist"],
        ErrorCode::PathNotWritable,
        "what is there is not what the dump would replace: load it into a new database (--create)",
    ),
    (
        &["role \"\0does not exist"],
        ErrorCode::DbPermissionDenied,
        "create the role that is named first: `CREATE ROLE …`",
    ),
    (
        &["extension control file", "extension \"\0is not available"],
        ErrorCode::ToolMissing,
        "install the extension's package on the database server",
    ),
    (
        &["unrecognized configuration parameter", "unsupported version", "invalid command \\"],
        ErrorCode::DbVersionMismatch,
        "load it into a server of at least the version that was dumped, with client programs of that version (`apt install postgresql-client-…`)",
    ),
    (
        &["directory \"\0does not exist"],
        ErrorCode::PathNotWritable,
        "create the tablespace's folder on the database server, owned by the server's user",
    ),
    (
        &[
            "could not read from input file",
            "unexpected end of file",
            "valid archive",
            "magic string",
            "unexpected block id",
            "unexpected section code",
            "corrupt",
        ],
        ErrorCode::DumpCorrupt,
        "restore the file again, or take an older snapshot: `backupctl snapshots` lists them",
    ),
];

/// What a program means that has failed to load a dump.
pub(crate) fn load_failure(tool: &str, status: &str, stderr: &str, database: &str) -> Failure {
    let complaints = complaints(tool, stderr);
    let first = complaints.iter().find(|l| l.contains("ERROR:") || l.contains("error:"));
    let said = said(
        tool,
        &first.copied().into_iter().chain(complaints.iter().copied()).collect::<Vec<_>>(),
    );
    // `psql:<stdin>:12: ERROR:  …`: the line is one of what was fed, which nobody has seen.
    let said = said.find("ERROR:").map_or(said.as_str(), |at| &said[at..]);
    let message = format!("{tool} into {database} failed with {status}: {said}");
    let lower = complaints.join("\n").to_lowercase();
    let hit = |words: &&(&[&str], ErrorCode, &str)| words.0.iter().any(|w| matches(&lower, w));
    let failure = match LOAD_RULES.iter().find(hit) {
        Some((_, code, remedy)) => Failure::new(*code, message).permanent().with_remedy(*remedy),
        None => match failure_of(tool, status, stderr, database) {
            unknown if unknown.code == ErrorCode::DumpTruncated => {
                Failure::new(ErrorCode::PathNotWritable, message).with_remedy(format!(
                    "read {tool}'s own words, and the server's log of that time"
                ))
            }
            mut known => {
                known.message = message;
                known
            }
        },
    };
    failure.with_detail(tail(stderr))
}

/// Whether the words are in the text; split by a zero byte, both in one line of it.
fn matches(lower: &str, words: &str) -> bool {
    match words.split_once('\0') {
        Some((a, b)) => lower.lines().any(|l| l.contains(a) && l.contains(b)),
        None => lower.contains(words),
    }
}

/// The two versions of `server version: 17.5; pg_dump version: 15.18 (…)`.
fn version_mismatch(stderr: &str) -> Option<Failure> {
    if !stderr.contains("server version mismatch") {
        return None;
    }
    let (_, rest) = stderr.split_once("server version: ")?;
    let (server, rest) = rest.split_once("; pg_dump version: ")?;
    Some(too_old(version_of(rest)?, version_of(server)?))
}

/// The lines that complain. With `--verbose` `pg_dump` also tells what it does ("reading row-level
/// security policies"), which must not be taken for an error.
fn complaints<'a>(tool: &str, stderr: &'a str) -> Vec<&'a str> {
    let chatter = |line: &str| {
        line.strip_prefix(tool).and_then(|rest| rest.strip_prefix(": ")).is_some_and(|rest| {
            !["error: ", "detail: ", "fatal: "].iter().any(|kind| rest.starts_with(kind))
        })
    };
    let lines: Vec<&str> = stderr.lines().filter(|l| !l.trim().is_empty()).collect();
    let complaining: Vec<&str> = lines.iter().copied().filter(|l| !chatter(l)).collect();
    if complaining.is_empty() { lines } else { complaining }
}

/// The first complaint, without the program's name in front.
fn said(tool: &str, complaints: &[&str]) -> String {
    let line = complaints.first().copied().unwrap_or_default().trim();
    let line = line.strip_prefix(tool).and_then(|l| l.strip_prefix(": ")).unwrap_or(line);
    let line = line.strip_prefix("error: ").unwrap_or(line);
    line.trim_end_matches('.').to_owned()
}

/// The last ten lines.
pub(crate) fn tail(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorCode::{
        DbAuthFailed, DbConnectionRefused, DbDisconnected, DbNotFound, DbPermissionDenied,
        DbTimeout, DbVersionMismatch, DiskFull, DumpCorrupt, DumpTruncated, PathNotWritable,
    };

    macro_rules! fixtures {
        ($($name:literal => $code:expr, $transient:expr;)*) => {
            &[$(($name, include_str!(concat!("../../tests/fixtures/", $name, ".stderr")), $code, $transient),)*]
        };
    }

    const FIXTURES: &[(&str, &str, ErrorCode, bool)] = fixtures! {
        "pg_dump-backend-terminated" => DbDisconnected, true;
        "pg_dump-backend-terminated-pipe-no-pipefail" => DbDisconnected, true;
        "pg_dump-connection-refused" => DbConnectionRefused, true;
        "pg_dump-disk-full-file" => DiskFull, false;
        "pg_dump-disk-full-plain-stdout" => DiskFull, false;
        "pg_dump-disk-full-stdout" => DiskFull, false;
        "pg_dump-host-not-found" => DbConnectionRefused, true;
        "pg_dump-lock-timeout" => DbTimeout, true;
        "pg_dump-no-password" => DbAuthFailed, false;
        "pg_dump-output-dir-missing" => PathNotWritable, false;
        "pg_dump-server-version-mismatch" => DbVersionMismatch, false;
        "pg_dump-table-permission-denied" => DbPermissionDenied, false;
        "pg_dump-unknown-db" => DbNotFound, false;
        "pg_dump-unknown-user" => DbAuthFailed, false;
        "pg_dump-wrong-password" => DbAuthFailed, false;
        "pg_dump-zstd-disk-full-pipefail" => DiskFull, false;
    };

    #[test]
    fn real_words_of_pg_dump_are_recognised() {
        for (name, stderr, code, transient) in FIXTURES {
            let failure = dump_failure("exit status 1", stderr, "shop at db:5432");
            assert_eq!(failure.code, *code, "{name}");
            assert_eq!(failure.is_transient(), *transient, "{name}");
            assert!(!failure.detail.is_empty() && !failure.remedy.is_empty(), "{name}");
            assert!(!failure.message.contains('\n'), "{name}: {}", failure.message);
        }
    }

    #[test]
    fn both_versions_of_a_mismatch_are_named() {
        let stderr = include_str!("../../tests/fixtures/pg_dump-server-version-mismatch.stderr");
        let failure = dump_failure("exit status 1", stderr, "shop");
        assert!(failure.message.contains("17.5") && failure.message.contains("15.18"));
        assert!(failure.remedy.contains("postgresql-client-17"));
    }

    #[test]
    fn row_security_damage_and_the_unknown_are_told_apart() {
        let of = |text| dump_failure("exit status 1", text, "shop");
        let rls = "pg_dump: error: query failed: ERROR:  query would be affected by row-level security policy for table \"t\"";
        assert_eq!(of(rls).code, DbPermissionDenied);
        let damaged = "pg_dump: detail: Error message from server: ERROR:  invalid page in block 0 of relation base/1/2";
        assert_eq!((of(damaged).code, of(damaged).is_transient()), (DumpCorrupt, false));
        let chatty = "pg_dump: reading row-level security policies\npg_dump: error: could not translate host name";
        assert_eq!(of(chatty).code, DbConnectionRefused);
        let unknown = of("pg_dump: error: something quite new");
        assert_eq!(unknown.code, DumpTruncated);
        assert!(unknown.message.ends_with("something quite new"));
        assert!(of("").message.ends_with("said nothing"));
    }
}
