//! The composition root: from arguments to a configuration, from a configuration to the ports.

mod unattended;

use std::path::Path;
use std::sync::Arc;

use backupctl_adapters::application::World;
use backupctl_adapters::application::context::{Cancel, Interrupt};
use backupctl_adapters::application::ports::{
    ConfigIssue, ConfigLoader, GlobalSettings, LoadedConfig, ProjectEntry,
};
use backupctl_adapters::application::use_cases::{
    Check, CheckOutcome, NoAudit, RecoverStartup, run_all,
};
use backupctl_adapters::config::{Environment, FileConfig};
use backupctl_adapters::defaults;
use backupctl_adapters::domain::project::unknown_project;
use backupctl_adapters::domain::{ErrorCode, Failure, Project, Secret};
use backupctl_adapters::process::kill_running;

use crate::args::Global;
use crate::exit::CommandError;
use crate::logging::{self, Stderr};
use crate::render::Out;
pub(crate) use unattended::{Unable, keep_reloaded};

/// A loaded configuration with everything wired to it.
pub(crate) struct App {
    /// Where results go.
    pub out: Out,
    /// Loads the configuration again, and resolves secrets.
    pub config: Arc<FileConfig>,
    /// The configuration.
    pub loaded: LoadedConfig,
    /// Its global part.
    pub global: GlobalSettings,
    /// The ports.
    pub world: Arc<World>,
    /// Tells everything to stop.
    pub cancel: Cancel,
    /// Ends the logs: dropped last.
    _logs: logging::Guard,
}

/// The configuration as this command line names it.
pub(crate) fn config(global: &Global) -> FileConfig {
    FileConfig::new(global.config.clone(), Environment::from_process())
}

impl App {
    /// Loads the configuration and wires the ports. A broken global part is an error; broken
    /// projects are not, they are told by whoever needs them.
    pub(crate) async fn start(args: &Global, out: Out) -> Result<Self, CommandError> {
        Self::with(args, out, config(args), false).await
    }

    /// The same for commands that only read projects' snapshots, as on a new machine: what only a
    /// backup needs may name variables that are not set here.
    pub(crate) async fn start_to_read(args: &Global, out: Out) -> Result<Self, CommandError> {
        Self::with(args, out, config(args).to_read(), true).await
    }

    /// The same for a look at repositories from another machine: schedules are needed, too.
    pub(crate) async fn start_to_watch(args: &Global, out: Out) -> Result<Self, CommandError> {
        Self::with(args, out, config(args).to_watch(), true).await
    }

    async fn with(
        args: &Global,
        out: Out,
        config: FileConfig,
        to_read: bool,
    ) -> Result<Self, CommandError> {
        let (config, loaded, mut global) = load(config, &out).await?;
        let logs = logging::start(args, Some(&global.log), Stderr::Direct)?;
        let audit_url = config.resolve_secret("audit.url", global.audit_url.clone()).await;
        global.audit_url = match audit_url {
            // A restored dump is compared with its record where that can be had.
            Err(failure) if to_read => {
                out.warn(failure.full_message());
                Secret::value(format!("sqlite://{}", global.base_dir.join("audit.db").display()))
            }
            resolved => resolved?,
        };
        let world = defaults::world(&global, defaults::identity())?;
        Self::wired(out, config, loaded, global, world, logs)
    }

    /// The same for a look at everything: logs that cannot be written and an audit that cannot be
    /// had are checks that failed, and everything else goes on.
    pub(crate) async fn start_to_look(
        args: &Global,
        out: Out,
    ) -> Result<(Self, Vec<Check>), CommandError> {
        Self::start_to_look_by(args, out, config(args)).await
    }

    /// The same with a configuration that is loaded otherwise, e.g. as a unit sees it.
    pub(crate) async fn start_to_look_by(
        args: &Global,
        out: Out,
        config: FileConfig,
    ) -> Result<(Self, Vec<Check>), CommandError> {
        let loaded = load(config, &out).await?;
        let (app, log, _) = Self::with_what_there_is(args, out, loaded, Stderr::Direct).await?;
        let log = log.map(|failure| Check::bad("log", CheckOutcome::Fail, failure));
        Ok((app, log.into_iter().collect()))
    }

