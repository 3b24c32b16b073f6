//! Where a project's backups go: a repository, a folder of archives, or several of both.

use std::path::Path;

use backupctl_application::ports::ConfigLoader;
use backupctl_domain::Project;
use backupctl_domain::destination::ArchiveTarget;
use backupctl_domain::project::EncryptionType;
use backupctl_domain::retention::KeepPolicy;

use crate::Site;

const AGE: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

/// A project with an archive and this beside it, encrypted unless it says otherwise.
fn stick(more: &str) -> Site {
    Site::new(&format!(
        "projects:\n  - name: p\n    archive: {{path: /mnt/usb}}\n    encryption: {{enabled: true, \
         recipient: {AGE}}}\n{more}"
    ))
}

fn archive(project: &Project) -> &ArchiveTarget {
    let [destination] = &project.destinations[..] else { panic!("not one destination") };
    destination.archive().unwrap()
}

/// The only line of what is wrong.
async fn issue(site: &Site) -> String {
    let issues = site.issues().await;
    assert_eq!(issues.lines().count(), 1, "{issues}");
    issues
}

#[tokio::test]
async fn two_weeks_of_archives_on_a_stick_are_a_few_lines() {
    let site = Site::new(
        "projects:\n  - name: sovereign\n    cron: '0 2 * * *'\n    assets: {paths: [/data], exclude: \
         ['*.tmp']}\n    compression: {algorithm: gzip}\n    archive: {path: /mnt/usb}\n    encryption: \
         {enabled: true, type: age, recipients_file: /data/secrets/age-recipient, identity_file: \
         /data/secrets/age-identity}\n    retention: {local_days: 14}\n",
    );
    let project = site.only().await;
    assert_eq!(site.warnings().await, "");
    let [stick] = &project.destinations[..] else { panic!() };
    assert_eq!((stick.name.as_str(), stick.required), ("archive", true));
    assert_eq!(stick.keep, KeepPolicy { days: Some(14), ..KeepPolicy::default() });
    let encryption = project.encryption.as_ref().unwrap();
    assert_eq!(encryption.kind, EncryptionType::Age);
    assert_eq!(
        encryption.recipients_file.as_deref(),
        Some(Path::new("/data/secrets/age-recipient"))
    );
    let plain = ArchiveTarget {
        path: "/mnt/usb".into(),
        require_mount: true,
        split_size: None,
        allow_incomplete: false,
    };
    assert_eq!(*archive(&project), plain);
}

#[tokio::test]
async fn an_archives_keys_are_read() {
    let site = Site::new(&format!(
        "defaults:\n  archive: {{require_mount: false, split_size: '${{SIZE:-3900MiB}}'}}\n  encryption: \
         {{enabled: true, recipient: {AGE}}}\nprojects:\n  - name: p\n    archive: {{path: stick, \
         allow_incomplete: true}}\n"
    ));
    let read = ArchiveTarget {
        path: site.path().join("stick"),
        require_mount: false,
        split_size: Some(3900 << 20),
        allow_incomplete: true,
    };
    assert_eq!(*archive(&site.only().await), read);
    assert_eq!(archive(&site.var("SIZE", "65536").only().await).split_size, Some(65_536));
}

#[tokio::test]
async fn what_is_wrong_with_an_archive_is_told_at_its_place() {
    for (more, told) in [
        ("split_size: 4XB", "3:43 [p] archive.split_size: `4XB` is no size such as `4GB`"),
        ("split_size: 4096", "3:43 [p] archive.split_size: `4096` is less than 64KiB"),
        (
            "splitsize: 4GB",
            "3:31 [p] archive.splitsize: unknown key `splitsize`; did you mean `split_size`?",
        ),
        ("require_mount: maybe", "3:46 [p] archive.require_mount: `maybe` is neither"),
    ] {
        let site = Site::new(&format!(
            "projects:\n  - name: p\n    archive: {{path: /mnt/usb, {more}}}\n    encryption: {{enabled: \
             false}}\n"
        ));
        let issue = issue(&site).await;
        assert!(issue.starts_with(&format!("backupctl.yml:{told}")), "{issue}");
    }
    let site = Site::new(
        "projects:\n  - name: p\n    encryption: {enabled: false}\n    archive: {require_mount: true}\n",
    );
    let issue = issue(&site).await;
    assert!(
        issue.starts_with("backupctl.yml:4:5 [p] archive.path: `archive.path` is missing"),
        "{issue}"
    );
}

#[tokio::test]
async fn an_archive_that_everybody_could_read_must_be_asked_for() {
    const BARE: &str = "projects:\n  - name: p\n    archive: {path: /mnt/usb}\n";
    let issue = issue(&Site::new(BARE)).await;
    assert!(issue.starts_with("backupctl.yml:2:5 [p] encryption: "), "{issue}");
    for part in ["readable by everybody", "`type: age`", "`encryption.enabled: false`"] {
        assert!(issue.contains(part), "{issue}");
    }
    let unsaid = Site::new(&format!("{BARE}    encryption: {{recipient: {AGE}}}\n"));
    assert!(self::issue(&unsaid).await.starts_with("backupctl.yml:4:5 [p] encryption: "));
    for off in ["", "${OFF:-}"] {
        let unsaid = Site::new(&format!("{BARE}    encryption: {{enabled: '{off}'}}\n"));
        assert!(self::issue(&unsaid).await.contains("readable by everybody"), "{off:?}");
    }

    let own = Site::new(&format!("{BARE}    encryption: {{enabled: false}}\n"));
    let global = Site::new(&format!("encryption: {{enabled: 'no'}}\n{BARE}"));
    let defaults = Site::new(&format!("defaults: {{encryption: {{enabled: false}}}}\n{BARE}"));
    let variable = Site::new(BARE).var("ENCRYPTION_ENABLED", "false");
    for site in [own, global, defaults, variable] {
        assert!(site.only().await.encryption.is_none());
    }
}

