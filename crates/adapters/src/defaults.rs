//! The adapters as the released binary wires them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use backupctl_adapter_stream::Envelope;
use backupctl_application::ports::{
    CacheKeeper, Clock, DatabaseDumper, DatabaseLoader, Disk, DumpEncryptor, GlobalSettings,
    KeyManager, ServiceUnits,
};
use backupctl_application::registry::{
    DumperRegistry, EncryptorRegistry, LoaderRegistry, MonitorRegistry, NotifierRegistry,
    Registries, Storage, StorageRegistry,
};
use backupctl_application::{Identity, Settings, World};
use backupctl_domain::project::{Channel, Database, EncryptionType, Engine, Monitor};
use backupctl_domain::{Destination, ErrorCode, Failure, Project};

use crate::age::AgeEncryptor;
use crate::archive::{Archive, ArchiveSettings};
use crate::audit_sql::SqlAudit;
use crate::config::Environment;
use crate::dump::{
    FileUnpacker, MongodbDumper, MysqlDumper, MysqlLoader, PostgresDumper, PostgresLoader,
    RedisDumper, SqliteDumper, SqliteLoader,
};
use crate::local::{
    Children, FallbackFile, FileLock, LockHolders, ProjectFiles, ScheduleFiles, ShellHooks,
    SystemClock, SystemDisk, SystemdUnits,
};
use crate::notify::{Email, Healthchecks, Slack, UptimeKuma, Webhook};
use crate::process::journal_in;
use crate::restic::{Restic, ResticSettings};

/// The folder below `base_dir` in which adapters remember things between runs.
const STATE_DIR: &str = ".state";

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
        audit_is_shared: global.audit_url.expose().is_ok_and(|url| !url.starts_with("sqlite:")),
    }
}

/// Every port, wired for these settings. The audit's URL must be resolved. Touches nothing yet: each
/// adapter opens what it needs at its first call.
pub fn world(global: &GlobalSettings, identity: Identity) -> Result<World, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let audit = Arc::new(audit(global)?);
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
    let registries = registries(global, &identity, &clock);
    let base = &global.base_dir;
    Ok(World {
        lock: Arc::new(FileLock::new(base.clone(), Arc::clone(&clock))),
        audit,
        fallback: Arc::new(FallbackFile::new(base, Arc::clone(&clock))),
        hooks: Arc::new(ShellHooks::new(base.clone())),
        cleanup: Arc::new(ProjectFiles::new(base.clone())),
        unpacker: Arc::new(FileUnpacker),
        children: Arc::new(Children::new(base.clone())),
        processes: Arc::new(LockHolders::new(base.clone())),
        registries,
        settings: settings(global),
        schedules: Arc::new(ScheduleFiles::new(base)),
        disk,
        clock,
        identity,
    })
}

/// The audit of these settings; its URL must be resolved.
pub fn audit(global: &GlobalSettings) -> Result<SqlAudit, Failure> {
    SqlAudit::connect(global.audit_url.expose()?, Arc::new(SystemClock))
}

/// Every adapter that this build has, by the name that a configuration gives it.
pub fn registries(
    global: &GlobalSettings,
    identity: &Identity,
    clock: &Arc<dyn Clock>,
) -> Registries {
    let base_dir = &global.base_dir;
    Registries {
        dumpers: dumpers(base_dir),
        loaders: loaders(base_dir),
        encryptors: encryptors(),
        notifiers: notifiers(clock),
        monitors: monitors(),
        storages: storages(global, identity, clock),
    }
}

/// The keyring of the user that runs this, for keys to import; `None` where this build has no gpg.
pub fn keyring() -> Option<Arc<dyn KeyManager>> {
    #[cfg(feature = "gpg")]
    let keyring: Option<Arc<dyn KeyManager>> = Some(crate::gpg::GpgKeyring::new(None));
    #[cfg(not(feature = "gpg"))]
    let keyring = None;
    keyring
}

