//! Heartbeats.

use std::sync::Arc;
use std::time::Duration;

use backupctl_adapter_notify::{Healthchecks, UptimeKuma};
use backupctl_application::ports::{Heartbeat, HeartbeatMonitor};
use backupctl_domain::{ErrorCode, Secret};
use backupctl_testkit::contracts;
use backupctl_testkit::services::{HttpReceiver, Reply, free_port};

use super::{assert_hides, lines};

fn up(message: &str) -> Heartbeat {
    Heartbeat::Up { message: message.to_owned(), took: Duration::from_millis(79_123) }
}

fn down(message: &str) -> Heartbeat {
    Heartbeat::Down { message: message.to_owned(), took: Duration::from_millis(1500) }
}

#[tokio::test]
async fn uptime_kuma_keeps_the_promises_of_a_monitor() {
    let (good, refusing) = (HttpReceiver::start(), HttpReceiver::start());
    refusing.reply_always(Reply::status(500));
    let token = Secret::value("t0ken");
    let monitor = |at: &HttpReceiver| Arc::new(UptimeKuma::new(&at.url(""), &token).unwrap());
    let received = || good.requests().iter().filter(|r| r.path().contains("/push/")).count();
    contracts::heartbeat_monitor(monitor(&good), monitor(&refusing), received).await;
}

#[tokio::test]
async fn healthchecks_keeps_the_promises_of_a_monitor() {
    let (good, refusing) = (HttpReceiver::start(), HttpReceiver::start());
    refusing.reply_always(Reply::status(500));
    let monitor = |at: &HttpReceiver| {
        Arc::new(Healthchecks::new(&Secret::value(at.url("/ping/t0ken"))).unwrap())
    };
    let received = || {
        let beat = |path: &str| path.contains("t0ken") && !path.ends_with("/start");
        good.requests().iter().filter(|r| beat(r.path())).count()
    };
    contracts::heartbeat_monitor(monitor(&good), monitor(&refusing), received).await;
}

#[tokio::test]
async fn uptime_kuma_gets_status_message_and_milliseconds() {
    let receiver = HttpReceiver::start();
    let token = Secret::value("t0ken");
    let kuma = UptimeKuma::new(&receiver.url("/kuma/"), &token).unwrap();

    kuma.send(&Heartbeat::Start).await.unwrap();
    kuma.send(&up("OK: a+b & c")).await.unwrap();
    kuma.send(&down(&"é".repeat(250))).await.unwrap();
    let root = UptimeKuma::new(&receiver.url(""), &token).unwrap();
    root.send(&up("")).await.unwrap();

    let long = "%C3%A9".repeat(200);
    assert_eq!(
        lines(&receiver),
        [
            "GET /kuma/api/push/t0ken?status=up&msg=OK%3A%20a%2Bb%20%26%20c&ping=79123",
            &format!("GET /kuma/api/push/t0ken?status=down&msg={long}&ping=1500"),
            "GET /api/push/t0ken?status=up&msg=&ping=79123",
        ]
    );
}

#[tokio::test]
async fn a_heartbeat_that_uptime_kuma_does_not_take_is_a_failure() {
    for (reply, words) in [
        (Reply::Status(404, "{\"ok\":false,\"msg\":\"no t0ken here\"}".to_owned()), "no *** here"),
        (Reply::Status(200, "{\"ok\":false,\"msg\":\"not active\"}".to_owned()), "not active"),
        (Reply::Status(502, "<html>t0ken".to_owned()), "502"),
        (Reply::Hang, "no answer"),
    ] {
        let receiver = HttpReceiver::start();
        receiver.reply_once(reply);
        let kuma = UptimeKuma::new(&receiver.url(""), &Secret::value("t0ken")).unwrap();
        let kuma = kuma.with_timeout(Duration::from_millis(200));

        let failure = kuma.send(&up("x")).await.unwrap_err();

        assert_eq!(failure.code, ErrorCode::HeartbeatFailed);
        assert!(failure.message.contains(words), "{failure}");
        assert_hides(&failure, "t0ken");
    }
}

#[tokio::test]
async fn healthchecks_is_told_of_start_success_and_failure() {
    let receiver = HttpReceiver::start();
    receiver.reply_always(Reply::Status(200, "OK".to_owned()));
    let ping = Secret::value(receiver.url("/ping/t0ken?rid=1"));
    let monitor = Healthchecks::new(&ping).unwrap();

    monitor.send(&Heartbeat::Start).await.unwrap();
    monitor.send(&up("fine")).await.unwrap();
    monitor.send(&down("Dump: refused")).await.unwrap();

    assert_eq!(
        lines(&receiver),
        ["GET /ping/t0ken/start?rid=1", "GET /ping/t0ken?rid=1", "POST /ping/t0ken/fail?rid=1",]
    );
    assert_eq!(receiver.requests()[2].body, b"Dump: refused");
}

#[tokio::test]
async fn a_ping_that_nobody_takes_is_a_failure() {
    for (reply, words) in [
        (Reply::Status(200, "OK (not found)".to_owned()), "no such check"),
        (Reply::status(400), "400"),
        (Reply::Hang, "no answer"),
    ] {
        let receiver = HttpReceiver::start();
        receiver.reply_once(reply);
        let monitor = Healthchecks::new(&Secret::value(receiver.url("/t0ken"))).unwrap();
        let monitor = monitor.with_timeout(Duration::from_millis(200));

        let failure = monitor.send(&up("x")).await.unwrap_err();

        assert_eq!(failure.code, ErrorCode::HeartbeatFailed);
        assert!(failure.message.contains(words), "{failure}");
        assert_hides(&failure, "t0ken");
    }
}

#[tokio::test]
async fn a_check_asks_the_server_and_never_the_address_that_counts() {
    let receiver = HttpReceiver::start();
    // Whatever it answers, it is there.
    receiver.reply_always(Reply::status(404));
    let kuma = UptimeKuma::new(&receiver.url("/kuma"), &Secret::value("t0ken")).unwrap();
    kuma.check().await.unwrap();
    let ping = Healthchecks::new(&Secret::value(receiver.url("/ping/t0ken?rid=1"))).unwrap();
    ping.check().await.unwrap();
    assert_eq!(lines(&receiver), ["GET /kuma", "GET /"]);

    let gone = format!("http://127.0.0.1:{}", free_port());
    let failures = [
        UptimeKuma::new(&gone, &Secret::value("t0ken")).unwrap().check().await.unwrap_err(),
        Healthchecks::new(&Secret::value(format!("{gone}/ping/t0ken")))
            .unwrap()
            .check()
            .await
            .unwrap_err(),
    ];
    for failure in failures {
        assert_eq!(failure.code, ErrorCode::HeartbeatFailed);
        assert!(failure.message.contains("127.0.0.1"), "{failure}");
        assert_hides(&failure, "t0ken");
    }
}

#[test]
fn monitors_refuse_addresses_that_cannot_be_used() {
    let token = Secret::value("t0ken");
    let failure = UptimeKuma::new("kuma.example.org", &token).err().unwrap();
    assert_eq!(failure.code, ErrorCode::InvalidConfig);
    let failure = Healthchecks::new(&Secret::value("hc-ping.com/t0ken")).err().unwrap();
    assert_eq!(failure.code, ErrorCode::InvalidConfig);
    assert_hides(&failure, "t0ken");
}
