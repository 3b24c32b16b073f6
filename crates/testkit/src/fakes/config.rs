//! A configuration without a file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backupctl_application::ports::{
    ConfigIssue, ConfigLoader, GlobalSettings, LoadedConfig, LogSettings, ProjectEntry,
};
use backupctl_domain::{ErrorCode, Failure, Project, RetryPolicy, Secret};
use jiff::tz::TimeZone;

use super::faults::injectable;
use super::{Core, Journal, locked};

/// Global settings as the built-in defaults give them, in UTC, with this base folder.
pub fn global_settings(base_dir: &Path) -> GlobalSettings {
    GlobalSettings {
        base_dir: base_dir.to_owned(),
        timezone: TimeZone::UTC,
        audit_url: Secret::value(format!("sqlite://{}/audit.db", base_dir.display())),
        retry: RetryPolicy::default(),
        min_free_gb: 5.0,
        daily_summary_cron: "0 8 * * *".to_owned(),
        gpg_keys_dir: None,
        http_listen: "127.0.0.1:3100".to_owned(),
        http_token: None,
        concurrency: 1,
        notifications: Vec::new(),
        log: LogSettings { level: "info".to_owned(), dir: None, json: false },
    }
}

/// A [`ConfigLoader`]. Operations: `load`, `resolve_secrets`, `resolve_secret`.
///
/// Secrets from files and commands are those that the test has named; others cannot be had.
pub struct FakeConfig {
    core: Core,
    config: Mutex<LoadedConfig>,
    secrets: Mutex<HashMap<String, String>>,
    changes: AtomicU64,
}

injectable!(FakeConfig);

impl FakeConfig {
    /// A configuration without projects.
    pub fn new(journal: &Arc<Journal>, base_dir: &Path) -> Self {
        Self {
            core: Core::new(journal, &["load", "resolve_secrets", "resolve_secret"]),
            config: Mutex::new(LoadedConfig {
                file: PathBuf::from("/etc/backupctl/backupctl.yml"),
                global: Ok(global_settings(base_dir)),
                projects: Vec::new(),
                warnings: Vec::new(),
            }),
            secrets: Mutex::default(),
            changes: AtomicU64::new(0),
        }
    }

    /// Sets the projects, in the order of the file.
    pub fn set_projects(&self, projects: impl IntoIterator<Item = Project>) {
        let entry = |p: Project| ProjectEntry { name: p.name.to_string(), project: Ok(p) };
        self.change(|config| config.projects = projects.into_iter().map(entry).collect());
    }

    /// Adds a project that cannot be used.
    pub fn add_broken(&self, name: &str, key: &str, message: &str) {
        let issue = ConfigIssue {
            file: PathBuf::from("/etc/backupctl/backupctl.yml"),
            line: Some(1),
            column: Some(1),
            project: Some(name.to_owned()),
            key: key.to_owned(),
            message: message.to_owned(),
        };
        let entry = ProjectEntry { name: name.to_owned(), project: Err(vec![issue]) };
        self.change(|config| config.projects.push(entry));
    }

    /// Changes the global settings.
    pub fn change_global(&self, change: impl FnOnce(&mut GlobalSettings)) {
        self.change(|config| {
            if let Ok(global) = &mut config.global {
                change(global);
            }
        });
    }

    /// Changes anything.
    pub fn change(&self, change: impl FnOnce(&mut LoadedConfig)) {
        change(&mut locked(&self.config));
        self.touch();
    }

    /// The file looks changed, whatever is in it.
    pub fn touch(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// What the file at that path, or that command, gives as a secret.
    pub fn set_secret(&self, file_or_command: impl Into<String>, value: impl Into<String>) {
        locked(&self.secrets).insert(file_or_command.into(), value.into());
    }

    fn resolve(&self, key: &str, secret: &mut Secret) -> Result<(), Failure> {
        let source = match secret {
            Secret::Value(_) => return Ok(()),
            Secret::File(path) => path.to_string_lossy().into_owned(),
            Secret::Command(command) => command.clone(),
        };
        let value = locked(&self.secrets).get(&source).cloned().ok_or_else(|| {
            Failure::new(ErrorCode::InvalidConfig, format!("{key} cannot be had from {source}"))
        })?;
        *secret = Secret::value(value);
        Ok(())
    }
}

#[async_trait]
impl ConfigLoader for FakeConfig {
    async fn load(&self) -> Result<LoadedConfig, Failure> {
        self.core.call("load", "config load", None).await?;
        Ok(locked(&self.config).clone())
    }

    fn fingerprint(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    async fn resolve_secrets(&self, mut project: Project) -> Result<Project, Failure> {
        let event = format!("config resolve_secrets {}", project.name);
        self.core.call("resolve_secrets", event, None).await?;
        let name = project.name.clone();
        for secret in project.secrets_mut() {
            self.resolve(&format!("a secret of project {name}"), secret)?;
        }
        Ok(project)
    }

    async fn resolve_secret(&self, key: &str, mut secret: Secret) -> Result<Secret, Failure> {
        self.core.call("resolve_secret", format!("config resolve_secret {key}"), None).await?;
        self.resolve(key, &mut secret)?;
        Ok(secret)
    }
}
