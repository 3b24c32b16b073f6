//! The files of the tool that this one replaces, as `docs/guides/migrating` has them: they load as they
//! are, wherever they differ from how one would write them today.

use std::fs;

use backupctl_adapter_config::reference_markdown;
use backupctl_domain::Project;
use backupctl_domain::destination::SnapshotMode;
use backupctl_domain::project::{
    Algorithm, Channel, EncryptionType, Engine, Monitor, SmtpSecurity,
};

use crate::{Site, restic};

const PROJECTS: &str = include_str!("../../../../../docs/guides/migrating/projects.yml");
const VARIABLES: &str = include_str!("../../../../../docs/guides/migrating/.env.example");
const GUIDE: &str = include_str!("../../../../../docs/guides/migrating.md");

/// The two files where that tool has them: `config/projects.yml`, and `.env` in the folder around.
fn site(projects: &str, variables: &str) -> Site {
    let mut site = Site::new("");
    fs::remove_file(site.path().join("backupctl.yml")).unwrap();
    site.file("config/projects.yml", projects);
    site.file(".env", variables);
    site.environment.variables.clear();
    site
}

/// The example with changes in its text, each of which must be to something.
fn changed(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the example has no {from:?}");
        text.replacen(from, to, 1)
    })
}

async fn projects(site: &Site) -> Vec<Project> {
    let config = site.load().await;
    assert_eq!(site.told(config.issues()), "");
    config.projects.into_iter().map(|p| p.project.unwrap()).collect()
}

#[tokio::test]
async fn the_example_loads_unchanged() {
    let site = site(PROJECTS, VARIABLES);
    let config = site.load().await;
    assert_eq!(site.told(config.issues()), "");
    assert_eq!(
        site.told(&config.warnings),
        "config/projects.yml:9:21 [shop] docker_network: `docker_network` is ignored: backupctl \
         connects to the database directly; publish its port and name the address in \
         `database.host`, or set `database.via: docker:CONTAINER`\n"
    );
    let global = config.global.as_ref().unwrap();
    assert_eq!(
        global.audit_url.expose().unwrap(),
        "postgres://audit_user:audit-secret@backupctl-audit-db:5432/backup_audit"
    );
    assert_eq!(global.base_dir.to_str(), Some("/data/backups"));
    assert_eq!(global.gpg_keys_dir.as_ref().unwrap().to_str(), Some("/app/gpg-keys"));
    assert_eq!(global.log.dir.as_ref().unwrap().to_str(), Some("/data/backups/.logs"));
    assert_eq!(global.http_listen, "127.0.0.1:3100");
    assert_eq!(global.timezone.iana_name(), Some("Europe/Berlin"));

    let all = projects(&site).await;
    let [shop, crm, analytics, files] = &all[..] else { panic!("{}", all.len()) };
    assert_eq!(restic(shop).repository, "sftp:u123456@u123456.your-storagebox.de:backups/shop");
    assert_eq!(restic(shop).ssh.as_ref().unwrap().port, 23);
    assert_eq!(restic(shop).password.expose().unwrap(), "shop-repository-secret");
    assert_eq!(shop.compression.unwrap().algorithm, Algorithm::Zstd);
    assert_eq!((shop.retention.keep.weekly, shop.retention.keep.monthly), (4, 0));
    let Some(Monitor::UptimeKuma { base_url, .. }) = &shop.monitor else { panic!() };
    assert_eq!(base_url, "https://kuma.example.com");

    assert_eq!(crm.database.as_ref().unwrap().engine, Engine::Mysql);
    assert_eq!(restic(crm).snapshot_mode, SnapshotMode::Separate);
    assert_eq!(restic(crm).password.expose().unwrap(), "default-repository-secret");
    let Channel::Email(mail) = &crm.notifications[0] else { panic!() };
    assert_eq!((mail.port, mail.security), (587, SmtpSecurity::StartTls));
    assert_eq!(mail.user.as_deref(), Some("backup@example.com"));
    assert_eq!(mail.password.as_ref().unwrap().expose().unwrap(), "email-secret");

    assert_eq!(analytics.database.as_ref().unwrap().engine, Engine::Mongodb);
    assert!(analytics.encryption.is_none());
    let Channel::Slack { webhook_url } = &analytics.notifications[0] else { panic!() };
    assert!(webhook_url.expose().unwrap().ends_with("/default"));
    assert_eq!(analytics.retention.keep.monthly, 0, "what is not named is not kept");

    assert!(files.database.is_none());
    assert_eq!(files.assets.paths.len(), 2);

    let views: Vec<_> = all.iter().map(|p| site.loader().masked_view(p)).collect();
    let text = serde_json::to_string(&views).unwrap();
    assert!(!text.contains("secret") && !text.contains("hooks.slack.com"), "{text}");
    insta::assert_json_snapshot!(views);
}

