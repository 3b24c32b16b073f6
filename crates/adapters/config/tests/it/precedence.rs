//! Project over environment over the file's globals and defaults over built-in values.

use std::time::Duration;

use backupctl_application::ports::GlobalSettings;
use backupctl_domain::destination::HostKeyCheck;
use backupctl_domain::project::{Channel, EmailChannel, EncryptionType, Monitor, SmtpSecurity};
use backupctl_domain::retention::KeepPolicy;

use crate::{Site, restic};

const LAYERS: &str = "
retry: {count: 1}
restic: {password: global}
defaults:
  restic: {password: defaults, repository: /defaults}
projects:
  - name: p
    restic: {password: own}
";

async fn global(site: &Site) -> GlobalSettings {
    let config = site.load().await;
    assert!(config.global.is_ok(), "{}", site.told(config.issues()));
    config.global.unwrap()
}

async fn password(site: &Site) -> String {
    restic(&site.only().await).password.expose().unwrap().to_owned()
}

#[tokio::test]
async fn each_layer_wins_over_the_one_below() {
    let site = Site::new(LAYERS);
    assert_eq!(password(&site).await, "own");
    let without_own = LAYERS.replace("restic: {password: own}", "");
    assert_eq!(password(&Site::new(&without_own)).await, "defaults");
    let site = Site::new(&without_own).dotenv("RESTIC_PASSWORD=dotenv\n");
    assert_eq!(password(&site).await, "dotenv");
    let site = site.var("RESTIC_PASSWORD", "process");
    assert_eq!(password(&site).await, "process");
    let site = site.var("RESTIC_PASSWORD", "");
    assert_eq!(password(&site).await, "dotenv");
    let site = Site::new(&without_own.replace("password: defaults, ", ""));
    assert_eq!(password(&site).await, "global");
    assert_eq!(password(&Site::new(LAYERS).var("RESTIC_PASSWORD", "x")).await, "own");
}

#[tokio::test]
async fn the_strongest_layers_form_of_a_secret_and_kind_of_destination_hold() {
    let site = Site::new(&LAYERS.replace("password: own", "password_command: echo own"));
    let site = site.var("RESTIC_PASSWORD", "x");
    let project = site.only().await;
    assert!(
        matches!(&restic(&project).password, backupctl_domain::Secret::Command(c) if c == "echo own")
    );

    let site = Site::new(&LAYERS.replace("password: own", "repository_path: own"));
    let project = site.var("SSH_HOST", "h").only().await;
    assert_eq!(restic(&project).repository, "sftp:h:own");
}

#[tokio::test]
async fn global_keys_come_from_defaults_file_and_environment() {
    let site = Site::project("");
    let g = global(&site).await;
    let state = site.path().join("home/.local/state/backupctl");
    assert_eq!(g.base_dir, state);
    assert_eq!(g.audit_url.expose().unwrap(), format!("sqlite://{}/audit.db", state.display()));
    assert_eq!((g.retry.count, g.retry.base_delay), (3, Duration::from_secs(5)));
    assert_eq!((g.http_listen.as_str(), g.log.level.as_str()), ("127.0.0.1:3100", "info"));
    assert_eq!(g.daily_summary_cron, "0 8 * * *");
    assert_eq!(g.timezone.iana_name(), Some("UTC"));

    let mut site = Site::new(
        "base_dir: ~/b\nretry: {count: '1', delay_ms: 10}\nmin_free_gb: 0.25\nhttp: {listen: \
         '0.0.0.0:80', token: t}\nlog: {format: json, dir: logs}\naudit: {url: \
         'postgres://u@h/n', password: p}\nprojects: []\n",
    );
    let g = global(&site).await;
    assert_eq!(g.base_dir, site.path().join("home/b"));
    assert_eq!((g.retry.count, g.min_free_gb), (1, 0.25));
    assert_eq!(g.http_listen, "0.0.0.0:80");
    assert!(g.log.json && g.log.dir == Some(site.path().join("logs")));
    assert_eq!(g.audit_url.expose().unwrap(), "postgres://u:p@h/n");

    site = site.var("BACKUP_RETRY_COUNT", "7").var("APP_PORT", "4000").var("AUDIT_DB_HOST", "db");
    let g = global(&site).await;
    assert_eq!((g.retry.count, g.http_listen.as_str()), (7, "127.0.0.1:4000"));
    assert_eq!(g.audit_url.expose().unwrap(), "postgres://audit_user:p@db:5432/backup_audit");
    site.environment.euid = 0;
    site = Site { environment: site.environment.clone(), ..Site::project("") };
    site.environment.cwd = site.path().to_owned();
    assert_eq!(global(&site).await.base_dir.to_str(), Some("/var/lib/backupctl"));
}

