//! What machines ask first: the document of the interface, and the metrics.

use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use backupctl_application::use_cases::metrics;
use serde_json::{Value, json};

use crate::api::{Api, Operation, document};
use crate::openapi::doc;

/// What Prometheus calls its text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation {
            path: "/metrics",
            method: Method::GET,
            handler: get(metrics),
            doc: doc("metrics", "How everything stands, for Prometheus")
                .about("Also while the audit or the configuration is out of order: that is told.")
                .answers_as(
                    200,
                    "Metrics in the text format.",
                    "text/plain",
                    json!({"type": "string"}),
                )
                .build(),
        },
        Operation {
            path: "/openapi.json",
            method: Method::GET,
            handler: get(openapi),
            doc: doc("openapi", "This document")
                .answers(200, "OpenAPI 3.1.", json!({"type": "object"}))
                .build(),
        },
    ]
}

async fn metrics(State(api): State<Api>) -> impl IntoResponse {
    let metrics = match api.entries().await {
        Ok(entries) => metrics::gather(&api.world, entries).await,
        Err(failure) => {
            tracing::warn!(code = %failure.code, "metrics without the configuration: {failure}");
            let without = metrics::gather(&api.world, Vec::new()).await;
            metrics::Metrics { config_up: false, ..without }
        }
    };
    ([(CONTENT_TYPE, TEXT_FORMAT)], crate::render(&metrics))
}

async fn openapi(State(api): State<Api>) -> Json<Value> {
    document(api.document.clone())
}
