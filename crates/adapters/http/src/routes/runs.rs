//! Records of runs.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::Method;
use axum::routing::get;
use backupctl_application::ports::RunQuery;
use backupctl_application::use_cases::find_run;
use backupctl_domain::{BackupRun, ProjectName, RunStatus};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, Operation, document, unknown};
use crate::error::{Answer, ApiError};
use crate::openapi::{doc, list_of, schema_of};

/// How many records are told where nobody says.
const USUAL: u32 = 50;

/// How many records are told at most: all of them are in memory at once.
const MOST: u32 = 500;

pub(crate) fn operations() -> Vec<Operation> {
    let statuses = [RunStatus::Started, RunStatus::Success, RunStatus::Failed];
    let status = json!({"type": "string", "enum": statuses.map(RunStatus::as_str)});
    let limit = json!({"type": "integer", "minimum": 1, "default": USUAL});
    let id = json!({"type": "string"});
    vec![
        Operation {
            path: "/runs",
            method: Method::GET,
            handler: get(runs),
            doc: doc("runs", "Records of runs, newest first")
                .query("project", "Only this project's.", json!({"type": "string"}))
                .query("status", "Only those that stand so.", status)
                .query("limit", &format!("How many, at most; more than {MOST} are {MOST}."), limit)
                .answers(200, "The records.", list_of("runs", "Run"))
                .fails(&[400, 404, 503])
                .build(),
        },
        Operation {
            path: "/runs/{id}",
            method: Method::GET,
            handler: get(run),
            doc: doc("find_run", "One record")
                .path("id", "The run's id, or 4 or more characters of its beginning.", id)
                .answers(200, "The record.", schema_of("Run"))
                .fails(&[400, 404, 503])
                .build(),
        },
    ]
}

/// What is asked for, as it was written.
#[derive(Debug, Deserialize)]
struct Asked {
    project: Option<String>,
    status: Option<String>,
    limit: Option<String>,
}

async fn runs(
    State(api): State<Api>,
    query: Result<Query<Asked>, QueryRejection>,
) -> Answer<Json<Value>> {
    let Query(asked) = query.map_err(|rejection| {
        ApiError::bad_request(rejection.body_text(), "name each parameter once, in UTF-8")
    })?;
    let project = match asked.project.as_deref().map(ProjectName::new) {
        // What cannot be a project's name is none that is configured.
        Some(Err(_)) => {
            let name = asked.project.unwrap_or_default();
            return Err(unknown(&name, &api.entries().await?).into());
        }
        other => other.and_then(Result::ok),
    };
    let query = RunQuery {
        project,
        status: asked.status.as_deref().map(read_status).transpose()?,
        limit: Some(asked.limit.as_deref().map_or(Ok(USUAL), read_limit)?),
        id_prefix: None,
    };
    let runs = api.world.audit.find_runs(&query).await?;
    if let (true, Some(project)) = (runs.is_empty(), &query.project) {
        known(&api, project).await?;
    }
    Ok(document(json!({"runs": runs})))
}

async fn run(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
) -> Answer<Json<BackupRun>> {
    let Path(id) = path.map_err(|rejection| {
        ApiError::bad_request(rejection.body_text(), "name the run's id or its beginning")
    })?;
    Ok(Json(find_run(&api.world, &id).await?))
}

/// That a project without such records is configured, or has left others behind.
async fn known(api: &Api, project: &ProjectName) -> Answer<()> {
    let entries = api.entries().await?;
    if entries.iter().any(|e| e.name == project.as_str()) {
        return Ok(());
    }
    let any = RunQuery { project: Some(project.clone()), limit: Some(1), ..RunQuery::default() };
    if api.world.audit.find_runs(&any).await?.is_empty() {
        return Err(unknown(project.as_str(), &entries).into());
    }
    Ok(())
}

fn read_status(text: &str) -> Answer<RunStatus> {
    let all = [RunStatus::Started, RunStatus::Success, RunStatus::Failed];
    all.into_iter().find(|status| status.as_str() == text).ok_or_else(|| {
        ApiError::bad_request(
            format!("no run has the status {text:?}"),
            "write `status=started`, `status=success` or `status=failed`",
        )
    })
}

fn read_limit(text: &str) -> Answer<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // A number that is too large to read is a number that is too large.
    let limit = if is_number { text.parse().unwrap_or(MOST) } else { 0 };
    match limit.min(MOST) {
        0 => Err(ApiError::bad_request(
            format!("`limit` is {text:?}, and no number from 1"),
            "write how many records are wanted, e.g. `limit=20`",
        )),
        limit => Ok(limit),
    }
}
