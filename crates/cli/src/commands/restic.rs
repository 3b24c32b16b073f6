//! `backupctl restic`: restic itself, with a project's repository and secrets.
//!
//! Nothing stands between: the process becomes restic, so terminal, signals and exit status are
//! restic's own. On the way there only what it takes is done: one project's repository is resolved,
//! and neither audit nor logs are opened.

use std::ffi::OsString;

use backupctl_adapters::application::ports::ConfigLoader;
use backupctl_adapters::application::use_cases::places;
use backupctl_adapters::defaults;
use backupctl_adapters::domain::Failure;

use crate::args::Global;
use crate::exit::{CommandError, CommandResult};
use crate::render::Out;
use crate::wire;

/// Runs the command: the project, then restic's arguments, after a `--` or without. Returns only
/// where there is no becoming restic.
pub(crate) async fn run(
    global: &Global,
    out: &Out,
    destination: Option<&str>,
    words: Vec<OsString>,
) -> CommandResult {
    let mut words = words.into_iter();
    let name = words.next().unwrap_or_default();
    let mut args: Vec<OsString> = words.collect();
    if args.first().is_some_and(|first| first == "--") {
        args.remove(0);
    }
    let config = wire::config(global).to_read();
    let loaded = config.load().await?;
    let settings = match &loaded.global {
        Ok(settings) => settings,
        Err(issues) => return Err(wire::invalid(out, &loaded.file, issues)),
    };
    let project = wire::valid_project(&loaded, &name.to_string_lossy(), out)?;
    let project = config.resolve_secrets(project.for_its_repository()).await?;
    let all = places::chosen(&project, destination)?;
    // A folder of archives says itself that it is no repository.
    let at = all.iter().find(|at| at.restic().is_some()).or(all.first());
    let at = at.ok_or_else(|| Failure::internal("the project has no destination"))?;
    let restic = defaults::restic(&settings.base_dir, &defaults::identity(), &project, at)?;
    Err(CommandError::from(restic.replace_process(args)))
}
