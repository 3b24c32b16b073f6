//! The adapters as the released binary wires them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use backupctl_application::ports::{Clock, Disk, GlobalSettings, RemoteStorage, RepositoryAdmin};
use backupctl_application::registry::{
    DumperRegistry, EncryptorRegistry, MonitorRegistry, NotifierRegistry, Registries,
    StorageFactory,
};
use backupctl_application::{Identity, Settings, World};
use backupctl_domain::project::{Channel, Database, EncryptionType, Engine, Monitor};
use backupctl_domain::{Failure, Project, ProjectName};

use crate::age::AgeEncryptor;
use crate::audit_sql::SqlAudit;
use crate::dump::{FileUnpacker, PostgresDumper, SqliteDumper};
use crate::local::{
    FileCleanup, FileFallback, FileJournal, FileLock, ShellHooks, SystemClock, SystemDisk,
};
use crate::notify::{Healthchecks, UptimeKuma, Webhook};
use crate::restic::{Restic, ResticSettings};

/// The folder below `base_dir` in which adapters remember things between runs.
const STATE_DIR: &str = ".state";

/// The file in a project's folder that names its running programs.
const CHILD_JOURNAL: &str = ".children";

/// The version that goes into records.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// This machine and process.
pub fn identity() -> Identity {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Identity { host, version: VERSION.to_owned(), pid: std::process::id() }
}

/// The use cases' part of the global settings.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the configuration admits no negative reserve, and a fraction of a byte is none"
)]
pub fn settings(global: &GlobalSettings) -> Settings {
    Settings {
        base_dir: global.base_dir.clone(),
        timezone: global.timezone.clone(),
        retry: global.retry,
        min_free_bytes: (global.min_free_gb * f64::from(1 << 30)) as u64,
    }
}

/// Every port, wired for these settings. The audit's URL must be resolved. Touches nothing yet: each
/// adapter opens what it needs at its first call.
pub fn world(global: &GlobalSettings, identity: Identity) -> Result<World, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk::new());
    let base = &global.base_dir;
    Ok(World {
        lock: Arc::new(FileLock::new(base.clone(), Arc::clone(&clock))),
        audit: Arc::new(SqlAudit::connect(global.audit_url.expose()?, Arc::clone(&clock))?),
        fallback: Arc::new(FileFallback::new(base, Arc::clone(&clock))),
        hooks: Arc::new(ShellHooks::new(base.clone())),
        cleanup: Arc::new(FileCleanup::new(base.clone())),
        unpacker: Arc::new(FileUnpacker::new()),
        children: Arc::new(FileJournal::new(base.clone())),
        registries: registries(base, &identity, &clock),
        settings: settings(global),
        disk,
        clock,
        identity,
    })
}

/// Every adapter that this build has, by the name that a configuration gives it.
pub fn registries(base_dir: &Path, identity: &Identity, clock: &Arc<dyn Clock>) -> Registries {
    Registries {
        dumpers: dumpers(base_dir),
        encryptors: EncryptorRegistry::new("encryption.type")
            .with(EncryptionType::Age, |_, encryption| Ok(AgeEncryptor::new(encryption)?)),
        notifiers: notifiers(clock),
        monitors: monitors(),
        storage: storage(base_dir, identity),
    }
}

fn dumpers(base_dir: &Path) -> DumperRegistry {
    let (pg, lite) = (base_dir.to_owned(), base_dir.to_owned());
    DumperRegistry::new("database.type")
        .with(Engine::Postgres, move |project, ()| {
            let journal = child_journal(&pg, &project.name);
            let runtime = pg.join(project.name.as_str());
            Ok(Arc::new(PostgresDumper::new(database(project)?, runtime, Some(journal))?))
        })
        .with(Engine::Sqlite, move |project, ()| {
            let _ = &lite;
            Ok(Arc::new(SqliteDumper::new(database(project)?)?))
        })
}

fn database(project: &Project) -> Result<&Database, Failure> {
    project.database.as_ref().ok_or_else(|| Failure::internal("the project has no database"))
}

fn notifiers(clock: &Arc<dyn Clock>) -> NotifierRegistry {
    let clock = Arc::clone(clock);
    NotifierRegistry::new("notification.type").with("webhook", move |_, channel| match channel {
        Channel::Webhook { url, secret } => {
            Ok(Arc::new(Webhook::new(url, secret.as_ref(), Arc::clone(&clock))?))
        }
        other => Err(Failure::internal(format!("{} is no webhook", other.kind()))),
    })
}

fn monitors() -> MonitorRegistry {
    MonitorRegistry::new("monitor.type")
        .with("uptime-kuma", |_, monitor| match monitor {
            Monitor::UptimeKuma { base_url, push_token } => {
                Ok(Arc::new(UptimeKuma::new(base_url, push_token)?))
            }
            Monitor::Healthchecks { .. } => Err(Failure::internal("no uptime-kuma monitor")),
        })
        .with("healthchecks", |_, monitor| match monitor {
            Monitor::Healthchecks { ping_url } => Ok(Arc::new(Healthchecks::new(ping_url)?)),
            Monitor::UptimeKuma { .. } => Err(Failure::internal("no healthchecks monitor")),
        })
}

fn storage(base_dir: &Path, identity: &Identity) -> StorageFactory {
    let base_dir = base_dir.to_owned();
    let host = identity.host.clone();
    Box::new(move |project: &Project| {
        let restic = Restic::new(ResticSettings {
            target: project.restic.clone(),
            project: project.name.clone(),
            host: host.clone(),
            state_dir: base_dir.join(STATE_DIR),
            journal: Some(child_journal(&base_dir, &project.name)),
            base_cache_dir: None,
        })?;
        let remote: Arc<dyn RemoteStorage> = restic.clone();
        let admin: Arc<dyn RepositoryAdmin> = restic;
        Ok((remote, admin))
    })
}

/// Where a project's running programs are noted.
pub fn child_journal(base_dir: &Path, project: &ProjectName) -> PathBuf {
    base_dir.join(project.as_str()).join(CHILD_JOURNAL)
}
