//! `backupctl cache`: what restic keeps of a repository on this machine, and removing it.

use backupctl_adapters::application::ports::RepositoryCache;
use backupctl_adapters::application::use_cases::{clear_cache, each_project, measure_cache};
use backupctl_adapters::domain::ByteSize;
use serde_json::{Value, json};

use super::prune::failed_json;
use crate::args::{CacheArgs, Global};
use crate::exit::{CommandResult, status};
use crate::render::{BAD, BOLD, GOOD, Out};
use crate::wire::App;

/// Runs the command; every project's cache without one named.
pub(crate) async fn run(global: &Global, out: Out, args: CacheArgs) -> CommandResult {
    let app = App::start_to_read(global, out).await?;
    let Some(name) = &args.project else { return clear_all(&app).await };
    let project = app.project_to_read(name).await?;
    let cache = if args.clear {
        clear_cache(&app.world, &project, &app.cancel).await
    } else {
        measure_cache(&app.world, &project, &app.cancel).await
    };
    let cache = app.done(cache)?;
    if app.out.is_json() {
        app.out.json(&to_json(name, &cache, args.clear));
    } else {
        tell(&app.out, name, &cache, args.clear);
    }
    Ok(status::SUCCESS)
}

/// Of projects with one repository, the first tells what was there.
async fn clear_all(app: &App) -> CommandResult {
    let entries = app.entries(None)?;
    let work = async |project: &_| clear_cache(&app.world, project, &app.cancel).await;
    let outcome = each_project(app.config.as_ref(), entries, &app.cancel, work).await;
    let out = &app.out;
    if out.is_json() {
        let list: Vec<Value> = outcome
            .projects
            .iter()
            .map(|(name, result)| match result {
                Ok(cache) => to_json(name, cache, true),
                Err(failure) => failed_json(name, failure),
            })
            .collect();
        out.json(&json!({"projects": list}));
    } else {
        for (name, result) in &outcome.projects {
            match result {
                Ok(cache) => tell(out, name, cache, true),
                Err(failure) => {
                    out.line(format!("{BOLD}{name}{BOLD:#}  {BAD}not cleared{BAD:#}"));
                    out.error(failure.code, &failure.full_message(), &failure.remedy);
                }
            }
        }
    }
    Ok(app.interrupted_or(outcome.exit_status()))
}

fn tell(out: &Out, name: &str, cache: &RepositoryCache, cleared: bool) {
    let (path, size) = (cache.path.display(), ByteSize(cache.bytes));
    let done = if cleared { format!("{GOOD}removed{GOOD:#} ") } else { String::new() };
    out.line(match cache.files {
        0 => format!("{BOLD}{name}{BOLD:#}  nothing is cached in {path}"),
        files => format!("{BOLD}{name}{BOLD:#}  {done}{size} in {files} files: {path}"),
    });
}

fn to_json(name: &str, cache: &RepositoryCache, cleared: bool) -> Value {
    json!({
        "project": name, "path": cache.path, "files": cache.files, "bytes": cache.bytes,
        "cleared": cleared,
    })
}
