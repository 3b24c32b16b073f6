//! A project: what is backed up, how, and where to. Valid by construction.

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::destination::Destination;
use crate::redact::is_secret_name;
use crate::retention::Retention;
use crate::schedule::Schedule;
use crate::{ErrorCode, Failure, Redactor};

/// A project's name: `[a-z0-9][a-z0-9-]*`, at most 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectName(String);

impl ProjectName {
    /// Takes a name.
    ///
    /// # Errors
    ///
    /// What is wrong with the name, in words for the person who wrote it.
    pub fn new(name: impl Into<String>) -> Result<Self, String> {
        let name = name.into();
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() {
            Err("a project name must not be empty".to_owned())
        } else if name.len() > 64 {
            Err(format!("project name {name:?} is longer than 64 characters"))
        } else if name.starts_with('-') || !name.chars().all(good) {
            Err(format!(
                "project name {name:?} must be lower-case letters, digits and dashes, and not \
                 start with a dash"
            ))
        } else {
            Ok(Self(name))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for ProjectName {
    type Error = String;
    fn try_from(s: String) -> Result<Self, String> {
        Self::new(s)
    }
}

impl From<ProjectName> for String {
    fn from(name: ProjectName) -> Self {
        name.0
    }
}

/// A secret: its value, or where its value is to be had when it is needed.
///
/// Loading a configuration keeps files and commands unread; `ConfigLoader::resolve_secrets` turns
/// all of a project's into values right before use. `Debug` never shows a value.
#[derive(Debug, Clone)]
pub enum Secret {
    /// The value itself.
    Value(SecretString),
    /// The first line of this file.
    File(PathBuf),
    /// The first line of what this shell command prints.
    Command(String),
}

impl Secret {
    /// A secret with this value.
    pub fn value(text: impl Into<String>) -> Self {
        Self::Value(SecretString::from(text.into()))
    }

    /// The value of a resolved secret.
    ///
    /// # Errors
    ///
    /// `INTERNAL` for one that was not resolved yet.
    pub fn expose(&self) -> Result<&str, Failure> {
        match self {
            Self::Value(s) => Ok(s.expose_secret()),
            Self::File(_) | Self::Command(_) => {
                Err(Failure::internal("a secret is used before it was resolved"))
            }
        }
    }
}

/// The name under which a unit of systemd hands over the secret of this file as a credential: no two
/// paths share one. In it, `/` is `_`, and what a name may not have is `=` and its number.
pub fn credential_name(path: &std::path::Path) -> String {
    use std::fmt::Write as _;

    let mut name = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' => name.push('_'),
            b if b.is_ascii_alphanumeric() || b".-".contains(b) => name.push(char::from(*b)),
            b => {
                let _ = write!(name, "={b:02X}");
            }
        }
    }
    name
}

/// Everything that a backup of one project needs to know.
#[derive(Debug, Clone)]
pub struct Project {
    /// The unique name.
    pub name: ProjectName,
    /// Whether `run --all` and the scheduler include it.
    pub enabled: bool,
    /// When it runs by itself, if it does.
    pub schedule: Option<Schedule>,
    /// After how long a run is called out as slow (`timeout_minutes`); it is not ended.
    pub timeout: Option<Duration>,
    /// The database, if it has one.
    pub database: Option<Database>,
    /// How the dump is compressed; `None` leaves that to restic.
    pub compression: Option<Compression>,
    /// The folders and files beside the database.
    pub assets: Assets,
    /// Where backups go, in the order of the configuration: at least one.
    pub destinations: Vec<Destination>,
    /// What is kept, locally and where a destination says nothing else.
    pub retention: Retention,
    /// How the dump is encrypted, if it is.
    pub encryption: Option<Encryption>,
    /// The commands run around the backup.
    pub hooks: Hooks,
    /// Whether the dump is proven after writing.
    pub verification: bool,
    /// Where notices go; empty for nowhere.
    pub notifications: Vec<Channel>,
    /// The heartbeat monitor, if any.
    pub monitor: Option<Monitor>,
}

/// Which kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// PostgreSQL, by `pg_dump`.
    Postgres,
    /// MySQL, by `mysqldump`.
    Mysql,
    /// `MariaDB`, by `mariadb-dump`.
    Mariadb,
    /// `MongoDB`, by `mongodump`.
    Mongodb,
    /// `SQLite`, by its online backup API.
    Sqlite,
    /// Redis, by `redis-cli --rdb`.
    Redis,
}

