//! `prune`, `forget` and `cache` on a real repository.

use std::fs;
use std::path::Path;

use backupctl_testkit::services::Repository;
use serde_json::{Value, json};

use super::support::{Gate, REPOSITORY_PASSWORD, World, tree, words};

/// The ids of a project's snapshots, newest first.
fn ids(w: &World) -> Vec<String> {
    let list = w.json(&["snapshots", "shop", "--json"]);
    let all = list["snapshots"].as_array().unwrap();
    all.iter().map(|s| words(s, "id").to_owned()).collect()
}

#[test]
fn retention_is_applied_now_to_snapshots_and_local_dumps() {
    let mut w = World::with_sqlite();
    for _ in 0..3 {
        w.backup();
    }
    // Older than any limit, by its name; what backupctl did not write stays.
    let old = format!("shop_backup_20200101_030000_{}.sqlite.zst", "0123abcd");
    w.work.file(format!("state/shop/{old}"), "old");
    w.work.file("state/shop/notes.txt", "mine");
    let before = ids(&w);
    w.project()["retention"] = json!({"keep_last": 1, "local_days": 3650});
    let size = |w: &World| tree(w.repository.path()).values().map(Vec::len).sum::<usize>();
    let bytes = size(&w);

    w.project()["retention"]["local_days"] = json!(365);
    let done = w.json(&["prune", "shop", "--json"]);

    assert_eq!((&done["project"], &done["kept"]), (&json!("shop"), &json!(1)));
    let removed: Vec<&str> =
        done["removed"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert_eq!(removed.len(), 2, "{done:#}");
    assert_eq!(ids(&w), before[..1]);
    assert!(size(&w) < bytes, "its space is freed");
    assert_eq!(done["repository_bytes"], json!(size(&w)));
    assert_eq!(done["dumps_removed"], json!([w.state(&format!("shop/{old}"))]));
    assert_eq!(done["freed_bytes"], 3);
    assert!(w.state("shop/notes.txt").exists());
    assert_eq!(w.dumps().len(), 3, "young ones stay");
    assert!(!w.state("shop/.lock").exists());

    let again = w.run(&["prune", "shop"]);
    assert!(again.expect(0).stdout.contains("0 snapshots removed, 1 kept"), "{}", again.stdout);
}

#[test]
fn all_projects_are_pruned_in_order_and_one_that_fails_stops_none() {
    let mut w = World::new();
    w.backup();
    w.add_project("gone")["restic"]["repository"] = json!(w.work.join("nowhere"));
    w.add_project("off")["enabled"] = json!(false);
    w.add_project("blog");
    let done = w.run(&["prune", "--all", "--json"]);
    let done = done.expect(5).json();
    let all = done["projects"].as_array().unwrap();
    let names: Vec<&str> = all.iter().map(|p| words(p, "project")).collect();
    assert_eq!(names, ["shop", "gone", "blog"]);
    assert_eq!(all[0]["kept"], 1);
    assert_eq!(all[1]["error"]["code"], "REPO_NOT_INITIALIZED");
    w.config["projects"].as_array_mut().unwrap().swap_remove(1);
    w.run(&["prune", "--all"]).expect(0);
    let projects = w.config["projects"].as_array_mut().unwrap();
    projects.truncate(1);
    projects[0]["restic"]["password"] = json!("another-password");
    w.run(&["prune", "--all"]).expect(1);
    w.run(&["prune"]).expect(3);
    w.run(&["prune", "shop", "--all"]).expect(3);
}

#[test]
fn nothing_is_removed_beside_a_run_and_a_run_waits_for_what_is_being_removed() {
    let mut w = World::new();
    w.backup();
    w.backup();
    let hook = Gate::new(&w, "hook");
    w.project()["hooks"] = json!({"pre_backup": hook.shell()});
    let mut run = w.start(&["run", "shop"]);
    hook.wait(&mut run);
    let (before, id) = (tree(w.repository.path()), ids(&w).remove(0));
    for args in
        [&["prune", "shop"][..], &["forget", "shop", &id, "--yes"], &["cache", "shop", "--clear"]]
    {
        let refused = w.run(args);
        assert!(refused.expect(2).stderr.contains("error[BACKUP_IN_PROGRESS]"), "{args:?}");
    }
    w.run(&["prune", "--all"]).expect(1);
    assert!(tree(w.repository.path()) == before);
    hook.open();
    w.finish(run).expect(0);

    // And the other way round: a backup is not missed because somebody tidies up.
    w.project()["hooks"] = json!({});
    let gate = Gate::new(&w, "forget");
    w.wrap("restic", &gate.before("restic", "*' forget '*"));
    let mut pruning = w.start(&["prune", "shop"]);
    gate.wait(&mut pruning);
    let mut run = w.start(&["run", "shop"]);
    let queue = w.state("shop/.lock.queue");
    run.wait("a place in the queue", |_| queue.exists());
    gate.open();
    w.finish(pruning).expect(0);
    gate.wait(&mut run);
    gate.open();
    w.finish(run).expect(0);
    assert_eq!(ids(&w).len(), 4);
}

#[test]
fn one_snapshot_is_deleted_when_somebody_says_yes() {
    let w = World::new();
    for _ in 0..3 {
        w.backup();
    }
    let before = ids(&w);
    // Nobody can be asked.
    let refused = w.run(&["forget", "shop", &before[1]]);
    assert!(refused.expect(3).stderr.contains("--yes"), "{}", refused.stderr);
    let refused = w.run(&["forget", "shop", &before[1], "--json"]);
    assert_eq!(refused.expect(3).json()["error"]["code"], "INVALID_CONFIG");
    for wrong in ["ffffffff", "latest", "abc", ""] {
        let refused = w.run(&["forget", "shop", wrong, "--yes", "--json"]);
        assert_eq!(refused.expect(1).json()["error"]["code"], "SNAPSHOT_NOT_FOUND", "{wrong}");
    }
    assert_eq!(ids(&w), before);

    let done = w.json(&["forget", "shop", &before[1][..10], "--yes", "--json"]);
    assert_eq!((&done["forgotten"]["id"], &done["left"]), (&json!(before[1]), &json!(2)));
    assert_eq!(ids(&w), [before[0].clone(), before[2].clone()]);

    on_a_terminal(&w, "n", &before[2], 1);
    assert_eq!(ids(&w).len(), 2);
    let asked = on_a_terminal(&w, "y", &before[2], 0);
    assert!(asked.contains("[y/N]") && asked.contains(&before[2][..8]), "{asked}");
    assert_eq!(ids(&w), before[..1]);

    // The last one.
    let refused = w.run(&["forget", "shop", &before[0], "--yes"]);
    assert!(refused.expect(3).stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(ids(&w), before[..1]);
    w.run(&["forget", "shop", &before[0], "--yes", "--force"]).expect(0);
    assert_eq!(ids(&w), [""; 0]);
    w.backup();
}

/// `forget` of that snapshot on a terminal, with that answer; what was shown.
fn on_a_terminal(w: &World, answer: &str, id: &str, code: i32) -> String {
    let command = format!("{} forget shop {id}", env!("CARGO_BIN_EXE_backupctl"));
    let script = format!("printf '{answer}\\n' | script -qec '{command}' /dev/null");
    let shown = w.finish(super::support::Running::start(w.prefixed(&["sh", "-c", &script], &[])));
    shown.expect(code).stdout.clone()
}

#[test]
fn another_projects_snapshot_is_not_ours_to_delete() {
    let mut w = World::new();
    w.backup();
    w.add_project("blog");
    w.run(&["run", "blog"]).expect(0);
    let id = ids(&w).remove(0);
    let refused = w.run(&["forget", "blog", &id, "--yes", "--force"]);
    assert!(refused.expect(1).stderr.contains("SNAPSHOT_NOT_FOUND"), "{}", refused.stderr);
    assert_eq!(ids(&w), [id]);
}

fn bytes_and_files(folder: &Path) -> (usize, usize) {
    let all = tree(folder);
    let files = all.iter().filter(|(path, _)| path.is_file());
    files.fold((0, 0), |(bytes, files), (_, content)| (bytes + content.len(), files + 1))
}

#[test]
fn the_cache_of_a_repository_is_measured_and_removed_and_no_other() {
    let mut w = World::new();
    w.backup();
    // A project with a repository and a cache folder of its own.
    let second = w.work.join("second");
    // Another password, since repositories with the same one are copies of one.
    let second = Repository::fresh_at(&second, "other-password-31f7");
    let caches = w.work.dir("caches");
    let blog = w.add_project("blog");
    blog["restic"] = json!({
        "repository": second.path(), "password": "other-password-31f7", "cache_dir": caches,
    });
    w.run(&["run", "blog"]).expect(0);

    let told = w.json(&["cache", "shop", "--json"]);
    let path = Path::new(words(&told, "path"));
    assert_eq!(path.parent().unwrap(), w.work.join("home/cache/restic"), "restic's own place");
    assert_eq!(told["cleared"], false);
    let (bytes, files) = bytes_and_files(path);
    assert!(files > 0);
    assert_eq!((&told["bytes"], &told["files"]), (&json!(bytes), &json!(files)));
    let id: Value = serde_json::from_str(&w.restic(&["cat", "config"])).unwrap();
    assert_eq!(path.file_name().unwrap().to_str(), id["id"].as_str());

    let bystander = w.work.file("home/cache/restic/bystander", "x");
    let cleared = w.json(&["cache", "shop", "--clear", "--json"]);
    assert_eq!((&cleared["bytes"], &cleared["cleared"]), (&json!(bytes), &json!(true)));
    assert!(!path.exists() && bystander.exists());
    let shown = w.run(&["cache", "shop"]);
    assert!(shown.expect(0).stdout.contains("nothing is cached"), "{}", shown.stdout);
    assert_eq!(
        w.json(&["cache", "blog", "--json"])["path"]
            .as_str()
            .map(Path::new)
            .unwrap()
            .parent()
            .unwrap(),
        caches
    );
    w.backup();

    let all = w.json(&["cache", "--clear-all", "--json"]);
    let all = all["projects"].as_array().unwrap();
    assert_eq!(all.len(), 2);
    for project in all {
        assert!(project["bytes"].as_u64().unwrap() > 0, "{project:#}");
        assert!(!Path::new(words(project, "path")).exists());
    }
    assert!(fs::exists(caches.join("CACHEDIR.TAG")).unwrap() && bystander.exists());
    w.run(&["cache"]).expect(3);
    w.backup();
}

#[test]
fn what_is_no_cache_is_never_removed() {
    let w = World::new();
    w.backup();
    let path = words(&w.json(&["cache", "shop", "--json"]), "path").to_owned();
    fs::write(Path::new(&path).join("thesis.txt"), "years of work").unwrap();
    let before = tree(Path::new(&path));
    let refused = w.run(&["cache", "shop", "--clear"]);
    assert!(refused.expect(3).stderr.contains("thesis.txt"), "{}", refused.stderr);
    fs::remove_file(Path::new(&path).join("thesis.txt")).unwrap();
    fs::remove_file(Path::new(&path).with_file_name("CACHEDIR.TAG")).unwrap();
    w.run(&["cache", "--clear-all"]).expect(1);
    assert_eq!(tree(Path::new(&path)).len(), before.len() - 1);
}

#[test]
fn pruning_that_is_told_to_stop_gives_the_lock_back() {
    let w = World::new();
    w.backup();
    let gate = Gate::new(&w, "forget");
    w.wrap("restic", &gate.before("restic", "*' forget '*"));
    let mut pruning = w.start(&["prune", "shop"]);
    gate.wait(&mut pruning);
    pruning.signal(rustix::process::Signal::INT);
    let out = w.finish(pruning);
    assert!(out.expect(130).stderr.contains("INTERRUPTED"), "{}", out.stderr);
    assert!(!w.state("shop/.lock").exists());
    fs::remove_file(w.work.join("bin/restic")).unwrap();
    assert_eq!(ids(&w).len(), 1);
    assert!(!REPOSITORY_PASSWORD.is_empty());
}
