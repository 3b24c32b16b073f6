//! `backupctl recover`: what a killed run has left is put right.

use std::time::Duration;

use backupctl_adapters::application::use_cases::RecoverReport;
use serde_json::json;

use crate::args::Global;
use crate::exit::{CommandResult, status};
use crate::render::Out;
use crate::wire::App;

/// How long delivering may take where somebody asked for it, and no backup waits.
const REPLAY_ON_DEMAND: Duration = Duration::from_mins(30);

/// Runs the command.
pub(crate) async fn run(global: &Global, out: Out, project: Option<&str>) -> CommandResult {
    let app = App::start(global, out).await?;
    app.ensure_base_dir().await;
    let entries = app.entries(project)?;
    let recover = app.recover().with_replay_budget(REPLAY_ON_DEMAND);
    let report = recover.execute(&entries, &app.cancel).await;
    if app.out.is_json() {
        app.out.json(&to_json(&report));
    } else {
        tell(&app.out, &report, true);
    }
    let clean = report.problems.is_empty() && report.remaining.is_empty();
    Ok(if clean { status::SUCCESS } else { status::FAILURE })
}

/// Tells what was done; `also_nothing` says so where there was nothing to do.
pub(crate) fn tell(out: &Out, report: &RecoverReport, also_nothing: bool) {
    for id in &report.orphans {
        out.note(format!("recovered: run {} had been interrupted and is failed now", id.short()));
    }
    for id in &report.told {
        out.note(format!("recovered: the end of run {} is told now", id.short()));
    }
    if report.children_ended > 0 {
        out.note(format!("recovered: {} left-over programs ended", report.children_ended));
    }
    for path in &report.partials {
        out.note(format!("recovered: partial file {} removed", path.display()));
    }
    for project in &report.stale_locks {
        out.note(format!("recovered: stale lock of {project} removed"));
    }
    for project in &report.repositories_unlocked {
        out.note(format!("recovered: stale lock in the repository of {project} removed"));
    }
    for fingerprint in &report.keys_imported {
        out.note(format!("imported the key {fingerprint}"));
    }
    if report.delivered > 0 {
        out.note(format!("recovered: {} kept entries delivered", report.delivered));
    }
    for reason in &report.remaining {
        out.warn(format!("still not delivered: {reason}"));
    }
    if report.rejected > 0 {
        out.warn(format!(
            "{} unreadable lines moved to .fallback-audit/fallback.rejected.jsonl",
            report.rejected
        ));
    }
    for problem in &report.problems {
        out.warn(format!("recovery: {problem}"));
    }
    if also_nothing && report.is_empty() {
        out.line("nothing to recover");
    }
}

/// The report as it stands in JSON documents.
pub(crate) fn to_json(report: &RecoverReport) -> serde_json::Value {
    json!({
        "orphans": report.orphans,
        "told": report.told,
        "children_ended": report.children_ended,
        "partials_removed": report.partials,
        "stale_locks_removed": report.stale_locks,
        "repositories_unlocked": report.repositories_unlocked,
        "keys_imported": report.keys_imported,
        "delivered": report.delivered,
        "remaining": report.remaining,
        "rejected": report.rejected,
        "problems": report.problems,
    })
}