impl Engine {
    /// Every engine.
    pub const ALL: [Self; 6] =
        [Self::Postgres, Self::Mysql, Self::Mariadb, Self::Mongodb, Self::Sqlite, Self::Redis];

    /// The name as configuration and records carry it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
            Self::Mongodb => "mongodb",
            Self::Sqlite => "sqlite",
            Self::Redis => "redis",
        }
    }

    /// The extension of its usual dumps, before compression: `dump`, `sql`, `archive`, `sqlite`,
    /// `rdb`; that of a project's is [`Database::extension`].
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Postgres => "dump",
            Self::Mysql | Self::Mariadb => "sql",
            Self::Mongodb => "archive",
            Self::Sqlite => "sqlite",
            Self::Redis => "rdb",
        }
    }

    /// The port when none is configured; 0 for an engine without one.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Postgres => 5432,
            Self::Mysql | Self::Mariadb => 3306,
            Self::Mongodb => 27017,
            Self::Sqlite => 0,
            Self::Redis => 6379,
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A database to dump.
#[derive(Debug, Clone)]
pub struct Database {
    /// Its engine.
    pub engine: Engine,
    /// Host name, address, or the folder of a unix socket (begins with `/`); empty for `SQLite`.
    pub host: String,
    /// TCP port, or the number in the socket's name.
    pub port: u16,
    /// The database's name; empty for `SQLite` and Redis.
    pub name: String,
    /// The user; `None` leaves it to the tool.
    pub user: Option<String>,
    /// The password, if one is needed.
    pub password: Option<Secret>,
    /// The file, for `SQLite`.
    pub path: Option<PathBuf>,
    /// The running Docker container in which the dump tools are run (`via: docker:NAME`); on this
    /// machine if `None`.
    pub container: Option<String>,
    /// After how long a dump is ended as hanging.
    pub dump_timeout: Option<Duration>,
    /// The finer points.
    pub options: DatabaseOptions,
}

impl Database {
    /// Whether every database of the server is meant (`name: all`).
    pub fn is_whole_server(&self) -> bool {
        !matches!(self.engine, Engine::Sqlite | Engine::Redis) && self.name == "all"
    }

    /// The extension of its dumps, before compression: the engine's own, but `sql` where PostgreSQL's
    /// roles are in them, which its custom format cannot hold.
    pub fn extension(&self) -> &'static str {
        let with_roles = self.is_whole_server() || self.options.globals;
        if self.engine == Engine::Postgres && with_roles { "sql" } else { self.engine.extension() }
    }
}

/// The finer points of a dump.
#[derive(Debug, Clone, Default)]
pub struct DatabaseOptions {
    /// Further arguments for the dump tool.
    pub extra_args: Vec<String>,
    /// Tables left out whole (patterns of the dump tool).
    pub exclude_tables: Vec<String>,
    /// Tables of which only the definition is dumped.
    pub exclude_table_data: Vec<String>,
    /// Whether roles and other things of the whole server are dumped too.
    pub globals: bool,
    /// `sslmode` for PostgreSQL (`disable`, `prefer`, `require`, `verify-ca`, `verify-full`).
    pub sslmode: Option<String>,
    /// The file with the authorities to trust.
    pub sslrootcert: Option<PathBuf>,
}

/// A compression algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Zstandard, in blocks that an unchanged part leaves alike.
    Zstd,
    /// gzip.
    Gzip,
}

impl Algorithm {
    /// The extension that it adds: `zst`, `gz`.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Zstd => "zst",
            Self::Gzip => "gz",
        }
    }
}

/// How a dump is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Its level: 1 to 19 for zstd, 1 to 9 for gzip.
    pub level: i32,
}

impl Default for Compression {
    fn default() -> Self {
        Self { algorithm: Algorithm::Zstd, level: 3 }
    }
}

