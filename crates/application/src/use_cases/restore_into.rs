//! A snapshot's dump, loaded into a database (`restore --into`).
//!
//! Nothing is loaded before the whole dump is known to be the one that was backed up: a cut or changed
//! file is found by its checksum or its encryption, not by half a database.

use std::path::PathBuf;
use std::time::Duration;

use backupctl_domain::database_url::{loads, shown};
use backupctl_domain::manifest::listed;
use backupctl_domain::project::{Database, Engine};
use backupctl_domain::{DumpName, ErrorCode, Failure, Project};
use tracing::info;

use super::restore::{Only, Opened, Restore, RestoreOptions, RestoreOutcome};
use crate::World;
use crate::context::StageContext;
use crate::ports::{DatabaseLoader, LoadReport, Snapshot, TargetState, ToolInfo};

/// How many tables a refusal names.
const NAMED: usize = 5;

/// What to load, and where into.
#[derive(Debug, Clone)]
pub struct IntoOptions {
    /// A snapshot's id or its beginning; the newest if `None`.
    pub snapshot: Option<String>,
    /// The destination to restore from; whichever has the snapshot if `None`.
    pub destination: Option<String>,
    /// A folder in which the dump stays; a private one that goes if `None`.
    pub target: Option<PathBuf>,
    /// Whether the dump that stays is decompressed too.
    pub decompress: bool,
    /// The database, its password resolved.
    pub database: Database,
    /// Whether a missing database is created.
    pub create: bool,
    /// Whether a database with something in it is loaded into, and a filled folder written to.
    pub force: bool,
}

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntoOutcome {
    /// What was restored on the way; its dump is `None` where it is gone again.
    pub restored: RestoreOutcome,
    /// The loading tool.
    pub tool: ToolInfo,
    /// Whether the database was created.
    pub created: bool,
    /// What the loading brought.
    pub loaded: LoadReport,
    /// How long the loading itself took.
    pub took: Duration,
}

/// Loads dumps.
pub struct RestoreInto<'a> {
    world: &'a World,
    project: &'a Project,
    ctx: StageContext,
}

impl<'a> RestoreInto<'a> {
    /// A use case for one project, its secrets resolved as far as they are needed. The context's
    /// redactor knows the database's password.
    pub fn new(world: &'a World, project: &'a Project, ctx: StageContext) -> Self {
        Self { world, project, ctx }
    }

    /// Loads.
    ///
    /// `INVALID_CONFIG` for a database of another engine; `DB_NOT_FOUND` for a missing one without
    /// `create`; `PATH_NOT_WRITABLE` for one with something in it without `force`; the rest as
    /// [`Restore::execute`].
    pub async fn execute(&self, options: &IntoOptions) -> Result<IntoOutcome, Failure> {
        let engine = options.database.engine;
        if let Some(ours) = self.project.database.as_ref().map(|d| d.engine) {
            self.check_engine(engine, ours)?;
        }
        let loader = self.world.registries.loaders.make(engine, self.project, &options.database)?;
        let tool = loader.check_tool().await?;
        // The loading tool is given its password by a file there.
        let runtime = self.world.settings.project_dir(&self.project.name);
        self.world.disk.ensure_dir(&runtime, false).await?;

        let restore = Restore::new(self.world, self.project, self.ctx.clone());
        let mut wanted = RestoreOptions {
            snapshot: options.snapshot.clone(),
            destination: options.destination.clone(),
            target: PathBuf::new(),
            only: Some(Only::Db),
            paths: Vec::new(),
            decompress: options.decompress && options.target.is_some(),
            force: options.force && options.target.is_some(),
        };
        if let Some(target) = &options.target {
            wanted.target.clone_from(target);
            restore.check_target(&wanted).await?;
        }
        let prepared = restore.prepare(&wanted).await?;
        for snapshot in &prepared.chosen {
            if let Some(dumped) = self.engine_of(snapshot) {
                self.check_engine(engine, dumped)?;
            }
        }
        restore.check_identity(&prepared.chosen).await?;
        self.judge(loader.as_ref(), options).await?;

        let scratch = match &options.target {
            Some(_) => None,
            None => Some(self.world.cleanup.scratch(&self.project.name).await?),
        };
        if let Some(scratch) = &scratch {
            scratch.path().clone_into(&mut wanted.target);
        }
        let opened = if wanted.decompress { Opened::Decompressed } else { Opened::Decrypted };
        let restored = restore.bring(prepared, &wanted, opened).await;
        let done = match restored {
            Ok(restored) => self.load(loader.as_ref(), options, restored, tool).await,
            Err(failure) => Err(failure),
        };
        // Whatever happened, a dump in the clear does not stay where nobody has asked for it.
        let removed = scratch.map_or(Ok(()), crate::ports::ScratchDir::remove);
        let mut outcome = done?;
        if options.target.is_none() {
            outcome.restored.dump = None;
        }
        if let Err(failure) = removed {
            outcome.restored.notes.push(format!("not cleaned up: {}", failure.full_message()));
        }
        Ok(outcome)
    }

