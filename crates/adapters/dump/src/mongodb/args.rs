//! The arguments of `mongodump`: ours, and the user's own that would break us or choose what is dumped.

use std::fmt::Write as _;

use backupctl_domain::project::Database;
use backupctl_domain::{ErrorCode, Failure};

use crate::extra_args;
use crate::percent::encode;

/// What is known of `options.extra_args`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExtraArgs {
    /// The first argument that chooses a part of the database.
    pub(crate) selects: Option<String>,
    /// Those about the connection alone, which a mere visit needs too.
    pub(crate) connection: Vec<String>,
}

/// Options that are ours to set, or that change what comes out of `mongodump`, with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("archive", "the dump is streamed"),
    ("out", "the dump is streamed"),
    ("gzip", "`compression` sets how the dump is compressed"),
    ("db", "set `database.name`"),
    ("uri", "set `database.host`, `port`, `user` and `password`"),
    ("host", "set `database.host`"),
    ("port", "set `database.port`"),
    ("username", "set `database.user`"),
    ("password", "arguments are public; set `database.password`"),
    ("sslPEMKeyPassword", "arguments are public; use a key without a passphrase"),
    ("config", "backupctl passes a file of its own"),
    ("quiet", "the counts that mongodump tells are compared with the archive"),
    ("help", "it makes no dump"),
    ("version", "it makes no dump"),
];
/// Those about what is dumped and how, of no use to a mere visit.
const DUMPING: &[&str] = &[
    "collection",
    "dumpDbUsersAndRoles",
    "excludeCollection",
    "excludeCollectionsWithPrefix",
    "forceTableScan",
    "numParallelCollections",
    "oplog",
    "query",
    "queryFile",
    "viewsAsCollections",
];
/// Those that choose a part.
const SELECTING: &[&str] = &["collection", "query", "queryFile", "viewsAsCollections"];
/// Those without a value; all others may have it in an argument of its own.
const FLAGS: &[&str] = &[
    "dumpDbUsersAndRoles",
    "forceTableScan",
    "oplog",
    "ssl",
    "sslAllowInvalidCertificates",
    "sslAllowInvalidHostnames",
    "sslFIPSMode",
    "tlsInsecure",
    "verbose",
    "viewsAsCollections",
];
const SHORT: &[(char, &str)] = &[
    ('c', "collection"),
    ('d', "db"),
    ('h', "host"),
    ('j', "numParallelCollections"),
    ('o', "out"),
    ('p', "password"),
    ('q', "query"),
    ('u', "username"),
    ('v', "verbose"),
];

/// Reads the arguments; `INVALID_CONFIG` naming the first that cannot be.
pub(crate) fn check(args: &[String], every_database: bool) -> Result<ExtraArgs, Failure> {
    let mut found = ExtraArgs::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let (name, has_value) = name_of(arg)
            .ok_or_else(|| refused(arg, "it would be taken for a connection string"))?;
        if let Some((_, why)) = REFUSED.iter().find(|r| r.0 == name) {
            return Err(refused(arg, why));
        }
        if name == "oplog" && !every_database {
            return Err(refused(arg, "mongodump takes it with every database alone")
                .with_remedy("set `database.name: all` (on a replica set), or remove --oplog"));
        }
        if SELECTING.contains(&name) {
            found.selects.get_or_insert_with(|| arg.clone());
        }
        let value = if has_value || FLAGS.contains(&name) { None } else { rest.next() };
        if !DUMPING.contains(&name) {
            found.connection.extend([arg].into_iter().chain(value).cloned());
        }
    }
    Ok(found)
}

