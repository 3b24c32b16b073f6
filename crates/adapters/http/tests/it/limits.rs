//! Clients that behave badly keep nobody from being answered, and cannot hold up the end.

use std::time::Duration;

use backupctl_application::context::Interrupt;
use backupctl_testkit::fakes::Inject as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::Request;
use crate::{SOON, Server, TOKEN};

#[tokio::test]
async fn nonsense_is_no_request() {
    let server = Server::start().await;
    for nonsense in ["\r\n\r\n\0\0\0", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\u{16}\u{3}\u{1}"]
    {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(nonsense.as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{nonsense:?}");
    }
    let long = Request::new("GET", "/status").header("x-long", &"x".repeat(40_000));
    let answer = long.send(server.address).await;
    assert_eq!(answer.status, 431);
    assert_eq!(server.get("/status").await.status, 200);
    server.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_sends_no_whole_head_is_cut_off() {
    let server = Server::start().await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(b"GET /health/live HTTP/1.1\r\nhost: te").await.unwrap();
    let mut answer = Vec::new();
    // The time of this test passes by itself whenever everybody waits.
    let ended = tokio::time::timeout(Duration::from_mins(2), socket.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the server has closed the connection");
    server.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_sends_no_whole_body_is_cut_off() {
    let server = Server::start().await;
    let request = Request::new("POST", "/projects/shop/pause")
        .token(TOKEN)
        .header("content-type", "application/json")
        .header("content-length", "100");
    let answer = request.send(server.address).await;
    assert_eq!(answer.error().0, 408);
    server.end().await;
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let server = Server::start().await;
    let mut kept = Vec::new();
    for _ in 0..3 {
        let request = Request::new("GET", "/health/live");
        kept.push(request.open(server.address).await);
        kept.push(Request::new("GET", "/status").token(TOKEN).open(server.address).await);
    }
    let silent = TcpStream::connect(server.address).await.unwrap();
    server.end().await;
    drop((kept, silent));
}

#[tokio::test]
async fn a_question_that_hangs_is_cut_off_at_the_end() {
    let server = Server::start().await;
    server.bench.audit.hang("latest_runs");
    let asked = Request::new("GET", "/status").token(TOKEN);
    let address = server.address;
    let asking = tokio::spawn(async move { asked.send(address).await });
    let arrived = async {
        while server.bench.audit.calls("latest_runs") == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, arrived).await.unwrap();
    server.cancel.cancel(Interrupt::Term);
    let served = tokio::time::timeout(Duration::from_secs(20), server.served).await;
    served.expect("the server ends").unwrap().unwrap();
    assert_eq!(asking.await.unwrap().status, 0, "no answer came");
}

#[tokio::test]
async fn so_many_connections_are_open_at_most_and_others_wait() {
    let server = Server::start().await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let address = server.address;
    let waiting = tokio::spawn(Request::new("GET", "/health/live").send(address));
    drop(silent);
    assert_eq!(tokio::time::timeout(SOON, waiting).await.unwrap().unwrap().status, 200);
    server.end().await;
}
