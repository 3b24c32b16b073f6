//! The stream of events.

use backupctl_application::context::Interrupt;
use backupctl_application::ports::DaemonEvent;
use backupctl_testkit::builders::at;
use serde_json::{Value, json};

use crate::client::{Request, Stream};
use crate::schema::assert_conforms;
use crate::{SOON, Server, TOKEN};

impl Server {
    /// A stream that listens.
    async fn events(&self, query: &str) -> Stream {
        let target = format!("/events{query}");
        let mut stream = Request::new("GET", &target).token(TOKEN).open(self.address).await;
        assert_eq!(stream.answer.status, 200);
        assert_eq!(stream.answer.header("content-type"), Some("text/event-stream"));
        assert!(stream.event().await.unwrap().starts_with(':'), "a comment comes first");
        stream
    }

    fn happens(&self, project: Option<&str>, event: Value) {
        let at = at("2026-03-18T02:00:00Z");
        self.daemon.tell(DaemonEvent { at, project: project.map(str::to_owned), event });
    }
}

/// Kind and data of an event.
fn read(event: &str) -> (String, Value) {
    let line = |field: &str| {
        let found = event.lines().find_map(|line| line.strip_prefix(&format!("{field}: ")));
        found.unwrap_or_else(|| panic!("no {field} in {event:?}")).to_owned()
    };
    (line("event"), serde_json::from_str(&line("data")).unwrap())
}

#[tokio::test]
async fn each_thing_that_happens_is_one_event() {
    let server = Server::start().await;
    let mut stream = server.events("").await;
    server.happens(Some("shop"), json!({"event": "stage_started", "stage": "Dump", "attempt": 1}));
    server.happens(None, json!({"event": "reloaded"}));
    server.happens(Some("wiki"), json!({"event": "warning", "message": "a\nb\r\n\ndata: c"}));
    server.happens(Some("wiki"), json!({"event": "od\nd: kind", "at": "never", "project": "x"}));

    let document = backupctl_adapter_http::openapi();
    let mut all = Vec::new();
    for _ in 0..4 {
        let (kind, data) = read(&stream.event().await.unwrap());
        // Its own keys come on top of those that every event has.
        let mut common = data.clone();
        common.as_object_mut().unwrap().retain(|k, _| ["event", "at", "project"].contains(&&**k));
        assert_conforms(&document, &document["components"]["schemas"]["EventData"], &common);
        assert_eq!(data["event"], json!(kind));
        all.push(data);
    }
    let at = "2026-03-18T02:00:00.000Z";
    assert_eq!(
        all,
        [
            json!({"event": "stage_started", "at": at, "project": "shop", "stage": "Dump", "attempt": 1}),
            json!({"event": "reloaded", "at": at, "project": null}),
            json!({"event": "warning", "at": at, "project": "wiki", "message": "a\nb\r\n\ndata: c"}),
            json!({"event": "event", "at": at, "project": "wiki"}),
        ]
    );
    server.end().await;
}

#[tokio::test]
async fn one_project_can_be_listened_to_alone() {
    let server = Server::start().await;
    let mut stream = server.events("?project=shop").await;
    server.happens(Some("wiki"), json!({"event": "queued"}));
    server.happens(None, json!({"event": "reloaded"}));
    server.happens(Some("shop"), json!({"event": "folded"}));
    assert_eq!(read(&stream.event().await.unwrap()).0, "folded");
    let (status, code, _) = server.get("/events?project=shpo").await.error();
    assert_eq!((status, code.as_str()), (404, "UNKNOWN_PROJECT"));
    assert_eq!(server.get("/events?project=a&project=b").await.error().0, 400);
    server.end().await;
}

#[tokio::test]
async fn who_is_too_slow_is_told_so() {
    let server = Server::start().await;
    let mut stream = server.events("").await;
    // All at once, so that the server cannot take one before the last is there: nothing is awaited.
    for n in 0..20 {
        server.happens(Some("shop"), json!({"event": "progress", "bytes": n}));
    }
    let (kind, data) = read(&stream.event().await.unwrap());
    assert_eq!((kind.as_str(), &data["missed"]), ("lagged", &json!(4)));
    let (_, data) = read(&stream.event().await.unwrap());
    assert_eq!(data["bytes"], json!(4));
    server.end().await;
}

#[tokio::test]
async fn streams_do_not_hold_up_the_end() {
    let server = Server::start().await;
    let mut streams = [server.events("").await, server.events("?project=wiki").await];
    server.cancel.cancel(Interrupt::Term);
    for stream in &mut streams {
        assert_eq!(stream.event().await, None);
    }
    // Nobody had to be cut off: it ends before requests would be.
    let limit = std::time::Duration::from_secs(2).min(SOON);
    tokio::time::timeout(limit, server.served).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_ends_with_the_daemon() {
    let server = Server::start().await;
    let mut stream = server.events("").await;
    server.daemon.fall_silent();
    assert_eq!(stream.event().await, None);
    server.end().await;
}

#[tokio::test]
async fn so_many_streams_are_open_at_most_and_leave_room_for_questions() {
    let server = Server::start().await;
    let mut streams = Vec::new();
    for _ in 0..16 {
        streams.push(server.events("").await);
    }
    let answer = server.get("/events").await;
    assert_eq!(answer.error().0, 429);
    assert_eq!(server.get("/status").await.status, 200);
    // Who goes makes room, as soon as it is noticed: at the next write at the latest.
    drop(streams.pop());
    let again = async {
        while server.daemon.listeners() > 15 {
            server.happens(Some("shop"), json!({"event": "queued"}));
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, again).await.unwrap();
    server.events("").await;
    server.end().await;
}
