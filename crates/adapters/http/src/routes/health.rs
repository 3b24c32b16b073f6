//! Whether the daemon lives, and whether it can do its work.

use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::routing::get;
use backupctl_application::ports::Readiness;
use backupctl_domain::notice;
use serde_json::{Value, json};

use crate::api::{Api, Operation, document};
use crate::auth::LIVE;
use crate::openapi::{doc, schema_of};

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation {
            path: LIVE,
            method: Method::GET,
            handler: get(live),
            doc: doc("live", "Whether the process lives")
                .about("Asks for no token, and says nothing but this.")
                .open()
                .answers(200, "It lives.", schema_of("Live"))
                .build(),
        },
        Operation {
            path: "/health/ready",
            method: Method::GET,
            handler: get(ready),
            doc: doc("ready", "Whether the daemon can do its work")
                .about("Problems may be told although it is ready.")
                .answers(200, "The schedule is being kept.", schema_of("Ready"))
                .answers(503, "It is not, for the reasons in `problems`.", schema_of("Ready"))
                .build(),
        },
    ]
}

async fn live() -> Json<Value> {
    document(json!({"status": "live"}))
}

async fn ready(State(api): State<Api>) -> (StatusCode, Json<Value>) {
    let Readiness { is_ready, problems, since, running, queued } = api.control.readiness();
    let (status, word) = if is_ready {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
    };
    let body = json!({
        "status": word,
        "problems": problems,
        "since": since.map(notice::stamp),
        "running": running,
        "queued": queued,
    });
    (status, document(body))
}
