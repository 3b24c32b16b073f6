//! The option file that both the client and the dump program read: where the server is, who we are,
//! and how the connection is secured.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use backupctl_domain::project::Database;
use backupctl_domain::{ErrorCode, Failure};

use super::scan::Family;

/// The socket's usual names in a folder.
const SOCKETS: &[&str] = &["mysqld.sock", "mysql.sock", "mariadb.sock"];

/// The unix socket, where the host is one or the folder of one. Into a container we do not see: what
/// is not called a socket there is a folder.
pub(crate) fn socket(database: &Database) -> Option<PathBuf> {
    let path = Path::new(&database.host);
    if !path.is_absolute() {
        return None;
    }
    let is_folder = match database.container {
        Some(_) => path.extension().is_none(),
        None => path.is_dir(),
    };
    if !is_folder {
        return Some(path.to_owned());
    }
    let there = SOCKETS.iter().map(|name| path.join(name)).find(|file| file.exists());
    Some(there.unwrap_or_else(|| path.join(SOCKETS[0])))
}

/// The file's text, with the password.
pub(crate) fn option_file(database: &Database, family: Family) -> Result<String, Failure> {
    let Database { host, port, user, password, .. } = database;
    let mut text = String::from("[client]\n");
    let mut set = |key: &str, value: &str| {
        let _ = writeln!(text, "{key}={}", quoted(value));
    };
    if let Some(socket) = socket(database) {
        set("protocol", "socket");
        set("socket", &socket.to_string_lossy());
    } else {
        set("protocol", "tcp");
        set("host", if host.is_empty() { "localhost" } else { host });
        set("port", &port.to_string());
    }
    if let Some(user) = user {
        set("user", user);
    }
    if let Some(password) = password {
        set("password", password.expose()?);
    }
    // Older programs would lose what does not fit into three bytes a character.
    set("default-character-set", "utf8mb4");
    // A limit, not a size: a row larger than the usual 16 or 24 MiB is no failure.
    set("max-allowed-packet", "1G");
    for (key, value) in tls(database, family)? {
        set(key, &value);
    }
    // The dump programs know no such option; the client is asked first.
    text.push_str("[mysql]\nconnect-timeout=10\n");
    Ok(text)
}

/// Whether the configuration demands TLS.
pub(crate) fn demands_tls(database: &Database) -> bool {
    matches!(database.options.sslmode.as_deref(), Some("require" | "verify-ca" | "verify-full"))
}

/// The options that say how the connection is secured.
fn tls(database: &Database, family: Family) -> Result<Vec<(&'static str, String)>, Failure> {
    let invalid = |message: String| {
        Failure::new(ErrorCode::InvalidConfig, format!("`database` cannot be used: {message}"))
    };
    let mode = database.options.sslmode.as_deref();
    let authority = database.options.sslrootcert.as_ref();
    let (for_mysql, verify) = match mode {
        None => (None, None),
        Some("disable") => (Some("DISABLED"), None),
        Some("allow" | "prefer") => (Some("PREFERRED"), Some(false)),
        Some("require") => (Some("REQUIRED"), Some(false)),
        Some("verify-ca") => (Some("VERIFY_CA"), Some(true)),
        Some("verify-full") => (Some("VERIFY_IDENTITY"), Some(true)),
        Some(other) => {
            return Err(invalid(format!("`database.options.sslmode` is {other:?}")).with_remedy(
                "use one of disable, allow, prefer, require, verify-ca, verify-full",
            ));
        }
    };
    let mut options = Vec::new();
    match family {
        Family::MySql => {
            options.extend(for_mysql.map(|mode| ("ssl-mode", mode.to_owned())));
            if verify == Some(true) && authority.is_none() {
                let message = "MySQL's client knows no authority to verify the server by";
                return Err(invalid(message.to_owned()).with_remedy(
                    "set `database.options.sslrootcert`, e.g. to /etc/ssl/certs/ca-certificates.crt",
                ));
            }
        }
        Family::MariaDb if mode == Some("disable") => options.push(("skip-ssl", "1".to_owned())),
        Family::MariaDb => {
            if demands_tls(database) {
                options.push(("ssl", "1".to_owned()));
            }
            // It knows one proof: of the authority and of the host's name.
            let digit = |yes: bool| u8::from(yes).to_string();
            options.extend(verify.map(|v| ("ssl-verify-server-cert", digit(v))));
        }
    }
    if let (Some(file), None | Some(true)) = (authority, verify)
        && mode != Some("disable")
    {
        options.push(("ssl-ca", file.to_string_lossy().into_owned()));
    }
    Ok(options)
}

/// A value as option files hold it.
pub(crate) fn quoted(value: &str) -> String {
    let mut out = String::from('"');
    for c in value.chars() {
        match c {
            '\\' => out.push_str(r"\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str(r"\n"),
            '\r' => out.push_str(r"\r"),
            '\t' => out.push_str(r"\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use backupctl_domain::project::Engine;
    use backupctl_testkit::builders;

    use super::*;

    fn lines(family: Family, change: impl FnOnce(&mut Database)) -> Vec<String> {
        let mut database = builders::database(Engine::Mysql, "shop");
        change(&mut database);
        let text = option_file(&database, family).unwrap();
        text.lines().filter(|l| l.contains("ssl") || l.contains("so")).map(str::to_owned).collect()
    }

    #[test]
    fn tls_is_asked_for_in_each_familys_words() {
        let with = |mode: &'static str, authority: bool| {
            move |d: &mut Database| {
                d.options.sslmode = Some(mode.to_owned());
                d.options.sslrootcert = authority.then(|| "/ca.pem".into());
            }
        };
        for (mode, authority, mysql, mariadb) in [
            ("disable", true, &["ssl-mode=\"DISABLED\""][..], &["skip-ssl=\"1\""][..]),
            ("prefer", true, &["ssl-mode=\"PREFERRED\""], &["ssl-verify-server-cert=\"0\""]),
            (
                "require",
                false,
                &["ssl-mode=\"REQUIRED\""],
                &["ssl=\"1\"", "ssl-verify-server-cert=\"0\""],
            ),
            (
                "verify-full",
                true,
                &["ssl-mode=\"VERIFY_IDENTITY\"", "ssl-ca=\"/ca.pem\""],
                &["ssl=\"1\"", "ssl-verify-server-cert=\"1\"", "ssl-ca=\"/ca.pem\""],
            ),
        ] {
            assert_eq!(lines(Family::MySql, with(mode, authority)), mysql, "{mode}");
            assert_eq!(lines(Family::MariaDb, with(mode, authority)), mariadb, "{mode}");
        }
        let mut database = builders::database(Engine::Mysql, "shop");
        database.options.sslmode = Some("verify-ca".to_owned());
        let failure = option_file(&database, Family::MySql).unwrap_err();
        assert_eq!(failure.code, ErrorCode::InvalidConfig);
    }

    #[test]
    fn a_path_as_host_is_a_socket_or_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mysql.sock"), "").unwrap();
        let folder = dir.path().to_string_lossy().into_owned();
        let of = |host: &str| {
            let host = host.to_owned();
            lines(Family::MySql, |d| d.host = host)
        };
        let expected =
            ["protocol=\"socket\"".to_owned(), format!("socket=\"{folder}/mysql.sock\"")];
        assert_eq!(of(&folder), expected);
        assert_eq!(of("/nowhere/x.sock")[1], "socket=\"/nowhere/x.sock\"");
    }
}
