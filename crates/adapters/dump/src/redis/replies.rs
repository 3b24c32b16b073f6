//! What `redis-cli` and the server behind it say, and what that means.
//!
//! `redis-cli` ends with status 0 when the server answers with an error, so what came decides.

use backupctl_domain::{ErrorCode, Failure};

use crate::detail::detail;

/// Words of a message, the code that they mean, whether a retry is of no use although the code says
/// so, and what to do. The first rule that matches decides.
type Rule = (&'static [&'static str], ErrorCode, bool, &'static str);

const RULES: &[Rule] = &[
    (
        &["without any password configured"],
        ErrorCode::DbAuthFailed,
        true,
        "the server has no password: remove `database.password`",
    ),
    (
        &["noauth", "wrongpass", "auth failed", "invalid password"],
        ErrorCode::DbAuthFailed,
        true,
        "check `database.user` and `database.password`; `ACL LIST` on the server shows its users",
    ),
    (
        &["noperm"],
        ErrorCode::DbPermissionDenied,
        true,
        "let the user make a copy: `ACL SETUSER NAME +psync +sync +replconf +info +ping`",
    ),
    (
        &["denied redis is running in protected mode"],
        ErrorCode::DbPermissionDenied,
        true,
        "set a password on the server (`requirepass`), or connect by 127.0.0.1 or its unix socket",
    ),
    (
        &["fail to fsync '-'"],
        ErrorCode::ToolTooOld,
        true,
        "redis-cli 6.2.0 to 6.2.4 cannot write to a pipe: install 6.2.5 or newer (`apt install redis-tools`)",
    ),
    (
        &["unrecognized option or bad number of args"],
        ErrorCode::InvalidConfig,
        true,
        "correct `database.options`; TLS and users need redis-cli 6.0 or newer",
    ),
    (
        &[
            "loading redis is loading",
            "loading valkey is loading",
            "max number of clients",
            "nomasterlink",
            "masterdown",
        ],
        ErrorCode::DbConnectionRefused,
        false,
        "wait until the server has loaded its data and takes connections again",
    ),
    (
        &["ssl", "certificate", "tls"],
        ErrorCode::DbConnectionRefused,
        true,
        "set `database.options.sslmode` and `database.options.sslrootcert` to what the server offers",
    ),
    (
        &["connection timed out", "operation timed out", "resource temporarily unavailable"],
        ErrorCode::DbTimeout,
        false,
        "check `database.host` and `database.port`, and the firewalls between here and the server",
    ),
    (
        &["permission denied"],
        ErrorCode::DbConnectionRefused,
        true,
        "let the user running backupctl open the server's socket, or set `database.host` to a host name",
    ),
    (
        &["could not connect to"],
        ErrorCode::DbConnectionRefused,
        false,
        "check `database.host` and `database.port`, and that Redis runs and listens there",
    ),
    (
        &[
            "error reading bulk length while syncing",
            "i/o error",
            "server closed the connection",
            "connection reset",
            "broken pipe",
            "error writing to master",
        ],
        ErrorCode::DbDisconnected,
        false,
        "look into the server's log for why it ended the connection; a data set that changes fast may need a larger `client-output-buffer-limit replica`",
    ),
];

/// What it means that `redis-cli` was to do something and did not. `said` is what it and the server
/// have said, without secrets; `what` is as in `redis-cli of cache:6379 failed with exit status 1`.
pub(crate) fn failure(what: &str, said: &str) -> Failure {
    let line = complaint(said);
    let detail = detail(said, line);
    let lower = said.to_lowercase();
    let message = if line.is_empty() {
        format!("{what} and said nothing")
    } else {
        format!("{what}: {line}")
    };
    let rule = RULES.iter().find(|(words, ..)| words.iter().any(|word| lower.contains(word)));
    let Some((_, code, permanent, remedy)) = rule else {
        return Failure::new(ErrorCode::DumpTruncated, message)
            .with_detail(detail)
            .with_remedy("read redis-cli's own words, and the server's log of that time");
    };
    let failure = Failure::new(*code, message).with_detail(detail).with_remedy(*remedy);
    if *permanent { failure.permanent() } else { failure }
}

