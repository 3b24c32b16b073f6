//! The generic webhook.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use backupctl_adapter_notify::Webhook;
use backupctl_application::ports::Notifier;
use backupctl_domain::{ErrorCode, Secret};
use backupctl_testkit::contracts;
use backupctl_testkit::services::{HttpReceiver, Reply};

use super::{assert_hides, clock, lines, nowhere, summary as notice};

fn webhook(url: &str, secret: Option<&str>) -> Webhook {
    let secret = secret.map(Secret::value);
    Webhook::new(&Secret::value(url), secret.as_ref(), clock()).unwrap()
}

#[tokio::test]
async fn a_webhook_keeps_the_promises_of_a_channel() {
    let (good, refusing) = (HttpReceiver::start(), HttpReceiver::start());
    refusing.reply_always(Reply::status(500));
    let channel = |at: &HttpReceiver| Arc::new(webhook(&at.url("/hook"), None));
    let received = || good.requests().iter().filter(|r| r.method == "POST").count();
    contracts::notifier(channel(&good), channel(&refusing), received).await;
    let looked = good.requests().into_iter().find(|r| r.method == "GET").unwrap();
    assert_eq!(looked.path(), "/", "the server alone is asked, not the address that counts");
}

#[tokio::test]
async fn a_webhook_gets_the_body_and_its_signature() {
    let receiver = HttpReceiver::start();
    receiver.reply_once(Reply::Status(200, "fine".to_owned()));
    receiver.reply_once(Reply::status(204));
    let url = receiver.url("/hook/t0ken?x=1");

    webhook(&url, Some("k3y")).notify(&notice()).await.unwrap();
    webhook(&url, None).notify(&notice()).await.unwrap();

    let [signed, plain] = receiver.requests().try_into().unwrap();
    assert_eq!(lines(&receiver)[0], "POST /hook/t0ken?x=1");
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
    let receiver = HttpReceiver::start();
    receiver.reply_once(Reply::Status(503, "later".to_owned()));
    let clock = clock();
    let hook = Webhook::new(&Secret::value(receiver.url("/")), None, clock.clone()).unwrap();

    hook.notify(&notice()).await.unwrap();

    let [first, second] = receiver.requests().try_into().unwrap();
    assert_eq!(first.body, second.body);
    assert_eq!(clock.sleeps(), [Duration::from_secs(1)]);
}

#[tokio::test]
async fn what_the_other_side_refuses_is_undelivered_and_keeps_its_address_secret() {
    let elsewhere = vec![("location".to_owned(), "/elsewhere".to_owned())];
    for (first, status) in [
        (Reply::Status(500, "t0ken".to_owned()), "500"),
        (Reply::Status(404, "t0ken".to_owned()), "404"),
        (Reply::Full(302, elsewhere, String::new()), "302"),
    ] {
        let receiver = HttpReceiver::start();
        receiver.reply_once(first.clone());
        receiver.reply_once(first);
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
    let receiver = HttpReceiver::start();
    receiver.reply_always(Reply::Hang);
    let hook = webhook(&receiver.url("/t0ken"), None).with_timeout(Duration::from_millis(200));
    let failure = hook.notify(&notice()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::NotifyFailed);
    assert!(failure.message.contains("no answer within 0.2 s"), "{failure}");
    assert_hides(&failure, "t0ken");

    let hook = webhook(&format!("http://u:passw0rd@{}/t0ken", nowhere()), None);
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
async fn a_server_that_does_not_answer_is_told_without_the_address() {
    let hook = webhook(&format!("http://u:passw0rd@{}/t0ken", nowhere()), None);
    hook.check().await.unwrap();
    let failure = hook.reach().await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::NotifyFailed);
    assert!(failure.message.contains("127.0.0.1"), "{failure}");
    assert_hides(&failure, "t0ken");
    assert_hides(&failure, "passw0rd");
}
