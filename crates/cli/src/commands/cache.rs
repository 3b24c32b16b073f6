//! `backupctl cache`: what restic keeps of a repository on this machine, and removing it.

use backupctl_adapters::application::ports::RepositoryCache;
use backupctl_adapters::application::use_cases::{
    OneCache, clear_cache, each_project, measure_cache,
};
use backupctl_adapters::domain::{ByteSize, Project};
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
    let at = args.destination.as_deref();
    let caches = if args.clear {
        clear_cache(&app.world, &project, at, &app.cancel).await
    } else {
        measure_cache(&app.world, &project, at, &app.cancel).await
    };
    let caches = app.done(caches)?;
    if app.out.is_json() {
        app.out.json(&to_json(name, &caches, args.clear));
    } else {
        tell(&app.out, name, &caches, args.clear);
    }
    Ok(status::SUCCESS)
}

/// Of projects with one repository, the first tells what was there.
async fn clear_all(app: &App) -> CommandResult {
    let mut entries = app.entries(None)?;
    // Of archives there is no cache.
    let cached = |p: &Project| p.destinations.iter().any(|d| d.restic().is_some());
    entries.retain(|entry| entry.project.as_ref().map_or(true, cached));
    let work = async |project: &_| clear_cache(&app.world, project, None, &app.cancel).await;
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

fn tell(out: &Out, name: &str, caches: &[OneCache], cleared: bool) {
    let done = if cleared { format!("{GOOD}removed{GOOD:#} ") } else { String::new() };
    for OneCache { destination, cache } in caches {
        let (path, size) = (cache.path.display(), ByteSize(cache.bytes));
        let at = if caches.len() > 1 { format!(" ({destination})") } else { String::new() };
        out.line(match cache.files {
            0 => format!("{BOLD}{name}{BOLD:#}{at}  nothing is cached in {path}"),
            files => format!("{BOLD}{name}{BOLD:#}{at}  {done}{size} in {files} files: {path}"),
        });
    }
}

/// The first cache and the sum of all; each by itself in a list.
fn to_json(name: &str, caches: &[OneCache], cleared: bool) -> Value {
    let one = |of: &OneCache| {
        let cache = &of.cache;
        json!({
            "destination": of.destination, "path": cache.path, "files": cache.files,
            "bytes": cache.bytes,
        })
    };
    let sum = |f: fn(&RepositoryCache) -> u64| caches.iter().map(|of| f(&of.cache)).sum::<u64>();
    json!({
        "project": name,
        "path": caches.first().map(|of| &of.cache.path),
        "files": sum(|cache| cache.files),
        "bytes": sum(|cache| cache.bytes),
        "cleared": cleared,
        "caches": caches.iter().map(one).collect::<Vec<_>>(),
    })
}
