//! E-mail, against a real conversation.

use std::sync::Arc;
use std::time::Duration;

use backupctl_adapter_notify::Email;
use backupctl_application::ports::Notifier;
use backupctl_domain::project::{EmailChannel, SmtpSecurity};
use backupctl_domain::{ErrorCode, Failure, Secret};
use backupctl_testkit::contracts;
use backupctl_testkit::services::{Mail, SmtpFault, SmtpSink, SmtpStep, SmtpTls};

use super::{assert_hides, clock, failure_notice, summary};

fn settings(sink: &SmtpSink, security: SmtpSecurity) -> EmailChannel {
    EmailChannel {
        host: sink.host(),
        port: sink.port(),
        security,
        from: "Backup <backup@example.org>".to_owned(),
        to: vec!["ops@example.org".to_owned(), "Dev Team <dev@example.com>".to_owned()],
        user: None,
        password: None,
    }
}

fn with_login(mut channel: EmailChannel, password: &str) -> EmailChannel {
    channel.user = Some("mailer".to_owned());
    channel.password = Some(Secret::value(password));
    channel
}

/// A channel that trusts the sink.
fn email(sink: &SmtpSink, channel: &EmailChannel) -> Email {
    let email = Email::new(channel, clock()).unwrap();
    email.with_authority(sink.authority().as_bytes()).unwrap()
}

fn plain(sink: &SmtpSink) -> Email {
    email(sink, &settings(sink, SmtpSecurity::None))
}

async fn fails(email: &Email) -> Failure {
    let failure = email.notify(&summary()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::NotifyFailed);
    assert!(failure.is_transient(), "it is kept and sent again");
    assert!(!failure.remedy.is_empty());
    failure
}

/// The message without what differs each time.
fn redacted(mail: &Mail) -> String {
    let kind = mail.header("content-type").unwrap();
    let boundary = kind.split('"').nth(1).unwrap();
    let id = mail.header("message-id").unwrap();
    let date = mail.header("date").unwrap();
    let text = mail.text.replace(boundary, "[boundary]").replace(&id, "<[id]@example.org>");
    format!(
        "envelope: {} -> {}\n\n{}",
        mail.from,
        mail.to.join(", "),
        text.replace(&date, "[date]")
    )
}

#[tokio::test]
async fn email_keeps_the_promises_of_a_channel() {
    let (good, refusing) = (SmtpSink::start(SmtpTls::None), SmtpSink::start(SmtpTls::None));
    refusing.fail_always(SmtpStep::Message, SmtpFault::Say("554 5.7.1 spam".to_owned()));
    let (one, other) = (Arc::new(plain(&good)), Arc::new(plain(&refusing)));
    contracts::notifier(one, other, || good.mails().len()).await;
}

#[tokio::test]
async fn a_notice_is_one_message_with_the_same_words_as_text_and_html() {
    let sink = SmtpSink::start(SmtpTls::None);
    let channel = plain(&sink);

    channel.notify(&failure_notice()).await.unwrap();
    channel.notify(&summary()).await.unwrap();

    let [failed, summed] = sink.wait_for(2).try_into().unwrap();
    insta::assert_snapshot!("mail_failure", redacted(&failed));
    assert_eq!(failed.header("subject").as_deref(), failure_notice().text.lines().next());
    assert_eq!(
        failed.header("to").as_deref(),
        Some("ops@example.org, \"Dev Team\" <dev@example.com>")
    );
    assert_eq!(failed.header("date").as_deref(), Some("Wed, 18 Mar 2026 00:00:05 +0000"));
    let parts = failed.parts();
    assert_eq!(parts[0].content_type, "text/plain; charset=utf-8");
    assert_eq!(parts[0].text.trim_end(), failure_notice().text);
    assert_eq!(parts[1].content_type, "text/html; charset=utf-8");
    insta::assert_snapshot!("mail_failure_html", parts[1].text);
    assert_eq!(summed.header("x-backupctl-event").as_deref(), Some("daily_summary"));
    assert_eq!(summed.header("auto-submitted").as_deref(), Some("auto-generated"));
    assert_ne!(summed.header("message-id"), failed.header("message-id"));
    // A bare address or `localhost` is what large providers turn away.
    let greeted = sink.commands().iter().filter(|c| c.starts_with("clear: EHLO ")).count();
    assert_eq!(greeted, 2);
    assert!(!sink.commands().iter().any(|c| c.contains("localhost") || c.contains('[')));
}