#[tokio::test]
async fn an_archive_is_encrypted_by_age_alone() {
    let with = |gpg: &str| {
        Site::new(&format!(
            "projects:\n  - name: p\n    archive: {{path: /mnt/usb}}\n    encryption: {{enabled: true, \
             {gpg}}}\n"
        ))
    };
    for (gpg, place) in [
        ("type: gpg, recipient: a@b", "4:39 [p] encryption.type"),
        ("recipient: a@b", "4:5 [p] encryption.type"),
    ] {
        let issue = issue(&with(gpg)).await;
        assert!(
            issue.starts_with(&format!("backupctl.yml:{place}: an `archive` cannot")),
            "{issue}"
        );
        assert!(issue.contains("`gpg`") && issue.contains("`encryption.type: age`"), "{issue}");
    }
    let issue = issue(&with("recipient: a@b").var("ENCRYPTION_TYPE", "gpg")).await;
    assert!(issue.contains("(from the variable ENCRYPTION_TYPE)"), "{issue}");
}

#[tokio::test]
async fn archives_stay_by_days_by_rules_or_by_both() {
    let default = KeepPolicy { daily: 7, weekly: 4, monthly: 6, ..KeepPolicy::default() };
    let none = KeepPolicy::default();
    for (retention, keep) in [
        ("", KeepPolicy { days: Some(7), ..default }),
        ("local_days: 14", KeepPolicy { days: Some(14), ..none.clone() }),
        ("keep_weekly: 9", KeepPolicy { weekly: 9, ..none.clone() }),
        ("local_days: 2, keep_last: 3", KeepPolicy { days: Some(2), last: 3, ..none.clone() }),
        ("local_days: 2, keep_daily: 0", KeepPolicy { days: Some(2), ..none.clone() }),
        ("local_days: 0, keep_daily: 3", KeepPolicy { daily: 3, ..none.clone() }),
        ("keep_within: 1y", KeepPolicy { within: Some("1y".to_owned()), ..none }),
    ] {
        let project = stick(&format!("    retention: {{{retention}}}\n")).only().await;
        assert_eq!(project.destinations[0].keep, keep, "{retention}");
    }
    let defaults = format!(
        "defaults: {{retention: {{keep_daily: 9}}, encryption: {{enabled: true, recipient: {AGE}}}}}\n\
         projects:\n  - {{name: p, archive: {{path: /mnt}}, retention: {{local_days: 3}}}}\n"
    );
    let keep = Site::new(&defaults).only().await.destinations.remove(0).keep;
    assert_eq!((keep.days, keep.daily), (Some(3), 9));
}

#[tokio::test]
async fn no_rule_may_remove_every_archive() {
    for (retention, says) in [
        ("local_days: 0", "`local_days` is 0 and no `keep_…` is given"),
        ("local_days: 0, keep_daily: 0", "`local_days` is 0 and so is every `keep_…`"),
        ("keep_daily: 0", "every `keep_…` is 0 and `local_days` is not given"),
    ] {
        let site = stick(&format!("    retention: {{{retention}}}\n"));
        let issue = issue(&site).await;
        assert!(issue.starts_with(&format!("backupctl.yml:5:5 [p] retention: {says}")), "{issue}");
        assert!(issue.contains("would remove every archive; keep some"), "{issue}");
    }
    let wrong = stick("    retention: {local_days: none, keep_daily: 0, keep_within: 5w}\n");
    let issues = wrong.issues().await;
    assert_eq!(issues.lines().count(), 2, "{issues}");
}

#[tokio::test]
async fn an_archive_is_read_where_nothing_is_set() {
    let site = Site::new(
        "projects:\n  - name: p\n    archive: {path: /mnt/usb}\n    encryption: {enabled: '${ON:-}', \
         identity_file: id, recipient: '${WHOM}'}\n    retention: {local_days: '${DAYS}'}\n",
    );
    let config = site.loader().to_read().load().await.unwrap();
    assert!(config.issues().is_empty(), "{}", site.told(config.issues()));
    let project = config.projects[0].project.clone().unwrap();
    assert_eq!(archive(&project).path, Path::new("/mnt/usb"));
    let encryption = project.encryption.unwrap();
    assert_eq!(encryption.identity_file, Some(site.path().join("id")));
    assert_eq!(encryption.kind, EncryptionType::Age);
    let told = site.told(site.loader().to_watch().load().await.unwrap().issues());
    assert_eq!(told, "");
    let unset = Site::new("projects:\n  - {name: p, archive: {path: '${STICK}'}}\n");
    let config = unset.loader().to_read().load().await.unwrap();
    assert!(unset.told(config.issues()).contains("archive.path: the variable `STICK` is not set"));
}
