//! `backupctl run`: a backup, all backups, or the checks before one.

use std::sync::Arc;

use backupctl_adapters::application::context::Observer;
use backupctl_adapters::application::ports::ConfigLoader;
use backupctl_adapters::application::use_cases::{
    AllOutcome, Check, CheckOutcome, DryRun, RunAll, RunBackup, RunOutcome, RunRequest, run_all,
    scheduled_run,
};
use backupctl_adapters::domain::schedule::memory::Pause;
use backupctl_adapters::domain::{
    BackupRun, ByteSize, ErrorCode, Failure, Project, ProjectName, RunStatus, StageOutcome,
    StageRecord, Trigger, human, notice,
};
use scheduled_run::Start;
use serde_json::json;

use super::recover;
use crate::args::{Global, RunArgs, TriggerArg};
use crate::exit::{CommandError, CommandResult, status};
use crate::logging::Stderr;
use crate::render::progress::{Bars, Events, Lines, Silent};
use crate::render::{BAD, BOLD, DIM, GOOD, Out, WARN, record};
use crate::wire::{App, Unable};

/// Runs the command.
pub(crate) async fn run(global: &Global, out: Out, args: RunArgs) -> CommandResult {
    let out = if args.json_stream { Out::new(true, global.quiet, global.no_color) } else { out };
    let app = match args.project.as_deref().filter(|_| args.scheduled && !args.dry_run) {
        None => App::start(global, out).await?,
        Some(name) => match App::start_unattended(global, out, Stderr::Direct).await {
            Ok(app) => app,
            Err(Unable { error, last: None }) => return Err(error),
            Err(Unable { error, last: Some(last) }) => {
                last.ensure_base_dir().await;
                return refused(&last, name, &args, error).await;
            }
        },
    };
    if !args.dry_run {
        app.ensure_base_dir().await;
    }
    match (&args.project, args.all, args.dry_run) {
        (_, true, true) => dry_run_all(&app).await,
        (_, true, false) => Box::pin(all(&app, &args)).await,
        (Some(name), false, true) => dry_run(&app, name).await,
        (Some(name), false, false) if args.scheduled => scheduled(&app, name, &args).await,
        (Some(name), false, false) => {
            let asked = Asked { trigger: Trigger::Manual, due_at: None, wait: args.wait };
            one(&app, name, asked, args.json_stream).await
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

/// What kind of run is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// What makes it start.
    pub trigger: Trigger,
    /// The slot of the schedule that it is for.
    pub due_at: Option<jiff::Timestamp>,
    /// Whether it waits for a run that is going on.
    pub wait: bool,
}

/// A run as the daemon, a timer or cron starts it.
async fn scheduled(app: &App, name: &str, args: &RunArgs) -> CommandResult {
    let project = match app.unresolved_project(name) {
        Ok(project) => project,
        Err(error) => return refused(app, name, args, error).await,
    };
    let start = match args.trigger {
        // Turned off since the daemon read the configuration.
        Some(TriggerArg::Scheduled | TriggerArg::CatchUp) if !project.enabled => Start::Disabled,
        Some(trigger) => Start::Run { trigger: trigger.into(), due_at: args.due_at },
        None => scheduled_run::begin(&app.world, &project).await,
    };
    match start {
        Start::Run { trigger, due_at } => {
            one(app, name, Asked { trigger, due_at, wait: true }, args.json_stream).await
        }
        Start::Paused(pause) => Ok(paused(app, name, pause)),
        Start::Disabled => {
            let why = "disabled in the configuration (`enabled: false`)";
            Ok(not_made(app, name, "disabled", why))
        }
    }
}

/// A scheduled run of what the configuration does not have, or has wrong, is a failed run: recorded,
/// and told over the channels that the project had last, else the global ones. Nobody reads what a
/// timer prints.
async fn refused(app: &App, name: &str, args: &RunArgs, error: CommandError) -> CommandResult {
    let Ok(project) = ProjectName::new(name) else { return Err(error) };
    let known = app.last_known(name).await;
    let asked = args.trigger.map(|trigger| (trigger.into(), args.due_at));
    let (trigger, due_at) = match (asked, &known) {
        (Some(asked), _) => asked,
        (None, None) => (Trigger::Scheduled, None),
        (None, Some(known)) => match scheduled_run::begin(&app.world, known).await {
            Start::Run { trigger, due_at } => (trigger, due_at),
            // No backup was to be made, and none has failed.
            Start::Paused(_) | Start::Disabled => return Err(error),
        },
    };
    let project =
        known.unwrap_or_else(|| Project::unreadable(project, app.global.notifications.clone()));
    let watcher = observer(app, args.json_stream);
    let use_case = RunBackup::new(Arc::clone(&app.world));
    let config = app.config.as_ref();
    let run = use_case.refuse(config, project, trigger, due_at, &error.failure, watcher).await;
    Ok(finished(app, &run, args.json_stream))
}

/// Tells that no run was made because of a pause.
fn paused(app: &App, name: &str, pause: Pause) -> u8 {
    let end = match pause.until {
        Some(until) => notice::local_time(until, &app.global.timezone),
        None => format!("somebody runs `backupctl schedule resume {name}`"),
    };
    let since = notice::local_time(pause.since, &app.global.timezone);
    not_made(app, name, "paused", &format!("paused since {since} until {end}"))
}

/// Tells that no run was made, and that none was to be.
fn not_made(app: &App, name: &str, word: &str, why: &str) -> u8 {
    if app.out.is_json() {
        app.out.json_line(&json!({"event": "not_made", "project": name, "reason": word}));
    } else {
        app.out.warn(format!("no backup of {name} is made: it is {why}"));
    }
    status::SUCCESS
}

impl From<TriggerArg> for Trigger {
    fn from(trigger: TriggerArg) -> Self {
        match trigger {
            TriggerArg::Manual => Self::Manual,
            TriggerArg::Scheduled => Self::Scheduled,
            TriggerArg::CatchUp => Self::CatchUp,
            TriggerArg::Retry => Self::Retry,
        }
    }
}

/// Makes one run of the project and tells how it ended.
pub(crate) async fn one(app: &App, name: &str, asked: Asked, stream: bool) -> CommandResult {
    let Asked { trigger, due_at, wait } = asked;
    let unresolved = app.unresolved_project(name)?;
    let use_case = RunBackup::new(Arc::clone(&app.world));
    let project = match app.config.resolve_secrets(unresolved.clone()).await {
        Ok(project) => project,
        Err(failure) => {
            let config = app.config.as_ref();
            let watcher = observer(app, stream);
            let run = use_case.refuse(config, unresolved, trigger, due_at, &failure, watcher).await;
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
        due_at,
        wait,
        cancel: app.cancel.clone(),
        observer: observer(app, stream),
    };
    let run = match use_case.execute(request).await {
        Ok(RunOutcome::Finished(run)) => run,
        // The run that waits makes the backup that this one was to make.
        Ok(RunOutcome::Folded(_)) if due_at.is_some() => {
            return Ok(not_made(
                app,
                name,
                "folded",
                "going to be backed up by the run that waits",
            ));
        }
        Ok(RunOutcome::Busy(holder) | RunOutcome::Folded(holder)) => {
            return Err(run_all::in_progress(&app.world, name, holder).await.into());
        }
        Ok(RunOutcome::Handled) => {
            return Ok(not_made(app, name, "handled", "backed up for this slot already"));
        }
        Ok(RunOutcome::Paused(pause)) => return Ok(paused(app, name, pause)),
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
        let what = match &s.archive {
            Some(archive) => format!("{} ({})", archive.file, ByteSize(archive.bytes)),
            None => format!(
                "{DIM}({} new data, {} files unmodified){DIM:#}",
                ByteSize(s.bytes_added),
                s.files_unmodified
            ),
        };
        let at = match &s.destination {
            Some(name) if run.destinations.len() > 1 => format!("  {name}"),
            _ => String::new(),
        };
        out.line(format!("  snapshot  {}{at}  {what}", s.id.short()));
    }
    if let Some(bytes) = run.repository_bytes {
        out.line(format!("  {:<9} {}", record::stored_in(run), ByteSize(bytes)));
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
