//! What is sent over HTTP, to the byte, and what becomes of bad answers.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use backupctl_adapter_notify::{Healthchecks, UptimeKuma, Webhook};
use backupctl_application::ports::{Heartbeat, HeartbeatMonitor, Notifier};
use backupctl_domain::notice::{DayResult, SummaryEntry};
use backupctl_domain::{ErrorCode, Failure, Notice, ProjectName, Secret};
use backupctl_testkit::contracts;
use backupctl_testkit::fakes::{FakeClock, Journal};
use backupctl_testkit::services::{HttpReceiver, Reply, free_port};
use jiff::tz::TimeZone;

/// One that gives these answers, then 200.
fn receiver(answers: impl IntoIterator<Item = Reply>) -> HttpReceiver {
    let receiver = HttpReceiver::start();
    for answer in answers {
        receiver.reply_once(answer);
    }
    receiver
}

fn answer(status: u16, body: &str) -> Reply {
    Reply::Status(status, body.to_owned())
}

/// Method and target of each request.
fn lines(receiver: &HttpReceiver) -> Vec<String> {
    receiver.requests().into_iter().map(|r| format!("{} {}", r.method, r.target)).collect()
}

fn clock() -> Arc<FakeClock> {
    Arc::new(FakeClock::new(&Arc::new(Journal::new())))
}

fn notice() -> Notice {
    let entry = SummaryEntry {
        project: ProjectName::new("shop").unwrap(),
        last: DayResult::Success { duration: Duration::from_secs(79) },
    };
    Notice::daily_summary(&[entry], "2026-03-18T08:00:00Z".parse().unwrap(), &TimeZone::UTC)
}

fn webhook(url: &str, secret: Option<&str>) -> Webhook {
    let secret = secret.map(Secret::value);
    Webhook::new(&Secret::value(url), secret.as_ref(), clock()).unwrap()
}

fn up(message: &str) -> Heartbeat {
    Heartbeat::Up { message: message.to_owned(), took: Duration::from_millis(79_123) }
}

fn down(message: &str) -> Heartbeat {
    Heartbeat::Down { message: message.to_owned(), took: Duration::from_millis(1500) }
}

fn assert_hides(failure: &Failure, secret: &str) {
    for text in [&failure.message, &failure.remedy, &failure.detail] {
        assert!(!text.contains(secret), "{failure:?}");
    }
}

/// One that takes everything and one that refuses everything.
fn receivers() -> (HttpReceiver, HttpReceiver) {
    let refusing = HttpReceiver::start();
    refusing.reply_always(Reply::status(500));
    (HttpReceiver::start(), refusing)
}

#[tokio::test]
async fn webhook_notifier() {
    let (good, refusing) = receivers();
    let hook = |receiver: &HttpReceiver| Arc::new(webhook(&receiver.url("/t0ken"), Some("k3y")));
    contracts::notifier(hook(&good), hook(&refusing), || good.requests().len()).await;
}

#[tokio::test]
async fn uptime_kuma_heartbeat_monitor() {
    let (good, refusing) = receivers();
    let token = Secret::value("t0ken");
    let kuma = |receiver: &HttpReceiver| {
        Arc::new(UptimeKuma::new(&receiver.base_url(), &token).unwrap()) as Arc<_>
    };
    contracts::heartbeat_monitor(kuma(&good), kuma(&refusing), || good.requests().len()).await;
}

#[tokio::test]
async fn healthchecks_heartbeat_monitor() {
    let (good, refusing) = receivers();
    let monitor = |receiver: &HttpReceiver| {
        Arc::new(Healthchecks::new(&Secret::value(receiver.url("/t0ken"))).unwrap()) as Arc<_>
    };
    let ends = || good.requests().iter().filter(|r| !r.path().ends_with("/start")).count();
    contracts::heartbeat_monitor(monitor(&good), monitor(&refusing), ends).await;
}

#[tokio::test]
async fn a_webhook_gets_the_body_and_its_signature() {
    let receiver = receiver([answer(200, "fine"), answer(204, "")]);
    let url = receiver.url("/hook/t0ken?x=1");

    webhook(&url, Some("k3y")).notify(&notice()).await.unwrap();
    webhook(&url, None).notify(&notice()).await.unwrap();

    let [signed, plain] = receiver.requests().try_into().unwrap();
    assert_eq!((&*signed.method, &*signed.target), ("POST", "/hook/t0ken?x=1"));
    assert_eq!(signed.body, serde_json::to_vec(&notice().webhook_body()).unwrap());
    assert!(signed.body.starts_with(b"{\"event\":\"daily_summary\",\"project\":null,\"text\":"));
    assert_eq!(signed.header("content-type"), Some("application/json"));
    let agent = signed.header("user-agent").unwrap();
    assert!(agent.starts_with("backupctl/"), "{agent}");
    assert_eq!(signed.header("x-backupctl-signature").unwrap(), sign(b"k3y", &signed.body));
    assert_eq!(plain.header("x-backupctl-signature"), None);
}