    /// Wires what can be had, and says why logs and audit cannot, where they cannot.
    async fn with_what_there_is(
        args: &Global,
        out: Out,
        (config, loaded, mut global): Loaded,
        stderr: Stderr,
    ) -> Result<(Self, Option<Failure>, Option<Failure>), CommandError> {
        let (logs, log) = match logging::start(args, Some(&global.log), stderr) {
            Ok(logs) => (logs, None),
            Err(failure) => (logging::start(args, None, stderr)?, Some(failure)),
        };
        let identity = defaults::identity();
        let url = config.resolve_secret("audit.url", global.audit_url.clone()).await;
        let url = url.and_then(|url| {
            let resolved = GlobalSettings { audit_url: url, ..global.clone() };
            defaults::audit(&resolved).map(|_| resolved.audit_url)
        });
        let (world, audit) = match url {
            Ok(url) => {
                global.audit_url = url;
                (defaults::world(&global, identity)?, None)
            }
            Err(failure) => {
                // Any address will do: it is never opened.
                let file = global.base_dir.join("audit.db");
                global.audit_url = Secret::value(format!("sqlite://{}", file.display()));
                let without = Arc::new(NoAudit(failure.clone()));
                (World { audit: without, ..defaults::world(&global, identity)? }, Some(failure))
            }
        };
        Ok((Self::wired(out, config, loaded, global, world, logs)?, log, audit))
    }

    fn wired(
        out: Out,
        config: Arc<FileConfig>,
        mut loaded: LoadedConfig,
        global: GlobalSettings,
        world: World,
        logs: logging::Guard,
    ) -> Result<Self, CommandError> {
        world.registries.refuse_unsupported(&mut loaded);
        let cancel = Cancel::new();
        listen_for_signals(&cancel)?;
        Ok(Self { out, config, loaded, global, world: Arc::new(world), cancel, _logs: logs })
    }

    /// Makes the base folder: for commands that write. Those that look leave nothing behind.
    pub(crate) async fn ensure_base_dir(&self) {
        // What cannot be made is told by whoever needs it: a run by its notice too.
        if let Err(failure) = self.world.disk.ensure_dir(&self.global.base_dir, false).await {
            self.out.warn(failure.full_message());
        }
    }

    /// The entries of the configuration that a command is about: one, or all.
    pub(crate) fn entries(&self, project: Option<&str>) -> Result<Vec<ProjectEntry>, CommandError> {
        match project {
            Some(name) => Ok(vec![entry(&self.loaded, name)?.clone()]),
            None => Ok(self.loaded.projects.clone()),
        }
    }

    /// One project, valid and with its secrets resolved.
    pub(crate) async fn project(&self, name: &str) -> Result<Project, CommandError> {
        let project = self.unresolved_project(name)?;
        Ok(self.config.resolve_secrets(project).await?)
    }

    /// One project, for commands that only read its repository: what only a backup needs (database,
    /// notices, monitor) may be out of reach.
    pub(crate) async fn project_to_read(&self, name: &str) -> Result<Project, CommandError> {
        let project = self.unresolved_project(name)?.for_its_repository();
        Ok(self.config.resolve_secrets(project).await?)
    }

    /// One project, valid; its secrets are still files and commands.
    pub(crate) fn unresolved_project(&self, name: &str) -> Result<Project, CommandError> {
        valid_project(&self.loaded, name, &self.out)
    }

    /// Recovery, as it goes before every run.
    pub(crate) fn recover(&self) -> RecoverStartup {
        let config: Arc<dyn ConfigLoader> = self.config.clone();
        let keys = defaults::keyring().zip(self.global.gpg_keys_dir.clone());
        RecoverStartup::new(Arc::clone(&self.world), config, keys)
    }

