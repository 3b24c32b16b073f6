//! Projects and run records with sane values, of which a test sets what it is about.

use std::path::PathBuf;
use std::time::Duration;

use backupctl_application::ports::StoreRequest;
use backupctl_domain::destination::{ArchiveTarget, ResticTarget, SnapshotMode, Target};
use backupctl_domain::project::{
    Assets, Channel, Compression, Database, DatabaseOptions, Encryption, EncryptionType, Engine,
    Hooks, Monitor,
};
use backupctl_domain::retention::{KeepPolicy, Retention};
use backupctl_domain::schedule::{CatchUp, Schedule};
use backupctl_domain::sync::SyncPart;
use backupctl_domain::{
    BackupRun, Destination, DestinationName, DumpInfo, ErrorCode, Failure, Project, ProjectName,
    RunError, RunId, RunStatus, Secret, Stage, Trigger,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use uuid::Uuid;

/// A project's name; ends the test if it is none.
pub fn name(text: &str) -> ProjectName {
    ProjectName::new(text).expect("a project name")
}

/// A moment, e.g. `2026-03-18T00:00:05Z`; ends the test if it is none.
pub fn at(text: &str) -> Timestamp {
    text.parse().expect("a timestamp")
}

/// Begins a project: PostgreSQL at `localhost`, zstd, the asset folder `/srv/{name}/files`, a local
/// restic repository, the default retention; no encryption, hooks, notifications or monitor.
pub fn project(project: &str) -> ProjectBuilder {
    ProjectBuilder {
        project: Project {
            name: name(project),
            enabled: true,
            schedule: None,
            timeout: None,
            database: Some(database(Engine::Postgres, project)),
            compression: Some(Compression::default()),
            assets: Assets {
                paths: vec![PathBuf::from(format!("/srv/{project}/files"))],
                exclude: Vec::new(),
            },
            destinations: vec![restic(&format!("/srv/repositories/{project}"))],
            retention: Retention::default(),
            encryption: None,
            hooks: Hooks::default(),
            verification: true,
            notifications: Vec::new(),
            monitor: None,
        },
    }
}

/// A destination called `restic`: a repository at that location with the password
/// `repository-password`; required, with the default retention.
pub fn restic(location: &str) -> Destination {
    Destination {
        name: destination_name("restic"),
        required: true,
        keep: Retention::default().keep,
        target: Target::Restic(Box::new(ResticTarget {
            repository: location.to_owned(),
            ssh: None,
            password: Secret::value("repository-password"),
            snapshot_mode: SnapshotMode::Combined,
            auto_init: false,
            allow_incomplete: false,
            cache_dir: None,
            options: std::collections::BTreeMap::new(),
            env: std::collections::BTreeMap::new(),
            limit_upload_kib: None,
            binary: None,
        })),
    }
}

/// A destination called `archive`: a folder on a mounted disk; required, with the default retention.
pub fn archive(folder: &str) -> Destination {
    Destination {
        name: destination_name("archive"),
        required: true,
        keep: Retention::default().keep,
        target: Target::Archive(ArchiveTarget {
            path: PathBuf::from(folder),
            require_mount: true,
            split_size: None,
            allow_incomplete: false,
        }),
    }
}

fn destination_name(name: &str) -> DestinationName {
    DestinationName::new(name).expect("a destination's name")
}

/// A request of a new run that started at 2026-03-18T00:00:05Z to store that part; its dump, if it has
/// one, is recorded as one of PostgreSQL.
pub fn store_request(part: SyncPart) -> StoreRequest {
    let dump = part.dump.as_ref().map(|(path, bytes)| DumpInfo {
        file: path.to_string_lossy().into_owned(),
        bytes: *bytes,
        raw_bytes: *bytes,
        checksum: "blake3:0".to_owned(),
        engine: Engine::Postgres.as_str().to_owned(),
        tool_version: "pg_dump 15.18".to_owned(),
    });
    StoreRequest {
        part,
        exclude: Vec::new(),
        parent: None,
        run: RunId(Uuid::new_v4()),
        started_at: at("2026-03-18T00:00:05Z"),
        dump,
    }
}

/// A database of that engine: at `localhost` on its port, named, used by and protected like the
/// project; a file for `SQLite`.
pub fn database(engine: Engine, name: &str) -> Database {
    let file = engine == Engine::Sqlite;
    let named = |text: String| if file { String::new() } else { text };
    Database {
        engine,
        host: named("localhost".to_owned()),
        port: engine.default_port(),
        name: named(name.to_owned()),
        user: (!file).then(|| name.to_owned()),
        password: (!file).then(|| Secret::value("database-password")),
        path: file.then(|| PathBuf::from(format!("/srv/{name}/data.sqlite"))),
        container: None,
        dump_timeout: None,
        options: DatabaseOptions::default(),
    }
}

/// A project in the making.
#[derive(Debug, Clone)]
pub struct ProjectBuilder {
    project: Project,
}

impl ProjectBuilder {
    /// Changes anything that has no setter of its own.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Project)) -> Self {
        change(&mut self.project);
        self
    }

    /// Changes its first restic repository.
    #[must_use]
    pub fn restic(self, change: impl FnOnce(&mut ResticTarget)) -> Self {
        self.with(|p| {
            let restic = p.destinations.iter_mut().find_map(|d| match &mut d.target {
                Target::Restic(restic) => Some(restic),
                Target::Archive(_) => None,
            });
            change(restic.expect("the project has a restic repository"));
        })
    }

    /// Goes to these destinations and no others.
    #[must_use]
    pub fn destinations(self, destinations: impl IntoIterator<Item = Destination>) -> Self {
        self.with(|p| p.destinations = destinations.into_iter().collect())
    }

    /// Goes to this destination, too.
    #[must_use]
    pub fn also_to(self, destination: Destination) -> Self {
        self.with(|p| p.destinations.push(destination))
    }

    /// Not part of `run --all` and the schedule.
    #[must_use]
    pub fn disabled(self) -> Self {
        self.with(|p| p.enabled = false)
    }

    /// Runs by this cron expression, in UTC, catching up, two hours of grace.
    #[must_use]
    pub fn cron(self, cron: &str) -> Self {
        let schedule =
            Schedule::new(cron, TimeZone::UTC, CatchUp::WithinGrace, Duration::from_hours(2));
        let schedule = schedule.expect("a cron expression");
        self.with(|p| p.schedule = Some(schedule))
    }

    /// Is called out as slow after so long.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|p| p.timeout = Some(timeout))
    }

    /// Has this database.
    #[must_use]
    pub fn database(self, database: Database) -> Self {
        self.with(|p| p.database = Some(database))
    }

    /// Has a database of that engine, at `localhost`.
    #[must_use]
    pub fn engine(self, engine: Engine) -> Self {
        let database = database(engine, self.project.name.as_str());
        self.database(database)
    }

    /// Has no database.
    #[must_use]
    pub fn no_database(self) -> Self {
        self.with(|p| p.database = None)
    }

    /// Is compressed so; `None` for not at all.
    #[must_use]
    pub fn compression(self, compression: Option<Compression>) -> Self {
        self.with(|p| p.compression = compression)
    }

    /// Has these asset paths and no others.
    #[must_use]
    pub fn assets<P: Into<PathBuf>>(self, paths: impl IntoIterator<Item = P>) -> Self {
        let paths = paths.into_iter().map(Into::into).collect();
        self.with(|p| p.assets.paths = paths)
    }

    /// Has no assets.
    #[must_use]
    pub fn no_assets(self) -> Self {
        self.assets(Vec::<PathBuf>::new())
    }

    /// Makes one snapshot for each part.
    #[must_use]
    pub fn separate(self) -> Self {
        self.restic(|restic| restic.snapshot_mode = SnapshotMode::Separate)
    }

    /// Goes to this restic repository.
    #[must_use]
    pub fn repository(self, location: impl Into<String>, password: &str) -> Self {
        let location = location.into();
        self.restic(|restic| {
            restic.repository = location;
            restic.password = Secret::value(password);
        })
    }

    /// Creates a missing repository by itself.
    #[must_use]
    pub fn auto_init(self) -> Self {
        self.restic(|restic| restic.auto_init = true)
    }

    /// Takes unreadable sources for a warning.
    #[must_use]
    pub fn allow_incomplete(self) -> Self {
        self.restic(|restic| restic.allow_incomplete = true)
    }

    /// Keeps so many days locally, and this in the repository.
    #[must_use]
    pub fn retention(self, local_days: u32, keep: KeepPolicy) -> Self {
        self.with(|p| {
            for destination in &mut p.destinations {
                destination.keep = keep.clone();
            }
            p.retention = Retention { local_days, keep };
        })
    }

    /// Encrypts with age to this recipient.
    #[must_use]
    pub fn age(self, recipient: &str) -> Self {
        let recipients = vec![recipient.to_owned()];
        self.with(|p| {
            p.encryption = Some(Encryption {
                kind: EncryptionType::Age,
                recipients,
                recipients_file: None,
                identity_file: None,
            });
        })
    }

    /// Runs this before the dump.
    #[must_use]
    pub fn pre_backup(self, command: &str) -> Self {
        self.with(|p| p.hooks.pre_backup = Some(command.to_owned()))
    }

    /// Runs this after everything succeeded.
    #[must_use]
    pub fn post_backup(self, command: &str) -> Self {
        self.with(|p| p.hooks.post_backup = Some(command.to_owned()))
    }

    /// Runs this in any case.
    #[must_use]
    pub fn finally(self, command: &str) -> Self {
        self.with(|p| p.hooks.finally = Some(command.to_owned()))
    }

    /// Does not verify its dump.
    #[must_use]
    pub fn no_verification(self) -> Self {
        self.with(|p| p.verification = false)
    }

    /// Tells this channel too.
    #[must_use]
    pub fn channel(self, channel: Channel) -> Self {
        self.with(|p| p.notifications.push(channel))
    }

    /// Tells a webhook.
    #[must_use]
    pub fn webhook(self, url: &str) -> Self {
        let url = Secret::value(url);
        self.channel(Channel::Webhook { url, secret: None })
    }

    /// Tells a Slack channel.
    #[must_use]
    pub fn slack(self, url: &str) -> Self {
        self.channel(Channel::Slack { webhook_url: Secret::value(url) })
    }

    /// Tells an Uptime Kuma.
    #[must_use]
    pub fn uptime_kuma(self, base_url: &str, token: &str) -> Self {
        let (base_url, push_token) = (base_url.to_owned(), Secret::value(token));
        self.with(|p| p.monitor = Some(Monitor::UptimeKuma { base_url, push_token }))
    }

    /// Has every optional part: age, all three hooks, a webhook, a monitor.
    #[must_use]
    pub fn everything(self) -> Self {
        self.age("age1fake")
            .pre_backup("echo before")
            .post_backup("echo after")
            .finally("echo finally")
            .webhook("https://hooks.example/one")
            .uptime_kuma("https://status.example", "push-token")
    }

    /// The project.
    pub fn build(self) -> Project {
        self.project
    }
}

