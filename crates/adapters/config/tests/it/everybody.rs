//! The channels of everybody: the file's own and the environment's, read once, their mistakes told once.

use backupctl_domain::project::Channel;

use crate::Site;

const TWO: &str = "projects:\n  - {name: one, restic: {repository: /r, password: x}}\n  - name: two\n    \
                   restic: {repository: /s, password: x}\n";

fn urls(channels: &[Channel]) -> Vec<String> {
    let url = |channel: &Channel| match channel {
        Channel::Slack { webhook_url: url } | Channel::Webhook { url, .. } => {
            url.expose().unwrap().to_owned()
        }
        Channel::Email(mail) => mail.host.clone(),
    };
    channels.iter().map(url).collect()
}

async fn global(site: &Site) -> Vec<String> {
    let config = site.load().await;
    assert!(config.issues().is_empty(), "{}", site.told(config.issues()));
    urls(&config.global.unwrap().notifications)
}

#[tokio::test]
async fn they_are_those_of_a_project_without_its_own() {
    let top = "notification: {type: slack, config: {webhook_url: 'https://file'}}\n";
    assert_eq!(global(&Site::new(TWO)).await, Vec::<String>::new());
    assert_eq!(global(&Site::new(&format!("{top}{TWO}"))).await, ["https://file"]);
    let several = "notification:\n  - {type: webhook, config: {url: 'https://one'}}\n  - {type: slack, \
                   config: {webhook_url: 'https://two'}}\n";
    assert_eq!(
        global(&Site::new(&format!("{several}{TWO}"))).await,
        ["https://one", "https://two"]
    );
    let site = Site::new(&format!("{top}{TWO}")).var("SLACK_WEBHOOK_URL", "https://env");
    assert_eq!(global(&site).await, ["https://env"]);
    let site = Site::new(TWO).var("NOTIFICATION_TYPE", "email,webhook").var("SMTP_HOST", "mail");
    let site = site.var("SMTP_TO", "a@h").var("SMTP_FROM", "b@h").var("WEBHOOK_URL", "https://h");
    assert_eq!(global(&site).await, ["mail", "https://h"]);
    let projects = site.load().await.projects;
    assert_eq!(urls(&projects[0].project.as_ref().unwrap().notifications), ["mail", "https://h"]);
}

#[tokio::test]
async fn a_project_s_own_channels_and_those_of_defaults_are_not_everybody_s() {
    let defaults = "defaults: {notification: {type: slack, config: {webhook_url: 'https://d'}}}\n";
    let site = Site::new(&format!("{defaults}{TWO}"));
    assert_eq!(global(&site).await, Vec::<String>::new());
    let own =
        Site::project("    notification: {type: slack, config: {webhook_url: 'https://own'}}\n");
    assert_eq!(global(&own).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_mistake_is_told_once_and_every_project_without_its_own_fails_by_it() {
    let own = "  - name: own\n    restic: {repository: /t, password: x}\n    notification: {type: \
               webhook, config: {url: 'https://own'}}\n";
    let site =
        Site::new(&format!("notification: {{type: slack, config: {{chanel: x}}}}\n{TWO}{own}"));
    let config = site.load().await;
    let good: Vec<bool> = config.projects.iter().map(|p| p.project.is_ok()).collect();
    assert_eq!(good, [false, false, true]);
    assert!(config.global.is_ok(), "the others still run");
    let told = site.told(config.issues());
    assert_eq!(told.lines().count(), 2, "{told}");
    assert_eq!(told.matches("[-] notification.config").count(), 2, "{told}");
    assert!(config.warnings.is_empty(), "{}", site.told(&config.warnings));
}

#[tokio::test]
async fn a_mistake_that_no_project_fails_by_is_a_warning() {
    let site = Site::new(
        "notification: {type: slack}\nprojects:\n  - name: own\n    restic: {repository: /t, \
         password: x}\n    notification: {type: webhook, config: {url: 'https://own'}}\n",
    );
    let config = site.load().await;
    assert!(config.issues().is_empty());
    assert!(config.global.unwrap().notifications.is_empty());
    let warned = site.told(&config.warnings);
    assert_eq!(warned.lines().count(), 1, "{warned}");
    assert!(warned.contains("the daily summary does without it"), "{warned}");
}

#[tokio::test]
async fn a_warning_of_them_is_told_once() {
    let left_over =
        "notification: {type: slack, config: {webhook_url: 'https://h', smtp_host: x}}\n";
    let warned = Site::new(&format!("{left_over}{TWO}")).warnings().await;
    assert_eq!(warned.lines().count(), 1, "{warned}");
}
