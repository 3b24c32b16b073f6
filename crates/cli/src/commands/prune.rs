//! `backupctl prune`: retention now, for a project or all enabled ones.

use backupctl_adapters::application::use_cases::{
    EachOutcome, PruneOutcome, PrunedAt, each_project, kept_text, prune,
};
use backupctl_adapters::domain::{ByteSize, ErrorCode, Failure, SnapshotId};
use serde_json::{Value, json};

use crate::args::Global;
use crate::exit::{CommandResult, status};
use crate::render::{BAD, BOLD, DIM, GOOD, Out, WARN};
use crate::wire::App;

/// Runs the command; all enabled projects without one named.
pub(crate) async fn run(
    global: &Global,
    out: Out,
    project: Option<&str>,
    destination: Option<&str>,
) -> CommandResult {
    let app = App::start(global, out).await?;
    match project {
        Some(name) => one(&app, name, destination).await,
        None => all(&app).await,
    }
}

async fn one(app: &App, name: &str, destination: Option<&str>) -> CommandResult {
    let project = app.project_to_read(name).await?;
    let outcome = app.done(prune(&app.world, &project, destination, &app.cancel).await)?;
    if app.out.is_json() {
        app.out.json(&to_json(name, &outcome));
    } else {
        tell(&app.out, name, &outcome);
    }
    Ok(outcome.failure().map_or(status::SUCCESS, |failure| failure.code.exit_status()))
}

async fn all(app: &App) -> CommandResult {
    let mut entries = app.entries(None)?;
    entries.retain(|entry| !entry.project.as_ref().is_ok_and(|p| !p.enabled));
    let work = async |project: &_| prune(&app.world, project, None, &app.cancel).await;
    let outcome = each_project(app.config.as_ref(), entries, &app.cancel, work).await;
    tell_all(app, &outcome);
    // Of several destinations one that failed is a failure, once the others are thinned out.
    let is_good = |done: &PruneOutcome| done.failure().is_none();
    Ok(app.interrupted_or(outcome.exit_status_where(is_good)))
}

fn tell_all(app: &App, outcome: &EachOutcome<PruneOutcome>) {
    let out = &app.out;
    if out.is_json() {
        let list: Vec<Value> = outcome
            .projects
            .iter()
            .map(|(name, result)| match result {
                Ok(done) => {
                    let mut told = to_json(name, done);
                    if let Some(failure) = done.failure() {
                        told["error"] = failed_json(name, failure)["error"].take();
                    }
                    told
                }
                Err(failure) => failed_json(name, failure),
            })
            .collect();
        out.json(&json!({"projects": list}));
        return;
    }
    for (name, result) in &outcome.projects {
        match result {
            Ok(done) => tell(out, name, done),
            Err(failure) => {
                out.line(format!("{BOLD}{name}{BOLD:#}  {BAD}not pruned{BAD:#}"));
                out.error(failure.code, &failure.full_message(), &failure.remedy);
            }
        }
    }
    if outcome.projects.is_empty() {
        let text = "no project is enabled: nothing was pruned";
        out.error(ErrorCode::NothingToBackUp, text, "enable a project with `enabled: true`");
    }
}

/// One project of many that failed, with the keys of every error.
pub(super) fn failed_json(name: &str, failure: &Failure) -> Value {
    json!({
        "project": name,
        "error": {
            "code": failure.code, "message": failure.full_message(), "stage": null,
            "remedy": failure.remedy,
        },
    })
}

fn tell(out: &Out, name: &str, done: &PruneOutcome) {
    let dumps = &done.dumps;
    let several = done.destinations.len() > 1;
    for PrunedAt { name: destination, required, result } in &done.destinations {
        let at = if several { format!(" ({destination})") } else { String::new() };
        match result {
            Ok(snapshots) => {
                let size = snapshots.repository_bytes.map_or_else(String::new, |bytes| {
                    format!(" {DIM}(now {}){DIM:#}", ByteSize(bytes))
                });
                out.line(format!(
                    "{BOLD}{name}{BOLD:#}{at}  {GOOD}{} snapshots removed{GOOD:#}, {} kept{size}",
                    snapshots.removed.len(),
                    snapshots.kept
                ));
                for warning in &snapshots.warnings {
                    out.line(format!("  {WARN}{warning}{WARN:#}"));
                }
            }
            Err(failure) if *required => {
                out.line(format!("{BOLD}{name}{BOLD:#}{at}  {BAD}not pruned{BAD:#}"));
                out.error(failure.code, &failure.full_message(), &failure.remedy);
            }
            Err(failure) => {
                let (code, text) = (failure.code, failure.full_message());
                out.line(format!(
                    "{BOLD}{name}{BOLD:#}{at}  {WARN}not pruned (not required){WARN:#}"
                ));
                out.line(format!("  {WARN}{text} ({code}; fix: {}){WARN:#}", failure.remedy));
            }
        }
    }
    if !dumps.removed.is_empty() {
        out.line(format!(
            "  {} old local dumps removed, {} freed",
            dumps.removed.len(),
            ByteSize(dumps.freed_bytes)
        ));
    }
    if !dumps.kept.is_empty() {
        out.line(format!("  {WARN}{}{WARN:#}", kept_text(dumps)));
    }
    if out.is_quiet() {
        return;
    }
    let total = done.total();
    let ids: Vec<&str> = total.removed.iter().map(SnapshotId::short).collect();
    if !ids.is_empty() {
        out.line(format!("  {DIM}removed: {}{DIM:#}", ids.join(" ")));
    }
    for path in &dumps.removed {
        out.line(format!("  {DIM}removed: {}{DIM:#}", path.display()));
    }
}

fn to_json(name: &str, done: &PruneOutcome) -> Value {
    let total = done.total();
    let each =
        done.destinations.iter().map(|PrunedAt { name: destination, result, .. }| match result {
            Ok(report) => json!({
                "destination": destination,
                "removed": report.removed,
                "kept": report.kept,
                "repository_bytes": report.repository_bytes,
                "warnings": report.warnings,
                "error": null,
            }),
            Err(failure) => json!({
                "destination": destination,
                "removed": [], "kept": null, "repository_bytes": null, "warnings": [],
                "error": {
                    "code": failure.code, "message": failure.full_message(), "stage": null,
                    "remedy": failure.remedy,
                },
            }),
        });
    json!({
        "project": name,
        "removed": total.removed,
        "kept": total.kept,
        "repository_bytes": total.repository_bytes,
        "destinations": each.collect::<Vec<_>>(),
        "dumps_removed": done.dumps.removed,
        "dumps_kept": done.dumps.kept,
        "freed_bytes": done.dumps.freed_bytes,
    })
}
