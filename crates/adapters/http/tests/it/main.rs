//! The HTTP interface as a client sees it: a real server on a port of its own, on the fakes of every
//! port.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod access;
mod actions;
mod client;
mod document;
mod events;
mod limits;
mod questions;
mod schema;
mod textfile;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use backupctl_application::context::{Cancel, Interrupt};
use backupctl_domain::{Failure, Secret};
use backupctl_testkit::fakes::FakeDaemon;
use backupctl_testkit::{TestBench, project};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::client::{Answer, Request};

const TOKEN: &str = "correct-horse-battery-staple";

/// Long enough for anything that should happen, also on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// A server that runs, and all that it stands on.
struct Server {
    bench: TestBench,
    daemon: Arc<FakeDaemon>,
    address: SocketAddr,
    cancel: Cancel,
    served: JoinHandle<Result<(), Failure>>,
}

impl Server {
    /// One with a token and the projects `shop` (with a schedule) and `wiki` (without).
    async fn start() -> Self {
        Self::with_token(Some(Secret::value(TOKEN))).await
    }

    async fn with_token(token: Option<Secret>) -> Self {
        let bench = TestBench::new();
        let daemon = Arc::new(FakeDaemon::new(&bench.journal));
        daemon.set_projects(["shop", "wiki"]);
        let shop = project("shop").cron("0 2 * * *").build();
        bench.config.set_projects([shop, project("wiki").build()]);
        bench.config.set_secret("/run/token", TOKEN);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cancel = Cancel::new();
        let served = tokio::spawn(backupctl_adapter_http::serve(
            listener,
            token,
            daemon.clone(),
            bench.world(),
            bench.config.clone(),
            cancel.clone(),
        ));
        Self { bench, daemon, address, cancel, served }
    }

    /// Sends a request with the token.
    async fn ask(&self, method: &str, target: &str) -> Answer {
        Request::new(method, target).token(TOKEN).send(self.address).await
    }

    async fn get(&self, target: &str) -> Answer {
        self.ask("GET", target).await
    }

    /// The document at that address, which must be there.
    async fn read(&self, target: &str) -> Value {
        let answer = self.get(target).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        answer.json()
    }

    /// Tells the server to end, and waits until it has.
    async fn end(self) {
        self.cancel.cancel(Interrupt::Term);
        let served = tokio::time::timeout(SOON, self.served).await;
        served.unwrap().unwrap().unwrap();
    }
}
