//! `backupctl health`: everything that backups stand on, in one go.

use std::sync::Arc;

use anstyle::Style;
use backupctl_adapters::application::ports::ConfigLoader;
use backupctl_adapters::application::use_cases::{CheckOutcome, Health, HealthCheck, HealthReport};
use backupctl_adapters::defaults;
use serde_json::{Value, json};

use crate::args::Global;
use crate::exit::CommandResult;
use crate::render::table::Table;
use crate::render::{BAD, BOLD, DIM, GOOD, Out, WARN};
use crate::wire::App;

/// Runs the command.
pub(crate) async fn run(global: &Global, out: Out, project: Option<&str>) -> CommandResult {
    let (app, earlier) = App::start_to_look(global, out).await?;
    let entries = app.entries(project)?;
    let config: Arc<dyn ConfigLoader> = app.config.clone();
    let units = defaults::service_units();
    let health = Health::new(Arc::clone(&app.world), config, units, app.cancel.clone());
    let report = health.execute(entries, earlier).await;
    if app.out.is_json() {
        let checks: Vec<Value> = report.checks.iter().map(to_json).collect();
        app.out.json(&json!({"healthy": report.is_healthy(), "checks": checks}));
    } else {
        tell(&app.out, &report, ["healthy", "not healthy"]);
    }
    Ok(app.interrupted_or(report.exit_status()))
}

/// One check of a document.
pub(crate) fn to_json(c: &HealthCheck) -> Value {
    let check = &c.check;
    json!({
        "name": check.name, "project": c.project, "outcome": check.outcome.as_str(),
        "message": check.message, "code": check.code, "remedy": check.remedy,
    })
}

/// A table, with the way out below each row that has one, and one of two words for all of it.
pub(crate) fn tell(out: &Out, report: &HealthReport, [good, bad]: [&str; 2]) {
    let shown: Vec<&HealthCheck> = report
        .checks
        .iter()
        .filter(|c| !out.is_quiet() || c.check.outcome != CheckOutcome::Pass)
        .collect();
    let mut table = Table::new(&["", "PROJECT", "CHECK", "FOUND"]);
    for c in &shown {
        let (mark, style) = mark(c.check.outcome);
        let code = c.check.code.map(|code| format!("[{code}] ")).unwrap_or_default();
        table.row(vec![
            (mark.to_owned(), Some(style)),
            (c.project.clone().unwrap_or_else(|| "—".to_owned()), Some(BOLD)),
            (c.check.name.to_owned(), None),
            (format!("{code}{}", c.check.message), None),
        ]);
    }
    if !shown.is_empty() {
        let lines = table.lines();
        let mut lines = lines.iter();
        out.line(lines.next().map_or("", |heading| heading.trim_end()));
        for (line, c) in lines.zip(&shown) {
            out.line(line.trim_end());
            if let Some(remedy) = &c.check.remedy {
                out.line(format!("      {BOLD}fix:{BOLD:#} {remedy}"));
            }
        }
    }
    let failed = report.count(CheckOutcome::Fail);
    let of = report.checks.len();
    let warned = match report.count(CheckOutcome::Warn) {
        0 => String::new(),
        1 => ", 1 warning".to_owned(),
        n => format!(", {n} warnings"),
    };
    if report.is_healthy() {
        out.line(format!("{GOOD}{good}{GOOD:#}: {of} checks{warned}"));
    } else {
        out.line(format!("{BAD}{bad}{BAD:#}: {failed} of {of} checks failed{warned}"));
        out.note(format!("{DIM}more: backupctl explain CODE{DIM:#}"));
    }
}

const fn mark(outcome: CheckOutcome) -> (&'static str, Style) {
    match outcome {
        CheckOutcome::Pass => ("ok", GOOD),
        CheckOutcome::Warn => ("warn", WARN),
        CheckOutcome::Fail => ("fail", BAD),
    }
}
