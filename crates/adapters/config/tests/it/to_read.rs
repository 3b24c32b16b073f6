//! What a command that only reads snapshots needs of a configuration: not what a backup needs.

use backupctl_application::ports::ConfigLoader;

use crate::{Site, restic};

const YAML: &str = "\
uptime_kuma_base_url: ${KUMA}
notification: {type: slack, config: {webhook_url: '${SLACK}'}}
audit: {url: '${AUDIT}'}
projects:
  - name: p
    cron: ${CRON}
    database: {type: postgres, host: '${DB_HOST}', port: '${DB_PORT}', name: d, password: '${DB}'}
    restic: {repository: /r, password: '${RESTIC}'}
    retention: {keep_daily: '${DAYS}'}
    hooks: {pre_backup: 'curl -H ${HOOK} x'}
    monitor: {type: uptime-kuma, config: {push_token: '${PUSH}'}}
";

#[tokio::test]
async fn variables_of_the_backup_alone_may_be_unset() {
    let site = Site::new(YAML).var("RESTIC", "geheim");
    assert!(site.issues().await.contains("`DB`"), "a backup needs them");
    let loader = site.loader().to_read();
    let config = loader.load().await.unwrap();
    assert!(config.issues().is_empty(), "{}", site.told(config.issues()));
    let project =
        loader.resolve_secrets(config.projects[0].project.clone().unwrap()).await.unwrap();
    assert_eq!(restic(&project).password.expose().unwrap(), "geheim");
    assert!(project.notifications.is_empty() && project.monitor.is_none());
    assert!(project.hooks.pre_backup.is_none());
    let database = project.database.unwrap();
    assert_eq!((database.port, database.name.as_str()), (5432, "d"));
}

#[tokio::test]
async fn what_reading_needs_is_asked_for_and_mistakes_are_told() {
    let site = Site::new(YAML);
    let config = site.loader().to_read().load().await.unwrap();
    let told = site.told(config.issues());
    assert!(told.contains("restic.password: the variable `RESTIC`"), "{told}");
    assert_eq!(config.issues().len(), 1, "{told}");
    let site = Site::project("    database: {type: postgres, nam: d}\n");
    assert!(!site.loader().to_read().load().await.unwrap().issues().is_empty());
}

#[tokio::test]
async fn a_watch_needs_schedules_and_takes_the_channels_that_it_can_have() {
    let site = Site::new(YAML).var("RESTIC", "geheim");
    let config = site.loader().to_watch().load().await.unwrap();
    let told = site.told(config.issues());
    assert!(told.contains("cron: the variable `CRON`"), "{told}");
    assert_eq!(config.issues().len(), 1, "{told}");

    let site = site.var("CRON", "0 2 * * *");
    let load = async |site: &Site| {
        let config = site.loader().to_watch().load().await.unwrap();
        assert!(config.issues().is_empty(), "{}", site.told(config.issues()));
        config.projects[0].project.clone().unwrap()
    };
    let project = load(&site).await;
    assert!(project.schedule.is_some() && project.notifications.is_empty());
    let site = site.var("SLACK", "https://hooks.slack.com/services/a");
    assert_eq!(load(&site).await.notifications.len(), 1);
}
