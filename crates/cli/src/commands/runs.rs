//! `backupctl runs`: a recorded run made again, its record deleted, or a hanging one ended.

use std::sync::Arc;
use std::time::Duration;

use backupctl_adapters::application::ports::{ConfigLoader, Ended};
use backupctl_adapters::application::use_cases::{AbortRun, check_retry, delete_run, find_run};
use backupctl_adapters::domain::{ErrorCode, RunStatus, Trigger};
use serde_json::json;

use super::{recover, run};
use crate::args::{Global, RunsCommand};
use crate::exit::{CommandError, CommandResult, status};
use crate::render::{GOOD, Out};
use crate::wire::App;

/// Runs the command.
pub(crate) async fn run(global: &Global, out: Out, command: RunsCommand) -> CommandResult {
    match command {
        RunsCommand::Retry { run, wait, json_stream } => {
            let out = if json_stream { Out::new(true, global.quiet, global.no_color) } else { out };
            let app = App::start(global, out).await?;
            retry(&app, &run, wait, json_stream).await
        }
        RunsCommand::Delete { run } => delete(&App::start(global, out).await?, &run).await,
        RunsCommand::Abort { run, patience } => {
            let app = App::start(global, out).await?;
            abort(&app, &run, Duration::from_secs(patience)).await
        }
    }
}

async fn retry(app: &App, id: &str, wait: bool, stream: bool) -> CommandResult {
    let world = &app.world;
    let mut failed = find_run(world, id).await?;
    let project = failed.project.clone();
    let entries = app.entries(Some(project.as_str()))?;
    app.ensure_base_dir().await;
    if failed.status == RunStatus::Started {
        // One whose process died is a failed run as soon as somebody has looked.
        let report = app.recover().execute(&entries, &app.cancel).await;
        if !app.out.is_json() {
            recover::tell(&app.out, &report, false);
        }
        failed = find_run(world, &failed.run_id.to_string()).await?;
    }
    check_retry(&failed)?;
    if failed.host != world.identity.host {
        app.out.warn(format!(
            "run {} was made on {}; this one is made on {}",
            failed.run_id.short(),
            failed.host,
            world.identity.host
        ));
    }
    let asked = run::Asked { trigger: Trigger::Retry, due_at: failed.due_at, wait };
    Box::pin(run::one(app, project.as_str(), asked, stream)).await
}

async fn delete(app: &App, id: &str) -> CommandResult {
    let deleted = delete_run(&app.world, id).await?;
    let run = &deleted.run;
    let out = &app.out;
    if out.is_json() {
        out.json(&json!({
            "deleted": run.run_id, "project": run.project, "notes": deleted.notes,
        }));
        return Ok(status::SUCCESS);
    }
    out.line(format!(
        "{GOOD}deleted{GOOD:#} the record of run {} of {}",
        run.run_id.short(),
        run.project
    ));
    for note in &deleted.notes {
        out.note(format!("  note: {note}"));
    }
    Ok(status::SUCCESS)
}

async fn abort(app: &App, id: &str, patience: Duration) -> CommandResult {
    let out = &app.out;
    let config: Arc<dyn ConfigLoader> = app.config.clone();
    let use_case = AbortRun::new(Arc::clone(&app.world), config, app.recover());
    let aborted = use_case.execute(id, &app.entries(None)?, patience, &app.cancel).await;
    let aborted = aborted.map_err(|failure| {
        let interrupted = failure.code == ErrorCode::Interrupted;
        let error = CommandError::from(failure);
        if interrupted { error.with_exit(app.interrupted_or(130)) } else { error }
    })?;
    let (run, ended) = (&aborted.run, aborted.ended);
    if out.is_json() {
        let ended = match ended {
            Ended::Gone => "gone",
            Ended::Asked => "asked",
            Ended::Killed => "killed",
        };
        out.json(&json!({
            "run": run, "ended": ended, "recovered": recover::to_json(&aborted.recovered),
        }));
        return Ok(status::SUCCESS);
    }
    let how = match ended {
        Ended::Gone => "its process was gone already",
        Ended::Asked => "its process ended when it was asked to",
        Ended::Killed => "its process did not end when it was asked to, and was killed",
    };
    let id = run.run_id.short();
    if run.status == RunStatus::Success {
        // It had just come to its end.
        out.line(format!("run {id} of {} has succeeded meanwhile", run.project));
    } else {
        out.line(format!("{GOOD}aborted{GOOD:#} run {id} of {}: {how}", run.project));
    }
    recover::tell(out, &aborted.recovered, false);
    out.note(format!("  start it again: backupctl runs retry {id}"));
    Ok(status::SUCCESS)
}
