//! `init` and `config`: the first minutes, mistakes, and secrets that stay hidden.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::support::{DATABASE_PASSWORD, REPOSITORY_PASSWORD, World, words};

#[test]
fn init_leads_from_nothing_to_a_backup_and_overwrites_nothing() {
    let mut w = World::new();
    w.config = Value::Null;
    w.env.insert("HEALTH_DISK_MIN_FREE_GB".into(), "0".into());
    w.env.insert("BACKUP_BASE_DIR".into(), w.work.join("state").display().to_string());
    let first = w.run(&["init", "--project", "my-app"]);
    first.expect(0);
    let mode = |name: &str| {
        fs::metadata(w.work.join("etc").join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode(".env"), 0o600);
    let text = fs::read_to_string(w.work.join("etc/backupctl.yml")).unwrap();
    assert!(text.contains("name: my-app") && text.contains("# "), "{text}");
    w.run(&["config", "validate"]).expect(0);

    // The starter's own database and repository.
    fs::rename(w.sqlite("app", 10), w.work.join("etc/app.sqlite")).unwrap();
    let missing = w.run(&["run", "my-app"]);
    assert!(missing.expect(4).stderr.contains("REPO_NOT_INITIALIZED"), "{}", missing.stderr);
    let env = fs::read_to_string(w.work.join("etc/.env")).unwrap();
    let second = w.run(&["init", "--json"]);
    second.expect(0);
    assert!(w.work.join("etc/restic-repository/config").exists());
    w.run(&["run", "my-app"]).expect(0);
    w.run(&["init"]).expect(0);
    assert_eq!(fs::read_to_string(w.work.join("etc/.env")).unwrap(), env);
    assert_eq!(fs::read_to_string(w.work.join("etc/backupctl.yml")).unwrap(), text);

    // A `.env` without a configuration is somebody's too.
    fs::remove_file(w.work.join("etc/backupctl.yml")).unwrap();
    let refused = w.run(&["init"]);
    refused.expect(3);
    assert!(!w.work.join("etc/backupctl.yml").exists());
    assert_eq!(fs::read_to_string(w.work.join("etc/.env")).unwrap(), env);
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let mut w = World::new();
    w.config = Value::Null;
    let dir = w.work.path().display();
    let file = w.work.file(
        "etc/backupctl.yml",
        format!(
            "base_dir: {dir}/state\nmin_fre_gb: 1\nprojects:\n  - name: shop\n    assets:\n      \
             paths: [{dir}/assets/uploads]\n    restic:\n      repository: {}\n      \
             password: ${{NOT_SET_ANYWHERE}}\n    retention:\n      keep_last: many\n  - name: good\n    \
             assets:\n      paths: [{dir}/assets/uploads]\n    restic:\n      repository: {}\n      \
             password: {REPOSITORY_PASSWORD}\n  - name: Bad Name\n    restic: {{}}\n",
            w.repository.path().display(),
            w.repository.path().display(),
        ),
    );
    let out = w.run(&["config", "validate"]);
    out.expect(3);
    let file = file.display();
    for (place, words) in [
        (":2:", vec!["min_fre_gb", "min_free_gb"]),
        (":9:", vec!["shop", "restic.password", "NOT_SET_ANYWHERE"]),
        (":11:", vec!["shop", "retention.keep_last"]),
        (":18:", vec!["Bad Name"]),
    ] {
        let start = format!("{file}{place}");
        let line = out.stderr.lines().find(|l| l.contains(&start));
        let line = line.unwrap_or_else(|| panic!("nothing at {start} in {}", out.stderr));
        assert!(words.iter().all(|w| line.contains(w)), "{line}");
        let column = line.split(&start).nth(1).unwrap().split(':').next().unwrap();
        assert!(column.parse::<u32>().is_ok(), "{line}");
    }
    let out = w.run(&["config", "validate", "--json"]);
    let document = out.expect(3).json();
    assert_eq!(document["valid"], false);
    assert!(document["errors"].as_array().unwrap().len() >= 4, "{document:#}");
    for error in document["errors"].as_array().unwrap() {
        for key in ["file", "line", "column", "project", "key", "message"] {
            assert!(error.get(key).is_some(), "{key} in {error:#}");
        }
    }
    assert!(
        document["projects"]
            .as_array()
            .unwrap()
            .contains(&json!({"project": "good", "valid": true}))
    );
    let broken = w.run(&["run", "shop", "--json"]);
    assert_eq!(broken.expect(3).json()["error"]["code"], "INVALID_CONFIG");
}

#[test]
fn a_good_project_runs_beside_a_broken_one() {
    let mut w = World::new();
    w.add_project("broken")["retention"] = json!({"keep_last": "many"});
    w.backup();
    w.run(&["config", "validate"]).expect(3);
    let broken = w.run(&["run", "broken"]);
    assert!(broken.expect(3).stderr.contains("retention.keep_last"), "{}", broken.stderr);
    w.run(&["run", "--all"]).expect(5);
}

#[test]
fn secrets_are_masked_and_may_come_from_elsewhere() {
    let mut w = World::with_sqlite();
    let file = w.work.file("password", format!("{REPOSITORY_PASSWORD}\n"));
    let restic = w.project()["restic"].as_object_mut().unwrap();
    restic.remove("password");
    restic.insert("password_file".into(), json!(file));
    w.backup();
    let restic = w.project()["restic"].as_object_mut().unwrap();
    restic.remove("password_file");
    restic.insert("password_command".into(), json!(format!("cat {}", file.display())));
    w.backup();
    let restic = w.project()["restic"].as_object_mut().unwrap();
    restic.remove("password_command");
    restic.insert("password".into(), json!(REPOSITORY_PASSWORD));

    w.project()["database"] = json!({
        "type": "postgres", "host": "db", "name": "shop", "user": "shop",
        "password": DATABASE_PASSWORD,
    });
    let shown = w.run(&["config", "show", "shop"]);
    assert!(shown.expect(0).stdout.contains("***"), "{}", shown.stdout);
    let document = w.json(&["config", "show", "shop", "--json"]);
    assert_eq!(document["database"]["password"], "***", "{document:#}");
    assert_eq!(document["restic"]["password"], "***", "{document:#}");
    assert_eq!(document["retention"]["keep_last"], 20);
    let schema = w.json(&["config", "schema"]);
    assert!(words(&schema, "$schema").contains("json-schema.org"));
    assert!(schema["properties"]["projects"].is_object());
}
