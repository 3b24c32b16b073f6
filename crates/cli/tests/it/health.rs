//! `health`: everything that is broken in one go, and nothing touched.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use backupctl_testkit::services::{Repository, free_port};
use serde_json::{Value, json};

use super::support::{REPOSITORY_PASSWORD, World, postgres, sshd, tree, words};

fn outcomes<'a>(document: &'a Value, outcome: &str) -> Vec<&'a Value> {
    let checks = document["checks"].as_array().unwrap();
    checks.iter().filter(|c| c["outcome"] == outcome).collect()
}

fn found<'a>(document: &'a Value, project: Option<&str>, name: &str) -> &'a Value {
    let checks = document["checks"].as_array().unwrap();
    let found = checks.iter().find(|c| c["name"] == name && c["project"].as_str() == project);
    found.unwrap_or_else(|| panic!("no {name} of {project:?} in {document:#}"))
}

#[test]
fn a_good_set_up_is_healthy_and_stays_as_it_is() {
    let (server, ssh) = (postgres(), sshd());
    let mut w = World::with_postgres(&server);
    w.config["log"] = json!({});
    let path = ssh.root().join("health");
    let repository = Repository::fresh_at(&path, REPOSITORY_PASSWORD);
    w.config["ssh"] = json!({
        "host": "127.0.0.1", "user": ssh.user(), "port": ssh.port(), "key_path": ssh.key_path(),
        "known_hosts_path": ssh.known_hosts_path(),
    });
    w.project()["restic"] =
        json!({"repository_path": repository.path(), "password": REPOSITORY_PASSWORD});
    let recipient = age::x25519::Identity::generate().to_public().to_string();
    w.project()["encryption"] = json!({"enabled": true, "type": "age", "recipient": recipient});
    w.project()["cron"] = json!("0 3 * * *");
    // As a timer does: something is seen to start the runs.
    w.run(&["run", "shop", "--scheduled"]).expect(0);
    w.receiver.clear();
    let before = (tree(w.work.path()), tree(repository.path()));

    let document = w.json(&["health", "--json"]);

    assert_eq!(document["healthy"], true, "{document:#}");
    assert_eq!(outcomes(&document, "pass").len(), document["checks"].as_array().unwrap().len());
    for (project, name, text) in [
        (None, "audit", "takes records"),
        (None, "disk", "free"),
        (None, "base_dir", "can be written"),
        (None, "fallback", "nothing waits"),
        (None, "daemon", "timers or cron start the runs"),
        (None, "summary", "no daemon has run here"),
        (Some("shop"), "ssh", "OpenSSH"),
        (Some("shop"), "repository", "restic"),
        (Some("shop"), "database", "reachable"),
        (Some("shop"), "encryption", "age"),
        (Some("shop"), "notifier", "webhook"),
        (Some("shop"), "heartbeat", "answers"),
        (Some("shop"), "schedule", "every day at 03:00, next "),
        (Some("shop"), "freshness", "last success"),
    ] {
        let message = words(found(&document, project, name), "message");
        assert!(message.contains(text), "{name}: {message}");
    }
    let tools: Vec<&str> = outcomes(&document, "pass")
        .into_iter()
        .filter(|c| c["name"] == "tool")
        .map(|c| words(c, "message"))
        .collect();
    assert!(tools[0].starts_with("restic 0.") && tools[1].contains("pg_dump"), "{tools:?}");
    // The monitor's server is asked, its push address is not, and no notice goes out.
    let requests = w.receiver.requests();
    assert!(requests.iter().all(|r| r.method == "GET" && r.path() == "/"), "{requests:#?}");
    let same = |mut t: std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>| {
        // Whoever looks at a SQLite database has a part of its shared memory.
        t.retain(|path, _| !path.to_string_lossy().contains("audit.db-"));
        t
    };
    assert!(same(before.0) == same(tree(w.work.path())), "something was changed");
    assert!(before.1 == tree(repository.path()));
    let shown = w.run(&["health", "shop"]);
    assert!(shown.expect(0).stdout.contains("\nhealthy: "), "{}", shown.stdout);
    assert!(!shown.stdout.contains("fix:"), "{}", shown.stdout);
}