#[tokio::test]
async fn ssh_reaches_repositories() {
    let ssh = "ssh: {host: box, user: u1, port: '23', key_path: k, host_key_check: accept-new}\n";
    for (location, repository, host, user, port) in [
        ("repository_path: /abs", "sftp:u1@box:/abs", "box", Some("u1"), 23),
        ("repository_path: ./rel", "sftp:u1@box:./rel", "box", Some("u1"), 23),
        ("repository_path: rel", "sftp:u1@box:rel", "box", Some("u1"), 23),
        ("repository: 'sftp:v@h:p'", "sftp:v@h:p", "h", Some("v"), 22),
        ("repository: 'sftp:box:p'", "sftp:box:p", "box", Some("u1"), 23),
        ("repository: 'sftp://v@h:2222/p'", "sftp://v@h:2222/p", "h", Some("v"), 2222),
    ] {
        let site = Site::new(&format!(
            "{ssh}projects:\n  - name: p\n    restic:\n      password: x\n      {location}\n"
        ));
        let project = site.only().await;
        let target = restic(&project);
        assert_eq!(target.repository, repository);
        let ssh = target.ssh.as_ref().unwrap();
        assert_eq!((ssh.host.as_str(), ssh.user.as_deref(), ssh.port), (host, user, port));
        assert_eq!(ssh.key_path, Some(site.path().join("k")));
        assert_eq!(ssh.host_key_check, HostKeyCheck::AcceptNew);
    }
    let repository = |r: &str| {
        Site::new(&format!(
            "projects:\n  - {{name: p, restic: {{password: x, repository: '{r}'}}}}\n"
        ))
    };
    for (given, kept) in
        [("s3:h/b", "s3:h/b"), ("rest:https://h/", "rest:https://h/"), ("/srv/r", "/srv/r")]
    {
        assert_eq!(restic(&repository(given).only().await).repository, kept);
    }
    let site = repository("./r");
    assert_eq!(restic(&site.only().await).repository, site.path().join("r").to_str().unwrap());
}

#[tokio::test]
async fn retention_that_is_chosen_takes_the_place_of_the_default() {
    let keep = async |more: &str| Site::project(more).only().await.retention;
    let default = keep("").await;
    assert_eq!((default.local_days, default.keep.daily, default.keep.monthly), (7, 7, 6));
    let own = keep("    retention: {keep_last: 3, local_days: 1}\n").await;
    assert_eq!((own.local_days, own.keep), (1, KeepPolicy { last: 3, ..KeepPolicy::default() }));
    assert_eq!(keep("    retention: {local_days: 1}\n").await.keep, default.keep);
}

#[tokio::test]
async fn encryption_takes_type_and_recipient_from_variables() {
    const AGE: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let on = |site: Site| site.var("ENCRYPTION_ENABLED", "true");
    let encryption = async |site: Site| site.only().await.encryption.unwrap();
    let found = encryption(on(Site::project("")).var("GPG_RECIPIENT", "a@b")).await;
    assert_eq!((found.kind, found.recipients), (EncryptionType::Gpg, vec!["a@b".to_owned()]));
    let found = encryption(on(Site::project("")).var("AGE_RECIPIENT", AGE)).await;
    assert_eq!((found.kind, found.recipients), (EncryptionType::Age, vec![AGE.to_owned()]));
    let text = format!("    encryption: {{type: age, recipients: [{AGE}, ssh-rsa AAAA]}}\n");
    let own = Site::project(&text);
    let found = encryption(on(own).var("GPG_RECIPIENT", "a@b").var("AGE_RECIPIENT", "q")).await;
    assert_eq!(found.recipients, [AGE, "ssh-rsa AAAA"]);
    let off = Site::project("    encryption: {recipient: age1y}\n");
    assert!(off.only().await.encryption.is_none());
    assert!(off.warnings().await.contains("dumps are NOT encrypted"));
}

