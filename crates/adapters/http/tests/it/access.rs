//! Who is answered.

use backupctl_adapter_http::openapi;
use backupctl_application::ports::Readiness;
use backupctl_domain::{ErrorCode, Secret};
use backupctl_testkit::fakes::Inject as _;

use crate::client::{Answer, Request};
use crate::{Server, TOKEN};

/// Every operation of the document, as method and address.
fn operations() -> Vec<(String, String)> {
    let document = openapi();
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace("{project}", "shop").replace("{id}", "0123");
        for method in methods.as_object().unwrap().keys() {
            all.push((method.to_ascii_uppercase(), path.clone()));
        }
    }
    assert_eq!(all.len(), 12, "{all:?}");
    all
}

fn assert_refused(answer: &Answer, what: &str) {
    let (status, code, message) = answer.error();
    assert_eq!((status, code.as_str()), (401, "INVALID_CONFIG"), "{what}");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{what}");
    assert!(!message.contains(TOKEN) && !answer.text().contains(TOKEN));
}

#[tokio::test]
async fn everything_but_live_asks_for_the_token() {
    let server = Server::start().await;
    let unknown = [("GET", "/"), ("GET", "/nothing"), ("DELETE", "/status"), ("GET", "/health")]
        .map(|(method, path)| (method.to_owned(), path.to_owned()));
    for (method, path) in operations().into_iter().chain(unknown) {
        if path == "/health/live" {
            continue;
        }
        for authorization in
            [None, Some("Bearer wrong"), Some("Bearer"), Some("Basic dTpw"), Some(TOKEN)]
        {
            let mut request = Request::new(&method, &path);
            if let Some(value) = authorization {
                request = request.header("authorization", value);
            }
            let answer = request.send(server.address).await;
            assert_refused(&answer, &format!("{method} {path} {authorization:?}"));
        }
    }
    let looked_at = server.bench.journal.without(&["config resolve_secret http.token"]);
    assert_eq!(looked_at, Vec::<String>::new(), "nothing but the token was looked at");
    server.end().await;
}

#[tokio::test]
async fn live_answers_everybody() {
    for token in [None, Some(Secret::value(TOKEN))] {
        let server = Server::with_token(token).await;
        server.daemon.set_readiness(Readiness::default());
        server.bench.config.fail_always("load", backupctl_domain::Failure::internal("broken"));
        for request in [
            Request::new("GET", "/health/live"),
            Request::new("GET", "/health/live").token("wrong"),
        ] {
            let answer = request.send(server.address).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.text(), r#"{"status":"live"}"#);
        }
        server.end().await;
    }
}

#[tokio::test]
async fn without_a_configured_token_nothing_else_answers_and_the_way_out_is_told() {
    for token in [None, Some(Secret::value("")), Some(Secret::value("  "))] {
        let server = Server::with_token(token).await;
        for (method, path) in operations().into_iter().filter(|(_, path)| path != "/health/live") {
            for value in [None, Some("Bearer"), Some("Bearer "), Some("Bearer x")] {
                let mut request = Request::new(&method, &path);
                if let Some(value) = value {
                    request = request.header("authorization", value);
                }
                let answer = request.send(server.address).await;
                assert_refused(&answer, &path);
                assert!(answer.text().contains("set `http.token`"), "{}", answer.text());
            }
        }
        server.end().await;
    }
}

#[tokio::test]
async fn the_token_may_be_in_a_file() {
    let server = Server::with_token(Some(Secret::File("/run/token".into()))).await;
    assert_eq!(server.get("/status").await.status, 200);
    server.end().await;

    let server = Server::with_token(Some(Secret::File("/run/missing".into()))).await;
    let failure = server.served.await.unwrap().unwrap_err();
    assert_eq!(failure.code, ErrorCode::InvalidConfig);
    assert!(failure.message.contains("http.token"), "{failure}");
}

#[tokio::test]
async fn no_page_of_another_origin_can_read_an_answer() {
    let server = Server::start().await;
    for (method, path) in [("GET", "/health/live"), ("GET", "/status"), ("OPTIONS", "/status")] {
        let answer = Request::new(method, path)
            .token(TOKEN)
            .header("origin", "https://evil.example")
            .header("access-control-request-method", "GET")
            .send(server.address)
            .await;
        let cors = answer.headers.iter().find(|(name, _)| name.starts_with("access-control"));
        assert_eq!(cors, None, "{method} {path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    server.end().await;
}

#[tokio::test]
async fn what_is_not_there_is_told_in_the_form_of_errors() {
    let server = Server::start().await;
    for path in ["/", "/nothing", "/status/", "/projects/a/b/run", "/runs/a/b"] {
        let (status, code, message) = server.get(path).await.error();
        assert_eq!((status, code.as_str()), (404, "INVALID_CONFIG"), "{path}");
        assert!(message.contains(path), "{message}");
    }
    for (method, path, allow) in [
        ("POST", "/status", "GET,HEAD"),
        ("PUT", "/health/live", "GET,HEAD"),
        ("GET", "/projects/shop/run", "POST"),
        ("DELETE", "/runs/0123", "GET,HEAD"),
    ] {
        let answer = server.ask(method, path).await;
        assert_eq!(answer.error().0, 405, "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allow));
    }
    let head = server.ask("HEAD", "/status").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    server.end().await;
}