    async fn load(
        &self,
        loader: &dyn DatabaseLoader,
        options: &IntoOptions,
        restored: RestoreOutcome,
        tool: ToolInfo,
    ) -> Result<IntoOutcome, Failure> {
        let dump = restored.dump.clone().ok_or_else(|| {
            Failure::new(ErrorCode::SnapshotNotFound, "the snapshot holds no database dump")
        })?;
        // Bringing the dump may have taken a night, in which others were at the database too.
        let created = self.judge(loader, options).await? == TargetState::Missing;
        if created {
            loader.create(&self.ctx).await?;
        }
        let clock = &self.world.clock;
        let begin = clock.now();
        let loaded = loader.load(&dump, options.force, &self.ctx).await;
        let loaded = loaded.map_err(|mut failure| {
            if created {
                let name = shown(&options.database);
                failure.message = format!(
                    "{}; the database {name} was created for it, and stays",
                    failure.message
                );
            }
            failure
        })?;
        let took = Duration::try_from(clock.now().duration_since(begin)).unwrap_or_default();
        info!(project = %self.project.name, tables = loaded.tables, "dump loaded");
        Ok(IntoOutcome { restored, tool, created, loaded, took })
    }

    /// Asks how the database stands, and refuses what was not asked for.
    async fn judge(
        &self,
        loader: &dyn DatabaseLoader,
        options: &IntoOptions,
    ) -> Result<TargetState, Failure> {
        let state = loader.state(&self.ctx).await?;
        let name = shown(&options.database);
        match &state {
            TargetState::Missing if !options.create => Err(Failure::new(
                ErrorCode::DbNotFound,
                format!("the database {name} does not exist; nothing was loaded"),
            )
            .with_remedy("add --create to have it created, or correct the name in the URL")),
            TargetState::Filled { objects } if !options.force => Err(Failure::new(
                ErrorCode::PathNotWritable,
                format!(
                    "the database {name} is not empty; it holds {}; nothing was loaded",
                    listed(objects, NAMED)
                ),
            )
            .with_remedy(
                "name an empty or new database (--create), or add --force: what the dump brings \
                 then takes the place of what has its name",
            )),
            _ => Ok(state),
        }
    }

    fn check_engine(&self, target: Engine, dumped: Engine) -> Result<(), Failure> {
        if matches!(dumped, Engine::Mongodb | Engine::Redis) {
            return Err(Failure::new(
                ErrorCode::InvalidConfig,
                format!("a {dumped} dump is not loaded by backupctl"),
            )
            .with_remedy(format!(
                "import it by hand: `backupctl restore {} latest TARGET --guide` prints the steps",
                self.project.name
            )));
        }
        if loads(target, dumped) {
            return Ok(());
        }
        Err(Failure::new(
            ErrorCode::InvalidConfig,
            format!("a {target} database cannot take the {dumped} dump of {}", self.project.name),
        )
        .with_remedy(format!("name a {dumped} database behind --into")))
    }

    /// The engine that a snapshot's dump is of, by its name; `None` where that leaves it open.
    fn engine_of(&self, snapshot: &Snapshot) -> Option<Engine> {
        let project = &self.project.name;
        let dump = snapshot.paths.iter().find(|path| DumpName::is_dump_of(project, path))?;
        let dump = dump.file_name()?.to_str()?;
        let ext = dump.split('.').nth(1)?;
        let mut of = Engine::ALL.into_iter().filter(|engine| engine.extension() == ext);
        // `sql` is what several write: the project says which.
        of.next().filter(|engine| *engine != Engine::Mysql)
    }
}
