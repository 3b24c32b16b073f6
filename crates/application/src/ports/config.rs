//! The configuration, loaded.

use std::path::PathBuf;

use async_trait::async_trait;
use backupctl_domain::project::Channel;
use backupctl_domain::{Failure, Project, RetryPolicy, Secret};
use jiff::tz::TimeZone;

/// One thing that is wrong, or worth knowing, about a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigIssue {
    /// The file.
    pub file: PathBuf,
    /// 1-based line, if known.
    pub line: Option<u64>,
    /// 1-based column, if known.
    pub column: Option<u64>,
    /// The project that it is in, if it is in one.
    pub project: Option<String>,
    /// The dotted key, e.g. `database.port`; empty for the whole file.
    pub key: String,
    /// What is wrong, with what was probably meant.
    pub message: String,
}

/// Where and how logs are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// A level or filter as `tracing` reads it.
    pub level: String,
    /// The folder of the daily files; none are written if `None`.
    pub dir: Option<PathBuf>,
    /// Whether lines are JSON.
    pub json: bool,
}

/// What holds for all projects.
#[derive(Debug, Clone)]
pub struct GlobalSettings {
    /// The folder of dumps, locks, fallback and embedded audit.
    pub base_dir: PathBuf,
    /// The time zone of file names and texts.
    pub timezone: TimeZone,
    /// The audit database's URL (`sqlite://…` or `postgres://…`); may hold a password.
    pub audit_url: Secret,
    /// How failed stages are retried.
    pub retry: RetryPolicy,
    /// Free space that must remain, in GiB.
    pub min_free_gb: f64,
    /// When the daily summary goes out, as a cron expression.
    pub daily_summary_cron: String,
    /// A folder of GPG keys to import.
    pub gpg_keys_dir: Option<PathBuf>,
    /// `host:port` that the daemon listens on.
    pub http_listen: String,
    /// The token that the daemon's HTTP interface asks for.
    pub http_token: Option<Secret>,
    /// How many projects the daemon runs at once; at least 1.
    pub concurrency: u32,
    /// The global channels: where the daily summary goes.
    pub notifications: Vec<Channel>,
    /// Logs.
    pub log: LogSettings,
}

/// One entry of the file's project list.
#[derive(Debug, Clone)]
pub struct ProjectEntry {
    /// The name as written; a placeholder such as `#2` where there is none.
    pub name: String,
    /// The project, or everything that is wrong with it.
    pub project: Result<Project, Vec<ConfigIssue>>,
}

/// A configuration as far as it could be loaded.
#[derive(Debug, Clone)]
pub struct LoadedConfig {
    /// The file it came from.
    pub file: PathBuf,
    /// The global part, or everything that is wrong with it.
    pub global: Result<GlobalSettings, Vec<ConfigIssue>>,
    /// The projects in the order of the file.
    pub projects: Vec<ProjectEntry>,
    /// What is no error and should be known, e.g. an ignored key of an older tool.
    pub warnings: Vec<ConfigIssue>,
}

impl LoadedConfig {
    /// Every error, global ones first. One by which several projects fail and that is none's own is
    /// there once.
    pub fn issues(&self) -> Vec<&ConfigIssue> {
        let global = self.global.as_ref().err().into_iter().flatten();
        let projects = self.projects.iter().filter_map(|p| p.project.as_ref().err()).flatten();
        let mut shared: Vec<&ConfigIssue> = Vec::new();
        let mut all: Vec<&ConfigIssue> = Vec::new();
        for issue in global.chain(projects) {
            if issue.project.is_none() {
                if shared.contains(&issue) {
                    continue;
                }
                shared.push(issue);
            }
            all.push(issue);
        }
        all
    }
}

/// Loads the configuration.
#[async_trait]
pub trait ConfigLoader: Send + Sync {
    /// Reads it afresh. A file that is missing or is not YAML at all is an `INVALID_CONFIG` failure;
    /// everything else is told as issues beside what is good.
    async fn load(&self) -> Result<LoadedConfig, Failure>;
    /// A number that is another one when what [`ConfigLoader::load`] would read has been written to,
    /// replaced, removed or made since. Cheap: nothing is read, so it may be asked every minute.
    fn fingerprint(&self) -> u64;
    /// Reads the files and runs the commands behind a project's secrets. One that cannot be had is
    /// `INVALID_CONFIG`, naming the key, never the value.
    async fn resolve_secrets(&self, project: Project) -> Result<Project, Failure>;
    /// The same for one secret, e.g. the audit database's URL; `key` is for the message.
    async fn resolve_secret(&self, key: &str, secret: Secret) -> Result<Secret, Failure>;
}
