//! Commands that nobody watches: a timer's run, the daemon, the watch. What keeps them from their work
//! must be heard, also when it is the configuration that says by whom: then its last good state does.

use std::sync::Arc;

use backupctl_adapters::application::ports::{ConfigLoader, LoadedConfig};
use backupctl_adapters::application::use_cases::daemon::tell_of_config;
use backupctl_adapters::config::FileConfig;
use backupctl_adapters::domain::Project;
use tracing::warn;

use super::{App, config, load};
use crate::args::Global;
use crate::exit::CommandError;
use crate::logging::Stderr;
use crate::render::Out;

/// Why such a command cannot do its work, and by what people can still be told.
pub(crate) struct Unable {
    /// Why.
    pub error: CommandError,
    /// Wired by the configuration as it was good last, where that is known.
    pub last: Option<Box<App>>,
}

impl Unable {
    /// Tells everybody, once and again every day; what is left is how the command ends.
    pub(crate) async fn tell_everybody(self) -> CommandError {
        if let Some(app) = &self.last {
            app.ensure_base_dir().await;
            let problem = Some(self.error.failure.clone());
            tell_of_config(&app.world, app.config.as_ref(), &app.loaded, problem).await;
        }
        self.error
    }
}

impl App {
    /// Starts with what can be had: without logs and without an audit, if it must be.
    pub(crate) async fn start_unattended(
        args: &Global,
        out: Out,
        stderr: Stderr,
    ) -> Result<Self, Unable> {
        let config = config(args);
        let fingerprint = config.fingerprint();
        let started = async {
            let loaded = load(config.clone(), &out).await?;
            Self::with_what_there_is(args, out.clone(), loaded, stderr).await
        };
        match started.await {
            Ok((app, log, audit)) => {
                for failure in log.into_iter().chain(audit) {
                    app.out.warn(format!("goes on without: {}", failure.full_message()));
                    warn!(error.code = %failure.code, "goes on without: {}", failure.full_message());
                }
                keep(&app.config, &app.loaded, fingerprint).await;
                Ok(app)
            }
            Err(error) => Err(Self::unable(args, out, &config, error).await),
        }
    }

    /// The same for a watch from another machine.
    pub(crate) async fn start_to_watch_unattended(args: &Global, out: Out) -> Result<Self, Unable> {
        let config = config(args).to_watch();
        let fingerprint = config.fingerprint();
        match Self::start_to_watch(args, out.clone()).await {
            Ok(app) => {
                keep(&app.config, &app.loaded, fingerprint).await;
                Ok(app)
            }
            Err(error) => Err(Self::unable(args, out, &config, error).await),
        }
    }

    async fn unable(args: &Global, out: Out, config: &FileConfig, error: CommandError) -> Unable {
        let last = async {
            let last = config.last_good()?;
            let loaded = last.load().await.ok()?;
            let global = loaded.global.clone().ok()?;
            let loaded = (Arc::new(last), loaded, global);
            let (app, _, _) =
                Self::with_what_there_is(args, out, loaded, Stderr::Direct).await.ok()?;
            warn!(error.code = %error.failure.code, "{}", error.failure.full_message());
            Some(Box::new(app))
        };
        let last = last.await;
        Unable { error, last }
    }

    /// The project as it was known last, should the configuration not be good for it now.
    pub(crate) async fn last_known(&self, name: &str) -> Option<Project> {
        let good = |loaded: &LoadedConfig| {
            let entry = loaded.projects.iter().find(|entry| entry.name == name)?;
            entry.project.as_ref().ok().cloned()
        };
        match good(&self.loaded) {
            Some(project) => Some(project),
            None => good(&self.config.last_good()?.load().await.ok()?),
        }
    }
}

/// Keeps what a daemon has just read again.
pub(crate) async fn keep_reloaded(config: &FileConfig) {
    let fingerprint = config.fingerprint();
    if let Ok(loaded) = config.load().await {
        keep(config, &loaded, fingerprint).await;
    }
}

/// Keeps the configuration as the last good one, unless that knows a project which this one has broken.
async fn keep(config: &FileConfig, loaded: &LoadedConfig, fingerprint: u64) {
    let Ok(global) = &loaded.global else { return };
    let broken: Vec<&str> =
        loaded.projects.iter().filter(|p| p.project.is_err()).map(|p| p.name.as_str()).collect();
    if !broken.is_empty()
        && let Some(last) = config.last_good()
        && let Ok(last) = last.load().await
        && last.global.is_ok()
        && last.projects.iter().any(|p| p.project.is_ok() && broken.contains(&p.name.as_str()))
    {
        return;
    }
    let (config, base_dir) = (config.clone(), global.base_dir.clone());
    let kept = tokio::task::spawn_blocking(move || config.keep_last_good(&base_dir, fingerprint));
    if let Ok(Err(failure)) = kept.await {
        warn!(error.code = %failure.code, "the last good configuration is not kept: {}", failure.full_message());
    }
}
