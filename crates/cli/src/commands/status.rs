//! `backupctl status`: how every project stands, or one project's history.

use anstyle::Style;
use backupctl_adapters::application::ports::RunQuery;
use backupctl_adapters::application::use_cases::{ProjectStatus, Status};
use backupctl_adapters::domain::{RunStatus, human, notice};
use jiff::tz::TimeZone;
use serde_json::json;

use super::logs::known_project;
use crate::args::Global;
use crate::exit::{CommandResult, status};
use crate::render::table::Table;
use crate::render::{BAD, BOLD, DIM, GOOD, Out, WARN, record};
use crate::wire::App;

/// Runs the command.
pub(crate) async fn run(
    global: &Global,
    out: Out,
    project: Option<&str>,
    last: u32,
) -> CommandResult {
    let app = App::start(global, out).await?;
    match project {
        None => overview(&app).await,
        Some(name) => history(&app, name, last).await,
    }
}

async fn overview(app: &App) -> CommandResult {
    let all = Status::new(&app.world).execute(app.entries(None)?).await?;
    let out = &app.out;
    if out.is_json() {
        let list: Vec<_> = all.iter().map(ProjectStatus::to_json).collect();
        out.json(&json!({"projects": list}));
        return Ok(status::SUCCESS);
    }
    if all.is_empty() {
        out.line("no projects are configured");
        return Ok(status::SUCCESS);
    }
    let tz = &app.global.timezone;
    let mut table = Table::new(&[
        "PROJECT",
        "STATE",
        "LAST RUN",
        "AGE",
        "RESULT",
        "LAST SUCCESS",
        "NEXT RUN",
        "REMARK",
    ]);
    for p in &all {
        table.row(row(p, tz));
    }
    for line in table.lines() {
        out.line(line.trim_end());
    }
    match app.world.fallback.pending().await {
        Ok(0) => {}
        Ok(n) => {
            out.warn(format!("{n} records or notices are not delivered yet: `backupctl recover`"));
        }
        Err(failure) => out.warn(failure.full_message()),
    }
    Ok(status::SUCCESS)
}

fn row(p: &ProjectStatus, tz: &TimeZone) -> Vec<(String, Option<Style>)> {
    let time = |at: jiff::Timestamp| at.to_zoned(tz.clone()).strftime("%Y-%m-%d %H:%M").to_string();
    let (state, style) = state(p);
    let remark = match (&p.running, &p.last_run) {
        (Some(run), _) => match run.current_stage {
            Some(stage) => format!("at {}", stage.with_number()),
            None => "starting".to_owned(),
        },
        (None, Some(run)) if run.status == RunStatus::Started => {
            format!("killed: `backupctl recover {}` or the next run puts it right", p.name)
        }
        (None, Some(run)) => match (&run.error, run.warnings.len()) {
            (Some(error), _) => error.code.to_string(),
            (None, 0) => String::new(),
            (None, 1) => "1 warning".to_owned(),
            (None, n) => format!("{n} warnings"),
        },
        (None, None) => String::new(),
    };
    vec![
        (p.name.clone(), Some(BOLD)),
        (state, Some(style)),
        (p.last_run.as_ref().map_or_else(|| "never".into(), |r| time(r.started_at)), None),
        (p.age.map(human::age).unwrap_or_default(), None),
        p.last_run.as_ref().map_or((String::new(), None), |r| record::status(r.status)),
        (p.last_success.as_ref().map_or_else(|| "never".into(), |r| time(r.started_at)), None),
        (p.next_run.map_or_else(|| "—".into(), time), None),
        (remark, Some(DIM)),
    ]
}

/// The one word for a project, and its colour: green only for what is proven to be as it should.
fn state(p: &ProjectStatus) -> (String, Style) {
    let word = p.state();
    let style = match word {
        "fresh" => GOOD,
        "failing" | "interrupted" | "invalid" | "overdue" => BAD,
        _ => WARN,
    };
    (word.replace('_', " "), style)
}

async fn history(app: &App, name: &str, last: u32) -> CommandResult {
    let project = known_project(app, name).await?;
    let query = RunQuery { project: Some(project), limit: Some(last), ..RunQuery::default() };
    let runs = app.world.audit.find_runs(&query).await?;
    let entries = app.entries(Some(name)).unwrap_or_default();
    let standing = Status::new(&app.world).execute(entries).await?;
    let out = &app.out;
    if out.is_json() {
        let mut document =
            standing.first().map_or_else(|| json!({"project": name}), ProjectStatus::to_json);
        document["runs"] = json!(runs);
        out.json(&document);
        return Ok(status::SUCCESS);
    }
    if let Some(p) = standing.first() {
        let (word, style) = state(p);
        let next = match p.next_run {
            Some(at) => format!(", next run {}", notice::local_time(at, &app.global.timezone)),
            None => String::new(),
        };
        out.line(format!("{BOLD}{name}{BOLD:#}  {style}{word}{style:#}{next}"));
        if let Some(stage) = p.running.as_ref().and_then(|r| r.current_stage) {
            out.line(format!("a run is at {}", stage.with_number()));
        }
        out.line("");
    }
    if runs.is_empty() {
        out.line("no runs yet");
    } else {
        record::runs(out, &runs, &app.global.timezone);
    }
    Ok(status::SUCCESS)
}
