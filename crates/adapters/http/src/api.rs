//! The interface put together: one table of operations, from which both the routes and their document
//! are made, so that neither can have what the other lacks.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::MethodRouter;
use axum::{Json, Router};
use backupctl_application::World;
use backupctl_application::context::Cancel;
use backupctl_application::ports::{ConfigLoader, DaemonControl, ProjectEntry};
use backupctl_domain::{ErrorCode, Failure, ProjectName};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::auth::{self, Token};
use crate::error::ApiError;
use crate::routes;

/// How many event streams are open at once. Each holds one connection, of which there are more, so
/// that whoever collects streams keeps nobody from asking how things are.
const MAX_STREAMS: usize = 16;

/// How many names a message lists.
const MAX_NAMES: usize = 20;

/// What the handlers work with.
pub(crate) struct Parts {
    /// The daemon.
    pub(crate) control: Arc<dyn DaemonControl>,
    /// The ports.
    pub(crate) world: Arc<World>,
    /// The configuration, read afresh for each request.
    pub(crate) config: Arc<dyn ConfigLoader>,
    /// Ends the event streams.
    pub(crate) cancel: Cancel,
    /// Limits the event streams.
    pub(crate) streams: Arc<Semaphore>,
    /// The document of this interface.
    pub(crate) document: Value,
}

/// [`Parts`] as every handler is given it.
pub(crate) type Api = Arc<Parts>;

impl Parts {
    /// Everything, before the first request.
    pub(crate) fn new(
        control: Arc<dyn DaemonControl>,
        world: Arc<World>,
        config: Arc<dyn ConfigLoader>,
        cancel: Cancel,
    ) -> Self {
        let document = crate::openapi();
        let streams = Arc::new(Semaphore::new(MAX_STREAMS));
        Self { control, world, config, cancel, streams, document }
    }

    /// The projects of the configuration.
    pub(crate) async fn entries(&self) -> Result<Vec<ProjectEntry>, Failure> {
        Ok(self.config.load().await?.projects)
    }

    /// The name of a project of the configuration, also of one that has errors there.
    pub(crate) async fn configured(&self, name: &str) -> Result<ProjectName, Failure> {
        let entries = self.entries().await?;
        match ProjectName::new(name) {
            Ok(project) if entries.iter().any(|e| e.name == name) => Ok(project),
            _ => Err(unknown(name, &entries)),
        }
    }
}

/// That nothing has this name, and what has one.
pub(crate) fn unknown(name: &str, entries: &[ProjectEntry]) -> Failure {
    let failure =
        Failure::new(ErrorCode::UnknownProject, format!("no project {name:?} is configured"));
    let mut names: Vec<&str> = entries.iter().map(|e| e.name.as_str()).collect();
    let more = names.len().saturating_sub(MAX_NAMES);
    names.truncate(MAX_NAMES);
    match (names.join(", "), more) {
        (names, _) if names.is_empty() => failure,
        (names, 0) => failure.with_remedy(format!("name one of the configured projects: {names}")),
        (names, more) => failure
            .with_remedy(format!("name one of the configured projects: {names} and {more} more")),
    }
}

/// One thing that can be asked.
pub(crate) struct Operation {
    /// The address, with `{…}` for what varies.
    pub(crate) path: &'static str,
    /// The method.
    pub(crate) method: Method,
    /// Who answers.
    pub(crate) handler: MethodRouter<Api>,
    /// Its part of the document.
    pub(crate) doc: Value,
}

/// Everything that can be asked, in the order of the document.
pub(crate) fn operations() -> Vec<Operation> {
    [
        routes::health::operations(),
        routes::projects::operations(),
        routes::runs::operations(),
        routes::events::operations(),
        routes::about::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The service.
pub(crate) fn router(parts: Parts, token: Token) -> Router {
    let mut router = Router::new();
    for operation in operations() {
        router = router.route(operation.path, operation.handler);
    }
    router
        .fallback(no_such_address)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(Arc::new(token), auth::check))
        .layer(from_fn(headers))
        .with_state(Arc::new(parts))
}

/// What holds for every answer: it is of this moment, and of the type that it says. There is no header
/// that would let a page of another origin read it.
async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn no_such_address(request: Request) -> ApiError {
    ApiError::usage(
        StatusCode::NOT_FOUND,
        format!("nothing is at {}", request.uri().path()),
        "see the addresses in `/openapi.json`",
    )
}

async fn no_such_method(request: Request) -> ApiError {
    ApiError::usage(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{} does not take {}", request.uri().path(), request.method()),
        "use a method of the header `Allow`; `/openapi.json` tells what each does",
    )
}

/// A JSON object as an answer.
pub(crate) fn document(value: Value) -> Json<Value> {
    Json(value)
}
