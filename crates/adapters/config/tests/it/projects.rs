//! Whole files: the starter, and what `config show` makes of a project.

use backupctl_adapter_config::{reference_markdown, schema, starter_config, starter_env};
use backupctl_domain::destination::Destination;

use crate::{Site, restic};

#[tokio::test]
async fn the_starter_loads_as_it_is() {
    let site = Site::new(&starter_config("my-app")).dotenv(&starter_env("a \"b\\ $c#"));
    let project = site.only().await;
    assert_eq!(project.name.as_str(), "my-app");
    assert_eq!(restic(&project).password.expose().unwrap(), "a \"b\\ $c#");
    assert_eq!(site.warnings().await, "");
    assert!(starter_config("x").lines().count() <= 40);
}

#[tokio::test]
async fn the_starters_commented_parts_load_too() {
    // Dots stand for what everybody has of his own.
    let age = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let text: String = starter_config("my-app")
        .replace("age1...", age)
        .lines()
        .map(|line| {
            let bare = line.trim_start();
            match bare.strip_prefix("# ") {
                Some(rest) if line.starts_with("    #") => {
                    let indent = &line[..line.len() - bare.len()];
                    // Of alternatives the sample keeps the first.
                    let other = [
                        "archive:",
                        "path: /mnt/usb",
                        "destinations:",
                        "type: postgres",
                        "host:",
                        "name:",
                        "user:",
                        "repository: sftp",
                        "password: the",
                    ];
                    if other.iter().any(|o| rest.trim_start().starts_with(o)) {
                        String::new()
                    } else {
                        format!("{indent}{rest}\n")
                    }
                }
                _ => format!("{line}\n"),
            }
        })
        .collect();
    let site = Site::new(&text).dotenv("RESTIC_PASSWORD=x\nAPP_DB_PASSWORD=y\nKUMA_TOKEN=z\n");
    let project = site.var("UPTIME_KUMA_BASE_URL", "https://k").only().await;
    assert!(project.encryption.is_some() && project.monitor.is_some());
    assert_eq!(project.notifications.len(), 1);
}

#[tokio::test]
async fn the_starters_other_destinations_load_too() {
    let starter = starter_config("my-app").replace("    # encryption:", "    encryption:");
    let starter = starter.replace("    #   enabled: true", "      enabled: false");
    let (before, rest) = starter.split_once("    restic:\n").unwrap();
    let (_, archive) = rest.split_once("    # archive:").unwrap();
    let (archive, rest) = archive.split_once("    # destinations:").unwrap();
    let (list, after) = rest.split_once('\n').unwrap();
    let archive = format!("    archive:{}", archive.replace("\n    # ", "\n    "));
    for (own, kinds) in [
        (archive, vec!["archive"]),
        (format!("    destinations:{list}\n"), vec!["restic", "archive"]),
    ] {
        let site = Site::new(&format!("{before}{own}{after}")).dotenv("RESTIC_PASSWORD=x\n");
        let destinations = site.only().await.destinations;
        assert_eq!(destinations.iter().map(Destination::kind).collect::<Vec<_>>(), kinds, "{own}");
    }
}

#[tokio::test]
async fn what_is_shown_holds_no_secret() {
    let site = Site::new(
        "projects:\n  - name: p\n    database: {type: postgres, name: d, password: 'geheim1', host: \
         '${HOST_A}'}\n    restic: {repository: 'rest:https://u:geheim2@h/', password_file: f, env: \
         {KEY_A: geheim3, KEY_B_command: 'echo x'}}\n    hooks: {pre_backup: 'curl -H ${API_TOKEN} \
         geheim1'}\n    notification: {type: webhook, config: {url: 'https://h/geheim4', secret: \
         geheim5}}\n",
    );
    let site = site.dotenv("API_TOKEN=geheim6\nHOST_A=db.example.com\n");
    let view = site.loader().masked_view(&site.only().await);
    let text = view.to_string();
    assert!(!text.contains("geheim"), "{text}");
    assert_eq!(view["database"]["password"], "***");
    assert_eq!(view["database"]["host"], "db.example.com");
    assert_eq!(view["restic"]["password_file"], site.path().join("f").to_str().unwrap());
    assert_eq!(view["restic"]["env"]["KEY_B_command"], "echo x");
    assert_eq!(view["hooks"]["pre_backup"], "curl -H ${API_TOKEN} ***");
}

