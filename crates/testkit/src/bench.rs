//! All fakes of one test, wired to one journal.

use std::path::PathBuf;
use std::sync::Arc;

use backupctl_application::context::{Cancel, Observer, StageContext};
use backupctl_application::ports::{CacheKeeper, GlobalSettings};
use backupctl_application::registry::{
    DumperRegistry, EncryptorRegistry, LoaderRegistry, MonitorRegistry, NotifierRegistry,
    Registries, Storage, StorageRegistry,
};
use backupctl_application::{Identity, Settings, World};
use backupctl_domain::project::{EncryptionType, Engine};
use backupctl_domain::{Redactor, Stage};

use crate::WorkDir;
use crate::fakes::{
    FakeAudit, FakeChildren, FakeCleanup, FakeClock, FakeConfig, FakeDisk, FakeDumper,
    FakeEncryptor, FakeFallback, FakeHooks, FakeKeys, FakeLauncher, FakeLoader, FakeLock,
    FakeMonitor, FakeNotifier, FakeProcesses, FakeRepository, FakeSchedules, FakeUnpacker, Journal,
    RecordingObserver, global_settings,
};

/// Every fake, and a work folder. Fields are public: a test takes what it is about.
pub struct TestBench {
    /// What happened, in order.
    pub journal: Arc<Journal>,
    /// The test's folder.
    pub work: WorkDir,
    /// The lock.
    pub lock: Arc<FakeLock>,
    /// The run records.
    pub audit: Arc<FakeAudit>,
    /// What could not be delivered.
    pub fallback: Arc<FakeFallback>,
    /// The Slack channel of every project.
    pub slack: Arc<FakeNotifier>,
    /// The e-mail channel of every project.
    pub email: Arc<FakeNotifier>,
    /// The webhook of every project.
    pub webhook: Arc<FakeNotifier>,
    /// The hooks.
    pub hooks: Arc<FakeHooks>,
    /// The database, whatever its engine.
    pub dumper: FakeDumper,
    /// The database to load into, whatever its engine.
    pub loader: FakeLoader,
    /// The encryptor, whatever its type.
    pub encryptor: FakeEncryptor,
    /// The repository that all projects share.
    pub repository: Arc<FakeRepository>,
    /// The folder of archives that all projects share.
    pub archives: Arc<FakeRepository>,
    /// The cleanup of `base_dir`.
    pub cleanup: Arc<FakeCleanup>,
    /// The unpacker.
    pub unpacker: Arc<FakeUnpacker>,
    /// The heartbeat monitor, whatever its kind.
    pub monitor: Arc<FakeMonitor>,
    /// The programs of dead runs.
    pub children: Arc<FakeChildren>,
    /// Other backupctl processes.
    pub processes: Arc<FakeProcesses>,
    /// What is remembered of schedules.
    pub schedules: Arc<FakeSchedules>,
    /// What the daemon has its runs made by.
    pub launcher: Arc<FakeLauncher>,
    /// The configuration.
    pub config: Arc<FakeConfig>,
    /// The keyring.
    pub keys: Arc<FakeKeys>,
    /// The clock.
    pub clock: Arc<FakeClock>,
    /// The disk.
    pub disk: Arc<FakeDisk>,
    /// Who watches.
    pub observer: Arc<RecordingObserver>,
    /// How everybody is told to stop.
    pub cancel: Cancel,
}

impl Default for TestBench {
    fn default() -> Self {
        Self::new()
    }
}

impl TestBench {
    /// Everything works, nothing has happened.
    pub fn new() -> Self {
        let journal = Arc::new(Journal::new());
        let work = WorkDir::new();
        let base_dir = work.dir("base");
        let clock = Arc::new(FakeClock::new(&journal));
        let lock = Arc::new(FakeLock::new(&journal));
        let audit = Arc::new(FakeAudit::new(&journal));
        let schedules = Arc::new(FakeSchedules::new(&journal));
        Self {
            launcher: Arc::new(FakeLauncher::new(&journal, &clock, &audit, &schedules)),
            processes: Arc::new(FakeProcesses::new(&journal, Arc::clone(&lock))),
            lock,
            audit,
            fallback: Arc::new(FakeFallback::new(&journal)),
            slack: Arc::new(FakeNotifier::new(&journal, "slack")),
            email: Arc::new(FakeNotifier::new(&journal, "email")),
            webhook: Arc::new(FakeNotifier::new(&journal, "webhook")),
            hooks: Arc::new(FakeHooks::new(&journal)),
            dumper: FakeDumper::new(&journal),
            loader: FakeLoader::new(&journal),
            encryptor: FakeEncryptor::new(&journal),
            repository: Arc::new(FakeRepository::new(&journal, clock.clone())),
            archives: Arc::new(FakeRepository::archives(&journal, clock.clone())),
            cleanup: Arc::new(FakeCleanup::new(&journal, &base_dir)),
            unpacker: Arc::new(FakeUnpacker::new(&journal)),
            monitor: Arc::new(FakeMonitor::new(&journal)),
            children: Arc::new(FakeChildren::new(&journal)),
            schedules,
            config: Arc::new(FakeConfig::new(&journal, &base_dir)),
            keys: Arc::new(FakeKeys::new(&journal)),
            clock,
            disk: Arc::new(FakeDisk::new(&journal)),
            observer: Arc::new(RecordingObserver::new()),
            cancel: Cancel::new(),
            journal,
            work,
        }
    }