/// RFC 2104, by hand.
fn sign(key: &[u8], body: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    let pad = |with: u8| -> Vec<u8> {
        (0..64).map(|i| key.get(i).copied().unwrap_or_default() ^ with).collect()
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(body).finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    outer.iter().fold("sha256=".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

#[tokio::test]
async fn a_webhook_is_tried_twice_with_a_pause() {
    let receiver = receiver([answer(503, "later")]);
    let clock = clock();
    let hook = Webhook::new(&Secret::value(receiver.url("/")), None, clock.clone()).unwrap();

    hook.notify(&notice()).await.unwrap();

    let [first, second] = receiver.requests().try_into().unwrap();
    assert_eq!(first.body, second.body);
    assert_eq!(clock.sleeps().len(), 1);
}

#[tokio::test]
async fn what_the_other_side_refuses_is_undelivered_and_keeps_its_address_secret() {
    let elsewhere = vec![("location".to_owned(), "/elsewhere".to_owned())];
    for (first, status) in [
        (answer(500, "t0ken"), "500"),
        (answer(404, "t0ken"), "404"),
        (Reply::Full(302, elsewhere, String::new()), "302"),
    ] {
        let receiver = receiver([first.clone(), first]);
        let hook = webhook(&receiver.url("/hook/t0ken"), Some("k3y"));

        let failure = hook.notify(&notice()).await.unwrap_err();

        assert_eq!(failure.code, ErrorCode::NotifyFailed);
        assert!(failure.is_transient());
        assert!(failure.message.contains(status), "{failure}");
        assert!(failure.message.contains(&format!("127.0.0.1:{}", receiver.port())), "{failure}");
        assert_hides(&failure, "t0ken");
        assert_hides(&failure, "k3y");
        assert_eq!(receiver.requests().len(), 2, "no redirect is followed, no third try made");
    }
}

#[tokio::test]
async fn a_webhook_that_says_nothing_or_is_not_there_is_given_up() {
    let receiver = receiver([Reply::Hang, Reply::Hang]);
    let hook = webhook(&receiver.url("/t0ken"), None).with_timeout(Duration::from_millis(200));
    let failure = hook.notify(&notice()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::NotifyFailed);
    assert!(failure.message.contains("no answer within 0.2 s"), "{failure}");
    assert_hides(&failure, "t0ken");

    let hook = webhook(&format!("http://u:passw0rd@127.0.0.1:{}/t0ken", free_port()), None);
    let failure = hook.notify(&notice()).await.unwrap_err();
    assert!(failure.message.to_lowercase().contains("refused"), "{failure}");
    assert_hides(&failure, "t0ken");
    assert_hides(&failure, "passw0rd");
}

#[tokio::test]
async fn a_server_without_tls_is_not_spoken_to_in_the_clear() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = std::thread::spawn(move || {
        let mut heard = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut hello = [0; 5];
            stream.read_exact(&mut hello).unwrap();
            heard.push(hello[0]);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        }
        heard
    });
    let hook = webhook(&format!("https://127.0.0.1:{port}/t0ken"), None);

    let failure = hook.notify(&notice()).await.unwrap_err();

    assert_eq!(failure.code, ErrorCode::NotifyFailed);
    assert_hides(&failure, "t0ken");
    // 22 begins a TLS handshake.
    assert_eq!(heard.join().unwrap(), [22, 22]);
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_told_by_the_check() {
    webhook("https://example.org/t0ken", None).check().await.unwrap();
    for url in ["", "t0ken", "ftp://example.org/t0ken", "http://", "http://t0ken:x/"] {
        let hook = webhook(url, None);
        let Err(failure) = hook.check().await else {
            panic!("{url} was taken");
        };
        assert_eq!(failure.code, ErrorCode::NotifyFailed);
        assert!(!failure.is_transient());
        assert_hides(&failure, "t0ken");
        assert_eq!(hook.notify(&notice()).await.unwrap_err(), failure);
    }
}

#[tokio::test]
async fn uptime_kuma_gets_status_message_and_milliseconds() {
    let receiver = receiver([]);
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
        (answer(404, "{\"ok\":false,\"msg\":\"no t0ken here\"}"), "no *** here"),
        (answer(200, "{\"ok\":false,\"msg\":\"not active\"}"), "not active"),
        (answer(502, "<html>t0ken"), "502"),
        (Reply::Hang, "no answer"),
    ] {
        let receiver = receiver([reply]);
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
    let receiver = receiver([]);
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
        (answer(200, "OK (not found)"), "no such check"),
        (answer(400, ""), "400"),
        (Reply::Hang, "no answer"),
    ] {
        let receiver = receiver([reply]);
        let monitor = Healthchecks::new(&Secret::value(receiver.url("/t0ken"))).unwrap();
        let monitor = monitor.with_timeout(Duration::from_millis(200));

        let failure = monitor.send(&up("x")).await.unwrap_err();

        assert_eq!(failure.code, ErrorCode::HeartbeatFailed);
        assert!(failure.message.contains(words), "{failure}");
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
