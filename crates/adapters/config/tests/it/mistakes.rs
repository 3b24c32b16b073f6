//! Every mistake is told at once, with its place and what was probably meant.

use std::fmt::Write as _;
use std::time::Instant;

use backupctl_domain::ErrorCode;

use crate::Site;

#[tokio::test]
async fn a_file_full_of_mistakes() {
    let site = Site::new(include_str!("../fixtures/mistakes.yml"));
    let mut site = site;
    site.environment.variables.clear();
    let config = site.load().await;
    let text = site.told(config.issues());
    assert!(!text.contains("hunter22") && !text.contains("secretword"), "{text}");
    insta::assert_snapshot!(text);
    let good: Vec<_> =
        config.projects.iter().filter(|p| p.project.is_ok()).map(|p| p.name.as_str()).collect();
    assert_eq!(good, ["good"]);
}

#[tokio::test]
async fn what_is_not_yaml_fails_with_its_place() {
    for (text, at, says) in [
        ("projects: []\nprojects: []\n", ":2:1: ", "duplicate mapping key: projects"),
        ("projects:\n\t- name: x\n", ":2:2: ", "tabs disallowed"),
        ("projects: [\n", ":1:11: ", "unclosed bracket"),
        ("- a\n- b\n", "", "holds a list"),
        ("", "", "holds nothing"),
    ] {
        let failure = Site::new(text).try_load().await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::InvalidConfig);
        let message = &failure.message;
        assert!(message.contains(says) && message.contains(at), "{text:?}: {message}");
        assert!(message.contains("/backupctl.yml"), "{message}");
    }
}

#[tokio::test]
async fn a_missing_file_names_all_places_and_init() {
    let mut site = Site::new("");
    std::fs::remove_file(site.path().join("backupctl.yml")).unwrap();
    let failure = site.try_load().await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::InvalidConfig);
    for place in ["/backupctl.yml", "/config/projects.yml", "/home/.config/backupctl/backupctl.yml"]
    {
        let place = format!("{}{place}", site.path().display());
        assert!(failure.message.contains(&place), "{}", failure.message);
    }
    assert!(failure.message.contains("/etc/backupctl/backupctl.yml"), "{}", failure.message);
    assert!(failure.remedy.contains("backupctl init"), "{}", failure.remedy);

    site = site.var("BACKUPCTL_CONFIG", "other.yml");
    let failure = site.try_load().await.unwrap_err();
    assert!(failure.message.contains("other.yml (named by BACKUPCTL_CONFIG)"), "{failure}");
}

#[tokio::test]
async fn the_first_place_that_has_a_file_is_read() {
    let site = Site::new("projects: []");
    let at = |path: &str| site.path().join(path);
    let loaded = |site: &Site| site.loader().locate().unwrap();
    site.file("config/projects.yml", "projects: []");
    site.file("home/.config/backupctl/backupctl.yml", "projects: []");
    assert_eq!(loaded(&site), at("backupctl.yml"));
    std::fs::remove_file(at("backupctl.yml")).unwrap();
    assert_eq!(loaded(&site), at("config/projects.yml"));
    std::fs::remove_file(at("config/projects.yml")).unwrap();
    assert_eq!(loaded(&site), at("home/.config/backupctl/backupctl.yml"));
}

#[tokio::test]
async fn a_project_that_says_nothing_is_told_what_it_lacks() {
    let site = Site::new("projects:\n  - {name: p}\n");
    insta::assert_snapshot!(site.issues().await);
    let site = Site::new("projects:\n  p:\n    restic: {repository: /r, password: x}\n  Q:\n");
    insta::assert_snapshot!(site.issues().await);
}

#[tokio::test]
async fn mistakes_in_variables_name_the_variable_and_where_it_is_set() {
    let site = Site::project("").dotenv("# x\nBACKUP_RETRY_COUNT=often\nENCRYPTION_TYPE=rot13\n");
    let site = site.var("SMTP_PORT", "smtp").var("NOTIFICATION_TYPE", "email");
    insta::assert_snapshot!(site.issues().await);
}

#[tokio::test]
async fn a_thousand_projects_are_read_at_once() {
    let mut text = String::from("defaults:\n  restic: {password: x}\nprojects:\n");
    for n in 0..1000 {
        write!(
            text,
            "  - name: p{n}\n    cron: '{} 2 * * *'\n    database: {{type: postgres, host: h{n}, \
             port: 5432, name: n, user: u, password: '${{PW:-x}}'}}\n    assets:\n      paths: [/a, \
             /b]\n    restic:\n      repository: /srv/{n}\n    retention: {{keep_daily: 7}}\n    \
             hooks: {{pre_backup: 'echo', post_backup: 'echo'}}\n    notification: {{type: webhook, \
             config: {{url: 'https://h/{n}'}}}}\n",
            n % 60
        )
        .unwrap();
    }
    let site = Site::new(&text);
    let start = Instant::now();
    let config = site.load().await;
    let wall = start.elapsed();
    assert_eq!(config.projects.iter().filter(|p| p.project.is_ok()).count(), 1000);
    eprintln!("1,000 projects in {wall:?}");
    // Quadratic work would take minutes; the figure of a release build is far lower.
    assert!(wall.as_secs() < 10, "{wall:?}");
}
