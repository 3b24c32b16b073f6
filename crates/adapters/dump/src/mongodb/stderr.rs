//! What `mongodump`'s words mean. It exits with 1 for everything: only the text tells.

use backupctl_domain::{ErrorCode, Failure};

use crate::detail::detail;

/// Words of a message, the code that they mean, whether a retry is of no use although the code says
/// so, and what to do. The first rule that matches decides.
type Rule = (&'static [&'static str], ErrorCode, bool, &'static str);

const RULES: &[Rule] = &[
    (
        &[
            "(authenticationfailed)",
            "authentication failed",
            "auth error",
            "requires authentication",
        ],
        ErrorCode::DbAuthFailed,
        true,
        "check `database.user` and `database.password`; a user of another database needs `--authenticationDatabase=admin` in `database.options.extra_args`",
    ),
    (
        &["(unauthorized)", "not authorized"],
        ErrorCode::DbPermissionDenied,
        true,
        "grant the user the role `backup` on admin (or `read` on the one database): `db.grantRolesToUser(\"USER\", [{role: \"backup\", db: \"admin\"}])`",
    ),
    (
        &[
            "error parsing command line options",
            "error parsing positional arguments",
            "error parsing config file",
            "bad option",
            "unknown option",
            "invalid options",
            "error parsing uri",
            "can't use --oplog",
            "error finding oplog",
            "error getting oplog start",
        ],
        ErrorCode::InvalidConfig,
        true,
        "correct `database` and `database.options`; --oplog needs a replica set",
    ),
    (
        &["oplog overflow"],
        ErrorCode::DumpIncomplete,
        true,
        "enlarge the oplog (`replSetResizeOplog`), or move `cron` to a quieter time",
    ),
    (
        &["no space left on device", "disk quota exceeded"],
        ErrorCode::DiskFull,
        true,
        "free space on the disk that is named; it may be the server's",
    ),
    (
        &["x509:", "tls:", "certificate"],
        ErrorCode::DbConnectionRefused,
        true,
        "set `database.options.sslmode` and `database.options.sslrootcert` to what the server offers",
    ),
    (
        &[
            "connection refused",
            "no such host",
            "no route to host",
            "network is unreachable",
            "dial unix",
            "server misbehaving",
        ],
        ErrorCode::DbConnectionRefused,
        false,
        "check `database.host` and `database.port`, and that MongoDB runs and listens there",
    ),
    (
        &[
            "connection reset by peer",
            "socket was unexpectedly closed",
            "incomplete read",
            "broken pipe",
            "connection closed",
            "interruptedatshutdown",
            "primarysteppeddown",
            "notwritableprimary",
            "not connected to master",
            "cursornotfound",
            "unexpected eof",
            ": eof",
        ],
        ErrorCode::DbDisconnected,
        false,
        "look into the server's log for why it ended the connection",
    ),
    (
        &[
            "i/o timeout",
            "server selection timeout",
            "context deadline exceeded",
            "maxtimemsexpired",
        ],
        ErrorCode::DbTimeout,
        false,
        "check `database.host` and `database.port`, the firewalls between here and the server, and its load",
    ),
];

/// What a failed `mongodump` means. `status` is as in `exit status 1`, `stderr` without secrets,
/// `database` tells which one: `shop at db:27017`.
pub(crate) fn dump_failure(status: &str, stderr: &str, database: &str) -> Failure {
    let said = said(stderr);
    let detail = detail(stderr, &said);
    let lower = said.to_lowercase();
    let message = match said.as_str() {
        "" => format!("mongodump of {database} failed with {status} and said nothing"),
        said => format!("mongodump of {database} failed with {status}: {said}"),
    };
    let rule = RULES.iter().find(|(words, ..)| words.iter().any(|word| lower.contains(word)));
    let Some((_, code, permanent, remedy)) = rule else {
        return Failure::new(ErrorCode::DumpTruncated, message)
            .with_detail(detail)
            .with_remedy("read mongodump's own words, and the server's log of that time");
    };
    let failure = Failure::new(*code, message).with_detail(detail).with_remedy(*remedy);
    if *permanent { failure.permanent() } else { failure }
}