/// Begins the record of a run of that project: manual, begun at 2026-03-18T00:00:05Z, still going on,
/// with a new id.
pub fn run(project: &str) -> RunBuilder {
    RunBuilder {
        run: BackupRun::start(
            RunId(Uuid::new_v4()),
            name(project),
            Trigger::Manual,
            at("2026-03-18T00:00:05Z"),
            "testhost",
            "0.1.0",
            4711,
        ),
    }
}

/// A run record in the making.
#[derive(Debug, Clone)]
pub struct RunBuilder {
    run: BackupRun,
}

impl RunBuilder {
    /// Changes anything that has no setter of its own.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut BackupRun)) -> Self {
        change(&mut self.run);
        self
    }

    /// Has this id.
    #[must_use]
    pub fn id(self, id: &str) -> Self {
        let id = id.parse().expect("a run id");
        self.with(|r| r.run_id = id)
    }

    /// Began then.
    #[must_use]
    pub fn started_at(self, time: &str) -> Self {
        self.with(|r| r.started_at = at(time))
    }

    /// Was started so.
    #[must_use]
    pub fn trigger(self, trigger: Trigger) -> Self {
        self.with(|r| r.trigger = trigger)
    }

    /// Is in this stage.
    #[must_use]
    pub fn in_stage(self, stage: Stage) -> Self {
        self.with(|r| r.current_stage = Some(stage))
    }

    /// Has succeeded after so long.
    #[must_use]
    pub fn success(self, took: Duration) -> Self {
        self.with(|r| {
            let end = r.started_at.checked_add(took).expect("an end");
            r.finish(end, None);
        })
    }

    /// Has failed at that stage after so long.
    #[must_use]
    pub fn failed(self, stage: Stage, code: ErrorCode, message: &str, took: Duration) -> Self {
        let error = RunError::new(Some(stage), &Failure::new(code, message));
        self.with(|r| {
            let end = r.started_at.checked_add(took).expect("an end");
            r.finish(end, Some(error));
            debug_assert_eq!(r.status, RunStatus::Failed);
        })
    }

    /// The record.
    pub fn build(self) -> BackupRun {
        self.run
    }
}