    /// What work outside a run has brought; an interruption ends with its signal's exit status.
    pub(crate) fn done<T>(&self, result: Result<T, Failure>) -> Result<T, CommandError> {
        result.map_err(|failure| {
            let interrupted = failure.code == ErrorCode::Interrupted;
            let error = CommandError::from(failure);
            if interrupted { error.with_exit(self.interrupted_or(130)) } else { error }
        })
    }

    /// The exit status of a command that was told to stop; `otherwise` if it was not.
    pub(crate) fn interrupted_or(&self, otherwise: u8) -> u8 {
        self.cancel.reason().map_or(otherwise, Interrupt::exit_status)
    }
}

/// A configuration, what it says, and its global part.
type Loaded = (Arc<FileConfig>, LoadedConfig, GlobalSettings);

/// What there is to read, of which the global part must be good.
async fn load(config: FileConfig, out: &Out) -> Result<Loaded, CommandError> {
    let loaded = config.load().await?;
    for warning in &loaded.warnings {
        out.warn(issue_line(warning));
    }
    match loaded.global.clone() {
        Ok(global) => Ok((Arc::new(config), loaded, global)),
        Err(issues) => Err(invalid(out, &loaded.file, &issues)),
    }
}

/// The entry of that name.
fn entry<'a>(loaded: &'a LoadedConfig, name: &str) -> Result<&'a ProjectEntry, CommandError> {
    loaded.projects.iter().find(|p| p.name == name).ok_or_else(|| {
        let known: Vec<String> = loaded.projects.iter().map(|p| p.name.clone()).collect();
        unknown_project(name, &known).into()
    })
}

/// One project, valid; its secrets are still files and commands.
pub(crate) fn valid_project(
    loaded: &LoadedConfig,
    name: &str,
    out: &Out,
) -> Result<Project, CommandError> {
    match &entry(loaded, name)?.project {
        Ok(project) => Ok(project.clone()),
        Err(issues) => {
            for issue in issues.iter().filter(|_| !out.is_json()) {
                out.warn(issue_line(issue));
            }
            Err(run_all::invalid(name, issues).into())
        }
    }
}

/// Every issue told at once, as one error.
pub(crate) fn invalid(out: &Out, file: &Path, issues: &[ConfigIssue]) -> CommandError {
    if !out.is_json() {
        for issue in issues {
            out.warn(issue_line(issue));
        }
    }
    let lines: Vec<String> = issues.iter().map(issue_line).collect();
    let message = match issues.len() {
        1 => lines.join(""),
        n => format!("{} has {n} errors: {}", file.display(), lines.join("; ")),
    };
    Failure::new(ErrorCode::InvalidConfig, message).into()
}

/// An issue in one line: place, project, key, what is wrong.
pub(crate) fn issue_line(issue: &ConfigIssue) -> String {
    let place = match (issue.line, issue.column) {
        (Some(line), Some(column)) => format!(":{line}:{column}"),
        _ => String::new(),
    };
    let project = issue.project.as_ref().map(|p| format!("project {p}: ")).unwrap_or_default();
    let key = if issue.key.is_empty() { String::new() } else { format!("{}: ", issue.key) };
    format!("{}{place}: {project}{key}{}", issue.file.display(), issue.message)
}

/// SIGINT and SIGTERM ask everything to stop; a second one ends the process at once, and its programs.
fn listen_for_signals(cancel: &Cancel) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let cannot = |e: std::io::Error| Failure::internal(format!("signals cannot be watched: {e}"));
    let mut int = signal(SignalKind::interrupt()).map_err(cannot)?;
    let mut term = signal(SignalKind::terminate()).map_err(cannot)?;
    let cancel = cancel.clone();
    tokio::spawn(async move {
        loop {
            let why = tokio::select! {
                _ = int.recv() => Interrupt::Int,
                _ = term.recv() => Interrupt::Term,
            };
            if cancel.reason().is_some() {
                kill_running();
                std::process::exit(i32::from(why.exit_status()));
            }
            cancel.cancel(why);
        }
    });
    Ok(())
}