/// Each way in which people have written a `.env` for docker or for node.
#[tokio::test]
async fn values_of_the_env_file_may_look_in_many_ways() {
    for yes in ["true", "TRUE", "1", "yes", "\"true\"", "'true'  # on", " on "] {
        let text = changed(
            VARIABLES,
            &[("ENCRYPTION_ENABLED=false", &*format!("ENCRYPTION_ENABLED={yes}"))],
        );
        let all = projects(&site(PROJECTS, &text)).await;
        let encryption = all[3].encryption.as_ref().unwrap();
        assert_eq!(
            (encryption.kind, &*encryption.recipients[0]),
            (EncryptionType::Gpg, "backup@example.com"),
            "{yes}"
        );
    }
    for no in ["false", "0", "", "no", "\"\""] {
        let text = changed(
            VARIABLES,
            &[("ENCRYPTION_ENABLED=false", &*format!("ENCRYPTION_ENABLED={no}"))],
        );
        assert!(projects(&site(PROJECTS, &text)).await[3].encryption.is_none(), "{no}");
    }
    let text = changed(
        VARIABLES,
        &[
            ("BACKUP_RETRY_COUNT=3", "export BACKUP_RETRY_COUNT = \"7\""),
            ("DAILY_SUMMARY_CRON=0 8 * * *", "DAILY_SUMMARY_CRON='0 9 * * *' # later"),
            ("HEALTH_DISK_MIN_FREE_GB=5", "HEALTH_DISK_MIN_FREE_GB=0.5"),
            ("BACKUP_BASE_DIR=/data/backups\n", "ROOT=/srv\nBACKUP_BASE_DIR=${ROOT}/backups\r\n"),
            ("LOG_DIR=/data/backups/.logs", "LOG_DIR=\"${BACKUP_BASE_DIR}/${SUB:-logs}\""),
            ("SHOP_DB_PASSWORD=shop-db-secret", "SHOP_DB_PASSWORD='pa$s ${x} #1'"),
            ("APP_PORT=3100", "APP_PORT=3200"),
        ],
    );
    let site = site(PROJECTS, &text);
    let global = site.load().await.global.unwrap();
    assert_eq!((global.retry.count, global.min_free_gb), (7, 0.5));
    assert_eq!(global.daily_summary_cron, "0 9 * * *");
    assert_eq!(global.log.dir.unwrap().to_str(), Some("/srv/backups/logs"));
    assert_eq!(global.http_listen, "127.0.0.1:3200");
    let shop = &projects(&site).await[0];
    let password = shop.database.as_ref().unwrap().password.as_ref().unwrap();
    assert_eq!(password.expose().unwrap(), "pa$s ${x} #1");
}

#[tokio::test]
async fn the_notification_of_the_env_file_is_of_any_type() {
    let with = |more: &str| {
        let kind = changed(VARIABLES, &[("NOTIFICATION_TYPE=slack\n", "")]);
        site(PROJECTS, &format!("{kind}{more}\n"))
    };
    let of = async |site: Site| projects(&site).await[3].notifications.clone();
    assert!(of(with("NOTIFICATION_TYPE=none")).await.is_empty());
    assert!(of(with("")).await.is_empty());
    let webhook = of(with("NOTIFICATION_TYPE=webhook\nWEBHOOK_URL=https://h/x")).await;
    assert_eq!(webhook[0].kind(), "webhook");
    let Channel::Email(mail) = of(with(
        "NOTIFICATION_TYPE=email\nSMTP_HOST=smtp.h\nSMTP_PORT=465\nSMTP_SECURE=true\nSMTP_TO=a@h, b@h\n\
         SMTP_FROM=c@h\nSMTP_USER=u\nSMTP_PASSWORD=p",
    ))
    .await
    .remove(0) else {
        panic!()
    };
    assert_eq!((mail.host.as_str(), mail.port, mail.security), ("smtp.h", 465, SmtpSecurity::Tls));
    assert_eq!((mail.to, mail.user.as_deref()), (vec!["a@h".into(), "b@h".into()], Some("u")));
}