/// The last line that is no report of progress.
fn complaint(said: &str) -> &str {
    let progress = ["sending REPLCONF", "REPLCONF ", "SYNC sent to master", "Transfer finished"];
    let lines = || said.lines().rev().map(str::trim).filter(|l| !l.is_empty());
    let line = lines().find(|l| !progress.iter().any(|p| l.starts_with(p)));
    line.or_else(|| lines().next()).unwrap_or_default().trim_end_matches('.')
}

/// What a server tells of itself by `INFO`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Info {
    /// Its version.
    pub(crate) version: String,
    /// Its keys, in all databases.
    pub(crate) keys: u64,
    /// Whether it still reads its data.
    pub(crate) loading: bool,
}

/// Reads `INFO`'s answer; `None` for anything else.
pub(crate) fn info(text: &str) -> Option<Info> {
    let field = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    let version = field("redis_version")?.trim().to_owned();
    let keys = text.lines().filter_map(|line| {
        let (db, rest) = line.strip_prefix("db")?.split_once(":keys=")?;
        db.parse::<u32>().ok()?;
        rest.split(',').next()?.trim().parse::<u64>().ok()
    });
    let loading = field("loading").is_some_and(|l| l.trim() == "1");
    Some(Info { version, keys: keys.sum(), loading })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorCode::{
        DbAuthFailed, DbConnectionRefused, DbDisconnected, DbPermissionDenied, DumpTruncated,
        ToolTooOld,
    };

    /// Words of redis-cli 7.0.15, unless a line says otherwise.
    const HEARD: &[(&str, ErrorCode, bool)] = &[
        ("NOAUTH Authentication required.\n", DbAuthFailed, false),
        (
            "AUTH failed: WRONGPASS invalid username-password pair or user is disabled.\n",
            DbAuthFailed,
            false,
        ),
        (
            "AUTH failed: ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?\n",
            DbAuthFailed,
            false,
        ),
        (
            "sending REPLCONF capa eof\nREPLCONF capa error: NOPERM this user has no permissions to run the 'replconf' command\nSYNC with master failed: -NOPERM this user has no permissions to run the 'sync' command\n",
            DbPermissionDenied,
            false,
        ),
        (
            "Could not connect to Redis at 127.0.0.1:1: Connection refused\n",
            DbConnectionRefused,
            true,
        ),
        (
            "Could not connect to Redis at h.invalid:6379: Name or service not known\n",
            DbConnectionRefused,
            true,
        ),
        ("LOADING Redis is loading the dataset in memory\n", DbConnectionRefused, true),
        // 6.2, from a public report.
        (
            "SYNC sent to master, writing bytes of bulk transfer until EOF marker to '-'\nftruncate failed: Invalid argument.\nTransfer finished with success after 178 bytes\nFail to fsync '-': Invalid argument\n",
            ToolTooOld,
            false,
        ),
        ("I/O error reading RDB payload from socket\n", DbDisconnected, true),
        ("ERR something quite new\n", DumpTruncated, true),
    ];

    #[test]
    fn what_redis_cli_says_is_recognised() {
        for (said, code, transient) in HEARD {
            let failure = failure("redis-cli of cache:6379 failed with exit status 1", said);
            assert_eq!(failure.code, *code, "{said}");
            assert_eq!(failure.is_transient(), *transient, "{said}");
            assert!(!failure.message.contains('\n') && !failure.remedy.is_empty(), "{failure}");
        }
        assert!(failure("redis-cli failed", "").message.ends_with("said nothing"));
    }

    #[test]
    fn a_server_tells_its_version_and_all_its_keys() {
        let text = "# Server\r\nredis_version:7.0.15\r\nloading:0\r\n# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0\r\ndb13:keys=20,expires=1,avg_ttl=9\r\n";
        let info = info(text).unwrap();
        assert_eq!(info, Info { version: "7.0.15".to_owned(), keys: 21, loading: false });
        assert_eq!(super::info("NOAUTH Authentication required.\n"), None);
    }
}
