//! `backupctl watch`: whether backups come as promised, looked at once.

use std::sync::Arc;

use backupctl_adapters::application::ports::ConfigLoader;
use backupctl_adapters::application::use_cases::daemon::tell_of_config;
use backupctl_adapters::application::use_cases::summary::Summary;
use backupctl_adapters::application::use_cases::{Told, Watch, WatchReport, Watched, metrics};
use backupctl_adapters::domain::freshness::Freshness;
use backupctl_adapters::domain::notice;
use backupctl_adapters::http::write_textfile;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::status::{style, words};
use crate::args::{Global, WatchArgs};
use crate::exit::CommandResult;
use crate::logging::Stderr;
use crate::render::table::Table;
use crate::render::{BAD, BOLD, GOOD, Out, WARN};
use crate::wire::App;

/// Runs the command.
pub(crate) async fn run(global: &Global, out: Out, args: WatchArgs) -> CommandResult {
    let started = if args.from_repository {
        App::start_to_watch_unattended(global, out).await
    } else {
        App::start_unattended(global, out, Stderr::Direct).await
    };
    let app = match started {
        Ok(app) => app,
        Err(unable) if args.no_notify => return Err(unable.error),
        Err(unable) => return Err(unable.tell_everybody().await),
    };
    if !args.no_notify {
        tell_of_config(&app.world, app.config.as_ref(), &app.loaded, None).await;
    }
    let config: Arc<dyn ConfigLoader> = app.config.clone();
    let watch = Watch::new(Arc::clone(&app.world), config);
    let watch = if args.no_notify { watch.silent() } else { watch };
    let entries = app.entries(None)?;
    let report = if args.from_repository {
        watch.from_repository(&entries, &app.cancel).await
    } else {
        watch.execute(&entries).await
    };
    if args.summary {
        let summary = Summary::new(Arc::clone(&app.world), app.config.clone());
        for problem in
            summary.send_if_owed(&app.loaded).await?.map_or_else(Vec::new, |s| s.problems)
        {
            app.out.warn(format!("daily summary: {problem}"));
        }
    }
    // After the look, so that what it has found is in there.
    let written = match &args.textfile {
        Some(path) => write_textfile(path, &metrics::gather(&app.world, entries).await),
        None => Ok(()),
    };
    if app.out.is_json() {
        written?;
        app.out.json(&to_json(&report));
    } else {
        tell(&app.out, &report, &app.global.timezone);
        written?;
    }
    Ok(app.interrupted_or(report.exit_status()))
}

fn to_json(report: &WatchReport) -> Value {
    let projects: Vec<Value> = report.projects.iter().map(Watched::to_json).collect();
    let audit = report
        .audit
        .as_ref()
        .map(|f| json!({"code": f.code, "message": f.full_message(), "remedy": f.remedy}));
    json!({
        "ok": report.is_well(),
        "projects": projects,
        "next": report.next.map(notice::stamp),
        "audit_error": audit,
        "problems": report.problems,
    })
}

/// A table, with the way out below each row that needs one, and one line for all.
fn tell(out: &Out, report: &WatchReport, tz: &TimeZone) {
    let is_calm = |p: &Watched| !p.verdict.is_bad && !p.verdict.is_noted && p.unreachable.is_none();
    let shown: Vec<&Watched> =
        report.projects.iter().filter(|p| !out.is_quiet() || !is_calm(p)).collect();
    let mut table = Table::new(&["PROJECT", "STATE", "LAST SUCCESS", "FOUND"]);
    for p in &shown {
        let time =
            |at: jiff::Timestamp| at.to_zoned(tz.clone()).strftime("%Y-%m-%d %H:%M").to_string();
        let code = p.verdict.code.map(|code| format!("[{code}] ")).unwrap_or_default();
        table.row(vec![
            (p.name.clone(), Some(BOLD)),
            (words(p.state), Some(style(p.state))),
            (p.last_success.map_or_else(|| "never".to_owned(), time), None),
            (format!("{code}{}", p.verdict.message), None),
        ]);
    }
    if !shown.is_empty() {
        let lines = table.lines();
        let mut lines = lines.iter();
        out.line(lines.next().map_or("", |heading| heading.trim_end()));
        for (line, p) in lines.zip(&shown) {
            out.line(line.trim_end());
            if let Some(remedy) = p.verdict.remedy.as_ref().filter(|_| !is_calm(p)) {
                out.line(format!("      {BOLD}fix:{BOLD:#} {remedy}"));
            }
            if let Some(told) = p.told {
                out.line(format!("      {}", said(told, &p.undelivered)));
            }
        }
    }
    out.line(summary(report));
    for problem in &report.problems {
        out.warn(problem);
    }
    if let Some(failure) = &report.audit {
        out.error(failure.code, &failure.full_message(), &failure.remedy);
    }
}

fn said(told: Told, undelivered: &[String]) -> String {
    let what = match told {
        Told::First => "people were told",
        Told::Again => "people were told again",
        Told::Recovered => "people were told that it is well again",
    };
    if undelivered.is_empty() {
        return what.to_owned();
    }
    format!("{what}, as far as they could be: {}", undelivered.join("; "))
}

fn summary(report: &WatchReport) -> String {
    let of = report.projects.len();
    let count = |is: fn(&Watched) -> bool| report.projects.iter().filter(|p| is(p)).count();
    let bad = count(|p| p.verdict.is_bad);
    let unreachable = count(|p| p.unreachable.is_some());
    let fresh = count(|p| p.freshness.is_some_and(Freshness::is_green) && !p.verdict.is_bad);
    match () {
        () if bad > 0 => format!("{BAD}not well{BAD:#}: {bad} of {of} projects"),
        () if unreachable > 0 => {
            format!("{WARN}not known{WARN:#}: {unreachable} of {of} repositories cannot be asked")
        }
        () if report.audit.is_some() => format!(
            "{WARN}not known for sure{WARN:#}: judged by what this machine remembers, {fresh} of \
             {of} projects are fresh"
        ),
        () if fresh == of => format!("{GOOD}well{GOOD:#}: {fresh} of {of} projects are fresh"),
        () => format!("{WARN}nothing is late{WARN:#}: {fresh} of {of} projects are fresh"),
    }
}
