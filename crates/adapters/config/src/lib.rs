//! Loads the configuration: files, environment, secrets.
//!
//! A file becomes a tree with positions (`yaml`), which the table of keys (`keys`) is held against;
//! what it knows becomes a layer beside defaults and environment (`layers`, laid over each other by
//! figment); readers (`reader`) take typed values out of the result and collect every mistake, and
//! `global` and `project` build the domain's types from them.

mod apart;
mod environment;
mod expand;
mod fingerprint;
mod global;
mod keys;
mod last_known;
mod layers;
mod load;
mod locate;
mod project;
mod reader;
mod reference;
mod schema;
mod secrets;
mod shell;
mod ssh;
mod starter;
mod text;
mod view;
mod yaml;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use backupctl_application::ports::{ConfigIssue, ConfigLoader, LoadedConfig};
use backupctl_domain::{Failure, Project, Redactor, Secret};

pub use environment::Environment;
use reader::Purpose;
pub use reference::reference_markdown;
pub use schema::schema;
pub use starter::{starter_config, starter_env};
pub use text::span as read_span;

/// A view as YAML, the way a configuration file writes it.
pub fn to_yaml(view: &serde_json::Value) -> String {
    // What cannot be YAML (nothing that a view holds) is shown as the JSON it is.
    serde_saphyr::to_string(view).unwrap_or_else(|_| view.to_string())
}

/// The configuration in a YAML file, with the `.env` file beside it and the environment.
#[derive(Debug, Clone)]
pub struct FileConfig {
    explicit: Option<PathBuf>,
    environment: Environment,
    purpose: Purpose,
    /// The text that is read in the file's stead: what it said when it was good last.
    kept: Option<PathBuf>,
}

impl FileConfig {
    /// Reads `explicit` if it is given, else the first of the usual places. Nothing is read yet.
    pub fn new(explicit: Option<PathBuf>, environment: Environment) -> Self {
        Self { explicit, environment, purpose: Purpose::BackUp, kept: None }
    }

    /// The same for commands that only read a project's snapshots: projects come without hooks,
    /// channels and monitor, and what else reading does without (the database, the schedule, the
    /// retention) may name variables that are not set here, as on a new machine.
    #[must_use]
    pub fn to_read(self) -> Self {
        Self { purpose: Purpose::Read, ..self }
    }

    /// The same for a look from another machine at whether backups come: as [`FileConfig::to_read`],
    /// but schedules must be readable, since they are what is watched, and projects come with those
    /// channels whose variables are set here.
    #[must_use]
    pub fn to_watch(self) -> Self {
        Self { purpose: Purpose::Watch, ..self }
    }

    /// The file that loading reads, as an absolute path; `INVALID_CONFIG` if there is none.
    pub fn locate(&self) -> Result<PathBuf, Failure> {
        if let (Some(file), Some(_)) = (&self.explicit, &self.kept) {
            return Ok(file.clone());
        }
        locate::locate(self.explicit.as_deref(), &self.environment)
    }

    /// Where `init` writes a new file: the path asked for, else the first of the usual places.
    pub fn starter_path(&self) -> PathBuf {
        let asked = self.explicit.as_deref();
        let asked = asked.or_else(|| self.environment.get("BACKUPCTL_CONFIG").map(Path::new));
        self.environment.cwd.join(asked.unwrap_or(Path::new("backupctl.yml")))
    }

    /// A project as it is in effect, with the keys of the file: everything merged, defaults shown,
    /// every secret as `***`. Values of variables whose names say that they are secret are masked
    /// wherever they have got to.
    pub fn masked_view(&self, project: &Project) -> serde_json::Value {
        let mut known = project.secrets();
        let mut secrets: Vec<String> = known
            .drain(..)
            .filter_map(|secret| secret.expose().ok().map(str::to_owned))
            .filter(|secret| secret.len() >= 4)
            .collect();
        if let Ok(file) = self.locate() {
            secrets.extend(load::variables(&file, &self.environment, &mut Vec::new()).secrets());
        }
        view::masked(project, &Redactor::new(secrets))
    }

    fn folder(&self) -> PathBuf {
        self.locate()
            .ok()
            .and_then(|file| file.parent().map(Path::to_owned))
            .unwrap_or_else(|| self.environment.cwd.clone())
    }

    /// The audit database's URL with a password that is given apart from it.
    async fn complete_audit_url(
        &self,
        folder: &Path,
        url: Secret,
        password: Secret,
    ) -> Result<Secret, String> {
        let Ok(text) = url.expose() else {
            return Err(
                "`audit.password` cannot go into a URL that is read from a file or command; \
                        write the password into that URL"
                    .to_owned(),
            );
        };
        // An embedded database has no password, and needs none that is configured for another.
        if !text.starts_with("postgres") {
            return Ok(url);
        }
        let password = secrets::resolve("audit.password", password, folder)
            .await
            .map_err(|failure| failure.message)?;
        let password = password.expose().map_err(|failure| failure.message)?;
        global::with_password(text, password).map(Secret::value).map_err(str::to_owned)
    }
}

#[async_trait]
impl ConfigLoader for FileConfig {
    async fn load(&self) -> Result<LoadedConfig, Failure> {
        let file = self.locate()?;
        let load::Loaded { mut config, audit_password } =
            load::load(&file, self.kept.as_deref(), &self.environment, self.purpose)?;
        if let (Ok(settings), Some(password)) = (&mut config.global, audit_password) {
            let folder = file.parent().unwrap_or(Path::new("/"));
            let url = settings.audit_url.clone();
            match self.complete_audit_url(folder, url, password).await {
                Ok(url) => settings.audit_url = url,
                Err(message) => {
                    config.global = Err(vec![ConfigIssue {
                        file,
                        line: None,
                        column: None,
                        project: None,
                        key: "audit.password".to_owned(),
                        message,
                    }]);
                }
            }
        }
        tracing::debug!(file = %config.file.display(), projects = config.projects.len(), "configuration read");
        Ok(config)
    }

    fn fingerprint(&self) -> u64 {
        fingerprint::of(self.locate().ok().as_deref())
    }

    async fn resolve_secrets(&self, mut project: Project) -> Result<Project, Failure> {
        let folder = self.folder();
        for (key, secret) in secrets::with_keys(&mut project) {
            *secret = secrets::resolve(&key, secret.clone(), &folder).await?;
        }
        Ok(project)
    }

    async fn resolve_secret(&self, key: &str, secret: Secret) -> Result<Secret, Failure> {
        secrets::resolve(key, secret, &self.folder()).await
    }
}