fn encryptors() -> EncryptorRegistry {
    let registry =
        EncryptorRegistry::new("encryption.type").with(EncryptionType::Age, |_, encryption| {
            let encryptor: Arc<dyn DumpEncryptor> = AgeEncryptor::new(encryption)?;
            Ok(encryptor)
        });
    #[cfg(feature = "gpg")]
    let registry = registry.with(EncryptionType::Gpg, |_, encryption| {
        let encryptor: Arc<dyn DumpEncryptor> = crate::gpg::GpgEncryptor::new(encryption, None)?;
        Ok(encryptor)
    });
    registry
}

fn dumpers(base_dir: &Path) -> DumperRegistry {
    let [mysql, mariadb] = [(); 2].map(|()| mysql_dumper(base_dir.to_owned()));
    let [mongodb, redis] = [(); 2].map(|()| base_dir.to_owned());
    let base_dir = base_dir.to_owned();
    DumperRegistry::new("database.type")
        .with(Engine::Postgres, move |project, ()| {
            let runtime = base_dir.join(project.name.as_str());
            let journal = journal_in(&runtime);
            let dumper = PostgresDumper::new(database(project)?, runtime, Some(journal));
            Ok(Arc::new(dumper.encrypted(project.encryption.is_some())))
        })
        .with(Engine::Mongodb, move |project, ()| {
            let runtime = mongodb.join(project.name.as_str());
            let journal = journal_in(&runtime);
            Ok(Arc::new(MongodbDumper::new(database(project)?, runtime, Some(journal))))
        })
        .with(Engine::Redis, move |project, ()| {
            let journal = journal_in(&redis.join(project.name.as_str()));
            Ok(Arc::new(RedisDumper::new(database(project)?, Some(journal))))
        })
        .with(Engine::Mysql, mysql)
        .with(Engine::Mariadb, mariadb)
        .with(Engine::Sqlite, |project, ()| Ok(Arc::new(SqliteDumper::new(database(project)?))))
}

fn loaders(base_dir: &Path) -> LoaderRegistry {
    let [mysql, mariadb] = [(); 2].map(|()| mysql_loader(base_dir.to_owned()));
    let base_dir = base_dir.to_owned();
    LoaderRegistry::new("database.type")
        .with(Engine::Postgres, move |project, target| {
            let runtime = base_dir.join(project.name.as_str());
            let journal = journal_in(&runtime);
            Ok(Arc::new(PostgresLoader::new(target, runtime, Some(journal))))
        })
        .with(Engine::Mysql, mysql)
        .with(Engine::Mariadb, mariadb)
        .with(Engine::Sqlite, |_, target| Ok(Arc::new(SqliteLoader::new(target))))
}

fn mysql_dumper(
    base_dir: PathBuf,
) -> impl Fn(&Project, &()) -> Result<Arc<dyn DatabaseDumper>, Failure> {
    move |project, ()| {
        let runtime = base_dir.join(project.name.as_str());
        let journal = journal_in(&runtime);
        let dumper = MysqlDumper::new(database(project)?, runtime, Some(journal));
        Ok(Arc::new(dumper.encrypted(project.encryption.is_some())))
    }
}

fn mysql_loader(
    base_dir: PathBuf,
) -> impl Fn(&Project, &Database) -> Result<Arc<dyn DatabaseLoader>, Failure> {
    move |project, target| {
        let runtime = base_dir.join(project.name.as_str());
        let journal = journal_in(&runtime);
        Ok(Arc::new(MysqlLoader::new(target, runtime, Some(journal))))
    }
}

fn database(project: &Project) -> Result<&Database, Failure> {
    project.database.as_ref().ok_or_else(|| Failure::internal("the project has no database"))
}

fn notifiers(clock: &Arc<dyn Clock>) -> NotifierRegistry {
    let [slack, email, webhook] = [(); 3].map(|()| Arc::clone(clock));
    NotifierRegistry::new("notification.type")
        .with("slack", move |_, channel| match channel {
            Channel::Slack { webhook_url } => {
                Ok(Arc::new(Slack::new(webhook_url, Arc::clone(&slack))?))
            }
            other => Err(no_such(other, "slack")),
        })
        .with("email", move |_, channel| match channel {
            Channel::Email(mail) => Ok(Arc::new(Email::new(mail, Arc::clone(&email))?)),
            other => Err(no_such(other, "email")),
        })
        .with("webhook", move |_, channel| match channel {
            Channel::Webhook { url, secret } => {
                Ok(Arc::new(Webhook::new(url, secret.as_ref(), Arc::clone(&webhook))?))
            }
            other => Err(no_such(other, "webhook")),
        })
}

