//! What the audit log promises, on both databases.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod clock;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backupctl_adapter_audit_sql::SqlAudit;
use backupctl_application::ports::{AuditLog, RunQuery};
use backupctl_domain::{ErrorCode, RunStatus, Stage};
use backupctl_testkit::contracts::{self, finished_run, started_run};
use backupctl_testkit::services::{Postgres, free_port};
use tempfile::TempDir;

use crate::clock::HeldClock;

fn open(url: &str, clock: &Arc<HeldClock>) -> Arc<SqlAudit> {
    Arc::new(SqlAudit::connect(url, clock.clone()).unwrap())
}

fn sqlite_url(dir: &Path) -> String {
    format!("sqlite://{}/audit.db", dir.display())
}

/// A server, and the address of an empty database in it.
fn postgres() -> (Postgres, String) {
    let server = Postgres::start();
    server.create_role("bob", "secretpw");
    server.create_database("audit", "bob");
    let url = server.url("bob", "audit");
    (server, url)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn sqlite_audit_log() {
    let dir = TempDir::new().unwrap();
    contracts::audit_log(open(&sqlite_url(dir.path()), &HeldClock::new())).await;
}

#[tokio::test]
async fn postgres_audit_log() {
    let (_server, url) = postgres();
    contracts::audit_log(open(&url, &HeldClock::new())).await;
}

#[tokio::test]
async fn an_embedded_database_is_private_and_made_by_the_first_write() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("state");
    let url = sqlite_url(&folder);
    let log = open(&url, &HeldClock::new());
    let run = finished_run("p", 1, RunStatus::Success);

    assert!(log.latest_runs().await.unwrap().is_empty());
    assert!(log.find_runs(&RunQuery::default()).await.unwrap().is_empty());
    log.track_progress(run.run_id, Stage::Dump).await.unwrap();
    assert!(!log.delete_run(run.run_id).await.unwrap());
    assert!(!log.check().await.unwrap().exists);
    assert!(!folder.exists(), "reading makes nothing");

    log.finish_run(&run).await.unwrap();

    assert_eq!(mode(&folder), 0o700);
    for entry in fs::read_dir(&folder).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    let again = open(&url, &HeldClock::new());
    assert_eq!(again.find_runs(&RunQuery::default()).await.unwrap(), [run]);
    assert_eq!(again.location(), url);
}

#[tokio::test]
async fn a_start_that_is_replayed_late_does_not_turn_back_a_finished_run() {
    let dir = TempDir::new().unwrap();
    let log = open(&sqlite_url(dir.path()), &HeldClock::new());
    let run = finished_run("p", 1, RunStatus::Failed);
    let mut start = started_run("p", 1);
    start.run_id = run.run_id;

    log.finish_run(&run).await.unwrap();
    log.start_run(&start).await.unwrap();

    assert_eq!(log.find_runs(&RunQuery::default()).await.unwrap(), [run]);
}

async fn many_first_users(url: &str) {
    let writers: Vec<_> = (0..6)
        .map(|writer| {
            let url = url.to_owned();
            tokio::spawn(async move {
                let log = open(&url, &HeldClock::new());
                for n in 0..20 {
                    let run = started_run("p", writer * 100 + n);
                    log.start_run(&run).await.unwrap();
                    log.track_progress(run.run_id, Stage::Sync).await.unwrap();
                    let mut end = run.clone();
                    end.finish(run.started_at, None);
                    log.finish_run(&end).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let log = open(url, &HeldClock::new());
    let all = log.find_runs(&RunQuery::default()).await.unwrap();
    assert_eq!(all.len(), 120);
    assert!(all.iter().all(|r| r.status == RunStatus::Success));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_may_use_a_new_sqlite_database_first_and_write_at_once() {
    for _ in 0..5 {
        let dir = TempDir::new().unwrap();
        many_first_users(&sqlite_url(dir.path())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_may_use_a_new_postgres_database_first_and_write_at_once() {
    let (_server, url) = postgres();
    many_first_users(&url).await;
}

#[tokio::test]
async fn a_server_that_is_gone_is_told_at_once_and_found_again_later() {
    let (mut server, url) = postgres();
    let clock = HeldClock::new();
    let log = open(&url, &clock);
    log.start_run(&started_run("p", 1)).await.unwrap();
    server.stop();

    let failure = log.start_run(&started_run("p", 2)).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::AuditUnavailable);
    assert!(failure.message.contains("127.0.0.1"), "{failure}");
    assert!(!failure.message.contains("secretpw"), "{failure}");
    server.start_again();
    // Still resting: asked again before its time, it answers from memory.
    assert_eq!(log.latest_runs().await.unwrap_err(), failure);

    clock.advance(Duration::from_secs(10));
    assert_eq!(log.latest_runs().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_refused_connection_is_told_at_once() {
    let port = free_port();
    let log = open(&format!("postgres://bob:secretpw@127.0.0.1:{port}/x"), &HeldClock::new());
    let run = started_run("p", 1);
    let work = log.start_run(&run);
    let failure = tokio::time::timeout(Duration::from_secs(2), work).await.unwrap().unwrap_err();
    assert_eq!(failure.code, ErrorCode::AuditUnavailable);
    assert!(failure.message.contains(&format!("postgres://bob@127.0.0.1:{port}/x")), "{failure}");
    assert!(!failure.message.contains("secretpw"), "{failure}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let clock = HeldClock::new();
    let log = open(&format!("postgres://bob:secretpw@127.0.0.1:{port}/x"), &clock);

    let run = started_run("p", 1);
    let work = log.start_run(&run);
    let failure = tokio::time::timeout(Duration::from_secs(7), work).await.unwrap().unwrap_err();
    assert_eq!(failure.code, ErrorCode::AuditUnavailable);

    let next = log.track_progress(run.run_id, Stage::Dump);
    let failure = tokio::time::timeout(Duration::from_millis(100), next).await.unwrap();
    assert_eq!(failure.unwrap_err().code, ErrorCode::AuditUnavailable);
}

#[tokio::test]
async fn an_embedded_database_that_cannot_be_used_names_its_place() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("audit.db"), "this is no database at all, and long enough").unwrap();
    let log = open(&sqlite_url(dir.path()), &HeldClock::new());
    let failure = log.latest_runs().await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::AuditUnavailable);
    assert!(failure.message.contains("audit.db"), "{failure}");

    fs::write(dir.path().join("file"), "").unwrap();
    let log = open(&sqlite_url(&dir.path().join("file/below")), &HeldClock::new());
    let failure = log.start_run(&started_run("p", 1)).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::AuditUnavailable);
}

#[tokio::test]
async fn a_url_of_another_kind_is_refused_without_showing_it() {
    for url in ["mysql://bob:secretpw@h/x", "postgres://bob:secretpw@h:port/x", "sqlite::memory:"] {
        let failure = SqlAudit::connect(url, HeldClock::new()).err().unwrap();
        assert_eq!(failure.code, ErrorCode::InvalidConfig, "{url}");
        assert!(!failure.message.contains("secretpw"), "{failure}");
    }
}

#[tokio::test]
async fn a_damaged_embedded_database_says_how_to_go_on() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("audit.db"), [0x5a; 8192]).unwrap();
    let log = open(&sqlite_url(dir.path()), &HeldClock::new());
    let failure = log.find_runs(&RunQuery::default()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::AuditUnavailable);
    for words in ["the file is damaged", "backupctl init", "backupctl recover"] {
        assert!(failure.remedy.contains(words), "{failure:?}");
    }
}