/// The complaint: the last line that tells of a failure, or else the last one, without its time.
fn said(stderr: &str) -> String {
    let told = |line: &'_ str| -> String {
        let line = line.split_once('\t').map_or(line, |(_, rest)| rest).trim();
        line.strip_prefix("Failed: ").unwrap_or(line).trim_end_matches('.').to_owned()
    };
    let complains = |line: &&str| line.contains("\tFailed: ") || line.contains("\terror ");
    let lines = || stderr.lines().rev().filter(|l| !l.trim().is_empty());
    lines().find(complains).or_else(|| lines().next()).map(told).unwrap_or_default()
}

/// The last ten lines.
pub(crate) fn tail(stderr: &str) -> String {
    backupctl_adapter_process::last_lines(stderr, 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorCode::{
        DbAuthFailed, DbConnectionRefused, DbDisconnected, DbPermissionDenied, DbTimeout,
        DumpTruncated, InvalidConfig,
    };

    /// Words of the real program, from public reports of versions 100.x.
    const REPORTED: &[(&str, ErrorCode, bool)] = &[
        (
            "Failed: can't create session: failed to connect to mongodb://mongodb:27017/: connection() error occurred during connection handshake: auth error: unable to authenticate using mechanism \"SCRAM-SHA-256\": (AuthenticationFailed) Authentication failed.",
            DbAuthFailed,
            false,
        ),
        (
            "Failed: error creating intents to dump: error creating intents for database admin: error getting collections for database `admin`: (Unauthorized) not authorized on admin to execute command { listCollections: 1, filter: {} }",
            DbPermissionDenied,
            false,
        ),
        (
            "Failed: error creating intents to dump: error getting database names: (Unauthorized) command listDatabases requires authentication",
            DbAuthFailed,
            false,
        ),
        (
            "Failed: can't create session: failed to connect to mongodb://localhost:27017/: server selection error: server selection timeout, current topology: { Type: Single, Servers: [{ Addr: localhost:27017, Type: Unknown, Last error: connection() error occurred during connection handshake: dial tcp 127.0.0.1:27017: connect: connection refused }, ] }",
            DbConnectionRefused,
            true,
        ),
        (
            "Failed: can't create session: failed to connect to mongodb://db:27017/: server selection error: context deadline exceeded, current topology: { Type: Single, Servers: [{ Addr: db:27017, Type: Unknown, Last error: dial tcp 10.8.1.89:27017: i/o timeout }, ] }",
            DbTimeout,
            true,
        ),
        (
            "Failed: error writing data for collection `shop.orders` to disk: error reading collection: connection(db:27017[-5]) incomplete read of full message: read tcp 10.8.1.89:42846->10.12.10.157:27017: read: connection reset by peer",
            DbDisconnected,
            true,
        ),
        (
            "Failed: can't create session: failed to connect to mongodb://db:27017/: server selection error: server selection timeout, current topology: { Type: Single, Servers: [{ Addr: db:27017, Type: Unknown, Last error: x509: certificate signed by unknown authority }, ] }",
            DbConnectionRefused,
            false,
        ),
        ("error parsing command line options: unknown option \"nonsense\"", InvalidConfig, false),
        ("Failed: bad option: --oplog mode only supported on full dumps", InvalidConfig, false),
        ("Failed: something quite new", DumpTruncated, true),
    ];

    #[test]
    fn reported_words_of_mongodump_are_recognised() {
        for (words, code, transient) in REPORTED {
            let stderr = format!(
                "2026-03-18T00:00:05.123+0000\twriting shop.orders to archive on stdout\n\
                 2026-03-18T00:00:06.178+0000\t{words}\n"
            );
            let failure = dump_failure("exit status 1", &stderr, "shop at db:27017");
            assert_eq!(failure.code, *code, "{words}");
            assert_eq!(failure.is_transient(), *transient, "{words}");
            assert!(!failure.remedy.is_empty() && !failure.message.contains("2026"), "{failure}");
        }
        assert!(dump_failure("signal 9", "", "shop").message.ends_with("said nothing"));
    }
}
