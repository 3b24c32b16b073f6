//! Slack's incoming webhook.

use std::sync::Arc;
use std::time::Duration;

use backupctl_adapter_notify::Slack;
use backupctl_application::ports::Notifier;
use backupctl_domain::{ErrorCode, Secret};
use backupctl_testkit::contracts;
use backupctl_testkit::services::{HttpReceiver, Reply};
use serde_json::Value;

use super::{assert_hides, clock, failure_notice, lines, nowhere, summary};

const PATH: &str = "/services/T00/B00/t0ken";

/// An endpoint that answers as Slack does.
fn slack_server() -> HttpReceiver {
    let receiver = HttpReceiver::start();
    receiver.reply_always(Reply::Status(200, "ok".to_owned()));
    receiver
}

fn slack(url: &str) -> Slack {
    Slack::new(&Secret::value(url), clock()).unwrap()
}

#[tokio::test]
async fn servers_that_take_slacks_messages_and_say_nothing_or_json_have_taken_them() {
    for body in ["", "{\"success\":true}"] {
        let receiver = HttpReceiver::start();
        receiver.reply_always(Reply::Status(200, body.to_owned()));
        slack(&receiver.url(PATH)).notify(&summary()).await.unwrap();
        assert_eq!(receiver.requests().len(), 1, "{body:?}");
    }
}

#[tokio::test]
async fn slack_keeps_the_promises_of_a_channel() {
    let (good, refusing) = (slack_server(), slack_server());
    refusing.reply_always(Reply::Status(404, "no_service".to_owned()));
    let channel = |at: &HttpReceiver| Arc::new(slack(&at.url(PATH)));
    let received = || good.requests().iter().filter(|r| r.method == "POST").count();
    contracts::notifier(channel(&good), channel(&refusing), received).await;
    let looked = good.requests().into_iter().find(|r| r.method == "GET").unwrap();
    assert_eq!(looked.path(), "/", "the server alone is asked, not the address that counts");
}

#[tokio::test]
async fn slack_gets_the_notices_words_as_text_and_as_blocks() {
    let receiver = slack_server();
    let channel = slack(&receiver.url(PATH));

    channel.notify(&summary()).await.unwrap();
    channel.notify(&failure_notice()).await.unwrap();

    assert_eq!(lines(&receiver), [format!("POST {PATH}"), format!("POST {PATH}")]);
    let requests = receiver.requests();
    assert_eq!(requests[0].header("content-type"), Some("application/json"));
    let body = |n: usize| serde_json::from_slice::<Value>(&requests[n].body).unwrap();
    insta::assert_json_snapshot!("slack_summary", body(0));
    insta::assert_json_snapshot!("slack_failure", body(1));
}

#[tokio::test]
async fn what_slack_refuses_is_undelivered_with_its_word_and_without_the_address() {
    for (reply, words) in [
        (Reply::Status(400, "invalid_payload".to_owned()), "400 Bad Request: invalid_payload"),
        (Reply::Status(404, "no_service".to_owned()), "404 Not Found: no_service"),
        (Reply::Status(410, "channel_is_archived\n".to_owned()), "410 Gone: channel_is_archived"),
        (Reply::Status(200, "no_text".to_owned()), "200 OK: no_text"),
        (Reply::Status(200, "<html>t0ken".to_owned()), "200 OK, which is not Slack's ok"),
        (Reply::Status(502, "services".to_owned()), "502 Bad Gateway, which"),
        (Reply::Status(500, "ok".to_owned()), "500 Internal Server Error: ok"),
        (Reply::Hang, "no answer within 0.2 s"),
    ] {
        let receiver = slack_server();
        receiver.reply_always(reply);
        let channel = slack(&receiver.url(PATH)).with_timeout(Duration::from_millis(200));

        let failure = channel.notify(&summary()).await.unwrap_err();

        assert_eq!(failure.code, ErrorCode::NotifyFailed);
        assert!(failure.message.contains(words), "{failure}");
        assert!(failure.message.contains(&receiver.port().to_string()), "{failure}");
        assert_hides(&failure, "t0ken");
        assert_hides(&failure, "T00");
        assert_eq!(receiver.requests().len(), 2, "two tries");
    }
}

#[tokio::test]
async fn a_second_try_delivers_what_the_first_could_not() {
    let receiver = slack_server();
    receiver.reply_once(Reply::Status(429, "rate_limited".to_owned()));
    slack(&receiver.url(PATH)).notify(&summary()).await.unwrap();
    assert_eq!(receiver.requests().len(), 2);

    let failure = slack(&format!("http://{}{PATH}", nowhere())).notify(&summary()).await;
    let failure = failure.unwrap_err();
    assert!(failure.message.to_lowercase().contains("refused"), "{failure}");
    assert_hides(&failure, "t0ken");
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_told_by_the_check() {
    slack("https://hooks.slack.com/services/T00/B00/t0ken").check().await.unwrap();
    let channel = slack("hooks.slack.com/services/t0ken");
    let failure = channel.check().await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::NotifyFailed);
    assert!(!failure.is_transient());
    assert!(failure.remedy.contains("notification.config.webhook_url"), "{failure:?}");
    assert_hides(&failure, "t0ken");
    assert_eq!(channel.notify(&summary()).await.unwrap_err(), failure);
}