/// Folders and files beside the database.
#[derive(Debug, Clone, Default)]
pub struct Assets {
    /// Absolute paths, in the order of the configuration.
    pub paths: Vec<PathBuf>,
    /// Patterns as restic's `--exclude` takes them.
    pub exclude: Vec<String>,
}

/// Which encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncryptionType {
    /// age, in-process.
    Age,
    /// `OpenPGP`, by gpgme.
    Gpg,
}

impl EncryptionType {
    /// The extension that it adds: `age`, `gpg`.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Gpg => "gpg",
        }
    }
}

/// How a dump is encrypted.
#[derive(Debug, Clone)]
pub struct Encryption {
    /// age or gpg.
    pub kind: EncryptionType,
    /// Recipients: age or ssh public keys; for gpg addresses, key ids or fingerprints.
    pub recipients: Vec<String>,
    /// A file with one recipient a line; `#` begins a comment.
    pub recipients_file: Option<PathBuf>,
    /// The identity that decrypts, for restore.
    pub identity_file: Option<PathBuf>,
}

/// Commands around a backup, run by `sh -c`.
#[derive(Debug, Clone)]
pub struct Hooks {
    /// Before the dump; its failure fails the run.
    pub pre_backup: Option<String>,
    /// After everything succeeded; its failure fails the run.
    pub post_backup: Option<String>,
    /// In any case once `pre_backup` was started; its failure is a warning.
    pub finally: Option<String>,
    /// After how long a hook is ended.
    pub timeout: Duration,
    /// What they name and do not inherit, by name: it is added to their environment.
    pub env: Vec<(String, Secret)>,
}

impl Hooks {
    /// The values of their environment that are shown to nobody: all but short words and paths, which
    /// stand in too many texts that people have to read, unless the name says that it is a secret.
    fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let plain = |value: &str| value.len() < 4 || value.starts_with('/');
        let hidden = move |(name, secret): &&(String, Secret)| {
            is_secret_name(name) || !secret.expose().is_ok_and(plain)
        };
        self.env.iter().filter(hidden).map(|(_, secret)| secret)
    }
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            pre_backup: None,
            post_backup: None,
            finally: None,
            timeout: Duration::from_mins(30),
            env: Vec::new(),
        }
    }
}

/// Where notices go.
#[derive(Debug, Clone)]
pub enum Channel {
    /// A Slack incoming webhook.
    Slack {
        /// Its URL, which is a secret.
        webhook_url: Secret,
    },
    /// E-mail over SMTP.
    Email(EmailChannel),
    /// An HTTP endpoint that takes JSON.
    Webhook {
        /// Its URL (may hold a token, so it is treated as a secret).
        url: Secret,
        /// Signs the body with HMAC-SHA256, if given.
        secret: Option<Secret>,
    },
}

impl Channel {
    /// Its secrets.
    pub fn secrets(&self) -> Vec<&Secret> {
        match self {
            Self::Slack { webhook_url } => vec![webhook_url],
            Self::Webhook { url, secret } => std::iter::once(url).chain(secret).collect(),
            Self::Email(mail) => mail.password.iter().collect(),
        }
    }

    /// Its secrets, to be changed in place.
    pub fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        match self {
            Self::Slack { webhook_url } => vec![webhook_url],
            Self::Webhook { url, secret } => std::iter::once(url).chain(secret).collect(),
            Self::Email(mail) => mail.password.iter_mut().collect(),
        }
    }

    /// `slack`, `email` or `webhook`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Slack { .. } => "slack",
            Self::Email(_) => "email",
            Self::Webhook { .. } => "webhook",
        }
    }
}

/// How SMTP is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// Not at all.
    None,
    /// By STARTTLS on the plain port.
    StartTls,
    /// By TLS from the first byte.
    Tls,
}

/// An e-mail channel.
#[derive(Debug, Clone)]
pub struct EmailChannel {
    /// The SMTP server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is secured.
    pub security: SmtpSecurity,
    /// The sender.
    pub from: String,
    /// The recipients.
    pub to: Vec<String>,
    /// The user, if it asks for one.
    pub user: Option<String>,
    /// The password, if it asks for one.
    pub password: Option<Secret>,
}

