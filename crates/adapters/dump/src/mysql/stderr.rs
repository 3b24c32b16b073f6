//! What the words of the dump programs and clients mean: they carry the error's number, which the
//! server's and the client library's manuals list.

use backupctl_domain::{ErrorCode, Failure};

use crate::detail::detail;

/// What a program was doing, for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Doing<'a> {
    /// Dumping; the program's name.
    Dumping(&'a str),
    /// Answering a question of ours.
    Asking,
    /// Loading a dump; the program's name.
    Loading(&'a str),
}

/// The code, whether a retry is of no use although the code says so, and what to do.
type Meaning = (ErrorCode, bool, &'static str);

const RULES: &[(&[u32], Meaning)] = &[
    (
        &[1045, 1698, 1130, 1820, 1862, 3118, 4151, 4165],
        (
            ErrorCode::DbAuthFailed,
            true,
            "check `database.user` and `database.password`, and from which hosts the server lets this user in (`SHOW GRANTS`)",
        ),
    ),
    (
        &[1251, 2049, 2059, 2061],
        (
            ErrorCode::DbVersionMismatch,
            true,
            "the client does not know how this user logs in: install newer client programs, or give the user another authentication plugin (`ALTER USER … IDENTIFIED VIA mysql_native_password …`); caching_sha2_password also needs TLS or a unix socket",
        ),
    ),
    (
        &[1044, 1142, 1143, 1227, 1370, 1410, 1419, 4031],
        (
            ErrorCode::DbPermissionDenied,
            true,
            "grant the user what it lacks: `GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON db.* TO …`, and for routines `GRANT SELECT ON mysql.proc TO …` (MariaDB) or `GRANT SHOW_ROUTINE ON *.* TO …` (MySQL)",
        ),
    ),
    (
        &[1049],
        (
            ErrorCode::DbNotFound,
            true,
            "check `database.name`; `SHOW DATABASES` lists those of the server that the user may see",
        ),
    ),
    (
        &[2026, 3159, 1835],
        (
            ErrorCode::DbConnectionRefused,
            true,
            "set `database.options.sslmode` and `database.options.sslrootcert` to what the server offers",
        ),
    ),
    (
        &[1040, 1203, 1226, 1129, 2002, 2003, 2004, 2005],
        (
            ErrorCode::DbConnectionRefused,
            false,
            "check `database.host` and `database.port` (`/run/mysqld` for the unix socket), and that the server runs, listens there and has connections left",
        ),
    ),
    (
        &[1205, 1213, 1969, 3024, 1412, 1317, 3572],
        (
            ErrorCode::DbTimeout,
            false,
            "find what held the table in `SHOW PROCESSLIST`, or move `cron` to a time at which nobody alters tables; max_statement_time ends long dumps",
        ),
    ),
    (
        &[2006, 2013, 2055, 1053, 1927, 1158, 1159, 1160, 1161, 4004],
        (
            ErrorCode::DbDisconnected,
            false,
            "look into the server's log for why it ended the connection (restart, kill, net_write_timeout)",
        ),
    ),
    (
        &[1021, 1114, 3, 28],
        (ErrorCode::DiskFull, true, "free space on the server's disk, its tmpdir included"),
    ),
    (
        &[1356, 1449],
        (
            ErrorCode::DumpIncomplete,
            true,
            "repair or drop the view that is named (`SHOW CREATE VIEW`; its definer must exist and have its rights), or leave it out by `database.options.exclude_tables`",
        ),
    ),
    (
        &[126, 127, 144, 145, 1034, 1035, 1194, 1195, 1712, 1877, 1932],
        (
            ErrorCode::DumpCorrupt,
            true,
            "the server cannot read its own table: `CHECK TABLE`, `REPAIR TABLE` or `mysqlcheck`, its disk and its log; restore the table from an older snapshot",
        ),
    ),
    (
        &[2020, 1153],
        (
            ErrorCode::DumpTruncated,
            true,
            "raise the server's max_allowed_packet above the size of its largest row",
        ),
    ),
    (
        &[1109, 1193],
        (
            ErrorCode::DbVersionMismatch,
            true,
            "the program asks for what this server does not have: use client programs of the server's own family and version",
        ),
    ),
];

/// What a program that failed means. `status` is as in `exit status 2`, `stderr` without secrets,
/// `place` tells which database: `shop at db:3306`.
pub(crate) fn failure(doing: &Doing<'_>, status: &str, stderr: &str, place: &str) -> Failure {
    let what = match doing {
        Doing::Dumping(tool) => format!("{tool} of {place} failed with {status}"),
        Doing::Asking => format!("database {place}"),
        Doing::Loading(tool) => format!("loading into {place} by {tool} failed with {status}"),
    };
    let words = without_statements(stderr);
    let said = said(&words);
    let message = match said {
        "" => format!("{what} and said nothing"),
        said => format!("{what}: {said}"),
    };
    let (code, permanent, remedy) = recognised(doing, stderr).unwrap_or(match doing {
        Doing::Dumping(_) => (
            ErrorCode::DumpTruncated,
            false,
            "read the tool's own words, and the server's log of that time",
        ),
        Doing::Asking => (ErrorCode::DbDisconnected, true, "look into the server's log"),
        Doing::Loading(_) => (
            ErrorCode::DumpCorrupt,
            true,
            "read the server's own words: one that is older or of the other family may not know what the dump uses",
        ),
    });
    let failure = Failure::new(code, message).with_detail(detail(&words, said)).with_remedy(remedy);
    if permanent { failure.permanent() } else { failure }
}

fn recognised(doing: &Doing<'_>, stderr: &str) -> Option<Meaning> {
    let lower = stderr.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    if has(&["no space left on device", "errno 28 on write", "got error 28 from", "errcode: 28"]) {
        let remedy =
            "free space on the disk that is named; it may be the server's (temporary files)";
        return Some((ErrorCode::DiskFull, true, remedy));
    }
    if has(&["unknown option", "unknown variable", "couldn't find table", "ambiguous option"]) {
        let remedy = "correct `database.options`: this program does not know what is asked of it";
        return Some((ErrorCode::InvalidConfig, true, remedy));
    }
    if has(&["insufficent privileges to", "insufficient privileges to"]) {
        let remedy = "let the user read routines: `GRANT SELECT ON mysql.proc TO …` (MariaDB), `GRANT SHOW_ROUTINE ON *.* TO …` (MySQL)";
        return Some((ErrorCode::DbPermissionDenied, true, remedy));
    }
    let loading = matches!(doing, Doing::Loading(_));
    for number in stderr.lines().filter_map(number) {
        if matches!(number, 2002 | 2003 | 2013) && has(&["(110)", "timed out", "error: 110"]) {
            let remedy = "check `database.host` and `database.port`, and the firewalls between here and the server";
            return Some((ErrorCode::DbTimeout, false, remedy));
        }
        match number {
            // These speak of a dump that is being made.
            1109 | 1193 | 1356 | 1449 if loading => {}
            1044 | 1142 | 1227 | 1419 if loading => {
                let remedy = "load as a user that may create everything in the dump: views, triggers, routines and events of other definers need SET USER (MariaDB), SET_ANY_DEFINER (MySQL) or SUPER";
                return Some((ErrorCode::DbPermissionDenied, true, remedy));
            }
            _ => {
                if let Some(rule) = RULES.iter().find(|rule| rule.0.contains(&number)) {
                    return Some(rule.1);
                }
            }
        }
    }
    None
}

/// The number of the error that a line tells of: `Got error: 1045: …`, `Error 2013: …`,
/// `ERROR 1049 (42000): …`, `…: … (1356)`; one that came before TLS is told inside another:
/// `… cannot be verified: 1130 - …`.
fn number(line: &str) -> Option<u32> {
    let digits = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text[..end].parse().ok()
    };
    for mark in ["be verified: ", "rror: ", "rror ", "ERROR "] {
        let mut places = line.match_indices(mark);
        if let Some(number) = places.find_map(|(at, m)| digits(&line[at + m.len()..])) {
            return Some(number);
        }
    }
    let inside = line.trim_end().strip_suffix(')')?;
    digits(&inside[inside.rfind('(')? + 1..])
}

/// Without the statement that the client shows in front of its error: it may hold rows.
fn without_statements(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().collect();
    let error = lines.iter().rposition(|line| line.starts_with("ERROR ")).unwrap_or_default();
    lines[error..].join("\n")
}

/// The first line that is no warning, without the program's name in front.
fn said(stderr: &str) -> &str {
    let lines = || stderr.lines().map(str::trim).filter(|l| !l.is_empty());
    let complains = |line: &&str| {
        !line.contains("[Warning]")
            && !line.contains("Deprecated program name")
            && !line.starts_with("-- ")
    };
    let line = lines().find(complains).or_else(|| lines().next()).unwrap_or_default();
    let is_program = |name: &str| {
        name.rsplit('/').next().is_some_and(|n| n.starts_with("mariadb") || n.starts_with("mysql"))
    };
    let rest = line.split_once(": ").filter(|(name, _)| is_program(name)).map(|(_, rest)| rest);
    rest.unwrap_or(line).trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorCode::{
        DbAuthFailed, DbConnectionRefused, DbDisconnected, DbNotFound, DbPermissionDenied,
        DbTimeout, DbVersionMismatch, DiskFull, DumpCorrupt, DumpIncomplete, DumpTruncated,
        InvalidConfig,
    };

    macro_rules! fixtures {
        ($($name:literal => $code:expr, $transient:expr;)*) => {
            &[$((
                $name,
                include_str!(concat!("../../tests/fixtures/mariadb-dump-", $name, ".stderr")),
                $code,
                $transient,
            ),)*]
        };
    }

    const FIXTURES: &[(&str, &str, ErrorCode, bool)] = fixtures! {
        "broken-view" => DumpIncomplete, false;
        "connection-killed" => DbDisconnected, true;
        "connection-refused" => DbConnectionRefused, true;
        "disk-full-gzip-pipestatus" => DiskFull, false;
        "disk-full-result-file" => DiskFull, false;
        "disk-full-stdout" => DiskFull, false;
        "good-head" => DumpTruncated, true;
        "host-not-found" => DbConnectionRefused, true;
        "limited-events" => DbPermissionDenied, false;
        "limited-single-transaction" => DbPermissionDenied, false;
        "no-lock-tables-privilege" => DbPermissionDenied, false;
        "server-killed-pipe" => DbDisconnected, true;
        "server-killed-plain" => DbDisconnected, true;
        "unknown-db" => DbNotFound, false;
        "unknown-table" => InvalidConfig, false;
        "wrong-password" => DbAuthFailed, false;
    };

    #[test]
    fn real_words_of_mariadb_dump_are_recognised() {
        for (name, stderr, code, transient) in FIXTURES {
            let doing = Doing::Dumping("mariadb-dump");
            let failure = failure(&doing, "exit status 2", stderr, "shop at db:3306");
            assert_eq!(failure.code, *code, "{name}");
            assert_eq!(failure.is_transient(), *transient, "{name}");
            assert!(!failure.remedy.is_empty(), "{name}");
            let told = failure.detail.lines().count();
            assert_eq!(told, if told > 1 { told } else { 0 }, "{name}: {}", failure.detail);
            assert!(!failure.message.contains('\n'), "{name}: {}", failure.message);
            assert!(!failure.message.contains("mariadb-dump: "), "{name}: {}", failure.message);
        }
    }

    #[test]
    fn other_words_are_told_by_their_number() {
        let dump = |text| failure(&Doing::Dumping("mysqldump"), "exit status 2", text, "shop");
        for (text, code) in [
            (
                "ERROR 2003 (HY000): Can't connect to MySQL server on '192.0.2.1:3306' (110)",
                DbTimeout,
            ),
            (
                "mysqldump: Got error: 2059: Authentication plugin 'caching_sha2_password' cannot be loaded: /usr/lib: cannot open when trying to connect",
                DbVersionMismatch,
            ),
            (
                "mysqldump: Couldn't execute 'SELECT COLUMN_NAME …': Unknown table 'COLUMN_STATISTICS' in information_schema (1109)",
                DbVersionMismatch,
            ),
            (
                "mysqldump: [Warning] Using a password on the command line interface can be insecure.\nmysqldump: Got error: 1045: Access denied for user",
                DbAuthFailed,
            ),
            (
                "mysqldump: Error 1194: Table 't' is marked as crashed and should be repaired when dumping table `t` at row: 1",
                DumpCorrupt,
            ),
            ("mysqldump: unknown option '--no-such'", InvalidConfig),
            (
                "mysqldump: u has insufficent privileges to SHOW CREATE PROCEDURE `p`!",
                DbPermissionDenied,
            ),
            (
                "mysqldump: Error 1412: Table definition has changed, please retry transaction when dumping table `t` at row: 0",
                DbTimeout,
            ),
            (
                "ERROR 2002 (HY000): Received error packet before completion of TLS handshake. The authenticity of the following error cannot be verified: 1130 - Host '127.0.0.1' is not allowed to connect to this MariaDB server",
                DbAuthFailed,
            ),
            ("ERROR 2026 (HY000): TLS/SSL error: self-signed certificate", DbConnectionRefused),
        ] {
            let failure = dump(text);
            assert_eq!(failure.code, code, "{text}");
            assert!(!failure.message.contains("[Warning]"), "{}", failure.message);
        }
        let unknown = dump("mysqldump: something quite new.");
        assert!(unknown.message.ends_with(": something quite new"), "{unknown}");
        assert_eq!(unknown.code, DumpTruncated);
        assert!(dump("").message.ends_with("said nothing"));
        let load = |text| failure(&Doing::Loading("mariadb"), "exit status 1", text, "shop");
        assert_eq!(load("ERROR 1064 (42000) at line 7: You have an error").code, DumpCorrupt);
        let shown = load(
            "--------------\nINSERT INTO `t` VALUES ('private');\n--------------\n\nERROR 1136 (21S01) at line 9: Column count",
        );
        assert!(shown.message.contains("status 1: ERROR 1136"), "{shown}");
        let cut = load("'private');\n--------------\n\nERROR 1136 (21S01) at line 9: Column count");
        for failure in [&shown, &cut] {
            assert!(!failure.full_message().contains("private"), "{}", failure.full_message());
            assert!(failure.message.contains("Column count") && failure.detail.is_empty());
        }
        let definer = load("ERROR 1227 (42000) at line 40: Access denied; you need SUPER");
        assert_eq!(definer.code, DbPermissionDenied);
        assert!(definer.remedy.contains("SET USER"));
    }
}
