//! `backupctl recover`: what a killed run has left is put right.

use std::time::Duration;

use backupctl_adapters::application::ports::Waiting;
use backupctl_adapters::application::use_cases::RecoverReport;
use backupctl_adapters::domain::{ProjectName, notice};
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
    if !clean && !app.out.is_json() {
        app.out.warn(if report.problems.is_empty() {
            "not everything could be delivered: put right what the lines above name (`backupctl \
             health` looks at every channel and at the audit), then run `backupctl recover` again; \
             every run tries it too"
        } else {
            "not everything could be put right: see to what the lines above name (`backupctl health` \
             looks at every project), then run `backupctl recover` again"
        });
    }
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
    for (project, folder) in &report.archives_cleared {
        out.note(format!(
            "recovered: leftovers of an interrupted backup of {project} removed at {folder}"
        ));
    }
    for fingerprint in &report.keys_imported {
        out.note(format!("imported the key {fingerprint}"));
    }
    if report.delivered > 0 {
        out.note(format!("recovered: {} kept entries delivered", report.delivered));
    }
    // Before a run it is by the way: whoever wants quiet asks `status` or `health`.
    if also_nothing || !out.is_quiet() {
        for waiting in &report.waiting {
            out.warn(still_waiting(waiting));
        }
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

/// What waits for one place, in one line.
fn still_waiting(waiting: &Waiting) -> String {
    const NAMED: usize = 5;
    let (what, place) = match &waiting.channel {
        None => ("run record", "the audit".to_owned()),
        Some(channel) => ("notice", channel.clone()),
    };
    let (count, named) = (waiting.count, waiting.projects.len().min(NAMED));
    let names: Vec<&str> = waiting.projects.iter().take(NAMED).map(ProjectName::as_str).collect();
    let more = match waiting.projects.len() - named {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let projects = if waiting.projects.len() == 1 { "project" } else { "projects" };
    let (plural, verb) = if count == 1 { ("", "waits") } else { ("s", "wait") };
    // Most reasons begin with the channel and its host.
    let reason = &waiting.reason;
    let place = if reason.starts_with(&place) { String::new() } else { format!("{place}: ") };
    let whose = match names.as_slice() {
        [] => "of no project".to_owned(),
        names => format!("{projects} {}{more}", names.join(", ")),
    };
    format!(
        "{count} {what}{plural} ({whose}; oldest {}) {verb} for {place}{reason}",
        notice::stamp(waiting.oldest),
    )
}

/// The report as it stands in JSON documents.
pub(crate) fn to_json(report: &RecoverReport) -> serde_json::Value {
    // A project is named once, whichever of its destinations something was left at.
    let mut unlocked: Vec<&ProjectName> = report.repositories_unlocked.iter().collect();
    for (project, _) in &report.archives_cleared {
        if !unlocked.contains(&project) {
            unlocked.push(project);
        }
    }
    json!({
        "orphans": report.orphans,
        "told": report.told,
        "children_ended": report.children_ended,
        "partials_removed": report.partials,
        "stale_locks_removed": report.stale_locks,
        "repositories_unlocked": unlocked,
        "keys_imported": report.keys_imported,
        "delivered": report.delivered,
        "remaining": report.remaining,
        "rejected": report.rejected,
        "problems": report.problems,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_one_place_is_one_line() {
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        let mut waiting = Waiting {
            channel: Some("webhook".to_owned()),
            reason: "webhook chat.example.com: connection refused".to_owned(),
            count: 9,
            projects: names.into_iter().map(|n| ProjectName::new(n).unwrap()).collect(),
            oldest: "2026-11-20T10:00:00Z".parse().unwrap(),
        };
        assert_eq!(
            still_waiting(&waiting),
            "9 notices (projects a, b, c, d, e and 2 more; oldest 2026-11-20T10:00:00.000Z) wait for \
             webhook chat.example.com: connection refused"
        );
        waiting.projects.truncate(1);
        (waiting.count, waiting.channel) = (1, None);
        waiting.reason = "the database is locked".to_owned();
        assert_eq!(
            still_waiting(&waiting),
            "1 run record (project a; oldest 2026-11-20T10:00:00.000Z) waits for the audit: the \
             database is locked"
        );
    }
}
