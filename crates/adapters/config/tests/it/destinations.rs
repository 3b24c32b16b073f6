//! Where a project's backups go: a repository, a folder of archives, or several of both.

use std::path::Path;

use backupctl_adapter_config::to_yaml;
use backupctl_application::ports::ConfigLoader;
use backupctl_domain::Project;
use backupctl_domain::destination::{ArchiveTarget, Destination, SnapshotMode};
use backupctl_domain::project::EncryptionType;
use backupctl_domain::retention::KeepPolicy;
use serde_json::Map;

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

/// A project with a list of these entries, encrypted and with a password for all.
fn listed(entries: &[&str]) -> Site {
    let entries = entries.join("\n      - ");
    Site::new(&format!(
        "encryption: {{enabled: true, recipient: {AGE}}}\nrestic: {{password: x}}\nprojects:\n  - name: \
         p\n    destinations:\n      - {entries}\n"
    ))
}

/// Name, whether it is required, and place of each.
async fn places(site: &Site) -> Vec<(String, bool, String)> {
    let place = |d: Destination| (d.name.to_string(), d.required, d.location());
    site.only().await.destinations.into_iter().map(place).collect()
}

fn place(name: &str, required: bool, location: &str) -> (String, bool, String) {
    (name.to_owned(), required, location.to_owned())
}

#[tokio::test]
async fn each_entry_of_the_list_is_a_destination() {
    let site = listed(&[
        "{restic: {repository: /srv/repo, snapshot_mode: separate}}",
        "{name: stick, required: false, archive: {path: usb, split_size: 2G}}",
        "{restic: {repository_path: boxes/p}}",
    ]);
    let site = site.var("SSH_HOST", "box");
    let usb = site.path().join("usb");
    assert_eq!(
        places(&site).await,
        [
            place("restic", true, "/srv/repo"),
            place("stick", false, usb.to_str().unwrap()),
            place("restic-2", true, "sftp:box:boxes/p"),
        ]
    );
    let all = site.only().await.destinations;
    let mode = |d: &Destination| d.restic().map(|restic| restic.snapshot_mode);
    assert_eq!(
        all.iter().map(mode).collect::<Vec<_>>(),
        [Some(SnapshotMode::Separate), None, Some(SnapshotMode::Combined)]
    );
    assert_eq!(all[1].archive().unwrap().split_size, Some(2 << 30));
    assert_eq!(all[2].restic().unwrap().ssh.as_ref().unwrap().host, "box");
}

#[tokio::test]
async fn a_name_that_is_not_given_is_told_by_the_place_among_its_kind() {
    let site = listed(&[
        "{archive: {path: /a}}",
        "{name: nas, restic: {repository: /b}}",
        "{archive: {path: /c}}",
        "{restic: {repository: /d}}",
    ]);
    let names: Vec<String> = places(&site).await.into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["archive", "nas", "archive-2", "restic-2"]);
    assert_eq!(places(&listed(&["{archive: {path: /a}}"])).await, [place("archive", true, "/a")]);
}

#[tokio::test]
async fn keys_beside_a_type_are_those_of_its_section() {
    let more = "snapshot_mode: separate, env: {A: b}, password_command: echo x";
    let nested = listed(&[
        &format!("{{name: far, restic: {{repository: /r, {more}}}, retention: {{keep_last: 2}}}}"),
        "{required: false, archive: {path: /mnt, require_mount: false}}",
    ]);
    let flat = listed(&[
        &format!(
            "{{name: far, type: restic, repository: /r, {more}, retention: {{keep_last: 2}}}}"
        ),
        "{type: '${KIND}', required: false, path: /mnt, require_mount: false}",
    ]);
    let shown = async |site: &Site| format!("{:?}", site.only().await.destinations);
    assert_eq!(shown(&nested).await, shown(&flat.var("KIND", "archive")).await);
}

#[tokio::test]
async fn keys_of_the_project_hold_for_every_entry_that_gives_no_other() {
    let site = Site::new(&format!(
        "defaults:\n  encryption: {{enabled: true, recipient: {AGE}}}\n  restic: {{password: shared, \
         repository: /not-this, cache_dir: cache, options: {{a: '1'}}}}\n  archive: {{require_mount: \
         false}}\nprojects:\n  - name: p\n    restic: {{auto_init: true}}\n    destinations:\n      - \
         restic: {{repository: /a}}\n      - restic: {{repository: /b, password_file: own, cache_dir: \
         /other, options: {{b: '2'}}, auto_init: false}}\n      - archive: {{path: /c}}\n"
    ));
    site.file("own", "of the file\n");
    let resolved = async |site: &Site| {
        let project = site.loader().resolve_secrets(site.only().await).await.unwrap();
        let restic = |at: usize| project.destinations[at].restic().unwrap().clone();
        (restic(0), restic(1))
    };
    let (a, b) = resolved(&site).await;
    assert_eq!((a.password.expose().unwrap(), a.auto_init), ("shared", true));
    assert_eq!((b.password.expose().unwrap(), b.auto_init), ("of the file", false));
    assert_eq!(
        (a.cache_dir, b.cache_dir),
        (Some(site.path().join("cache")), Some("/other".into()))
    );
    assert_eq!((a.options.len(), b.options.len()), (1, 2));
    assert!(!site.only().await.destinations[2].archive().unwrap().require_mount);

    let (a, b) = resolved(&site.var("RESTIC_PASSWORD", "variable")).await;
    assert_eq!(a.password.expose().unwrap(), "variable");
    assert_eq!(b.password.expose().unwrap(), "of the file");
}

