//! Which adapter serves a project: from its settings to a port, by constructors given from outside.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use backupctl_domain::project::{Channel, Database, Encryption, EncryptionType, Engine, Monitor};
use backupctl_domain::{Destination, ErrorCode, Failure, Project};

use crate::ports::{
    CacheKeeper, ConfigIssue, DatabaseDumper, DatabaseLoader, DumpEncryptor, HeartbeatMonitor,
    LoadedConfig, Notifier, RemoteStorage, RepositoryAdmin,
};

type Make<C, P> = Box<dyn Fn(&Project, &C) -> Result<Arc<P>, Failure> + Send + Sync>;

/// Constructors by name: `K` picks one, `C` is what it is given beside the project.
pub struct Registry<K, C, P: ?Sized> {
    what: &'static str,
    makers: HashMap<K, Make<C, P>>,
}

impl<K: Eq + Hash + Copy + std::fmt::Debug, C, P: ?Sized> Registry<K, C, P> {
    /// An empty registry; `what` names its things in messages, e.g. `database type`.
    pub fn new(what: &'static str) -> Self {
        Self { what, makers: HashMap::new() }
    }

    /// Adds or replaces a constructor.
    #[must_use]
    pub fn with(
        mut self,
        key: K,
        make: impl Fn(&Project, &C) -> Result<Arc<P>, Failure> + Send + Sync + 'static,
    ) -> Self {
        self.makers.insert(key, Box::new(make));
        self
    }

    /// Whether this build has an adapter for it.
    pub fn has(&self, key: K) -> bool {
        self.makers.contains_key(&key)
    }

    /// Makes the adapter; `INVALID_CONFIG` where this build has none for `key`.
    pub fn make(&self, key: K, project: &Project, config: &C) -> Result<Arc<P>, Failure> {
        let make = self.makers.get(&key).ok_or_else(|| {
            Failure::new(
                ErrorCode::InvalidConfig,
                format!("this build has no adapter for {} {key:?}", self.what),
            )
        })?;
        make(project, config)
    }
}

/// Dumpers by engine.
pub type DumperRegistry = Registry<Engine, (), dyn DatabaseDumper>;
/// Loaders by engine; what they are given is the database to load into.
pub type LoaderRegistry = Registry<Engine, Database, dyn DatabaseLoader>;
/// Encryptors by type.
pub type EncryptorRegistry = Registry<EncryptionType, Encryption, dyn DumpEncryptor>;
/// Notifiers by channel kind: `slack`, `email`, `webhook`.
pub type NotifierRegistry = Registry<&'static str, Channel, dyn Notifier>;
/// Monitors by kind: `uptime-kuma`, `healthchecks`.
pub type MonitorRegistry = Registry<&'static str, Monitor, dyn HeartbeatMonitor>;

/// A channel's kind and its notifier, or why there is none.
pub type NamedNotifier = (&'static str, Result<Arc<dyn Notifier>, Failure>);

/// What works on one destination of a project.
#[derive(Clone)]
pub struct Storage {
    /// Its snapshots.
    pub remote: Arc<dyn RemoteStorage>,
    /// The repository or folder itself.
    pub admin: Arc<dyn RepositoryAdmin>,
    /// What is kept of it on this machine; `None` where nothing is.
    pub cache: Option<Arc<dyn CacheKeeper>>,
}

/// Storages by kind of destination: `restic`, `archive`.
pub type StorageRegistry = Registry<&'static str, Destination, Storage>;

/// Every registry, for the use cases that serve any project.
pub struct Registries {
    /// Dumpers.
    pub dumpers: DumperRegistry,
    /// Loaders.
    pub loaders: LoaderRegistry,
    /// Encryptors.
    pub encryptors: EncryptorRegistry,
    /// Notifiers.
    pub notifiers: NotifierRegistry,
    /// Monitors.
    pub monitors: MonitorRegistry,
    /// Storages.
    pub storages: StorageRegistry,
}

impl Registries {
    /// What the project asks for and this build has no adapter for: the key, and what is wrong.
    pub fn unsupported(&self, p: &Project) -> Vec<(&'static str, String)> {
        let mut missing = Vec::new();
        let mut note = |key, what: &str| {
            missing.push((key, format!("this version has no adapter for {what}")));
        };
        if let Some(engine) =
            p.database.as_ref().map(|d| d.engine).filter(|e| !self.dumpers.has(*e))
        {
            note("database.type", engine.as_str());
        }
        if let Some(kind) =
            p.encryption.as_ref().map(|e| e.kind).filter(|k| !self.encryptors.has(*k))
        {
            note("encryption.type", kind.extension());
        }
        for destination in p.destinations.iter().filter(|d| !self.storages.has(d.kind())) {
            note(destination.kind(), &format!("{} destinations", destination.kind()));
        }
        for channel in p.notifications.iter().filter(|c| !self.notifiers.has(c.kind())) {
            note("notification.type", channel.kind());
        }
        missing
    }

    /// Makes projects that ask for what this build does not have as good as broken ones: better said at
    /// once than found out at night.
    pub fn refuse_unsupported(&self, loaded: &mut LoadedConfig) {
        for entry in &mut loaded.projects {
            let Ok(project) = &entry.project else { continue };
            let issue = |(key, message): (&str, String)| ConfigIssue {
                file: loaded.file.clone(),
                line: None,
                column: None,
                project: Some(entry.name.clone()),
                key: key.to_owned(),
                message,
            };
            let issues: Vec<ConfigIssue> =
                self.unsupported(project).into_iter().map(issue).collect();
            if !issues.is_empty() {
                entry.project = Err(issues);
            }
        }
    }

    /// The project's dumper, if it has a database.
    pub fn dumper(&self, p: &Project) -> Result<Option<Arc<dyn DatabaseDumper>>, Failure> {
        p.database.as_ref().map(|d| self.dumpers.make(d.engine, p, &())).transpose()
    }

    /// What works on one of the project's destinations.
    pub fn storage(&self, p: &Project, at: &Destination) -> Result<Arc<Storage>, Failure> {
        self.storages.make(at.kind(), p, at)
    }

    /// The project's encryptor, if it encrypts.
    pub fn encryptor(&self, p: &Project) -> Result<Option<Arc<dyn DumpEncryptor>>, Failure> {
        p.encryption.as_ref().map(|e| self.encryptors.make(e.kind, p, e)).transpose()
    }

    /// The project's notifiers in the order of its channels, each with its kind.
    pub fn notifiers(&self, p: &Project) -> Vec<NamedNotifier> {
        p.notifications.iter().map(|c| (c.kind(), self.notifiers.make(c.kind(), p, c))).collect()
    }

    /// The project's monitor, if it has one.
    pub fn monitor(&self, p: &Project) -> Result<Option<Arc<dyn HeartbeatMonitor>>, Failure> {
        let Some(monitor) = &p.monitor else { return Ok(None) };
        let kind = match monitor {
            Monitor::UptimeKuma { .. } => "uptime-kuma",
            Monitor::Healthchecks { .. } => "healthchecks",
        };
        self.monitors.make(kind, p, monitor).map(Some)
    }
}
