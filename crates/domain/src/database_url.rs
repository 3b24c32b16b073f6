//! The URL of a database to load into: `postgres://user:password@host:5432/name?sslmode=require`.
//!
//! No message names a part of the URL that could be, or hold, its password.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::Secret;
use crate::project::{Database, DatabaseOptions, Engine};

/// The words of `sslmode`.
const SSL_MODES: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];

/// Reads the URL: `postgres://`, `postgresql://`, `mysql://`, `mariadb://`, or `sqlite:///path`.
///
/// Parts are percent-decoded. `?host=/folder` names the folder of a unix socket, `sslmode` and
/// `sslrootcert` say how TLS is used. The port is the engine's own unless given.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn parse(url: &str) -> Result<Database, Vec<String>> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(vec![format!("it does not begin with one of {}", schemes())]);
    };
    let engine = match scheme.to_ascii_lowercase().as_str() {
        "postgres" | "postgresql" => Engine::Postgres,
        "mysql" => Engine::Mysql,
        "mariadb" => Engine::Mariadb,
        "sqlite" => Engine::Sqlite,
        "mongodb" | "mongodb+srv" => return Err(vec![by_hand("MongoDB")]),
        "redis" | "rediss" => return Err(vec![by_hand("Redis")]),
        _ => return Err(vec![format!("it does not begin with one of {}", schemes())]),
    };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, query),
        None => (rest, ""),
    };
    let mut reader = Reader { problems: Vec::new() };
    let database = if engine == Engine::Sqlite {
        reader.file(rest, query)
    } else {
        reader.server(engine, rest, query)
    };
    if reader.problems.is_empty() { Ok(database) } else { Err(reader.problems) }
}

/// Whether both are on the same server under the same user: then one's password is the other's.
pub fn same_login(one: &Database, other: &Database) -> bool {
    loads(one.engine, other.engine)
        && one.engine != Engine::Sqlite
        && (&one.host, one.port, &one.user) == (&other.host, other.port, &other.user)
}

/// Whether a database of `engine` takes a dump of `dumped`: MySQL and `MariaDB` take each other's.
pub const fn loads(engine: Engine, dumped: Engine) -> bool {
    use Engine::{Mariadb, Mongodb, Mysql, Postgres, Redis, Sqlite};
    match engine {
        Mysql | Mariadb => matches!(dumped, Mysql | Mariadb),
        Postgres => matches!(dumped, Postgres),
        Sqlite => matches!(dumped, Sqlite),
        Mongodb => matches!(dumped, Mongodb),
        Redis => matches!(dumped, Redis),
    }
}

/// A database in a message: `shop at db.example:5432`, or its file; never its password.
pub fn shown(database: &Database) -> String {
    match &database.path {
        Some(path) => path.display().to_string(),
        // The socket's name, for those that put the port into it.
        None if database.host.starts_with('/') && database.engine != Engine::Postgres => {
            format!("{} at {}", database.name, database.host)
        }
        None if database.host.starts_with('/') => {
            format!("{} at {} (port {})", database.name, database.host, database.port)
        }
        None => format!("{} at {}:{}", database.name, database.host, database.port),
    }
}

fn schemes() -> &'static str {
    "`postgres://`, `mysql://`, `mariadb://`, `sqlite:///`"
}

fn by_hand(engine: &str) -> String {
    format!(
        "{engine} dumps are not loaded by backupctl: `backupctl restore PROJECT SNAPSHOT TARGET \
         --guide` prints the steps"
    )
}

struct Reader {
    problems: Vec<String>,
}

impl Reader {
    fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    fn file(&mut self, rest: &str, query: &str) -> Database {
        if !query.is_empty() {
            self.problem("a SQLite file takes no `?` options (a `?` in its name is `%3F`)");
        }
        let path = PathBuf::from(self.decoded("path", rest));
        if !path.is_absolute() || path == Path::new("/") {
            self.problem(
                "it names no file by its whole path: write `sqlite:///var/lib/app/data.db`",
            );
        }
        Database { path: Some(path), ..empty(Engine::Sqlite) }
    }