#[test]
fn a_broken_set_up_is_told_whole_with_a_remedy_for_each() {
    let ssh = sshd();
    let mut w = World::new();
    w.backup();
    let assets = w.project()["assets"].clone();
    // The log cannot be written, and too little is free.
    w.config["log"]["dir"] = json!(w.work.file("not-a-folder", "x"));
    w.config["min_free_gb"] = json!(1_000_000);
    w.config["audit"] =
        json!({"url": format!("postgres://u:audit-pw-93@127.0.0.1:{}/x", free_port())});
    w.config["uptime_kuma_base_url"] = json!(format!("http://127.0.0.1:{}", free_port()));
    let open = w.work.join("open_key");
    fs::copy(ssh.key_path(), &open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    w.config["ssh"] = json!({
        "host": "127.0.0.1", "user": ssh.user(), "port": ssh.port(), "key_path": open,
        "known_hosts_path": ssh.known_hosts_path(),
    });
    let shop = w.project();
    shop["database"] = json!({"type": "postgres", "host": "127.0.0.1", "port": free_port(),
        "name": "x", "user": "x", "password": "x-password"});
    shop["restic"]["password"] = json!("not-the-password-2c");
    shop["notification"] = json!([
        {"type": "webhook", "config": {"url": "https://"}},
        {"type": "email", "config": {
            "smtp_host": "127.0.0.1", "smtp_port": free_port(), "from": "a@example.org",
            "to": "b@example.org",
        }},
    ]);
    let no_keys = w.work.join("no_keys");
    w.project()["encryption"] = json!({"enabled": true, "type": "age", "recipients_file": no_keys});
    let far = w.add_project("far");
    far["restic"] = json!({"repository_path": "r", "password": REPOSITORY_PASSWORD});
    w.add_project("gone")["restic"]["repository"] = json!(w.work.join("nowhere"));
    w.add_project("typo")["cron"] = json!("61 * * * *");
    w.add_project("secretless")["restic"] =
        json!({"repository": w.repository.path(), "password_file": w.work.join("no_password")});
    let good = w.work.join("good");
    let good = Repository::fresh_at(&good, REPOSITORY_PASSWORD);
    let project = w.add_project("good");
    project["assets"] = assets;
    project["restic"] = json!({"repository": good.path(), "password": REPOSITORY_PASSWORD});
    let pid = "pid=4194303\nstarted=2026-03-18T00:00:05.000Z\n";
    w.work.file("state/good/.lock", pid);

    let out = w.run(&["health", "--json"]);
    let document = out.expect(1).json();
    assert_eq!(document["healthy"], false);
    for (project, name, code) in [
        (None, "log", "PATH_NOT_WRITABLE"),
        (None, "audit", "AUDIT_UNAVAILABLE"),
        (None, "disk", "DISK_LOW"),
        (Some("shop"), "repository", "REPO_WRONG_PASSWORD"),
        (Some("shop"), "database", "DB_CONNECTION_REFUSED"),
        (Some("shop"), "encryption", "ENCRYPTION_KEY_MISSING"),
        (Some("shop"), "heartbeat", "HEARTBEAT_FAILED"),
        (Some("far"), "ssh", "SSH_KEY_PERMISSIONS"),
        (Some("far"), "repository", "SSH_KEY_PERMISSIONS"),
        (Some("gone"), "repository", "REPO_NOT_INITIALIZED"),
        (Some("typo"), "config", "INVALID_CONFIG"),
        (Some("secretless"), "repository", "INVALID_CONFIG"),
    ] {
        let check = found(&document, project, name);
        assert_eq!((&check["outcome"], &check["code"]), (&json!("fail"), &json!(code)), "{check}");
        words(check, "message");
        words(check, "remedy");
    }
    let notifiers: Vec<&Value> = outcomes(&document, "fail")
        .into_iter()
        .filter(|c| c["name"] == "notifier" && c["project"] == "shop")
        .collect();
    assert_eq!(notifiers.len(), 2, "each channel: {document:#}");
    assert_eq!(found(&document, Some("good"), "repository")["outcome"], "pass");
    assert_eq!(found(&document, Some("good"), "lock")["outcome"], "warn");
    assert!(w.state("good/.lock").exists(), "health puts nothing right by itself");
    for secret in ["audit-pw-93", "not-the-password-2c", "x-password"] {
        assert!(!out.stdout.contains(secret) && !out.stderr.contains(secret), "{secret}");
    }

    let shown = w.run(&["health"]);
    let text = &shown.expect(1).stdout;
    let failed = outcomes(&document, "fail").len();
    assert!(text.contains(&format!("not healthy: {failed} of ")), "{text}");
    assert!(text.matches("fix: ").count() >= failed, "{text}");
    let one = w.run(&["health", "good", "--json"]).json();
    let named = one["checks"].as_array().unwrap().iter().filter_map(|c| c["project"].as_str());
    assert!(named.clone().all(|p| p == "good") && named.count() > 3, "{one:#}");
    w.run(&["health", "nobody"]).expect(3);
}

#[test]
fn what_is_only_out_of_reach_ends_with_4_and_nothing_missing_is_made() {
    let mut w = World::new();
    w.config["log"] = json!({});
    w.project()["restic"]["repository"] = json!(w.work.join("nowhere"));
    let document = w.run(&["health", "--json"]);
    let document = document.expect(4).json();
    assert_eq!(found(&document, None, "audit")["outcome"], "warn");
    assert_eq!(found(&document, None, "base_dir")["outcome"], "warn");
    assert_eq!(found(&document, Some("shop"), "freshness")["outcome"], "warn");
    assert!(!w.work.join("state").exists() && !w.work.join("nowhere").exists());

    w.project()["restic"]["repository"] = json!(w.repository.path());
    assert_eq!(w.json(&["health", "--json"])["healthy"], true, "warnings fail nothing");
    assert!(!w.work.join("state").exists());
}