#[tokio::test]
async fn a_projects_own_place_takes_the_place_of_that_of_defaults() {
    const OWN: [(&str, &str); 3] = [
        ("restic: {repository: /own}", "/own"),
        ("archive: {path: /own}", "/own"),
        ("destinations: [{restic: {repository: /own}}]", "/own"),
    ];
    const DEFAULTS: [&str; 3] = [
        "restic: {password: x, repository: /d}",
        "restic: {password: x}\n  archive: {path: /d}",
        "restic: {password: x}\n  destinations: [{restic: {repository: /d}}, {archive: {path: /e}}]",
    ];
    for (defaults, (own, location)) in DEFAULTS.iter().flat_map(|d| OWN.map(|own| (d, own))) {
        let site = Site::new(&format!(
            "encryption: {{enabled: true, recipient: {AGE}}}\ndefaults:\n  {defaults}\nprojects:\n  - \
             {{name: p, {own}}}\n"
        ));
        let places = places(&site).await;
        assert_eq!(places.len(), 1, "{defaults}, {own}");
        assert_eq!(places[0].2, location, "{defaults}, {own}");
    }
    let site = Site::new(&format!(
        "encryption: {{enabled: true, recipient: {AGE}}}\ndefaults:\n  {}\nprojects:\n  - {{name: p}}\n",
        DEFAULTS[2]
    ));
    let expected = [place("restic", true, "/d"), place("archive", true, "/e")];
    assert_eq!(places(&site).await, expected);
}

#[tokio::test]
async fn an_entry_keeps_what_it_says_else_what_the_project_says() {
    let site = Site::new(&format!(
        "encryption: {{enabled: true, recipient: {AGE}}}\ndefaults: {{restic: {{password: x}}}}\n\
         projects:\n  - name: p\n    retention: {{local_days: 3, keep_daily: 30}}\n    destinations:\n      \
         - restic: {{repository: /a}}\n      - archive: {{path: /b}}\n      - archive: {{path: /c}}\n        \
         retention: {{local_days: 14}}\n      - restic: {{repository: /d}}\n        retention: \
         {{keep_yearly: 5}}\n      - archive: {{path: /e}}\n        retention: {{keep_last: 2}}\n      - \
         archive: {{path: /f}}\n        retention: {{keep_last:}}\n"
    ));
    let project = site.only().await;
    let keep: Vec<_> = project.destinations.iter().map(|d| d.keep.clone()).collect();
    let none = KeepPolicy::default();
    let both = KeepPolicy { daily: 30, days: Some(3), ..none.clone() };
    assert_eq!(
        keep,
        [
            KeepPolicy { daily: 30, ..none.clone() },
            both.clone(),
            KeepPolicy { days: Some(14), ..none.clone() },
            KeepPolicy { yearly: 5, ..none.clone() },
            KeepPolicy { last: 2, ..none },
            both,
        ]
    );
    assert_eq!(project.retention.local_days, 3);
    assert_eq!(project.retention.keep, keep[0]);
}

#[tokio::test]
async fn every_mistake_in_a_list_names_its_entry_and_its_place() {
    let site = Site::new(include_str!("../fixtures/destinations.yml"));
    insta::assert_snapshot!(site.issues().await);
}

#[tokio::test]
async fn what_is_wrong_with_keys_of_the_project_is_told_once_as_of_the_project() {
    let site = Site::new(
        "projects:\n  - name: p\n    restic: {password: x, snapshot_mode: seperate, auto_init: '${NO}'}\n    \
         retention: {keep_daily: 0}\n    destinations:\n      - restic: {repository: /a}\n      - restic: \
         {repository: /b}\n",
    );
    let issues = site.issues().await;
    let keys: Vec<&str> = issues.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        keys,
        [
            "backupctl.yml:3:42 [p] restic.snapshot_mode",
            "backupctl.yml:3:63 [p] restic.auto_init",
            "backupctl.yml:4:5 [p] retention"
        ]
    );
}