#[tokio::test]
async fn channels_come_from_project_environment_or_file() {
    let slack = |c: &Channel| match c {
        Channel::Slack { webhook_url } => webhook_url.expose().unwrap().to_owned(),
        other => panic!("{other:?}"),
    };
    let top = "notification: {type: slack, config: {webhook_url: 'https://file'}}\n";
    let site = |more: &str| {
        Site::new(&format!(
            "{top}projects:\n  - name: p\n    restic: {{repository: /r, password: x}}\n{more}"
        ))
    };
    assert_eq!(slack(&site("").only().await.notifications[0]), "https://file");
    let with_env = site("").var("SLACK_WEBHOOK_URL", "https://env");
    assert_eq!(slack(&with_env.only().await.notifications[0]), "https://env");
    let own = "    notification: {type: slack, config: {webhook_url: 'https://own'}}\n";
    let found = site(own).var("SLACK_WEBHOOK_URL", "https://env").only().await.notifications;
    assert_eq!(slack(&found[0]), "https://own");
    let filled = site("    notification: {type: slack}\n").var("SLACK_WEBHOOK_URL", "https://env");
    assert_eq!(slack(&filled.only().await.notifications[0]), "https://env");
    for none in ["none", "{type: none}", "[]"] {
        let project = site(&format!("    notification: {none}\n")).only().await;
        assert!(project.notifications.is_empty(), "{none}");
    }
    let site = site("").var("NOTIFICATION_TYPE", "email, webhook").var("SMTP_HOST", "mail");
    let site = site.var("SMTP_TO", "a@x, b@x").var("SMTP_FROM", "c@x").var("SMTP_PASSWORD", "pw");
    let found = site.var("WEBHOOK_URL", "https://h").only().await.notifications;
    let Channel::Email(EmailChannel { port, security, to, user, .. }) = &found[0] else { panic!() };
    assert_eq!((*port, *security, to.len()), (587, SmtpSecurity::StartTls, 2));
    assert_eq!(user.as_deref(), Some("c@x"));
    assert_eq!(found[1].kind(), "webhook");
}

#[tokio::test]
async fn another_servers_password_is_not_lent_to_a_channel_of_its_own() {
    let site = Site::project(
        "    notification: {type: email, config: {smtp_host: other, to: a@x, from: b@x}}\n",
    );
    let site = site.var("SMTP_USER", "u").var("SMTP_PASSWORD", "pw").var("SMTP_HOST", "main");
    let project = site.only().await;
    let Channel::Email(mail) = &project.notifications[0] else { panic!() };
    assert_eq!(mail.host, "other");
    assert!(mail.password.is_none() && mail.user.is_none());
}

#[tokio::test]
async fn mail_is_secured_as_the_keys_say() {
    for (config, port, security) in [
        ("", 587, SmtpSecurity::StartTls),
        ("smtp_secure: true", 465, SmtpSecurity::Tls),
        ("smtp_secure: 'true', smtp_port: '587'", 587, SmtpSecurity::StartTls),
        ("smtp_secure: false, smtp_port: 587", 587, SmtpSecurity::StartTls),
        ("smtp_secure: false, smtp_port: 25", 25, SmtpSecurity::None),
        ("smtp_port: 465", 465, SmtpSecurity::Tls),
        ("smtp_security: tls, smtp_port: 587", 587, SmtpSecurity::Tls),
        ("smtp_security: none", 25, SmtpSecurity::None),
    ] {
        let site = Site::project(&format!(
            "    notification: {{type: email, config: {{smtp_host: h, to: [a@x], from: b@x, \
             {config}}}}}\n"
        ));
        let Channel::Email(mail) = &site.only().await.notifications[0] else { panic!() };
        assert_eq!((mail.port, mail.security), (port, security), "{config}");
    }
}

#[tokio::test]
async fn monitors_know_where_they_report() {
    let site = Site::project("    monitor: {type: uptime-kuma, config: {push_token: t}}\n");
    assert!(site.issues().await.contains("UPTIME_KUMA_BASE_URL"));
    let project = site.var("UPTIME_KUMA_BASE_URL", "https://k/").only().await;
    let Some(Monitor::UptimeKuma { base_url, .. }) = project.monitor else { panic!() };
    assert_eq!(base_url, "https://k");
    let site =
        Site::project("    monitor: {type: healthchecks, config: {ping_url: https://hc/x}}\n");
    assert!(matches!(site.only().await.monitor, Some(Monitor::Healthchecks { .. })));
}
