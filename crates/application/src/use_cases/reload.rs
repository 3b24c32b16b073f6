//! Tells the daemon to read its configuration again.

use backupctl_domain::{ErrorCode, Failure};

use crate::ports::{LoadedConfig, Processes};

/// Tells the daemon, once the configuration is known to be good; returns its process.
///
/// `INVALID_CONFIG` for a configuration with errors, of which nothing is told to the daemon;
/// `DAEMON_NOT_RUNNING` where there is none to tell.
pub async fn reload(processes: &dyn Processes, config: &LoadedConfig) -> Result<u32, Failure> {
    let none = || {
        Failure::new(
            ErrorCode::DaemonNotRunning,
            "no daemon is running, so there is nothing to reload: each run that is started by hand \
             or by a timer reads the configuration afresh anyway",
        )
    };
    if processes.daemon().await?.is_none() {
        return Err(none());
    }
    let errors = config.issues().len();
    if errors > 0 {
        let word = if errors == 1 { "error" } else { "errors" };
        return Err(Failure::new(
            ErrorCode::InvalidConfig,
            format!(
                "{} has {errors} {word}; the daemon was told nothing and goes on with what it has",
                config.file.display()
            ),
        )
        .with_remedy("correct what `backupctl config validate` lists, then reload again"));
    }
    processes.reload_daemon().await?.ok_or_else(none)
}
