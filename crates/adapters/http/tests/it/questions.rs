//! How things stand, as it is asked and answered.

use std::time::Duration;

use backupctl_application::ports::Readiness;
use backupctl_application::use_cases::{ProjectStatus, Status};
use backupctl_domain::schedule::memory::{Pause, ScheduleMemory};
use backupctl_domain::{ErrorCode, Failure, RunStatus, Stage};
use backupctl_testkit::builders::{at, name, run};
use backupctl_testkit::contracts::{finished_run, started_run};
use backupctl_testkit::fakes::Inject as _;
use serde_json::{Value, json};

use crate::Server;
use crate::schema::assert_conforms;

const MINUTE: Duration = Duration::from_mins(1);

fn unavailable() -> Failure {
    Failure::new(ErrorCode::AuditUnavailable, "the audit database does not answer")
}

/// The schema of what is answered with that status.
fn schema(path: &str, status: &str) -> (Value, Value) {
    let document = backupctl_adapter_http::openapi();
    let mut response = document["paths"][path]["get"]["responses"][status].clone();
    if let Some(reference) = response["$ref"].as_str() {
        response = document.pointer(&reference[1..]).unwrap().clone();
    }
    let schema = response["content"]["application/json"]["schema"].clone();
    assert!(schema.is_object(), "{path} {status}");
    (document, schema)
}

#[track_caller]
fn conforms(path: &str, status: &str, value: &Value) {
    let (document, schema) = schema(path, status);
    assert_conforms(&document, &schema, value);
}

/// Runs of every kind, with something in every field.
fn seed(server: &Server) {
    let audit = &server.bench.audit;
    audit.seed(finished_run("shop", 10, RunStatus::Failed));
    audit.seed(finished_run("shop", 20, RunStatus::Success));
    audit.seed(started_run("shop", 30));
    audit.seed(finished_run("gone", 40, RunStatus::Failed));
}

#[tokio::test]
async fn ready_says_what_is_in_the_way() {
    let server = Server::start().await;
    let body = server.read("/health/ready").await;
    conforms("/health/ready", "200", &body);
    assert_eq!((&body["status"], &body["problems"]), (&json!("ready"), &json!([])));

    server.daemon.set_readiness(Readiness {
        is_ready: false,
        problems: vec!["recovering what an earlier process left".to_owned()],
        since: Some(at("2026-03-18T00:00:00Z")),
        running: 1,
        queued: 2,
    });
    let answer = server.get("/health/ready").await;
    assert_eq!(answer.status, 503);
    let body = answer.json();
    conforms("/health/ready", "503", &body);
    assert_eq!(
        body,
        json!({
            "status": "not_ready",
            "problems": ["recovering what an earlier process left"],
            "since": "2026-03-18T00:00:00.000Z",
            "running": 1,
            "queued": 2,
        })
    );
    server.end().await;
}

#[tokio::test]
async fn status_is_the_document_of_the_command() {
    let server = Server::start().await;
    seed(&server);
    server.bench.config.add_broken("wrong", "database.port", "is no port");
    let body = server.read("/status").await;
    conforms("/status", "200", &body);
    let entries =
        backupctl_application::ports::ConfigLoader::load(&*server.bench.config).await.unwrap();
    let expected = Status::new(&server.bench.world()).execute(entries.projects).await.unwrap();
    let expected: Vec<Value> = expected.iter().map(ProjectStatus::to_json).collect();
    assert_eq!(body, json!({"projects": expected}));
    assert_eq!(body["projects"][2]["state"], "invalid");
    server.end().await;
}

