//! `run --dry-run`: everything is checked, nothing is touched.

use std::fs;

use backupctl_testkit::services::{Repository, free_port};
use serde_json::{Value, json};

use super::support::{REPOSITORY_PASSWORD, World, postgres, sshd, tree, words};

const CHECKS: [&str; 8] =
    ["config", "dumper", "notifier", "repository", "disk", "encryption", "assets", "database"];

fn check<'a>(document: &'a Value, name: &str) -> &'a Value {
    let checks = document["checks"].as_array().unwrap();
    checks.iter().find(|c| c["name"] == name).unwrap()
}

#[test]
fn it_checks_everything_in_order_and_writes_nothing() {
    let (server, ssh) = (postgres(), sshd());
    let mut w = World::with_postgres(&server);
    w.config["log"] = json!({});
    let repository = ssh.root().join(words(&w.project()["database"], "name"));
    let repository = Repository::fresh_at(&repository, REPOSITORY_PASSWORD);
    w.config["ssh"] = json!({
        "host": "127.0.0.1", "user": ssh.user(), "port": ssh.port(), "key_path": ssh.key_path(),
        "known_hosts_path": ssh.known_hosts_path(),
    });
    w.project()["restic"] =
        json!({"repository_path": repository.path(), "password": REPOSITORY_PASSWORD});
    let recipient = age::x25519::Identity::generate().to_public().to_string();
    w.project()["encryption"] = json!({"enabled": true, "type": "age", "recipient": recipient});
    w.project()["hooks"] =
        json!({"pre_backup": format!("touch {}", w.work.join("hooked").display())});
    // Written once, so that both looks see it.
    drop(w.backupctl(&[]));
    let before = (tree(w.work.path()), tree(repository.path()));
    let document = w.json(&["run", "shop", "--dry-run", "--json"]);
    let after = (tree(w.work.path()), tree(repository.path()));
    let new: Vec<_> = after.0.keys().filter(|k| !before.0.contains_key(*k)).collect();
    assert!(new.is_empty(), "written: {new:#?}");
    assert!(before == after, "something was changed");
    assert_eq!(w.receiver.requests().len(), 0);
    assert_eq!(document["ok"], true);
    assert_eq!(document["project"], "shop");
    let checks = document["checks"].as_array().unwrap();
    let names: Vec<&str> = checks.iter().map(|c| words(c, "name")).collect();
    assert_eq!(names, CHECKS);
    assert!(checks.iter().all(|c| c["outcome"] == "pass"), "{document:#}");
}

#[test]
fn after_a_run_it_writes_nothing_either() {
    let w = World::with_sqlite();
    w.backup();
    w.receiver.clear();
    let before = (tree(w.work.path()), tree(w.repository.path()));
    let shown = w.run(&["run", "shop", "--dry-run"]);
    shown.expect(0);
    // The daily log file is its own output, and readers of a SQLite database share memory by a file and
    // may leave a log in which nothing is.
    let own = |mut t: std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>| {
        t.retain(|path, content| {
            let of_readers = path.ends_with("audit.db-shm")
                || path.ends_with("audit.db-wal") && content.is_empty();
            !path.starts_with(w.work.join("logs")) && !of_readers
        });
        t
    };
    let after = (tree(w.work.path()), tree(w.repository.path()));
    assert!(before.1 == after.1, "the repository was changed");
    let (before, after) = (own(before.0), own(after.0));
    let changed: Vec<_> = after.iter().filter(|(k, v)| before.get(*k) != Some(v)).collect();
    let changed: Vec<_> = changed.iter().map(|(k, _)| k).collect();
    assert!(changed.is_empty() && before.len() == after.len(), "{changed:#?}");
    assert_eq!(w.receiver.requests().len(), 0);
    let rows: Vec<&str> = shown.stdout.lines().filter(|l| l.contains("  pass  ")).collect();
    assert_eq!(rows.len(), CHECKS.len(), "{}", shown.stdout);
}

#[test]
fn each_failed_check_has_its_code_and_remedy() {
    let mut w = World::new();
    let there = w.project()["assets"]["paths"][0].clone();
    w.project()["database"] = json!({"type": "postgres", "host": "127.0.0.1", "port": free_port(), "name": "x",
               "user": "x", "password": "x-password"});
    w.project()["restic"]["repository"] = json!(w.work.join("nowhere"));
    w.project()["encryption"] =
        json!({"enabled": true, "type": "age", "recipients_file": w.work.join("no_keys")});
    w.project()["assets"]["paths"] = json!([there, w.work.join("gone")]);
    w.config["min_free_gb"] = json!(1_000_000);
    let out = w.run(&["run", "shop", "--dry-run", "--json"]);
    let document = out.expect(1).json();
    assert_eq!(document["ok"], false);
    for (name, code) in [
        ("repository", "REPO_NOT_INITIALIZED"),
        ("disk", "DISK_LOW"),
        ("encryption", "ENCRYPTION_KEY_MISSING"),
        ("database", "DB_CONNECTION_REFUSED"),
    ] {
        let check = check(&document, name);
        assert_eq!((&check["outcome"], &check["code"]), (&json!("fail"), &json!(code)));
        words(check, "remedy");
    }
    // A missing folder alone is a warning.
    assert_eq!(check(&document, "assets")["outcome"], "warn");
    assert_eq!(w.receiver.requests().len(), 0);
    let shown = w.run(&["run", "shop", "--dry-run"]);
    assert!(shown.expect(1).stdout.contains("fix: "), "{}", shown.stdout);
    assert!(!fs::exists(w.state("audit.db")).unwrap(), "no audit database for a look");
}
