//! Projects: how they stand, when they run, and a run, a pause, an end of a pause on demand.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::routing::{get, post};
use backupctl_application::ports::{Asked, ProjectEntry};
use backupctl_application::use_cases::schedule::{self, Scheduled};
use backupctl_application::use_cases::{ProjectStatus, Status};
use backupctl_domain::schedule::memory::ScheduleMemory;
use backupctl_domain::{ErrorCode, ProjectName, notice};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::{Api, Operation, document};
use crate::error::{Answer, ApiError};
use crate::openapi::{doc, list_of, schema_of};

/// How large a request's body may be: the one that is understood has one short key.
const BODY_LIMIT: usize = 16 * 1024;

/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(10);

/// The keys of a body.
const BODY_FORM: &str = "send nothing, or JSON such as {\"until\": \"12h\"}";

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation {
            path: "/status",
            method: Method::GET,
            handler: get(status),
            doc: doc("status", "How every project stands")
                .about("The document of `backupctl status --json`.")
                .answers(200, "Every project of the configuration.", list_of("projects", "ProjectStatus"))
                .fails(&[503])
                .build(),
        },
        Operation {
            path: "/projects",
            method: Method::GET,
            handler: get(projects),
            doc: doc("projects", "The projects and their schedules")
                .about("Also while the audit does not answer; then no last runs are known.")
                .answers(200, "Every project of the configuration.", list_of("projects", "Project"))
                .fails(&[503])
                .build(),
        },
        Operation {
            path: "/projects/{project}/run",
            method: Method::POST,
            handler: post(run),
            doc: doc("run", "Makes a backup now")
                .about("The run's trigger is `manual`.")
                .project()
                .answers(202, "It has begun, or waits for its turn.", schema_of("Asked"))
                .fails(&[400, 404, 409, 503])
                .build(),
        },
        Operation {
            path: "/projects/{project}/pause",
            method: Method::POST,
            handler: post(pause).layer(DefaultBodyLimit::max(BODY_LIMIT)),
            doc: doc("pause", "Pauses the project's schedule")
                .about(
                    "A run that goes on is not ended. A schedule that is paused already gets another \
                     end. What lies in the pause was not promised: it is neither missed nor made up for.",
                )
                .project()
                .body(schema_of("PauseRequest"))
                .answers(200, "It is paused.", schema_of("Pause"))
                .fails(&[400, 404, 408, 413, 415, 503])
                .build(),
        },
        Operation {
            path: "/projects/{project}/resume",
            method: Method::POST,
            handler: post(resume),
            doc: doc("resume", "Ends the pause of the project's schedule")
                .about("One that is not paused stays as it is.")
                .project()
                .answers(200, "It is not paused.", schema_of("Pause"))
                .fails(&[400, 404, 503])
                .build(),
        },
    ]
}

async fn status(State(api): State<Api>) -> Answer<Json<Value>> {
    let all = Status::new(&api.world).execute(api.entries().await?).await?;
    let list: Vec<_> = all.iter().map(ProjectStatus::to_json).collect();
    Ok(document(json!({"projects": list})))
}

async fn projects(State(api): State<Api>) -> Answer<Json<Value>> {
    let entries = api.entries().await?;
    let problems: Vec<Value> = entries.iter().map(problems).collect();
    let all = schedule::list(&api.world, entries).await?.projects;
    let now = api.world.clock.now();
    let list: Vec<_> = all.iter().zip(problems).map(|(p, e)| project(p, e, now)).collect();
    Ok(document(json!({"projects": list})))
}

fn project(p: &Scheduled, errors: Value, now: Timestamp) -> Value {
    let mut document = p.to_json(now);
    document["paused"] = json!(p.pause.is_some());
    document["errors"] = errors;
    document
}

/// What is wrong with a project's configuration.
fn problems(entry: &ProjectEntry) -> Value {
    let issues = entry.project.as_ref().err().into_iter().flatten();
    issues.map(|issue| json!({"key": issue.key, "message": issue.message})).collect()
}

/// What stands where a project's name is to stand.
type Named = Result<Path<String>, PathRejection>;

