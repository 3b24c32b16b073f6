//! Bringing back a part, and bringing back where not everything is there: on a new machine.

use std::fs;

use serde_json::json;

use super::support::{World, words};

#[test]
fn one_path_comes_back_alone() {
    for mode in ["combined", "separate"] {
        let mut w = World::with_sqlite();
        w.project()["restic"]["snapshot_mode"] = json!(mode);
        w.backup();
        let one = w.work.join("assets/uploads/one.txt");
        let deep = w.work.join("assets/uploads/deep");
        let (one, deep) = (one.to_str().unwrap(), format!("{}/", deep.display()));
        let back = w.work.join("back");
        let target = back.to_str().unwrap();
        let document = w.json(&[
            "restore",
            "shop",
            "latest",
            target,
            "--path",
            one,
            "--include",
            &deep,
            "--json",
        ]);
        assert_eq!(document["files"], 2, "{document:#}");
        assert_eq!(document["dump"], json!(null));
        let below = |path: &str| back.join(path.trim_start_matches('/'));
        assert_eq!(fs::read_to_string(below(one)).unwrap(), "first upload");
        assert_eq!(fs::read_to_string(below(&deep).join("two.txt")).unwrap(), "second upload");

        let gone = w.work.join("assets/uploads/gone.txt");
        for missing in [gone.to_str().unwrap(), "/nowhere/else"] {
            let target = w.work.join("none");
            let target = target.to_str().unwrap();
            let args = ["restore", "shop", "latest", target, "--path", missing, "--json"];
            let error = w.run(&args).expect(1).json();
            assert_eq!(error["error"]["code"], "SNAPSHOT_NOT_FOUND", "{error:#}");
            assert!(words(&error["error"], "message").contains(missing), "{error:#}");
            assert!(words(&error["error"], "remedy").contains("backupctl restic shop ls"));
        }
    }
    let w = World::new();
    let relative = w.run(&["restore", "shop", "latest", "/tmp/x", "--path", "one.txt", "--json"]);
    assert_eq!(relative.expect(3).json()["error"]["code"], "INVALID_CONFIG");
    w.run(&["restore", "shop", "latest", "/tmp/x", "--path", "/a", "--only", "db"]).expect(3);
    w.run(&["restore", "shop", "latest"]).expect(3);
}

#[test]
fn a_new_machine_needs_the_repository_s_secrets_alone() {
    let mut w = World::with_sqlite();
    w.backup();
    w.config["uptime_kuma_base_url"] = json!("${KUMA_URL}");
    w.config["audit"] = json!({"url_file": "/nowhere/audit-url"});
    w.config["notification"] = json!({"type": "slack", "config": {"webhook_url": "${SLACK_URL}"}});
    let project = w.project();
    project["database"] = json!({
        "type": "postgres", "host": "${DB_HOST}", "port": "${DB_PORT}", "name": "shop",
        "user": "${DB_USER}", "password": "${DB_PASSWORD}",
    });
    project["hooks"] = json!({"pre_backup": "touch ${FLAG}"});
    let refused = w.run(&["run", "shop"]);
    assert!(refused.expect(3).stderr.contains("KUMA_URL"), "{}", refused.stderr);
    assert_eq!(w.json(&["snapshots", "shop", "--json"])["snapshots"].as_array().unwrap().len(), 1);
    let target = w.work.join("back");
    let target = target.to_str().unwrap();
    let document = w.json(&["restore", "shop", "latest", target, "--decompress", "--json"]);
    // The audit of before is out of reach; the one that is there by default has the record.
    assert_eq!(document["checksum_proven"], true, "{document:#}");
    assert!(words(&document, "dump").ends_with(".sqlite"), "{document:#}");

    w.project()["restic"]["password"] = json!("${RESTIC_SECRET}");
    let refused = w.run(&["restore", "shop", "latest", target, "--force"]);
    assert!(refused.expect(3).stderr.contains("RESTIC_SECRET"), "{}", refused.stderr);
}