#[tokio::test]
async fn variables_in_hooks_are_left_to_their_shell() {
    let pre = "curl -H \"${API_TOKEN}\" $HOST_A ${BACKUPCTL_RUN_ID} ${PLAIN:-x} $${own}";
    let site = Site::project(&format!(
        "    hooks: {{pre_backup: '{pre}', finally: 'echo ${{FROM_PROCESS}} $BOTH', \
         timeout_minutes: '${{MIN}}'}}\n"
    ));
    let site = site
        .dotenv("API_TOKEN=geheim\nHOST_A=db\nBOTH=x\nUNNAMED=y\nMIN=3\nBACKUPCTL_RUN_ID=forged\n");
    let site = site.var("FROM_PROCESS", "geheim2").var("BOTH", "z");
    let hooks = site.only().await.hooks;
    let shown = "curl -H \"${API_TOKEN}\" $HOST_A ${BACKUPCTL_RUN_ID} ${PLAIN:-x} ${own}";
    assert_eq!(hooks.pre_backup.as_deref(), Some(shown));
    assert_eq!(hooks.finally.as_deref(), Some("echo ${FROM_PROCESS} $BOTH"));
    assert_eq!(hooks.timeout.as_secs(), 180);
    let env: Vec<_> = hooks.env.iter().map(|(k, v)| (k.as_str(), v.expose().unwrap())).collect();
    assert_eq!(env, [("API_TOKEN", "geheim"), ("HOST_A", "db")]);
}

#[tokio::test]
async fn a_variable_of_a_hook_that_nobody_sets_is_told_at_once() {
    let site = Site::project("    hooks: {post_backup: 'echo ${NOPE} ${BACKUPCTL_STATUS}'}\n");
    let issues = site.issues().await;
    assert!(issues.contains("[p] hooks.post_backup: the variable `NOPE` is not set"), "{issues}");
    assert_eq!(issues.lines().count(), 1);
}

#[tokio::test]
async fn texts_from_variables_are_numbers_and_truths_where_these_are_meant() {
    let site = Site::project(
        "    enabled: ${OFF}\n    timeout_minutes: '${MIN:-30}'\n    database: {type: '${DB}', name: \
         123, password: 0123, port: \"5433\"}\n    compression: {algorithm: gzip}\n",
    );
    let project = site.dotenv("OFF=no\nDB=postgres\n").only().await;
    assert!(!project.enabled);
    assert_eq!(project.timeout.unwrap().as_secs(), 1800);
    assert_eq!(project.compression.unwrap().level, 6);
    let database = project.database.unwrap();
    assert_eq!((database.port, database.name.as_str()), (5433, "123"));
    assert_eq!(database.password.unwrap().expose().unwrap(), "0123");
}

#[tokio::test]
async fn every_engine_and_its_keys_load() {
    for (engine, more) in [
        ("mysql", "name: all, options: {extra_args: [--hex-blob], exclude_tables: log}"),
        ("mariadb", "name: n, options: {globals: true}"),
        ("mongodb", "name: n, user: u, password: p"),
        ("redis", "password: p"),
        ("sqlite", "path: ~/x.db"),
        (
            "postgres",
            "name: n, host: /run/postgresql, options: {sslmode: verify-full, sslrootcert: ca}, dump_timeout_minutes: 5",
        ),
    ] {
        let site = Site::project(&format!("    database: {{type: {engine}, {more}}}\n"));
        let database = site.only().await.database.unwrap();
        assert_eq!(database.engine.as_str(), engine);
        assert_eq!(database.port, database.engine.default_port());
    }
}

#[tokio::test]
async fn a_container_is_named_for_every_engine_but_a_file() {
    let via = |engine: &str, via: &str| {
        Site::project(&format!("    database: {{type: {engine}, name: n, {via}}}\n"))
    };
    for engine in ["postgres", "mysql", "mariadb", "mongodb", "redis"] {
        let database = via(engine, "via: 'docker:shop-db_1.x'").only().await.database.unwrap();
        assert_eq!(database.container.as_deref(), Some("shop-db_1.x"), "{engine}");
    }
    for bad in ["docker:", "docker: x", "podman:x", "shop-db", "docker:-it"] {
        let issues = via("postgres", &format!("via: '{bad}'")).issues().await;
        assert!(issues.contains("[p] database.via: `") && issues.contains("container"), "{issues}");
        assert_eq!(issues.lines().count(), 1, "{issues}");
    }
    let issues = via("sqlite", "path: /x.db, via: 'docker:x'").issues().await;
    assert!(issues.contains("[p] database.via: a SQLite database is a file"), "{issues}");
    assert!(issues.contains("remove `database.via`"), "{issues}");
    assert_eq!(issues.lines().count(), 1, "{issues}");
}

#[test]
fn the_reference_and_the_schema_are_made() {
    assert!(reference_markdown().contains("| `database.port` |"));
    assert_eq!(schema()["additionalProperties"], false);
}
