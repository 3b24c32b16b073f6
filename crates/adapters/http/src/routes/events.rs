//! What happens in the daemon, as it happens.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use backupctl_application::ports::DaemonEvent;
use backupctl_domain::notice;
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::api::{Api, Operation};
use crate::error::{Answer, ApiError};
use crate::openapi::{doc, schema_of};

/// How often a stream on which nothing happens says that it is still there: proxies cut off what is
/// silent for a minute, and a client that is gone is noticed by writing alone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The name of an event whose own cannot be written in the line that names it.
const UNNAMED: &str = "event";

pub(crate) fn operations() -> Vec<Operation> {
    vec![Operation {
        path: "/events",
        method: Method::GET,
        handler: get(events),
        doc: doc("events", "What happens in the daemon, as it happens")
            .about(
                "Server-sent events, each with a kind (`event:`) and a JSON object (`data:`). Of runs \
                 those of `run --json-stream`, e.g. `started`, `stage_started`, `progress`, `retry`, \
                 `stage_finished`, `warning`, `finished`; of the daemon, e.g. `queued`, `folded`, \
                 `missed`, `overdue`, `recovered`, `reloaded`. After `lagged`, events were missed: ask \
                 for `/status`. The stream ends with the daemon.",
            )
            .query("project", "Only this project's.", json!({"type": "string"}))
            .answers_as(200, "A stream without an end.", "text/event-stream", schema_of("Event"))
            .fails(&[400, 404, 429, 503])
            .build(),
    }]
}

/// Whose events are wanted.
#[derive(Debug, Deserialize)]
struct Asked {
    project: Option<String>,
}

async fn events(
    State(api): State<Api>,
    query: Result<Query<Asked>, QueryRejection>,
) -> Answer<Response> {
    let Query(Asked { project }) = query.map_err(|rejection| {
        ApiError::bad_request(rejection.body_text(), "name the parameter `project` once, in UTF-8")
    })?;
    let place = api.streams.clone().try_acquire_owned().map_err(|_| {
        ApiError::usage(
            StatusCode::TOO_MANY_REQUESTS,
            "as many event streams are open as there may be",
            "close one of them, or share one",
        )
    })?;
    // From here on nothing is missed, not even while the configuration is being read.
    let receiver = api.control.events();
    if let Some(name) = &project {
        api.configured(name).await?;
    }
    let feed = Feed { receiver, project, api, greeted: false, _place: place };
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("still there");
    Ok(Sse::new(feed.into_stream()).keep_alive(keep_alive).into_response())
}

/// One client's stream.
struct Feed {
    receiver: Receiver<DaemonEvent>,
    project: Option<String>,
    api: Api,
    greeted: bool,
    _place: OwnedSemaphorePermit,
}

impl Feed {
    fn into_stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, async |mut feed| {
            let event = feed.next().await?;
            Some((Ok(event), feed))
        })
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        if !self.greeted {
            self.greeted = true;
            return Some(Event::default().comment("what happens from now on"));
        }
        loop {
            let received = tokio::select! {
                biased;
                _ = self.api.cancel.cancelled() => return None,
                received = self.receiver.recv() => received,
            };
            match received {
                Ok(event) if self.is_wanted(&event) => return Some(told(event)),
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => {
                    let event = json!({"event": "lagged", "missed": missed});
                    let at = self.api.world.clock.now();
                    return Some(told(DaemonEvent { at, project: None, event }));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn is_wanted(&self, event: &DaemonEvent) -> bool {
        self.project.is_none() || self.project == event.project
    }
}

/// An event as it is written: what it is about, when, and all that it says itself.
fn told(event: DaemonEvent) -> Event {
    let DaemonEvent { at, project, event } = event;
    let kind = event.get("event").and_then(Value::as_str).unwrap_or_default();
    let is_word = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let kind = if is_word { kind } else { UNNAMED }.to_owned();
    let mut data = Map::new();
    data.insert("event".to_owned(), json!(kind));
    data.insert("at".to_owned(), json!(notice::stamp(at)));
    data.insert("project".to_owned(), json!(project));
    if let Value::Object(own) = event {
        for (key, value) in own {
            data.entry(key).or_insert(value);
        }
    }
    Event::default().event(kind).data(Value::Object(data).to_string())
}