    fn server(&mut self, engine: Engine, rest: &str, query: &str) -> Database {
        let mut database = empty(engine);
        let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
        // A password may hold an `@` that nobody has encoded; a host cannot.
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, authority),
        };
        if let Some(login) = login {
            let (user, password) = match login.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (login, None),
            };
            database.user = Some(self.decoded("user", user)).filter(|user| !user.is_empty());
            database.password = password
                .map(|password| self.decoded("password", password))
                .filter(|password| !password.is_empty())
                .map(Secret::value);
        }
        self.address(address, &mut database);
        database.name = self.decoded("database name", name);
        if database.name.is_empty() {
            self.problem(
                "it names no database: write its name behind the host, as in `…@HOST/NAME`",
            );
        } else if name.contains('/') {
            self.problem("there is more than one `/` behind the host (one in a name is `%2F`)");
        }
        for option in query.split('&').filter(|option| !option.is_empty()) {
            self.option(option, &mut database);
        }
        if database.host.is_empty() {
            self.problem(
                "it names no host: write `…@HOST/NAME`, or `?host=/run/postgresql` for the folder \
                 of a unix socket",
            );
        }
        database
    }

    fn address(&mut self, address: &str, database: &mut Database) {
        // An IPv6 address stands in brackets.
        let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or(port))),
            None => match address.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            },
        };
        database.host = self.decoded("host", host);
        match port.map(str::parse::<u16>) {
            None => {}
            Some(Ok(port)) if port > 0 => database.port = port,
            // Not shown: with an `@`, `/` or `:` in the password that was not encoded, this is a
            // part of it.
            Some(_) => self.problem(
                "the port is no number from 1 to 65535 (in user and password, `:` is `%3A`, `/` is \
                 `%2F`, `@` is `%40`)",
            ),
        }
    }

    fn option(&mut self, option: &str, database: &mut Database) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match key {
            "host" => database.host = self.decoded("host", value),
            "sslmode" => {
                let mode = self.decoded("sslmode", value);
                if SSL_MODES.contains(&mode.as_str()) {
                    database.options.sslmode = Some(mode);
                } else {
                    self.problem(format!("`sslmode` is none of {}", SSL_MODES.join(", ")));
                }
            }
            "sslrootcert" => {
                let path = PathBuf::from(self.decoded("sslrootcert", value));
                if path.is_absolute() {
                    database.options.sslrootcert = Some(path);
                } else {
                    self.problem("`sslrootcert` is no whole path of a file");
                }
            }
            // Whatever stands here may be the rest of a password with a `?` in it.
            _ => self.problem("behind `?` only `host`, `sslmode` and `sslrootcert` are known"),
        }
    }

    /// The text with its `%XX` in place.
    fn decoded(&mut self, what: &str, text: &str) -> String {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
        while let Some((first, tail)) = rest.split_first() {
            rest = tail;
            if *first != b'%' {
                bytes.push(*first);
                continue;
            }
            match tail {
                [high, low, tail @ ..] if digit(*high).is_some() && digit(*low).is_some() => {
                    let value = |byte| digit(byte).unwrap_or_default();
                    bytes.push(value(*high) * 16 + value(*low));
                    rest = tail;
                }
                _ => {
                    self.problem(format!("the {what} has a `%` without two digits (`%` is `%25`)"));
                    return String::new();
                }
            }
        }
        match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => text,
            _ => {
                self.problem(format!("the {what} is no text"));
                String::new()
            }
        }
    }
}

fn empty(engine: Engine) -> Database {
    Database {
        engine,
        host: String::new(),
        port: engine.default_port(),
        name: String::new(),
        user: None,
        password: None,
        path: None,
        container: None,
        dump_timeout: None,
        options: DatabaseOptions::default(),
    }
}