#[tokio::test]
async fn projects_tell_their_schedules_also_without_the_audit() {
    let server = Server::start().await;
    seed(&server);
    server.bench.config.add_broken("wrong", "database.port", "is no port");
    let pause =
        Pause { since: at("2026-03-17T00:00:00Z"), until: Some(at("2026-03-20T00:00:00Z")) };
    let memory = ScheduleMemory { pause: Some(pause), ..ScheduleMemory::default() };
    server.bench.schedules.seed(&name("shop"), memory);
    for _ in 0..2 {
        let body = server.read("/projects").await;
        conforms("/projects", "200", &body);
        let [shop, wiki, wrong] = body["projects"].as_array().unwrap().as_slice() else {
            panic!("{body}")
        };
        assert_eq!(shop["project"], "shop");
        assert_eq!((&shop["state"], &shop["paused"]), (&json!("paused"), &json!(true)));
        assert_eq!(shop["schedule"], "every day at 02:00");
        assert_eq!(shop["next_run"], "2026-03-20T02:00:00.000Z");
        assert_eq!((&wiki["state"], &wiki["paused"]), (&json!("unscheduled"), &json!(false)));
        assert_eq!(wrong["errors"], json!([{"key": "database.port", "message": "is no port"}]));
        server.bench.audit.fail_always("latest_runs", unavailable());
    }
    server.end().await;
}

