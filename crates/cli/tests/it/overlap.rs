//! Two runs of one project, and the runs of all projects.

use std::fs;

use serde_json::{Value, json};

use super::support::{Gate, World, words};

#[test]
fn a_second_run_gives_up_at_once_and_says_who_runs_since_when() {
    let mut w = World::new();
    let gate = Gate::new(&w, "hook");
    w.project()["hooks"] = json!({"pre_backup": gate.shell()});
    let mut first = w.start(&["run", "shop"]);
    gate.wait(&mut first);
    let lock = fs::read_to_string(w.state("shop/.lock")).unwrap();
    let lines: Vec<&str> = lock.lines().collect();
    assert_eq!(lines.len(), 2, "{lock}");
    assert_eq!(lines[0], format!("pid={}", first.pid()));
    let since = lines[1].strip_prefix("started=").unwrap();
    let moment: jiff::Timestamp = since.parse().unwrap();
    assert_eq!(format!("{moment:.3}"), since);

    let told = w.receiver.requests().len();
    let second = w.run(&["run", "shop"]);
    second.expect(2);
    let said = &second.stderr;
    assert!(said.contains("error[BACKUP_IN_PROGRESS]"), "{said}");
    assert!(said.contains(&first.pid().to_string()), "{said}");
    assert!(said.contains(&since[..10]), "{said}");
    let document = w.run(&["run", "shop", "--json"]);
    assert_eq!(document.expect(2).json()["error"]["code"], "BACKUP_IN_PROGRESS");
    assert_eq!(w.receiver.requests().len(), told, "nothing else happens");

    // What is going on can be seen meanwhile.
    let status = w.json(&["status", "shop", "--json"]);
    assert_eq!((&status["running"], &status["stage"]), (&json!(true), &json!("PreHook")));
    let shown = w.run(&["status"]);
    assert!(shown.expect(0).stdout.contains("PreHook (2/11)"), "{}", shown.stdout);

    // One waits behind it; a further one is folded into that.
    let mut waiting = w.start(&["run", "shop", "--wait"]);
    let queue = w.state("shop/.lock.queue");
    waiting.wait("a place in the queue", |_| queue.exists());
    w.run(&["run", "shop", "--wait"]).expect(2);
    gate.open();
    w.finish(first).expect(0);
    gate.wait(&mut waiting);
    gate.open();
    w.finish(waiting).expect(0);
    let records = w.records();
    assert_eq!(records.len(), 2, "{records:#?}");
    assert!(records.iter().all(|r| r["status"] == "success"));
    assert!(!w.state("shop/.lock").exists());
}

#[test]
fn all_go_in_order_and_a_failure_stops_none() {
    let mut w = World::new();
    w.add_project("archive")["hooks"] = json!({"pre_backup": "exit 1"});
    w.add_project("paused")["enabled"] = json!(false);
    w.add_project("blog");
    let document = w.run(&["run", "--all", "--json"]);
    let document = document.expect(5).json();
    let runs: Vec<(&str, &str)> = document["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (words(r, "project"), words(r, "status")))
        .collect();
    assert_eq!(runs, [("shop", "success"), ("archive", "failed"), ("blog", "success")]);
    let started: Vec<Value> =
        w.events_of("backup_started").into_iter().map(|e| e["project"].clone()).collect();
    assert_eq!(started, ["shop", "archive", "blog"]);

    for project in w.config["projects"].as_array_mut().unwrap() {
        project["hooks"] = json!({"pre_backup": "exit 1"});
    }
    let none = w.run(&["run", "--all"]);
    assert!(none.expect(1).stdout.ends_with("0 of 3 backups succeeded\n"), "{}", none.stdout);

    let projects = w.config["projects"].as_array_mut().unwrap();
    projects.truncate(1);
    projects[0]["hooks"] = json!({});
    w.run(&["run", "--all"]).expect(0);
}