    /// `base_dir` of the configuration: a real, empty folder.
    pub fn base_dir(&self) -> PathBuf {
        self.work.join("base")
    }

    /// Global settings with that base folder.
    pub fn settings(&self) -> GlobalSettings {
        global_settings(&self.base_dir())
    }

    /// Registries that answer every engine, type and kind with the bench's fakes.
    pub fn registries(&self) -> Registries {
        let mut dumpers = DumperRegistry::new("database type");
        for engine in Engine::ALL {
            let dumper = Arc::new(self.dumper.with_engine(engine));
            dumpers = dumpers.with(engine, move |_, ()| Ok(dumper.clone()));
        }
        let mut loaders = LoaderRegistry::new("database type");
        for engine in Engine::ALL {
            let loader = Arc::new(self.loader.clone());
            loaders = loaders.with(engine, move |_, _| Ok(loader.clone()));
        }
        let mut encryptors = EncryptorRegistry::new("encryption type");
        for kind in [EncryptionType::Age, EncryptionType::Gpg] {
            let encryptor = Arc::new(self.encryptor.with_kind(kind));
            encryptors = encryptors.with(kind, move |_, _| Ok(encryptor.clone()));
        }
        let mut notifiers = NotifierRegistry::new("notification type");
        for (kind, channel) in
            [("slack", &self.slack), ("email", &self.email), ("webhook", &self.webhook)]
        {
            let channel = Arc::clone(channel);
            notifiers = notifiers.with(kind, move |_, _| Ok(channel.clone()));
        }
        let mut monitors = MonitorRegistry::new("monitor type");
        for kind in ["uptime-kuma", "healthchecks"] {
            let monitor = Arc::clone(&self.monitor);
            monitors = monitors.with(kind, move |_, _| Ok(monitor.clone()));
        }
        let (repository, archives) = (Arc::clone(&self.repository), Arc::clone(&self.archives));
        let storages = StorageRegistry::new("destinations")
            .with("restic", move |project, _| {
                let fake = repository.of(&project.name);
                let cache: Option<Arc<dyn CacheKeeper>> = Some(fake.clone());
                Ok(Arc::new(Storage { remote: fake.clone(), admin: fake, cache }))
            })
            .with("archive", move |project, _| {
                let fake = archives.of(&project.name);
                Ok(Arc::new(Storage { remote: fake.clone(), admin: fake, cache: None }))
            });
        Registries { dumpers, loaders, encryptors, notifiers, monitors, storages }
    }

    /// The fakes as a use case takes them, with these settings.
    pub fn world(&self) -> Arc<World> {
        let settings = self.settings();
        Arc::new(World {
            lock: self.lock.clone(),
            audit: self.audit.clone(),
            fallback: self.fallback.clone(),
            hooks: self.hooks.clone(),
            cleanup: self.cleanup.clone(),
            unpacker: self.unpacker.clone(),
            children: self.children.clone(),
            processes: self.processes.clone(),
            schedules: self.schedules.clone(),
            disk: self.disk.clone(),
            clock: self.clock.clone(),
            registries: self.registries(),
            settings: Settings {
                base_dir: settings.base_dir,
                timezone: settings.timezone,
                retry: settings.retry,
                min_free_bytes: 1 << 30,
                audit_is_shared: false,
            },
            identity: Identity {
                host: "testhost".to_owned(),
                version: "0.1.0".to_owned(),
                pid: 4711,
            },
        })
    }

    /// A context for one call, watched by the bench's observer.
    pub fn context(&self, stage: Stage) -> StageContext {
        StageContext {
            stage,
            cancel: self.cancel.clone(),
            observer: Arc::clone(&self.observer) as Arc<dyn Observer>,
            redactor: Arc::new(Redactor::default()),
        }
    }
}