fn no_such(channel: &Channel, kind: &str) -> Failure {
    Failure::internal(format!("{} is no {kind} channel", channel.kind()))
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

fn storages(
    global: &GlobalSettings,
    identity: &Identity,
    clock: &Arc<dyn Clock>,
) -> StorageRegistry {
    let (base_dir, of_restic) = (global.base_dir.clone(), identity.clone());
    let (global, identity, clock) = (global.clone(), identity.clone(), Arc::clone(clock));
    StorageRegistry::new("destinations")
        .with("restic", move |project, destination| {
            let restic = restic(&base_dir, &of_restic, project, destination)?;
            let cache: Option<Arc<dyn CacheKeeper>> = Some(restic.clone());
            Ok(Arc::new(Storage { remote: restic.clone(), admin: restic, cache }))
        })
        .with("archive", move |project, destination| {
            let archive = archive(&global, &identity, &clock, project, destination)?;
            Ok(Arc::new(Storage { remote: archive.clone(), admin: archive, cache: None }))
        })
}

/// A project's folder of archives.
fn archive(
    global: &GlobalSettings,
    identity: &Identity,
    clock: &Arc<dyn Clock>,
    project: &Project,
    destination: &Destination,
) -> Result<Arc<Archive>, Failure> {
    let target = destination.archive().ok_or_else(|| Failure::internal("no folder of archives"))?;
    // What is read on another machine may belong to a project that encrypts its dumps otherwise.
    let envelope: Option<Arc<dyn Envelope>> = match &project.encryption {
        Some(encryption) if encryption.kind == EncryptionType::Age => {
            Some(AgeEncryptor::new(encryption)?)
        }
        _ => None,
    };
    Archive::new(ArchiveSettings {
        project: project.name.clone(),
        destination: destination.name.to_string(),
        target: target.clone(),
        compression: project.compression,
        exclude: project.assets.exclude.clone(),
        envelope,
        timezone: global.timezone.clone(),
        host: identity.host.clone(),
        version: format!("backupctl {}", identity.version),
        state_dir: global.base_dir.join(STATE_DIR),
        disk: Arc::new(SystemDisk),
        clock: Arc::clone(clock),
    })
}

/// A repository of a project, reached by restic; its secrets must be resolved.
pub fn restic(
    base_dir: &Path,
    identity: &Identity,
    project: &Project,
    destination: &Destination,
) -> Result<Arc<Restic>, Failure> {
    let target = destination.restic().ok_or_else(|| no_repository(project, destination))?;
    Restic::new(ResticSettings {
        target: target.clone(),
        project: project.name.clone(),
        host: identity.host.clone(),
        state_dir: base_dir.join(STATE_DIR),
        journal: Some(journal_in(&base_dir.join(project.name.as_str()))),
        base_cache_dir: Some(restic_caches(base_dir, &Environment::from_process())),
    })
}

fn no_repository(project: &Project, destination: &Destination) -> Failure {
    let (project, name) = (&project.name, &destination.name);
    let message = format!("{name} of project {project} is no repository of restic");
    Failure::new(ErrorCode::InvalidConfig, message)
        .with_remedy(format!("list its archives with `backupctl snapshots {project}`"))
}

/// Where restic keeps its caches by itself, so that one that is there goes on to be used; below
/// `base_dir` where there is no home folder, as under systemd, and restic would do without.
fn restic_caches(base_dir: &Path, environment: &Environment) -> PathBuf {
    let set = environment.variables.get("XDG_CACHE_HOME").filter(|dir| !dir.is_empty());
    let caches = set.map(PathBuf::from).or_else(|| Some(environment.home.as_ref()?.join(".cache")));
    caches.unwrap_or_else(|| base_dir.join(".cache")).join("restic")
}

/// What starts backupctl by itself on this machine.
pub fn service_units() -> Arc<dyn ServiceUnits> {
    Arc::new(SystemdUnits::default())
}