/// The long name of an option, and whether its value is in the same argument.
fn name_of(arg: &str) -> Option<(&str, bool)> {
    if let Some(long) = arg.strip_prefix("--").filter(|long| !long.is_empty()) {
        let name = long.split('=').next()?;
        return Some((name, name.len() < long.len()));
    }
    let cluster = arg.strip_prefix('-')?;
    let letter = cluster.chars().next().filter(|letter| *letter != '-')?;
    // An unknown one is mongodump's to refuse.
    let name = SHORT.iter().find(|s| s.0 == letter).map_or(cluster, |s| s.1);
    Some((name, cluster.len() > letter.len_utf8()))
}

fn refused(arg: &str, why: &str) -> Failure {
    let shown = arg.split('=').next().unwrap_or(arg);
    // Whatever else stands in a short one may be a password.
    let shown = if shown.starts_with("--") { shown } else { shown.get(..2).unwrap_or(shown) };
    extra_args::refused(shown, why)
}

/// Where the server is, in `mongodump`'s words.
///
/// A host that names several (`rs0/a,b:27018`) is passed on with the port at each that has none: with
/// `--port` beside it, mongodump refuses hosts of another port.
pub(crate) fn server(database: &Database) -> Vec<String> {
    let port = database.port;
    let host = if database.host.is_empty() { "localhost" } else { &database.host };
    if let Some(path) = socket(database) {
        return vec![format!("--uri=mongodb://{}/", encode(path.as_bytes(), b"._-"))];
    }
    if let Some((set, hosts)) = several(host) {
        let with_port = |host: &str| match host.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
            _ => format!("{host}:{port}"),
        };
        let hosts: Vec<String> = hosts.split(',').map(|h| with_port(h.trim())).collect();
        let set = set.map(|set| format!("{set}/")).unwrap_or_default();
        return vec![format!("--host={set}{}", hosts.join(","))];
    }
    if host.contains(':') {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        return vec![format!("--host=[{host}]:{port}")];
    }
    vec![format!("--host={host}"), format!("--port={port}")]
}

/// The server's unix socket: `mongodb-{port}.sock` in the folder, or the path itself.
pub(crate) fn socket(database: &Database) -> Option<String> {
    let host = &database.host;
    let absolute = host.starts_with('/');
    let file = host.rsplit('.').next() == Some("sock");
    absolute.then(|| {
        if file {
            host.clone()
        } else {
            format!("{}/mongodb-{}.sock", host.trim_end_matches('/'), database.port)
        }
    })
}

/// A replica set's name and the hosts, where there is more than one host.
pub(crate) fn several(host: &str) -> Option<(Option<&str>, &str)> {
    match host.split_once('/') {
        Some((set, hosts)) => Some((Some(set), hosts)),
        None => host.contains(',').then_some((None, host)),
    }
}

/// TLS in `mongodump`'s words. It knows nothing between checking all of a certificate and nothing.
pub(crate) fn tls(database: &Database) -> Result<Vec<String>, Failure> {
    let options = &database.options;
    let trusted = options.sslrootcert.as_ref().map(|p| format!("--sslCAFile={}", p.display()));
    let ssl = || "--ssl".to_owned();
    match options.sslmode.as_deref() {
        None if trusted.is_none() => Ok(Vec::new()),
        Some("disable") => Ok(Vec::new()),
        Some("require") if trusted.is_none() => Ok(vec![ssl(), "--tlsInsecure".to_owned()]),
        None | Some("require" | "verify-ca" | "verify-full") => {
            Ok([ssl()].into_iter().chain(trusted).collect())
        }
        Some(mode) => Err(Failure::new(
            ErrorCode::InvalidConfig,
            format!("`database.options.sslmode` is {mode:?}: mongodump either uses TLS or does not"),
        )
        .with_remedy(
            "use disable, require (no certificate is checked), verify-ca or verify-full (both check certificate and host name)",
        )),
    }
}

