//! What can be done: a run, a pause, its end.

use backupctl_application::ports::{Asked, Clock as _};
use backupctl_domain::{ErrorCode, Failure};
use backupctl_testkit::builders::{at, name, run};
use backupctl_testkit::fakes::Inject as _;
use serde_json::json;

use crate::client::{Answer, Request};
use crate::schema::assert_conforms;
use crate::{Server, TOKEN};

impl Server {
    async fn post(&self, target: &str) -> Answer {
        self.ask("POST", target).await
    }

    async fn pause(&self, body: &str) -> Answer {
        let request = Request::new("POST", "/projects/shop/pause").token(TOKEN).json(body);
        request.send(self.address).await
    }

    fn is_paused(&self) -> bool {
        let memory = self.bench.schedules.of(&name("shop"));
        memory.pause_at(self.bench.clock.now()).is_some()
    }
}

#[track_caller]
fn conforms(schema: &str, answer: &Answer) {
    let document = backupctl_adapter_http::openapi();
    let schema = document["components"]["schemas"][schema].clone();
    assert_conforms(&document, &schema, &answer.json());
}

#[tokio::test]
async fn a_run_is_asked_for_and_what_comes_of_it_is_told() {
    let server = Server::start().await;
    let run_id = run("shop").build().run_id;
    for (answer, expected) in [
        (Asked::Started { run_id }, json!({"run_id": run_id, "queued": false, "folded": false})),
        (Asked::Queued, json!({"run_id": null, "queued": true, "folded": false})),
        (Asked::Folded, json!({"run_id": null, "queued": false, "folded": true})),
    ] {
        server.daemon.set_answer(answer);
        let answer = server.post("/projects/shop/run").await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        conforms("Asked", &answer);
        let mut body = answer.json();
        assert_eq!(body.as_object_mut().unwrap().shift_remove("project"), Some(json!("shop")));
        assert_eq!(body, expected);
    }
    assert_eq!(server.bench.journal.only(&["daemon"]), ["daemon run shop"; 3]);
    server.end().await;
}

#[tokio::test]
async fn a_run_that_cannot_be_made_is_refused_with_its_reason() {
    let server = Server::start().await;
    let (status, code, _) = server.post("/projects/shpo/run").await.error();
    assert_eq!((status, code.as_str()), (404, "UNKNOWN_PROJECT"));
    for (code, status) in [
        (ErrorCode::BackupInProgress, 409),
        (ErrorCode::InvalidConfig, 409),
        (ErrorCode::Interrupted, 503),
        (ErrorCode::Internal, 500),
    ] {
        server.daemon.fail_once("run_now", Failure::new(code, "injected"));
        let answer = server.post("/projects/shop/run").await;
        assert_eq!(answer.error(), (status, code.to_string(), "injected".to_owned()));
        conforms("Error", &answer);
    }
    assert_eq!(server.post("/projects/%ff/run").await.error().0, 400);
    server.end().await;
}

#[tokio::test]
async fn a_pause_is_made_without_a_body_and_ended_again() {
    let server = Server::start().await;
    let answer = server.post("/projects/shop/pause").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    conforms("Pause", &answer);
    assert_eq!(
        answer.json(),
        json!({
            "project": "shop",
            "paused": true,
            "paused_since": "2026-03-18T00:00:05.000Z",
            "paused_until": null,
        })
    );
    assert!(server.is_paused());
    let answer = server.post("/projects/shop/resume").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    conforms("Pause", &answer);
    assert_eq!(answer.json()["paused"], json!(false));
    assert!(!server.is_paused());
    // Ending it again is no error: somebody else was faster.
    assert_eq!(server.post("/projects/shop/resume").await.status, 200);
    server.end().await;
}

#[tokio::test]
async fn a_pause_can_have_an_end() {
    let server = Server::start().await;
    for (body, until) in [
        (r#"{"until": "12h"}"#, Some("2026-03-18T12:00:05Z")),
        (r#"{"until": "2026-04-01T06:00:00Z"}"#, Some("2026-04-01T06:00:00Z")),
        (r#"{"until": "2026-04-01T06:00:00+02:00"}"#, Some("2026-04-01T04:00:00Z")),
        (r#"{"until": null}"#, None),
        ("{}", None),
    ] {
        let answer = server.pause(body).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        conforms("Pause", &answer);
        let pause = server.bench.schedules.of(&name("shop")).pause.unwrap();
        assert_eq!(pause.until, until.map(at), "{body}");
    }
    server.end().await;
}

#[tokio::test]
async fn a_pause_that_makes_no_sense_is_refused_and_none_is_made() {
    let server = Server::start().await;
    for (body, said) in [
        (r#"{"until": "yesterday"}"#, "yesterday"),
        (r#"{"until": "2026-03-17T00:00:00Z"}"#, "over already"),
        (r#"{"until": "0h"}"#, "0h"),
        (r#"{"until": ""}"#, "no time"),
        (r#"{"until": 12}"#, "no text"),
        (r#"{"untill": "12h"}"#, "untill"),
        (r#"["12h"]"#, "no object"),
        (r#""12h""#, "no object"),
        ("{", "no JSON"),
        ("\u{0}", "no JSON"),
    ] {
        let answer = server.pause(body).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code.as_str()), (400, "INVALID_CONFIG"), "{body}");
        assert!(message.contains(said), "{body}: {message}");
        conforms("Error", &answer);
    }
    let pause = || Request::new("POST", "/projects/shop/pause").token(TOKEN);
    let plain = pause().header("content-type", "text/plain").body(r#"{"until": "12h"}"#);
    assert_eq!(plain.send(server.address).await.error().0, 415);
    assert_eq!(pause().body("{}").send(server.address).await.error().0, 415);
    let large = format!(r#"{{"until": "{}"}}"#, "1".repeat(20_000));
    assert_eq!(server.pause(&large).await.error().0, 413);
    for action in ["pause", "resume"] {
        for project in ["shpo", "..%2Fshop", "%20"] {
            let answer = server.post(&format!("/projects/{project}/{action}")).await;
            let (status, code, _) = answer.error();
            assert_eq!((status, code.as_str()), (404, "UNKNOWN_PROJECT"), "{project}");
        }
    }
    assert!(!server.is_paused());
    server.end().await;
}

#[tokio::test]
async fn a_pause_that_cannot_be_remembered_is_none() {
    let server = Server::start().await;
    let full = Failure::new(ErrorCode::DiskFull, "no space left");
    server.bench.schedules.fail_always("update_project", full);
    for action in ["pause", "resume"] {
        let (status, code, _) = server.post(&format!("/projects/shop/{action}")).await.error();
        assert_eq!((status, code.as_str()), (503, "DISK_FULL"), "{action}");
    }
    server.end().await;
}