#[tokio::test]
async fn runs_are_found_by_project_and_status_newest_first() {
    let server = Server::start().await;
    seed(&server);
    let found = async |query: &str| {
        let body = server.read(&format!("/runs{query}")).await;
        conforms("/runs", "200", &body);
        let runs = body["runs"].as_array().unwrap();
        let one = |r: &Value| format!("{} {}", r["project"], r["status"]).replace('"', "");
        runs.iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(found("").await, ["gone failed", "shop started", "shop success", "shop failed"]);
    assert_eq!(found("?project=shop&limit=2").await, ["shop started", "shop success"]);
    assert_eq!(found("?status=failed").await, ["gone failed", "shop failed"]);
    assert_eq!(found("?status=failed&project=shop").await, ["shop failed"]);
    assert_eq!(found("?project=gone&status=success").await, Vec::<String>::new());
    assert_eq!(found("?project=wiki").await, Vec::<String>::new());
    assert_eq!(found("?limit=99999999999999999999&other=1").await.len(), 4);
    server.end().await;
}

#[tokio::test]
async fn so_many_runs_are_told_at_most() {
    let server = Server::start().await;
    for second in 0..510 {
        server.bench.audit.seed(started_run("shop", second));
    }
    for (query, expected) in [("", 50), ("?limit=500", 500), ("?limit=501", 500), ("?limit=1", 1)] {
        let body = server.read(&format!("/runs{query}")).await;
        assert_eq!(body["runs"].as_array().unwrap().len(), expected, "{query}");
    }
    server.end().await;
}

#[tokio::test]
async fn a_question_about_runs_that_makes_no_sense_is_refused() {
    let server = Server::start().await;
    for (query, status, said) in [
        ("?status=good", 400, "\"good\""),
        ("?status=", 400, "\"\""),
        ("?limit=0", 400, "\"0\""),
        ("?limit=-1", 400, "\"-1\""),
        ("?limit=few", 400, "\"few\""),
        ("?limit=", 400, "\"\""),
        ("?limit=1&limit=2", 400, "limit"),
        ("?project=%ff", 404, ""),
        ("?project=shpo", 404, "shpo"),
        ("?project=", 404, ""),
        ("?project=../x", 404, "../x"),
    ] {
        let answer = server.get(&format!("/runs{query}")).await;
        let (is, code, message) = answer.error();
        assert_eq!(is, status, "{query}: {message}");
        let expected = if status == 404 { "UNKNOWN_PROJECT" } else { "INVALID_CONFIG" };
        assert_eq!(code, expected, "{query}");
        assert!(message.contains(said), "{message}");
        conforms("/runs", &status.to_string(), &answer.json());
    }
    let told = server.get("/runs?project=shpo").await.text();
    assert!(told.contains("shop, wiki"), "the names that there are: {told}");
    server.end().await;
}

#[tokio::test]
async fn one_run_is_found_by_the_beginning_of_its_id() {
    let server = Server::start().await;
    let id = "aabbccdd-0000-4000-8000-000000000001";
    let one = run("shop").id(id).failed(Stage::Sync, ErrorCode::RepoLocked, "locked", MINUTE);
    server.bench.audit.seed(one.build());
    let other = "aabbccdd-1000-4000-8000-000000000001";
    server.bench.audit.seed(run("shop").id(other).build());
    for asked in [id, "aabbccdd-0000", "AABBCCDD0"] {
        let body = server.read(&format!("/runs/{asked}")).await;
        conforms("/runs/{id}", "200", &body);
        assert_eq!((&body["run_id"], &body["error"]["code"]), (&json!(id), &json!("REPO_LOCKED")));
    }
    for (asked, said) in [
        ("aabbccdd", "2 runs"),
        ("0123", "no run's id"),
        ("aab", "4 or more"),
        ("%20", "4 or more"),
    ] {
        let (status, code, message) = server.get(&format!("/runs/{asked}")).await.error();
        assert_eq!((status, code.as_str()), (404, "UNKNOWN_PROJECT"), "{asked}");
        assert!(message.contains(said), "{message}");
    }
    assert_eq!(server.get("/runs/%ff%ff").await.error().0, 400);
    server.end().await;
}

#[tokio::test]
async fn without_the_audit_questions_about_runs_are_unavailable() {
    let server = Server::start().await;
    server.bench.audit.fail_always("latest_runs", unavailable());
    server.bench.audit.fail_always("find_runs", unavailable());
    for path in ["/status", "/runs", "/runs?project=shop", "/runs/0123"] {
        let answer = server.get(path).await;
        let (status, code, _) = answer.error();
        assert_eq!((status, code.as_str()), (503, "AUDIT_UNAVAILABLE"), "{path}");
        conforms("/runs", "503", &answer.json());
    }
    server.end().await;
}

#[tokio::test]
async fn without_a_configuration_the_server_is_at_fault_and_a_bug_is_a_bug() {
    let server = Server::start().await;
    let broken = Failure::new(ErrorCode::InvalidConfig, "backupctl.yml is no YAML");
    server.bench.config.fail_times("load", broken, 3);
    for path in ["/status", "/projects", "/events?project=shop"] {
        let (status, code, _) = server.get(path).await.error();
        assert_eq!((status, code.as_str()), (503, "INVALID_CONFIG"), "{path}");
    }
    server.bench.audit.fail_once("latest_runs", Failure::internal("a bug"));
    let (status, code, _) = server.get("/status").await.error();
    assert_eq!((status, code.as_str()), (500, "INTERNAL"));
    server.end().await;
}

#[tokio::test]
async fn metrics_are_told_whatever_is_out_of_order() {
    let server = Server::start().await;
    seed(&server);
    let metrics = async || {
        let answer = server.get("/metrics").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        answer.text()
    };
    let text = metrics().await;
    for line in [
        "backupctl_audit_up 1",
        "backupctl_config_up 1",
        "backupctl_last_run_success{project=\"shop\"} 1",
        "backupctl_failures_total{code=\"REPO_LOCKED\",project=\"shop\"} 1",
        "backupctl_state{project=\"shop\",state=\"interrupted\"} 1",
        "backupctl_info{version=\"0.1.0\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
    server.bench.audit.fail_always("latest_runs", unavailable());
    let text = metrics().await;
    assert!(text.contains("\nbackupctl_audit_up 0\n"), "{text}");
    assert!(text.contains("backupctl_enabled{project=\"shop\"} 1"), "{text}");
    server.bench.config.fail_always("load", Failure::new(ErrorCode::InvalidConfig, "no YAML"));
    let text = metrics().await;
    assert!(text.contains("\nbackupctl_config_up 0\n") && !text.contains("shop"), "{text}");
    server.end().await;
}
