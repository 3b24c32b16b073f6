//! `backupctl logs`: run records, or one run with its stages.

use backupctl_adapters::application::ports::RunQuery;
use backupctl_adapters::application::use_cases::find_run;
use backupctl_adapters::domain::{ErrorCode, Failure, ProjectName, RunStatus};
use serde_json::json;

use crate::args::Global;
use crate::exit::{CommandResult, status};
use crate::render::{Out, record};
use crate::wire::App;

/// Which records.
pub(crate) struct Query {
    /// The project.
    pub project: Option<String>,
    /// At most so many.
    pub last: u32,
    /// Only failed ones.
    pub failed: bool,
    /// One run by its id or its beginning.
    pub run: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, out: Out, query: Query) -> CommandResult {
    let app = App::start(global, out).await?;
    let out = &app.out;
    let tz = &app.global.timezone;
    if let Some(id) = &query.run {
        let run = find_run(&app.world, id).await?;
        if out.is_json() {
            out.json(&run);
        } else {
            record::run(out, &run, tz);
        }
        return Ok(status::SUCCESS);
    }
    let name = query.project.unwrap_or_default();
    let project = known_project(&app, &name).await?;
    let runs = app
        .world
        .audit
        .find_runs(&RunQuery {
            project: Some(project),
            status: query.failed.then_some(RunStatus::Failed),
            limit: Some(query.last),
            ..RunQuery::default()
        })
        .await?;
    if out.is_json() {
        out.json(&json!({"runs": runs}));
    } else if runs.is_empty() {
        out.line(format!("no {}runs of {name} yet", if query.failed { "failed " } else { "" }));
    } else {
        record::runs(out, &runs, tz);
    }
    Ok(status::SUCCESS)
}

/// A project of the configuration, or one that has left it and still has records.
pub(crate) async fn known_project(
    app: &App,
    name: &str,
) -> Result<ProjectName, crate::exit::CommandError> {
    let unknown = app.entries(Some(name)).err();
    match (ProjectName::new(name), unknown) {
        (Ok(project), None) => Ok(project),
        (Ok(project), Some(error)) => {
            let query =
                RunQuery { project: Some(project.clone()), limit: Some(1), ..RunQuery::default() };
            match app.world.audit.find_runs(&query).await {
                Ok(runs) if !runs.is_empty() => Ok(project),
                _ => Err(error),
            }
        }
        (Err(_), Some(error)) => Err(error),
        (Err(message), None) => Err(Failure::new(ErrorCode::InvalidConfig, message).into()),
    }
}
