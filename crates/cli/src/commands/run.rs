//! `backupctl run`: a backup, all backups, or the checks before one.

use std::sync::Arc;

use backupctl_adapters::application::context::Observer;
use backupctl_adapters::application::ports::ConfigLoader;
use backupctl_adapters::application::use_cases::{
    AllOutcome, Check, CheckOutcome, DryRun, RunAll, RunBackup, RunOutcome, RunRequest, run_all,
};
use backupctl_adapters::domain::{
    BackupRun, ByteSize, ErrorCode, Failure, RunStatus, StageOutcome, StageRecord, Trigger, human,
};
use serde_json::json;

use super::recover;
use crate::args::{Global, RunArgs};
use crate::exit::{CommandError, CommandResult, status};
use crate::render::progress::{Bars, Events, Lines, Silent};
use crate::render::{BAD, BOLD, DIM, GOOD, Out, WARN};
use crate::wire::App;

/// Runs the command.
pub(crate) async fn run(global: &Global, out: Out, args: RunArgs) -> CommandResult {
    let out = if args.json_stream { Out::new(true, global.quiet, global.no_color) } else { out };
    let app = App::start(global, out).await?;
    if !args.dry_run {
        app.ensure_base_dir().await;
    }
    match (&args.project, args.all, args.dry_run) {
        (_, true, true) => dry_run_all(&app).await,
        (_, true, false) => Box::pin(all(&app, &args)).await,
        (Some(name), false, true) => dry_run(&app, name).await,
        (Some(name), false, false) => {
            one(&app, name, Trigger::Manual, args.wait, args.json_stream).await
        }
        (None, false, _) => Err(Failure::new(ErrorCode::UnknownProject, "no project named").into()),
    }
}

/// Whoever watches a run: events, bars, lines, or nobody.
fn observer(app: &App, stream: bool) -> Arc<dyn Observer> {
    let out = app.out.clone();
    if stream {
        Arc::new(Events::new(out))
    } else if out.is_quiet() || out.is_json() {
        Arc::new(Silent)
    } else if out.stderr_is_terminal() {
        Arc::new(Bars::new(out))
    } else {
        Arc::new(Lines::new(out))
    }
}

/// Makes one run of the project and tells how it ended.
pub(crate) async fn one(
    app: &App,
    name: &str,
    trigger: Trigger,
    wait: bool,
    stream: bool,
) -> CommandResult {
    let unresolved = app.unresolved_project(name)?;
    let use_case = RunBackup::new(Arc::clone(&app.world));
    let project = match app.config.resolve_secrets(unresolved.clone()).await {
        Ok(project) => project,
        Err(failure) => {
            let config = app.config.as_ref();
            let watcher = observer(app, stream);
            let run = use_case.refuse(config, unresolved, trigger, None, &failure, watcher).await;
            return Ok(finished(app, &run, stream));
        }
    };
    let entries = app.entries(Some(name))?;
    let report = app.recover().execute(&entries, &app.cancel).await;
    if !app.out.is_json() {
        recover::tell(&app.out, &report, false);
    }
    let request = RunRequest {
        project,
        trigger,
        due_at: None,
        wait,
        cancel: app.cancel.clone(),
        observer: observer(app, stream),
    };
    let run = match use_case.execute(request).await {
        Ok(RunOutcome::Finished(run)) => run,
        Ok(RunOutcome::Busy(holder) | RunOutcome::Folded(holder)) => {
            return Err(run_all::in_progress(&app.world, name, holder).await.into());
        }
        Ok(RunOutcome::Handled) => return Ok(status::SUCCESS),
        Err(failure) if failure.code == ErrorCode::Interrupted => {
            return Err(CommandError::from(failure).with_exit(app.interrupted_or(130)));
        }
        Err(failure) => return Err(failure.into()),
    };
    Ok(finished(app, &run, stream))
}

/// Tells the run's record; returns the exit status that it means.
fn finished(app: &App, run: &BackupRun, stream: bool) -> u8 {
    if stream {
        app.out.json_line(&json!({"event": "finished", "run": run}));
    } else if app.out.is_json() {
        app.out.json(run);
    } else {
        summary(&app.out, run);
    }
    exit_status(app, run)
}