/// The config file with the password: YAML, in which a quoted string of JSON's form is one.
pub(crate) fn config(password: &str) -> String {
    let mut quoted = String::with_capacity(password.len() + 16);
    for c in password.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    format!("password: \"{quoted}\"\n")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use backupctl_domain::project::Engine;
    use backupctl_testkit::builders;

    use super::*;

    fn args(list: &[&str], all: bool) -> Result<ExtraArgs, Failure> {
        check(&list.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>(), all)
    }

    fn at(host: &str) -> Database {
        Database { host: host.to_owned(), ..builders::database(Engine::Mongodb, "shop") }
    }

    #[test]
    fn what_would_break_the_dump_is_refused_by_name_and_without_its_value() {
        for bad in [
            &["--archive=/x"][..],
            &["-o", "/x"],
            &["-o/x"],
            &["--gzip"],
            &["--uri=mongodb://u:hunter2@h"],
            &["-phunter2"],
            &["--password", "hunter2"],
            &["--quiet"],
            &["-d", "other"],
            &["mongodb://u:hunter2@h"],
            &["--ssl", "--", "x"],
        ] {
            let failure = args(bad, true).unwrap_err();
            assert_eq!(failure.code, ErrorCode::InvalidConfig, "{bad:?}");
            if bad[0].starts_with('-') {
                assert!(!failure.full_message().contains("hunter2"), "{failure}");
            }
        }
        assert!(args(&["--oplog"], false).unwrap_err().remedy.contains("name: all"));
        assert_eq!(args(&["--oplog"], true).unwrap(), ExtraArgs::default());
    }

    #[test]
    fn the_connections_own_are_told_from_those_about_the_dump() {
        let found = args(
            &[
                "--authenticationDatabase",
                "admin",
                "--ssl",
                "-j",
                "2",
                "--readPreference=secondary",
                "-vv",
                "--collection",
                "orders",
            ],
            false,
        )
        .unwrap();
        let expected =
            ["--authenticationDatabase", "admin", "--ssl", "--readPreference=secondary", "-vv"];
        assert_eq!(found.connection, expected);
        assert_eq!(found.selects.as_deref(), Some("--collection"));
    }

    #[test]
    fn a_server_is_named_as_mongodump_understands_it() {
        for (host, expected) in [
            ("", &["--host=localhost", "--port=27017"][..]),
            ("db.example", &["--host=db.example", "--port=27017"]),
            ("rs0/a,b:27018", &["--host=rs0/a:27017,b:27018"]),
            ("a,b", &["--host=a:27017,b:27017"]),
            ("::1", &["--host=[::1]:27017"]),
            ("/run/mongo", &["--uri=mongodb://%2Frun%2Fmongo%2Fmongodb-27017.sock/"]),
            ("/tmp/x.sock", &["--uri=mongodb://%2Ftmp%2Fx.sock/"]),
        ] {
            assert_eq!(server(&at(host)), expected, "{host}");
        }
    }

    #[test]
    fn tls_is_asked_for_as_configured_and_never_by_chance() {
        let with = |mode: Option<&str>, ca: bool| {
            let mut database = at("db");
            database.options.sslmode = mode.map(str::to_owned);
            database.options.sslrootcert = ca.then(|| PathBuf::from("/ca.pem"));
            tls(&database)
        };
        assert_eq!(with(None, false).unwrap(), Vec::<String>::new());
        assert_eq!(with(Some("disable"), true).unwrap(), Vec::<String>::new());
        assert_eq!(with(Some("require"), false).unwrap(), ["--ssl", "--tlsInsecure"]);
        assert_eq!(with(Some("verify-full"), true).unwrap(), ["--ssl", "--sslCAFile=/ca.pem"]);
        assert_eq!(with(None, true).unwrap(), ["--ssl", "--sslCAFile=/ca.pem"]);
        assert!(with(Some("prefer"), false).unwrap_err().message.contains("prefer"));
    }

    #[test]
    fn any_password_is_one_yaml_string() {
        assert_eq!(config("plain"), "password: \"plain\"\n");
        assert_eq!(config("a\"b\\c: #\té"), "password: \"a\\\"b\\\\c: #\\u0009é\"\n");
    }
}