/// Who is told that a run was made.
#[derive(Debug, Clone)]
pub enum Monitor {
    /// Uptime Kuma's push monitor.
    UptimeKuma {
        /// `http(s)://host`, without `/api/push`.
        base_url: String,
        /// The push token.
        push_token: Secret,
    },
    /// A healthchecks.io-style ping URL.
    Healthchecks {
        /// The whole URL, which is a secret.
        ping_url: Secret,
    },
}

impl Monitor {
    /// Its secret.
    pub const fn secret(&self) -> &Secret {
        match self {
            Self::UptimeKuma { push_token, .. } => push_token,
            Self::Healthchecks { ping_url } => ping_url,
        }
    }

    /// Its secret, to be changed in place.
    pub const fn secret_mut(&mut self) -> &mut Secret {
        match self {
            Self::UptimeKuma { push_token, .. } => push_token,
            Self::Healthchecks { ping_url } => ping_url,
        }
    }
}

impl Project {
    /// Every secret of this project, resolved or not.
    pub fn secrets(&self) -> Vec<&Secret> {
        let mut all: Vec<&Secret> =
            self.destinations.iter().flat_map(Destination::secrets).collect();
        all.extend(self.database.iter().filter_map(|d| d.password.as_ref()));
        all.extend(self.notifications.iter().flat_map(Channel::secrets));
        all.extend(self.monitor.as_ref().map(Monitor::secret));
        all.extend(self.hooks.secrets());
        all
    }

    /// Every secret of this project, to be changed in place.
    pub fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        let places = self.destinations.iter_mut().flat_map(Destination::secrets_mut);
        let mut all: Vec<&mut Secret> = places.map(|(_, secret)| secret).collect();
        all.extend(self.database.iter_mut().filter_map(|d| d.password.as_mut()));
        all.extend(self.notifications.iter_mut().flat_map(Channel::secrets_mut));
        all.extend(self.monitor.as_mut().map(Monitor::secret_mut));
        all.extend(self.hooks.env.iter_mut().map(|(_, secret)| secret));
        all
    }

    /// What is left of a project whose configuration cannot be read: its name, and who is told.
    /// Nothing can be done with it but to record that nothing was.
    pub fn unreadable(name: ProjectName, notifications: Vec<Channel>) -> Self {
        Self {
            name,
            enabled: true,
            schedule: None,
            timeout: None,
            database: None,
            compression: None,
            assets: Assets::default(),
            destinations: Vec::new(),
            retention: Retention::default(),
            encryption: None,
            hooks: Hooks::default(),
            verification: true,
            notifications,
            monitor: None,
        }
    }

    /// The destination of that name.
    pub fn destination(&self, name: &str) -> Option<&Destination> {
        self.destinations.iter().find(|d| d.name.as_str() == name)
    }

    /// Whether there is more than one destination, so that texts have to say which.
    pub fn has_several_destinations(&self) -> bool {
        self.destinations.len() > 1
    }

    /// The same project for work on its destinations alone: without the secrets of what only a backup
    /// needs (database, notices, monitor, hooks), which may be out of reach.
    #[must_use]
    pub fn for_its_repository(mut self) -> Self {
        if let Some(database) = &mut self.database {
            database.password = None;
        }
        self.notifications.clear();
        self.monitor = None;
        self.hooks.env.clear();
        self
    }

    /// A redactor for the secrets that are resolved.
    pub fn redactor(&self) -> Redactor {
        Redactor::new(self.secrets().into_iter().filter_map(|s| s.expose().ok().map(str::to_owned)))
    }

    /// The extension of this project's dump before encryption: `dump.zst`; empty without a database.
    pub fn dump_extension(&self) -> String {
        let Some(database) = &self.database else { return String::new() };
        match self.compression {
            Some(c) => format!("{}.{}", database.extension(), c.algorithm.extension()),
            None => database.extension().to_owned(),
        }
    }
}

/// The failure for a project that is not configured; names some that are.
pub fn unknown_project(name: &str, known: &[String]) -> Failure {
    let list =
        if known.is_empty() { "none".to_owned() } else { crate::manifest::listed(known, 10) };
    Failure::new(ErrorCode::UnknownProject, format!("no project {name:?} (configured: {list})"))
}
