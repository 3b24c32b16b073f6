//! What is sent over HTTP, to the byte, and what becomes of bad answers.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use backupctl_adapter_notify::{Healthchecks, UptimeKuma, Webhook};
use backupctl_application::ports::{Clock, Heartbeat, HeartbeatMonitor, Notifier};
use backupctl_domain::notice::{DayResult, SummaryEntry};
use backupctl_domain::{ErrorCode, Failure, Notice, ProjectName, Secret};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// One request as it came.
#[derive(Debug, Clone)]
struct Request {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Answers each request with the next of its answers and keeps what came. An empty answer is none:
/// the connection stays open and silent.
struct Receiver {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Receiver {
    fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        let answers: Vec<String> = answers.iter().map(ToString::to_string).collect();
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let request = read(&stream);
                kept.lock().unwrap().push(request);
                if answer.is_empty() {
                    silent.push(stream);
                } else {
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
            // Nobody listens from here on; the silent ones stay silent to the end of the process.
            drop(listener);
            std::thread::park();
        });
        Self { port, requests }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    fn lines(&self) -> Vec<String> {
        self.requests().into_iter().map(|r| r.line).collect()
    }
}

fn read(stream: &TcpStream) -> Request {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .map(|l| l.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(n, _)| n == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, v)| v.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    Request { line: lines[0].clone(), headers, body }
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// Waits for nobody and keeps how long it was asked to.
#[derive(Default)]
struct NoWait(Mutex<Vec<Duration>>);

#[async_trait]
impl Clock for NoWait {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn system_time_zone(&self) -> TimeZone {
        TimeZone::UTC
    }

    async fn sleep(&self, duration: Duration) {
        self.0.lock().unwrap().push(duration);
    }
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
    Webhook::new(&Secret::value(url), secret.as_ref(), Arc::new(NoWait::default())).unwrap()
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

#[tokio::test]
async fn a_webhook_gets_the_body_and_its_signature() {
    let receiver = Receiver::start(&[&answer("200 OK", "fine"), &answer("204 No Content", "")]);
    let url = receiver.url("/hook/t0ken?x=1");

    webhook(&url, Some("k3y")).notify(&notice()).await.unwrap();
    webhook(&url, None).notify(&notice()).await.unwrap();

    let [signed, plain] = receiver.requests().try_into().unwrap();
    assert_eq!(signed.line, "POST /hook/t0ken?x=1 HTTP/1.1");
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
    let receiver = Receiver::start(&[&answer("503 Busy", "later"), &answer("200 OK", "")]);
    let clock = Arc::new(NoWait::default());
    let hook = Webhook::new(&Secret::value(receiver.url("/")), None, clock.clone()).unwrap();

    hook.notify(&notice()).await.unwrap();

    let [first, second] = receiver.requests().try_into().unwrap();
    assert_eq!(first.body, second.body);
    assert_eq!(clock.0.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn what_the_other_side_refuses_is_undelivered_and_keeps_its_address_secret() {
    let moved = "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\
                 Connection: close\r\n\r\n";
    for (first, status) in [
        (answer("500 Internal Server Error", "t0ken"), "500"),
        (answer("404 Not Found", "t0ken"), "404"),
        (moved.to_owned(), "302"),
    ] {
        let receiver = Receiver::start(&[&first, &first, &answer("200 OK", "")]);
        let hook = webhook(&receiver.url("/hook/t0ken"), Some("k3y"));

        let failure = hook.notify(&notice()).await.unwrap_err();

        assert_eq!(failure.code, ErrorCode::NotifyFailed);
        assert!(failure.is_transient());
        assert!(failure.message.contains(status), "{failure}");
        assert!(failure.message.contains(&format!("127.0.0.1:{}", receiver.port)), "{failure}");
        assert_hides(&failure, "t0ken");
        assert_hides(&failure, "k3y");
        assert_eq!(receiver.requests().len(), 2, "no redirect is followed, no third try made");
    }
}

#[tokio::test]
async fn a_webhook_that_says_nothing_or_is_not_there_is_given_up() {
    let receiver = Receiver::start(&["", ""]);
    let hook = webhook(&receiver.url("/t0ken"), None).with_timeout(Duration::from_millis(200));
    let failure = hook.notify(&notice()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::NotifyFailed);
    assert!(failure.message.contains("no answer within 0.2 s"), "{failure}");
    assert_hides(&failure, "t0ken");

    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let hook = webhook(&format!("http://u:passw0rd@127.0.0.1:{port}/t0ken"), None);
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
    let good = answer("200 OK", "{\"ok\":true}");
    let receiver = Receiver::start(&[&good, &good, &good]);
    let token = Secret::value("t0ken");
    let kuma = UptimeKuma::new(&receiver.url("/kuma/"), &token).unwrap();

    kuma.send(&Heartbeat::Start).await.unwrap();
    kuma.send(&up("OK: a+b & c")).await.unwrap();
    kuma.send(&down(&"é".repeat(250))).await.unwrap();
    let root = UptimeKuma::new(&receiver.url(""), &token).unwrap();
    root.send(&up("")).await.unwrap();

    let long = "%C3%A9".repeat(200);
    assert_eq!(
        receiver.lines(),
        [
            "GET /kuma/api/push/t0ken?status=up&msg=OK%3A%20a%2Bb%20%26%20c&ping=79123 HTTP/1.1",
            &format!("GET /kuma/api/push/t0ken?status=down&msg={long}&ping=1500 HTTP/1.1"),
            "GET /api/push/t0ken?status=up&msg=&ping=79123 HTTP/1.1",
        ]
    );
}

#[tokio::test]
async fn a_heartbeat_that_uptime_kuma_does_not_take_is_a_failure() {
    for (reply, words) in [
        (answer("404 Not Found", "{\"ok\":false,\"msg\":\"no t0ken here\"}"), "no *** here"),
        (answer("200 OK", "{\"ok\":false,\"msg\":\"not active\"}"), "not active"),
        (answer("502 Bad Gateway", "<html>t0ken"), "502"),
        (String::new(), "no answer"),
    ] {
        let receiver = Receiver::start(&[&reply]);
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
    let good = answer("200 OK", "OK");
    let receiver = Receiver::start(&[&good, &good, &good]);
    let ping = Secret::value(receiver.url("/ping/t0ken?rid=1"));
    let monitor = Healthchecks::new(&ping).unwrap();

    monitor.send(&Heartbeat::Start).await.unwrap();
    monitor.send(&up("fine")).await.unwrap();
    monitor.send(&down("Dump: refused")).await.unwrap();

    assert_eq!(
        receiver.lines(),
        [
            "GET /ping/t0ken/start?rid=1 HTTP/1.1",
            "GET /ping/t0ken?rid=1 HTTP/1.1",
            "POST /ping/t0ken/fail?rid=1 HTTP/1.1",
        ]
    );
    assert_eq!(receiver.requests()[2].body, b"Dump: refused");
}

#[tokio::test]
async fn a_ping_that_nobody_takes_is_a_failure() {
    for (reply, words) in [
        (answer("200 OK", "OK (not found)"), "no such check"),
        (answer("400 Bad Request", ""), "400"),
        (String::new(), "no answer"),
    ] {
        let receiver = Receiver::start(&[&reply]);
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