fn exit_status(app: &App, run: &BackupRun) -> u8 {
    match &run.error {
        None if run.status == RunStatus::Success => status::SUCCESS,
        None => status::FAILURE,
        Some(error) if error.code == ErrorCode::Interrupted => app.interrupted_or(130),
        Some(error) => error.code.exit_status(),
    }
}

/// How the run ended, in a few lines on stdout.
fn summary(out: &Out, run: &BackupRun) {
    if out.is_quiet() && run.status == RunStatus::Success {
        for warning in run.warnings.iter().cloned().chain(failed_behind(run)) {
            out.warn(format!("{}: {warning}", run.project));
        }
        return;
    }
    let took = human::duration(run.duration.unwrap_or_default());
    if run.status == RunStatus::Success {
        out.line(format!("{GOOD}backup of {} succeeded{GOOD:#} in {took}", run.project));
    } else {
        out.line(format!("{BAD}backup of {} failed{BAD:#} after {took}", run.project));
    }
    out.line(format!("  run       {}", run.run_id));
    if let Some(dump) = run.dump.as_ref().filter(|_| run.status == RunStatus::Success) {
        out.line(format!("  dump      {} ({})", dump.file, ByteSize(dump.bytes)));
    }
    for s in &run.snapshots {
        out.line(format!(
            "  snapshot  {}  {DIM}({} new data, {} files unmodified){DIM:#}",
            s.id.short(),
            ByteSize(s.bytes_added),
            s.files_unmodified
        ));
    }
    if let Some(bytes) = run.repository_bytes {
        out.line(format!("  repository {}", ByteSize(bytes)));
    }
    for warning in &run.warnings {
        out.line(format!("  {WARN}warning{WARN:#}   {warning}"));
    }
    for warning in failed_behind(run) {
        out.line(format!("  {WARN}warning{WARN:#}   {warning}"));
    }
    if let Some(error) = &run.error {
        let stage = error.stage.map(|s| format!(" at {s}")).unwrap_or_default();
        let failure = Failure::new(error.code, error.message.clone());
        out.error(
            failure.code,
            &format!(
                "{}{}",
                error.message,
                if stage.is_empty() { String::new() } else { format!(" ({})", stage.trim()) }
            ),
            &error.remedy,
        );
        out.note(format!("  {DIM}record: backupctl logs --run {}{DIM:#}", run.run_id.short()));
    }
}

/// What failed behind the backup: it leaves the run a success, and somebody should see to it.
fn failed_behind(run: &BackupRun) -> Vec<String> {
    let failed = |s: &&StageRecord| !s.stage.is_critical() && s.outcome == StageOutcome::Failed;
    let stages = run.stages.iter().filter(failed);
    stages.map(|s| format!("{}: {}", s.stage, s.message.as_deref().unwrap_or_default())).collect()
}

async fn all(app: &App, args: &RunArgs) -> CommandResult {
    let entries = app.entries(None)?;
    let report = app.recover().execute(&entries, &app.cancel).await;
    if !app.out.is_json() {
        recover::tell(&app.out, &report, false);
    }
    let config: Arc<dyn ConfigLoader> = app.config.clone();
    let use_case = RunAll::new(RunBackup::new(Arc::clone(&app.world)), config);
    let stream = args.json_stream;
    let watch = |name: &str| {
        if !app.out.is_json() {
            app.out.note(format!("{BOLD}{name}{BOLD:#}"));
        }
        observer(app, stream)
    };
    let outcome = use_case.execute(entries, Trigger::Manual, args.wait, &app.cancel, &watch).await;
    tell_all(app, &outcome, stream);
    Ok(app.interrupted_or(outcome.exit_status()))
}