/// What that tool takes where nothing is said.
#[tokio::test]
async fn defaults_of_the_tool_before_hold_for_its_own_variables() {
    let text = changed(
        VARIABLES,
        &[
            ("HETZNER_SSH_PORT=23\n", ""),
            ("AUDIT_DB_NAME=backup_audit\nAUDIT_DB_USER=audit_user\n", ""),
            ("ENCRYPTION_TYPE=gpg\nGPG_RECIPIENT=backup@example.com\n", ""),
        ],
    );
    let site = site(&changed(PROJECTS, &[("      type: gpg\n", "")]), &text);
    let config = site.load().await;
    let url = config.global.as_ref().unwrap().audit_url.clone();
    assert!(url.expose().unwrap().ends_with("@backupctl-audit-db:5432/backup_audit"));
    let shop = &projects(&site).await[0];
    assert_eq!(restic(shop).ssh.as_ref().unwrap().port, 23);
    assert_eq!(shop.encryption.as_ref().unwrap().kind, EncryptionType::Gpg);
    // A key of age is one, whatever the variables are for.
    let age = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let text = changed(
        PROJECTS,
        &[(
            "      type: gpg\n      recipient: shop-backup@example.com\n",
            &*format!("      recipient: {age}\n"),
        )],
    );
    let variables = changed(VARIABLES, &[("ENCRYPTION_TYPE=gpg\n", "")]);
    let shop = projects(&self::site(&text, &variables)).await.remove(0);
    assert_eq!(shop.encryption.unwrap().kind, EncryptionType::Age);
}

#[tokio::test]
async fn the_env_file_beside_the_configuration_goes_before_the_one_around() {
    let site = site(PROJECTS, "SHOP_DB_PASSWORD=around\n");
    site.file("config/.env", VARIABLES);
    assert_eq!(site.issues().await, "");
    // Other names have no such custom: a folder's secrets are not for every file below it.
    let other = Site::new("");
    other.file("deep/backupctl.yml", "projects: [{name: p, restic: {repository: /r}}]\n");
    let other = other.dotenv("RESTIC_PASSWORD=x\n").var("BACKUPCTL_CONFIG", "deep/backupctl.yml");
    assert!(other.issues().await.contains("the repository has no password"));
}

#[tokio::test]
async fn an_empty_value_is_as_good_as_none_and_nothing_is_lost_in_silence() {
    for (more, told) in [
        ("    database: {type: postgres, name: n, password: \"\"}\n", ""),
        (
            "    notification: {type: slack, config: {webhook_url: \"\"}}\n",
            "[p] notification.config.webhook_url: `webhook_url` (or SLACK_WEBHOOK_URL) is missing, which `slack` needs",
        ),
        (
            "    notification: {type: slack, config: {webhook_url: '${NO:-}'}}\n",
            "`webhook_url` (or SLACK_WEBHOOK_URL) is missing",
        ),
        (
            "    notification: {type: '${NO:-}'}\n",
            "[p] notification.type: `notification.type` is missing",
        ),
        (
            "    database: {type: '${NO:-}', name: n}\n",
            "[p] database.type: `database.type` is missing",
        ),
        (
            "    database: {type: postgres, name: n, password: '${EMPTY}'}\n",
            "the variable `EMPTY` is empty in .env:1; give it a value, or write `${EMPTY:-}` if nothing is meant",
        ),
    ] {
        let site = Site::project(more).dotenv("EMPTY=\n");
        let issues = site.issues().await;
        assert!(issues.contains(told) && issues.is_empty() == told.is_empty(), "{more}: {issues}");
    }
    for password in ["\"\"", "'${NO:-}'", ""] {
        let text = format!(
            "projects:\n  - name: p\n    restic: {{repository: /r, password: {password}}}\n"
        );
        let issues = Site::new(&text).issues().await;
        assert!(issues.contains("the repository has no password"), "{password}: {issues}");
    }
}

/// What the guide shows: each mistake at once, with its place and what was probably meant.
#[tokio::test]
async fn the_same_file_with_mistakes_tells_all_of_them() {
    let text = changed(
        PROJECTS,
        &[
            ("cron: '0 0 * * *'", "cron: '0 0 * *'"),
            ("timeout_minutes: 30", "timout_minutes: 30"),
            ("port: 5432", "port: default"),
            ("${SHOP_DB_PASSWORD}", "${SHOP_DB_PASWORD}"),
            ("snapshot_mode: separate", "snapshot_mode: seperate"),
            ("type: email", "type: e-mail"),
            ("name: static-files", "name: analytics"),
        ],
    );
    let site = site(&text, VARIABLES);
    insta::assert_snapshot!(site.issues().await);
}

/// The guide tells of every variable of the example that is not in the reference.
#[test]
fn every_variable_of_the_example_is_explained() {
    let reference = reference_markdown();
    let names = VARIABLES.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once('='));
    for (name, _) in names {
        let own = PROJECTS.contains(&format!("${{{name}}}"));
        let known =
            reference.contains(&format!("`{name}`")) || GUIDE.contains(&format!("`{name}`"));
        assert!(own || known, "{name} is explained nowhere");
    }
}
