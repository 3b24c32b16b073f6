//! The arguments of `redis-cli`: where the server is, and the user's own.

use backupctl_domain::project::Database;
use backupctl_domain::{ErrorCode, Failure};

/// What the user may add: TLS, which has more to it than our own keys say. Each with whether a value
/// follows.
const ALLOWED: &[(&str, bool)] = &[
    ("--tls", false),
    ("--insecure", false),
    ("--sni", true),
    ("--cacert", true),
    ("--cacertdir", true),
    ("--cert", true),
    ("--key", true),
    ("--tls-ciphers", true),
    ("--tls-ciphersuites", true),
];

/// Everything that every call needs but the password.
pub(crate) fn server(database: &Database) -> Result<Vec<String>, Failure> {
    let Database { host, port, user, options, .. } = database;
    let mut args = match host.as_str() {
        path if path.starts_with('/') => vec!["-s".to_owned(), path.to_owned()],
        "" => vec!["-p".to_owned(), port.to_string()],
        host => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            ["-h", host, "-p", &port.to_string()].map(str::to_owned).to_vec()
        }
    };
    if let Some(user) = user.as_ref().filter(|user| !user.is_empty()) {
        args.extend(["--user".to_owned(), user.clone()]);
    }
    args.extend(tls(database)?);
    check(&options.extra_args)?;
    args.extend(options.extra_args.iter().cloned());
    args.push("--no-auth-warning".to_owned());
    Ok(args)
}

/// TLS in `redis-cli`'s words. It checks a certificate, and never that it is the host's.
fn tls(database: &Database) -> Result<Vec<String>, Failure> {
    let options = &database.options;
    let trusted = options.sslrootcert.as_ref().map(|p| p.display().to_string());
    let trusted = trusted.map(|p| ["--cacert".to_owned(), p]).into_iter().flatten();
    let tls = || "--tls".to_owned();
    let invalid = |what: &str, remedy: &str| {
        let mode = options.sslmode.as_deref().unwrap_or_default();
        let message = format!("`database.options.sslmode` is {mode:?}: redis-cli {what}");
        Err(Failure::new(ErrorCode::InvalidConfig, message).with_remedy(remedy))
    };
    match options.sslmode.as_deref() {
        None if options.sslrootcert.is_none() => Ok(Vec::new()),
        Some("disable") => Ok(Vec::new()),
        Some("require") if options.sslrootcert.is_none() => {
            Ok(vec![tls(), "--insecure".to_owned()])
        }
        None | Some("require" | "verify-ca") => Ok([tls()].into_iter().chain(trusted).collect()),
        Some("verify-full") => invalid(
            "does not check that a certificate is the host's",
            "use verify-ca with an authority of your own in `database.options.sslrootcert`",
        ),
        Some(_) => invalid(
            "either uses TLS or does not",
            "use disable, require (no certificate is checked) or verify-ca",
        ),
    }
}

fn check(args: &[String]) -> Result<(), Failure> {
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match ALLOWED.iter().find(|(name, _)| name == arg) {
            Some((_, true)) => drop(rest.next()),
            Some((_, false)) => {}
            None => {
                // Whatever else stands in a short one may be a password.
                let shown = if arg.starts_with("--") { arg } else { arg.get(..2).unwrap_or(arg) };
                let names: Vec<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
                return Err(Failure::new(
                    ErrorCode::InvalidConfig,
                    format!("`database.options.extra_args` may not hold {shown} for redis-cli"),
                )
                .with_remedy(format!(
                    "remove {shown} from `database.options.extra_args`; it may hold {}",
                    names.join(", ")
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use backupctl_domain::project::Engine;
    use backupctl_testkit::builders;

    use super::*;

    fn with(change: impl FnOnce(&mut Database)) -> Result<String, Failure> {
        let mut database = Database { user: None, ..builders::database(Engine::Redis, "cache") };
        change(&mut database);
        server(&database).map(|args| args.join(" "))
    }

    #[test]
    fn a_server_is_named_by_host_or_socket() {
        assert_eq!(with(|_| ()).unwrap(), "-h localhost -p 6379 --no-auth-warning");
        assert_eq!(with(|d| d.host.clear()).unwrap(), "-p 6379 --no-auth-warning");
        let socket = with(|d| d.host = "/run/redis/redis.sock".to_owned()).unwrap();
        assert_eq!(socket, "-s /run/redis/redis.sock --no-auth-warning");
        let user = with(|d| d.user = Some("backup".to_owned())).unwrap();
        assert_eq!(user, "-h localhost -p 6379 --user backup --no-auth-warning");
    }

    #[test]
    fn tls_is_asked_for_as_configured() {
        let tls = |mode: Option<&str>, ca: bool| {
            with(|d| {
                d.host = "/s".to_owned();
                d.options.sslmode = mode.map(str::to_owned);
                d.options.sslrootcert = ca.then(|| PathBuf::from("/ca.pem"));
            })
        };
        assert_eq!(tls(Some("disable"), true).unwrap(), "-s /s --no-auth-warning");
        assert_eq!(
            tls(Some("require"), false).unwrap(),
            "-s /s --tls --insecure --no-auth-warning"
        );
        assert_eq!(
            tls(Some("verify-ca"), true).unwrap(),
            "-s /s --tls --cacert /ca.pem --no-auth-warning"
        );
        assert!(tls(Some("verify-full"), true).unwrap_err().remedy.contains("verify-ca"));
        assert!(tls(Some("prefer"), true).is_err());
    }

    #[test]
    fn only_what_is_about_tls_may_be_added() {
        let extra = |args: &[&str]| {
            with(|d| d.options.extra_args = args.iter().map(|a| (*a).to_owned()).collect())
        };
        assert!(extra(&["--tls", "--sni", "cache.example", "--cert", "/c", "--key", "/k"]).is_ok());
        for bad in [&["-ahunter2"][..], &["--pass", "x"], &["-n", "1"], &["FLUSHALL"], &["--rdb"]] {
            let failure = extra(bad).unwrap_err();
            assert_eq!(failure.code, ErrorCode::InvalidConfig);
            assert!(!failure.full_message().contains("hunter2"), "{failure}");
        }
    }
}