fn tell_all(app: &App, outcome: &AllOutcome, stream: bool) {
    let out = &app.out;
    if out.is_json() {
        let runs: Vec<_> = outcome
            .projects
            .iter()
            .map(|p| match &p.result {
                Ok(run) => json!(run),
                Err(f) => json!({
                    "project": p.project,
                    "status": "failed",
                    "error": {
                        "code": f.code, "message": f.full_message(), "stage": null,
                        "remedy": f.remedy,
                    },
                }),
            })
            .collect();
        let document = json!({"runs": runs});
        if stream {
            out.json_line(&document);
        } else {
            out.json(&document);
        }
        return;
    }
    for p in &outcome.projects {
        match &p.result {
            Ok(run) => summary(out, run),
            Err(f) => {
                out.line(format!("{BAD}backup of {} did not start{BAD:#}", p.project));
                out.error(f.code, &f.full_message(), &f.remedy);
            }
        }
    }
    let good = outcome.projects.iter().filter(|p| p.succeeded()).count();
    let of = outcome.projects.len();
    if out.is_quiet() && good == of && of > 0 {
        return;
    }
    if of == 0 {
        let failure = Failure::new(
            ErrorCode::NothingToBackUp,
            "no project is enabled: nothing was backed up",
        );
        out.error(failure.code, &failure.message, "enable a project with `enabled: true`");
    }
    out.line(format!("{good} of {of} backups succeeded"));
}

async fn dry_run(app: &App, name: &str) -> CommandResult {
    let checks = match app.project(name).await {
        Ok(project) => DryRun::new(&app.world, &project, app.cancel.clone()).execute().await,
        Err(error) if error.failure.code == ErrorCode::InvalidConfig => {
            vec![broken_config(&error)]
        }
        Err(error) => return Err(error),
    };
    let failed = tell_checks(app, name, &checks);
    if app.out.is_json() {
        app.out.json(&checks_json(name, &checks));
    }
    Ok(if failed { status::FAILURE } else { status::SUCCESS })
}

fn broken_config(error: &CommandError) -> Check {
    Check {
        name: "config",
        outcome: CheckOutcome::Fail,
        message: error.failure.full_message(),
        code: Some(error.failure.code),
        remedy: Some(error.failure.remedy.clone()),
    }
}

async fn dry_run_all(app: &App) -> CommandResult {
    let mut failed = false;
    let mut documents = Vec::new();
    for entry in app.entries(None)? {
        if entry.project.as_ref().is_ok_and(|p| !p.enabled) {
            continue;
        }
        let checks = match app.project(&entry.name).await {
            Ok(project) => DryRun::new(&app.world, &project, app.cancel.clone()).execute().await,
            Err(error) => vec![broken_config(&error)],
        };
        failed |= tell_checks(app, &entry.name, &checks);
        documents.push(checks_json(&entry.name, &checks));
    }
    if app.out.is_json() {
        app.out.json(&json!({"projects": documents}));
    }
    Ok(if failed { status::FAILURE } else { status::SUCCESS })
}

/// Lists the checks; true where one failed.
fn tell_checks(app: &App, name: &str, checks: &[Check]) -> bool {
    let failed = checks.iter().any(|c| c.outcome == CheckOutcome::Fail);
    let out = &app.out;
    if out.is_json() {
        return failed;
    }
    out.line(format!("{BOLD}dry run of {name}{BOLD:#} — nothing is dumped, stored or sent"));
    for c in checks {
        let (mark, style) = match c.outcome {
            CheckOutcome::Pass => ("pass", GOOD),
            CheckOutcome::Warn => ("warn", WARN),
            CheckOutcome::Fail => ("fail", BAD),
        };
        let code = c.code.map(|c| format!("[{c}] ")).unwrap_or_default();
        out.line(format!("  {style}{mark}{style:#}  {:<11} {code}{}", c.name, c.message));
        if let Some(remedy) = &c.remedy {
            out.line(format!("                    {BOLD}fix:{BOLD:#} {remedy}"));
        }
    }
    out.line(if failed {
        "a run would fail"
    } else {
        "a run would start with everything it needs"
    });
    failed
}

fn checks_json(name: &str, checks: &[Check]) -> serde_json::Value {
    let list: Vec<_> = checks
        .iter()
        .map(|c| {
            json!({
                "name": c.name, "outcome": c.outcome.as_str(), "message": c.message,
                "code": c.code, "remedy": c.remedy,
            })
        })
        .collect();
    let ok = checks.iter().all(|c| c.outcome != CheckOutcome::Fail);
    json!({"project": name, "ok": ok, "checks": list})
}