#[tokio::test]
async fn the_rules_of_encryption_hold_with_an_archive_anywhere_in_the_list() {
    let entries =
        "[{restic: {repository: /r, password: x}}, {required: false, archive: {path: /a}}]";
    let with = |encryption: &str| {
        Site::new(&format!(
            "projects:\n  - name: p\n    destinations: {entries}\n    encryption: {encryption}\n"
        ))
    };
    assert!(issue(&with("")).await.contains("encryption: the archive on a disk"));
    let gpg = issue(&with("{enabled: true, type: gpg, recipient: a@b}")).await;
    assert!(gpg.contains("encryption.type: an `archive` cannot be encrypted with `gpg`"), "{gpg}");
    assert_eq!(with("{enabled: false}").only().await.destinations.len(), 2);
}

#[tokio::test]
async fn each_repositorys_secret_is_told_by_its_entry() {
    let site = listed(&[
        "{restic: {repository: /a, password_file: one}}",
        "{archive: {path: /c}}",
        "{restic: {repository: /b, password_file: two, env: {KEY_command: echo k}}}",
    ]);
    site.file("one", "first\n");
    site.file("two", "second\n");
    let resolve = async || site.loader().resolve_secrets(site.only().await).await;
    let project = resolve().await.unwrap();
    let password = |at: usize| {
        project.destinations[at].restic().unwrap().password.expose().unwrap().to_owned()
    };
    assert_eq!((password(0), password(2)), ("first".to_owned(), "second".to_owned()));
    assert_eq!(project.destinations[2].restic().unwrap().env["KEY"].expose().unwrap(), "k");
    site.file("two", "");
    let failure = resolve().await.unwrap_err();
    assert!(failure.message.contains("`destinations[2].restic.password`"), "{failure}");
}

#[tokio::test]
async fn a_list_is_read_where_nothing_is_set() {
    let site = Site::new(
        "projects:\n  - name: p\n    destinations:\n      - {name: far, required: '${A}', type: restic, \
         repository: /r, password: x, retention: {keep_last: '${B}'}}\n      - {required: '${C}', archive: \
         {path: /a}, retention: {local_days: 0}}\n",
    );
    for loader in [site.loader().to_read(), site.loader().to_watch()] {
        let config = loader.load().await.unwrap();
        assert!(config.issues().is_empty(), "{}", site.told(config.issues()));
        let project = config.projects[0].project.as_ref().unwrap();
        assert_eq!(project.destinations.len(), 2);
    }
    let site = listed(&["{required: false, archive: {path: /a}}"]);
    assert!(site.issues().await.contains("no destination is required"));
    assert!(site.loader().to_read().load().await.unwrap().issues().is_empty());
    let site = listed(&["{name: '${NAME}', restic: {repository: '${WHERE}'}}"]);
    let config = site.loader().to_read().load().await.unwrap();
    let told = site.told(config.issues());
    assert!(told.contains("destinations[0].name: the variable `NAME`"), "{told}");
    assert!(told.contains("destinations[0].restic.repository: the variable `WHERE`"), "{told}");
}

#[tokio::test]
async fn an_empty_password_is_told_when_reading_too() {
    let site =
        Site::new("projects:\n  - {name: p, restic: {repository: /r, password: '${NONE:-}'}}\n");
    let config = site.loader().to_read().load().await.unwrap();
    assert!(site.told(config.issues()).contains("the repository has no password"));
}

#[tokio::test]
async fn one_destination_is_shown_as_its_section_and_several_as_a_list() {
    let view = async |site: &Site| site.loader().masked_view(&site.only().await);
    let shown = view(&stick("    retention: {local_days: 14}\n")).await;
    assert_eq!(shown["archive"]["path"], "/mnt/usb");
    assert_eq!(shown["archive"]["require_mount"], true);
    assert!(shown["restic"].is_null() && shown["destinations"].is_null());
    assert_eq!(
        (&shown["retention"]["local_days"], &shown["retention"]["keep_daily"]),
        (&14.into(), &0.into())
    );
    let shown = view(&listed(&["{type: restic, repository: /r}"])).await;
    assert_eq!(shown["restic"]["repository"], "/r");

    let site = listed(&[
        "{restic: {repository: 'rest:https://u:geheim1@h/', password: geheim2, env: {KEY_A: geheim3}}}",
        "{name: stick, required: false, archive: {path: /a, split_size: 4096M}, retention: {local_days: 3}}",
    ]);
    let shown = view(&site).await;
    assert!(!shown.to_string().contains("geheim"), "{shown}");
    assert!(shown["restic"].is_null() && shown["archive"].is_null());
    insta::assert_json_snapshot!(shown["destinations"]);
    // What is shown says the same when it is read.
    let mut file = Map::new();
    file.insert("projects".to_owned(), vec![shown.clone()].into());
    assert_eq!(view(&Site::new(&to_yaml(&file.into()))).await, shown);
}