fn named(path: Named) -> Answer<String> {
    let Path(name) = path.map_err(|rejection| {
        ApiError::bad_request(rejection.body_text(), "write the name as it is configured, in UTF-8")
    })?;
    Ok(name)
}

async fn run(State(api): State<Api>, path: Named) -> Answer<(StatusCode, Json<Value>)> {
    let name = named(path)?;
    let asked = api.control.run_now(&name).await.map_err(|failure| match failure.code {
        // The project is there and cannot be backed up as it is; nothing else is out of order.
        ErrorCode::InvalidConfig => ApiError::new(StatusCode::CONFLICT, failure),
        _ => failure.into(),
    })?;
    tracing::info!(project = name, ?asked, "a run was asked for over HTTP");
    let run_id = match asked {
        Asked::Started { run_id } => Some(run_id),
        Asked::Queued | Asked::Folded => None,
    };
    let body = json!({
        "project": name,
        "run_id": run_id,
        "queued": asked == Asked::Queued,
        "folded": asked == Asked::Folded,
    });
    Ok((StatusCode::ACCEPTED, document(body)))
}

async fn pause(State(api): State<Api>, path: Named, request: Request) -> Answer<Json<Value>> {
    let project = api.configured(&named(path)?).await?;
    let until = match read_body(request).await? {
        Some(text) => Some(read_until(&api, &text)?),
        None => None,
    };
    let memory = schedule::pause(&api.world, &project, until).await.map_err(refused)?;
    Ok(paused(&api, &project, &memory))
}

async fn resume(State(api): State<Api>, path: Named) -> Answer<Json<Value>> {
    let project = api.configured(&named(path)?).await?;
    let memory = schedule::resume(&api.world, &project).await?;
    Ok(paused(&api, &project, &memory))
}

fn paused(api: &Api, project: &ProjectName, memory: &ScheduleMemory) -> Json<Value> {
    let pause = memory.pause_at(api.world.clock.now());
    document(json!({
        "project": project,
        "paused": pause.is_some(),
        "paused_since": pause.map(|p| notice::stamp(p.since)),
        "paused_until": pause.and_then(|p| p.until).map(notice::stamp),
    }))
}

fn read_until(api: &Api, text: &str) -> Answer<Timestamp> {
    let now = api.world.clock.now();
    schedule::read_until(text, &api.world.settings.timezone, now).map_err(refused)
}

/// An end of a pause that is none is the request's fault.
fn refused(failure: backupctl_domain::Failure) -> ApiError {
    match failure.code {
        ErrorCode::InvalidConfig => ApiError::new(StatusCode::BAD_REQUEST, failure),
        _ => failure.into(),
    }
}

/// The key `until` of the request's body, which may be missing, and so may the body.
async fn read_body(request: Request) -> Answer<Option<String>> {
    let is_json = says_json(request.headers());
    let body = tokio::time::timeout(BODY_TIME, Bytes::from_request(request, &())).await;
    let body = body
        .map_err(|_| {
            let message = format!("the body did not come within {} s", BODY_TIME.as_secs());
            ApiError::usage(StatusCode::REQUEST_TIMEOUT, message, BODY_FORM)
        })?
        .map_err(|rejection| {
            ApiError::usage(rejection.status(), rejection.body_text(), BODY_FORM)
        })?;
    if body.is_empty() {
        return Ok(None);
    }
    if !is_json {
        return Err(ApiError::usage(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body is not said to be JSON",
            "send it with the header `Content-Type: application/json`, or send none",
        ));
    }
    let wrong = |what: String| ApiError::bad_request(what, BODY_FORM);
    let value: Value =
        serde_json::from_slice(&body).map_err(|e| wrong(format!("the body is no JSON: {e}")))?;
    let Value::Object(mut keys) = value else {
        return Err(wrong("the body is JSON, and no object".to_owned()));
    };
    let until = keys.remove("until");
    if let Some((key, _)) = keys.iter().next() {
        return Err(wrong(format!("the body has a key {key:?}, which means nothing here")));
    }
    match until {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong("`until` is no text".to_owned())),
    }
}

fn says_json(headers: &HeaderMap) -> bool {
    let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = said.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}
