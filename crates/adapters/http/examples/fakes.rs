//! The HTTP interface on fakes, for trying it out and for programs that test interfaces:
//! `cargo run -p backupctl-adapter-http --example fakes -- 127.0.0.1:3199 TOKEN`.
//!
//! Its event streams tell a few events and end, so that a program can read one to its end.
#![expect(clippy::print_stderr, reason = "it tells a person where it is")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backupctl_application::context::Cancel;
use backupctl_application::ports::{Asked, DaemonControl, DaemonEvent, Readiness};
use backupctl_domain::{ErrorCode, Failure, RunId, RunStatus, Secret, Stage};
use backupctl_testkit::builders::run;
use backupctl_testkit::contracts::{finished_run, started_run};
use backupctl_testkit::{TestBench, project};
use jiff::Timestamp;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::broadcast::{Receiver, Sender};

/// A run that can be asked for by name.
const RUN: &str = "aabbccdd-0000-4000-8000-000000000001";

struct Daemon;

#[async_trait]
impl DaemonControl for Daemon {
    async fn run_now(&self, project: &str) -> Result<Asked, Failure> {
        match project {
            "shop" => Ok(Asked::Started { run_id: run_id() }),
            "wiki" => Ok(Asked::Queued),
            "wrong" => Err(Failure::new(ErrorCode::InvalidConfig, "project wrong has errors")),
            _ => {
                let message = format!("no project {project:?} is configured");
                Err(Failure::new(ErrorCode::UnknownProject, message))
            }
        }
    }

    fn events(&self) -> Receiver<DaemonEvent> {
        let events = Sender::new(4);
        let receiver = events.subscribe();
        for project in [Some("shop"), Some("wiki"), None] {
            let event = json!({"event": "stage_started", "stage": "Dump", "attempt": 1});
            let project = project.map(str::to_owned);
            let _ = events.send(DaemonEvent { at: Timestamp::UNIX_EPOCH, project, event });
        }
        receiver
    }

    fn readiness(&self) -> Readiness {
        let problems = vec!["the configuration could not be loaded again".to_owned()];
        Readiness { is_ready: true, problems, since: None, running: 1, queued: 0 }
    }
}

fn run_id() -> RunId {
    RUN.parse().unwrap_or_else(|_| started_run("shop", 0).run_id)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3199".to_owned());
    let token = arguments.next().unwrap_or_else(|| "token".to_owned());

    let bench = TestBench::new();
    let projects = [
        project("shop").cron("0 2 * * *").build(),
        project("wiki").build(),
        project("off").cron("@weekly").disabled().build(),
    ];
    bench.config.set_projects(projects);
    bench.config.add_broken("wrong", "database.port", "is no port");
    bench.audit.seed(finished_run("shop", 10, RunStatus::Failed));
    bench.audit.seed(started_run("wiki", 20));
    let minute = Duration::from_mins(1);
    let locked = run("shop").id(RUN).failed(Stage::Sync, ErrorCode::RepoLocked, "locked", minute);
    bench.audit.seed(locked.build());

    let listener = TcpListener::bind(&address).await?;
    eprintln!("listens at http://{address}, token {token}");
    let token = Some(Secret::value(token));
    let served = backupctl_adapter_http::serve(
        listener,
        token,
        Arc::new(Daemon),
        bench.world(),
        bench.config.clone(),
        Cancel::new(),
    );
    Ok(served.await?)
}
