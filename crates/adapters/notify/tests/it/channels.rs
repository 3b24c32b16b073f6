//! Several channels of one project, of which one is down.

use std::sync::Arc;

use backupctl_adapter_notify::{Email, Slack, Webhook};
use backupctl_application::World;
use backupctl_application::context::Observer;
use backupctl_application::ports::{Clock, ConfigLoader};
use backupctl_application::registry::NotifierRegistry;
use backupctl_application::use_cases::{RecoverStartup, RunBackup, RunOutcome, RunRequest};
use backupctl_domain::project::{Channel, EmailChannel, SmtpSecurity};
use backupctl_domain::{Failure, RunStatus, Secret, Trigger};
use backupctl_testkit::services::{
    HttpReceiver, Reply, Request, SmtpFault, SmtpSink, SmtpStep, SmtpTls,
};
use backupctl_testkit::{TestBench, project};

/// The bench's world, with real channels.
fn world(bench: &TestBench) -> Arc<World> {
    let clock: Arc<dyn Clock> = bench.clock.clone();
    let [slack, email, webhook] = [(); 3].map(|()| Arc::clone(&clock));
    let other = |channel: &Channel| Failure::internal(channel.kind());
    let mut world = Arc::into_inner(bench.world()).unwrap();
    world.registries.notifiers = NotifierRegistry::new("notification.type")
        .with("slack", move |_, channel| match channel {
            Channel::Slack { webhook_url } => {
                Ok(Arc::new(Slack::new(webhook_url, Arc::clone(&slack))?))
            }
            channel => Err(other(channel)),
        })
        .with("email", move |_, channel| match channel {
            Channel::Email(mail) => Ok(Arc::new(Email::new(mail, Arc::clone(&email))?)),
            channel => Err(other(channel)),
        })
        .with("webhook", move |_, channel| match channel {
            Channel::Webhook { url, secret } => {
                Ok(Arc::new(Webhook::new(url, secret.as_ref(), Arc::clone(&webhook))?))
            }
            channel => Err(other(channel)),
        });
    Arc::new(world)
}

fn first_lines(requests: &[Request]) -> Vec<String> {
    let text = |r: &Request| serde_json::from_slice::<serde_json::Value>(&r.body).unwrap();
    let line = |r| text(r)["text"].as_str().unwrap().lines().next().unwrap().to_owned();
    requests.iter().map(line).collect()
}

#[tokio::test]
async fn one_of_three_channels_is_down_and_hears_later_and_once() {
    let bench = TestBench::new();
    let (slack, hook) = (HttpReceiver::start(), HttpReceiver::start());
    slack.reply_always(Reply::Status(200, "ok".to_owned()));
    let sink = SmtpSink::start(SmtpTls::None);
    // Two notices, two tries each.
    for _ in 0..4 {
        sink.fail_once(SmtpStep::Greeting, SmtpFault::Say("421 4.3.2 going down".to_owned()));
    }
    let mail = EmailChannel {
        host: sink.host(),
        port: sink.port(),
        security: SmtpSecurity::None,
        from: "backup@example.org".to_owned(),
        to: vec!["ops@example.org".to_owned()],
        user: None,
        password: None,
    };
    let shop = project("shop")
        .channel(Channel::Slack { webhook_url: Secret::value(slack.url("/services/t0ken")) })
        .channel(Channel::Email(mail))
        .channel(Channel::Webhook { url: Secret::value(hook.url("/")), secret: None })
        .build();
    bench.config.set_projects([shop.clone()]);

    let request = RunRequest {
        project: shop,
        trigger: Trigger::Manual,
        due_at: None,
        wait: false,
        cancel: bench.cancel.clone(),
        observer: Arc::clone(&bench.observer) as Arc<dyn Observer>,
    };
    let outcome = RunBackup::new(world(&bench)).execute(request).await.unwrap();

    let RunOutcome::Finished(run) = outcome else { panic!("{outcome:?}") };
    assert_eq!(run.status, RunStatus::Success);
    let told = ["🔄 Backup started for shop", "✅ Backup completed for shop"];
    assert_eq!(first_lines(&slack.requests()), told);
    assert_eq!(first_lines(&hook.requests()), told);
    assert!(sink.mails().is_empty());
    assert_eq!(bench.fallback.entries().len(), 2);

    let config: Arc<dyn ConfigLoader> = bench.config.clone();
    let entries = config.load().await.unwrap().projects;
    for _ in 0..2 {
        let recovery = RecoverStartup::new(world(&bench), Arc::clone(&config), None);
        recovery.execute(&entries, &bench.cancel).await;
    }

    let mails = sink.mails();
    let subjects: Vec<_> = mails.iter().filter_map(|m| m.header("subject")).collect();
    assert_eq!(subjects, told);
    for mail in &mails {
        assert!(mail.parts()[0].text.contains("\nDelayed: from 2026-03-18 00:00:"));
    }
    assert_eq!((slack.requests().len(), hook.requests().len()), (2, 2));
    assert!(bench.fallback.entries().is_empty());
}