#[tokio::test]
async fn starttls_and_tls_carry_login_and_message_encrypted() {
    for (tls, security) in
        [(SmtpTls::StartTls, SmtpSecurity::StartTls), (SmtpTls::Implicit, SmtpSecurity::Tls)]
    {
        let sink = SmtpSink::start(tls);
        sink.require_login("mailer", "passw0rd");

        let channel = email(&sink, &with_login(settings(&sink, security), "passw0rd"));
        channel.notify(&summary()).await.unwrap();

        let mail = &sink.wait_for(1)[0];
        assert!(mail.encrypted);
        assert_eq!(mail.user.as_deref(), Some("mailer"));
        assert_eq!(mail.from, "backup@example.org");
        assert_eq!(mail.to, ["ops@example.org", "dev@example.com"]);
        let clear: Vec<String> =
            sink.commands().into_iter().filter(|c| c.starts_with("clear: ")).collect();
        assert!(clear.iter().all(|c| c.contains("EHLO") || c.contains("STARTTLS")), "{clear:?}");
    }
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_gets_nothing() {
    for (tls, security) in
        [(SmtpTls::StartTls, SmtpSecurity::StartTls), (SmtpTls::Implicit, SmtpSecurity::Tls)]
    {
        let (sink, other) = (SmtpSink::start(tls), SmtpSink::start(tls));
        let channel = with_login(settings(&sink, security), "passw0rd");

        for trusting in [Email::new(&channel, clock()).unwrap(), email(&other, &channel)] {
            let failure = fails(&trusting).await;
            let words = "invalid peer certificate: UnknownIssuer";
            assert!(failure.message.contains(words), "{failure}");
            assert!(failure.remedy.contains("authority"), "{failure:?}");
        }
        assert!(!sink.commands().iter().any(|c| c.contains("AUTH") || c.contains("MAIL")));
    }
}

#[tokio::test]
async fn without_starttls_on_offer_nothing_goes_out_in_the_clear() {
    let sink = SmtpSink::start(SmtpTls::None);
    sink.require_login("mailer", "passw0rd");
    let channel = with_login(settings(&sink, SmtpSecurity::StartTls), "passw0rd");

    let failure = fails(&email(&sink, &channel)).await;

    assert!(failure.message.contains("STARTTLS is not offered"), "{failure}");
    assert!(failure.remedy.contains("smtp_security"), "{failure:?}");
    assert!(!sink.commands().iter().any(|c| c.contains("AUTH") || c.contains("MAIL")));
    assert_eq!(sink.connections(), 2, "two tries");
}

#[tokio::test]
async fn a_wrong_password_is_told_with_the_code_and_without_the_password() {
    for mechanism in ["AUTH PLAIN", "AUTH LOGIN"] {
        let sink = SmtpSink::start(SmtpTls::None);
        sink.require_login("mailer", "passw0rd");
        if mechanism == "AUTH LOGIN" {
            let offer = "250-sink\r\n250 AUTH LOGIN".to_owned();
            sink.fail_always(SmtpStep::Hello, SmtpFault::Say(offer));
        }
        let channel =
            |password| email(&sink, &with_login(settings(&sink, SmtpSecurity::None), password));

        let failure = fails(&channel("n0t-it")).await;

        assert!(failure.message.contains("login as mailer: 535 5.7.8"), "{failure}");
        assert!(failure.message.contains(&format!("127.0.0.1:{}", sink.port())), "{failure}");
        assert!(failure.remedy.contains("notification.config.password"), "{failure:?}");
        assert_hides(&failure, "n0t-it");
        // The forms in which it goes over the wire.
        assert_hides(&failure, "bjB0LWl0");
        assert_hides(&failure, "AG1haWxlcgBuMHQtaXQ");
        assert!(sink.commands().iter().any(|c| c.contains(mechanism)));
        channel("passw0rd").notify(&summary()).await.unwrap();
        assert_eq!(sink.wait_for(1)[0].user.as_deref(), Some("mailer"));
    }
}

#[tokio::test]
async fn a_login_that_is_not_on_offer_is_told() {
    let sink = SmtpSink::start(SmtpTls::None);
    let channel = with_login(settings(&sink, SmtpSecurity::None), "passw0rd");
    let failure = fails(&email(&sink, &channel)).await;
    assert!(failure.message.contains("neither AUTH PLAIN nor AUTH LOGIN"), "{failure}");
}

#[tokio::test]
async fn a_refused_recipient_is_named_and_nobody_gets_half_a_delivery() {
    let sink = SmtpSink::start(SmtpTls::None);
    sink.refuse_recipient("dev@example.com");

    let failure = fails(&plain(&sink)).await;

    assert!(failure.message.contains("recipient dev@example.com: 550 5.1.1"), "{failure}");
    assert!(!failure.message.contains("ops@example.org"), "{failure}");
    assert!(failure.remedy.contains("notification.config.to"), "{failure:?}");
    assert!(sink.mails().is_empty());

    sink.refuse_recipient("ops@example.org");
    let failure = fails(&plain(&sink)).await;
    assert!(failure.message.contains("ops@example.org: 550"), "{failure}");
    assert!(failure.message.contains("dev@example.com: 550"), "{failure}");
}

#[tokio::test]
async fn refusals_at_every_step_carry_the_servers_code() {
    for (step, reply, words) in [
        (SmtpStep::Greeting, "421 4.3.2 too busy", "connection: 421 4.3.2 too busy"),
        (SmtpStep::Hello, "550 5.7.1 who are you", "connection: 550 5.7.1"),
        (SmtpStep::Sender, "550 5.7.60 not yours", "sender backup@example.org: 550 5.7.60"),
        (SmtpStep::Recipient, "451 4.7.1 grey", "recipient ops@example.org: 451 4.7.1 grey"),
        (SmtpStep::Data, "452 4.3.1 disk full", "message: 452 4.3.1 disk full"),
        (SmtpStep::Message, "552 5.3.4 too big", "message: 552 5.3.4 too big"),
    ] {
        let sink = SmtpSink::start(SmtpTls::None);
        sink.fail_always(step, SmtpFault::Say(reply.to_owned()));
        let failure = fails(&plain(&sink)).await;
        assert!(failure.message.contains(words), "{step:?}: {failure}");
        assert_eq!(sink.connections(), 2, "two tries");
    }
}

#[tokio::test]
async fn a_second_try_delivers_what_the_first_could_not() {
    let sink = SmtpSink::start(SmtpTls::None);
    sink.fail_once(SmtpStep::Recipient, SmtpFault::Say("451 4.7.1 grey".to_owned()));
    plain(&sink).notify(&summary()).await.unwrap();
    assert_eq!(sink.mails().len(), 1);
}

#[tokio::test]
async fn a_message_whose_receipt_was_lost_comes_again_under_the_same_id() {
    let sink = SmtpSink::start(SmtpTls::None);
    sink.fail_once(SmtpStep::Message, SmtpFault::Close);
    plain(&sink).notify(&summary()).await.unwrap();
    let [first, second] = sink.wait_for(2).try_into().unwrap();
    assert_eq!(first.header("message-id"), second.header("message-id"));
}

#[tokio::test]
async fn a_message_that_was_taken_is_delivered_whatever_comes_after() {
    for fault in [SmtpFault::Close, SmtpFault::Say("421 4.4.2 late".to_owned()), SmtpFault::Hang] {
        let sink = SmtpSink::start(SmtpTls::None);
        sink.fail_always(SmtpStep::Quit, fault);
        plain(&sink).notify(&summary()).await.unwrap();
        assert_eq!(sink.mails().len(), 1);
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_closes_or_is_not_there_is_given_up() {
    for step in [SmtpStep::Greeting, SmtpStep::Hello, SmtpStep::Sender, SmtpStep::Message] {
        let sink = SmtpSink::start(SmtpTls::None);
        sink.fail_always(step, SmtpFault::Hang);
        let failure = fails(&plain(&sink).with_timeout(Duration::from_millis(200))).await;
        assert!(failure.message.contains("no answer within 0.2 s"), "{failure}");
        assert_eq!(sink.connections(), 2, "two tries");
    }
    let sink = SmtpSink::start(SmtpTls::None);
    sink.fail_always(SmtpStep::Greeting, SmtpFault::Close);
    let failure = fails(&plain(&sink)).await;
    assert!(failure.message.contains("connection: closed by the server"), "{failure}");

    let channel = plain(&sink);
    drop(sink);
    let failure = fails(&channel).await;
    assert!(failure.message.to_lowercase().contains("refused"), "{failure}");
}

#[tokio::test]
async fn tls_against_a_plain_port_fails_within_the_time_limit() {
    let sink = SmtpSink::start(SmtpTls::None);
    let channel = email(&sink, &settings(&sink, SmtpSecurity::Tls));
    let failure = fails(&channel.with_timeout(Duration::from_secs(5))).await;
    assert!(failure.remedy.contains("smtp_security"), "{failure:?}");
    assert!(sink.mails().is_empty());
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_told_by_the_check() {
    type Change = fn(&mut EmailChannel);
    let sink = SmtpSink::start(SmtpTls::None);
    plain(&sink).check().await.unwrap();
    let broken: [(&str, Change); 5] = [
        ("smtp_host", |c| c.host = " ".to_owned()),
        ("from", |c| c.from = "nobody".to_owned()),
        ("to", |c| c.to.push("dev@".to_owned())),
        ("to", |c| c.to.clear()),
        ("user", |c| c.password = Some(Secret::value("passw0rd"))),
    ];
    for (key, break_it) in broken {
        let mut channel = settings(&sink, SmtpSecurity::None);
        break_it(&mut channel);
        let channel = email(&sink, &channel);
        let failure = channel.check().await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::NotifyFailed);
        assert!(!failure.is_transient());
        assert!(failure.remedy.contains(&format!("notification.config.{key}`")), "{failure:?}");
        assert_hides(&failure, "passw0rd");
        assert_eq!(channel.notify(&summary()).await.unwrap_err(), failure);
    }
    assert_eq!(sink.connections(), 0);
}

#[tokio::test]
async fn a_look_at_the_server_logs_in_and_sends_nothing() {
    let sink = SmtpSink::start(SmtpTls::None);
    sink.require_login("mailer", "passw0rd");
    let channel =
        |password| email(&sink, &with_login(settings(&sink, SmtpSecurity::None), password));
    channel("passw0rd").reach().await.unwrap();
    let refused = channel("wrong-one").reach().await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotifyFailed);
    assert!(refused.message.contains("login as mailer: 535"), "{refused}");
    assert!(!refused.message.contains("wrong-one"), "{refused}");
    assert_eq!(sink.mails().len(), 0);

    let mut gone = settings(&sink, SmtpSecurity::None);
    gone.port = backupctl_testkit::services::free_port();
    let refused = email(&sink, &gone).reach().await.unwrap_err();
    assert!(refused.message.contains(&gone.port.to_string()), "{refused}");
}
