//! The commands that read: their documents, their errors, and what is generated.

use std::io;
use std::process::Stdio;

use serde_json::{Value, json};

use super::support::{World, words};

fn has_keys(value: &Value, keys: &[&str]) {
    for key in keys {
        assert!(value.get(key).is_some(), "{key} is missing in {value:#}");
    }
}

const RECORD: [&str; 19] = [
    "run_id",
    "project",
    "trigger",
    "status",
    "current_stage",
    "stages",
    "warnings",
    "error",
    "started_at",
    "finished_at",
    "duration",
    "dump",
    "assets",
    "snapshots",
    "repository_bytes",
    "host",
    "version",
    "pid",
    "run_id",
];

#[test]
fn documents_have_the_keys_that_are_promised() {
    let mut w = World::with_sqlite();
    w.project()["cron"] = json!("0 3 * * *");
    w.add_project("idle");
    let record = w.backup();
    has_keys(&record, &RECORD);
    has_keys(
        &record["dump"],
        &["file", "bytes", "raw_bytes", "checksum", "engine", "tool_version"],
    );
    assert_eq!(record["trigger"], "manual");
    let snapshot = &record["snapshots"][0];
    has_keys(
        snapshot,
        &["id", "tags", "bytes_added", "files_new", "files_changed", "files_unmodified"],
    );
    for stage in record["stages"].as_array().unwrap() {
        has_keys(stage, &["stage", "started_at", "finished_at", "outcome", "attempts", "message"]);
    }

    let stream = w.run(&["run", "shop", "--json-stream"]);
    let events: Vec<Value> =
        stream.expect(0).stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let kind = |e: &Value| words(e, "event").to_owned();
    assert_eq!(kind(&events[0]), "started");
    let last = events.last().unwrap();
    assert_eq!(kind(last), "finished");
    has_keys(&last["run"], &RECORD);
    assert!(events.iter().any(|e| kind(e) == "stage_started" && e["stage"] == "Sync"));

    let id = words(&record, "run_id");
    let one = w.json(&["logs", "--run", &id[..8], "--json"]);
    assert_eq!(one, record);
    let list = w.json(&["logs", "shop", "--json"]);
    assert_eq!(list["runs"][0], last["run"], "newest first");
    assert_eq!(list["runs"][1], record);
    assert_eq!(
        w.json(&["logs", "shop", "--json", "--last", "1"])["runs"].as_array().unwrap().len(),
        1
    );
    assert_eq!(w.json(&["logs", "shop", "--json", "--failed"]), json!({"runs": []}));

    let status = w.json(&["status", "--json"]);
    let names: Vec<&str> =
        status["projects"].as_array().unwrap().iter().map(|p| words(p, "project")).collect();
    assert_eq!(names, ["shop", "idle"]);
    let keys = [
        "project",
        "enabled",
        "state",
        "overdue",
        "running",
        "stage",
        "age_seconds",
        "next_run",
        "last_run",
        "last_success",
    ];
    for project in status["projects"].as_array().unwrap() {
        has_keys(project, &keys);
    }
    assert_eq!(status["projects"][0]["state"], "fresh");
    assert_eq!(status["projects"][0]["last_run"], last["run"]);
    let next: jiff::Timestamp = words(&status["projects"][0], "next_run").parse().unwrap();
    let next = next.in_tz("Europe/Berlin").unwrap();
    assert_eq!((next.hour(), next.minute()), (3, 0));
    let history = w.json(&["status", "shop", "--json"]);
    has_keys(&history, &keys);
    assert_eq!(history["runs"].as_array().unwrap().len(), 2);
    for args in [&["status"][..], &["status", "shop"], &["logs", "shop"], &["snapshots", "shop"]] {
        let shown = w.run(args);
        assert!(shown.expect(0).stdout.lines().count() >= 2, "{args:?}: {}", shown.stdout);
    }

    let snapshots = w.json(&["snapshots", "shop", "--json"]);
    assert_eq!(snapshots["snapshots"].as_array().unwrap().len(), 2);
    has_keys(
        &snapshots["snapshots"][0],
        &["id", "short_id", "time", "tags", "paths", "host", "bytes"],
    );
    let newest = words(&snapshots["snapshots"][0], "id");
    assert!(newest.starts_with(&words(&last["run"]["snapshots"][0], "id")[..8]));
    let one = w.json(&["snapshots", "shop", "--last", "1", "--json"]);
    assert_eq!(one["snapshots"].as_array().unwrap().len(), 1);

    let nothing = w.json(&["recover", "--json"]);
    has_keys(
        &nothing,
        &[
            "orphans",
            "told",
            "children_ended",
            "partials_removed",
            "stale_locks_removed",
            "repositories_unlocked",
            "delivered",
            "remaining",
            "rejected",
            "problems",
        ],
    );
    let init = w.json(&["init", "--json"]);
    assert!(init["results"].is_array(), "{init:#}");
}

#[test]
fn what_is_unknown_or_badly_said_ends_with_3() {
    let w = World::new();
    let out = w.run(&["run", "shp"]);
    assert!(out.expect(3).stderr.contains("error[UNKNOWN_PROJECT]"), "{}", out.stderr);
    assert!(out.stderr.contains("shop"), "a suggestion: {}", out.stderr);
    for args in [
        &["run", "shp", "--json"][..],
        &["status", "shp", "--json"],
        &["logs", "shp", "--json"],
        &["snapshots", "shp", "--json"],
        &["restore", "shp", "latest", "/tmp/x", "--json"],
        &["recover", "shp", "--json"],
        &["config", "show", "shp", "--json"],
    ] {
        let out = w.run(args);
        let document = out.expect(3).json();
        let keys: Vec<&String> = document["error"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["code", "message", "stage", "remedy"], "{args:?}");
        assert_eq!(document["error"]["code"], "UNKNOWN_PROJECT");
        assert!(document["error"].to_string().contains("shop"), "{document:#}");
    }
    for args in [
        &[][..],
        &["run"],
        &["backup"],
        &["run", "shop", "--fast"],
        &["run", "shop", "--all"],
        &["logs", "shop", "--last", "few"],
        &["restore", "shop", "latest", "/tmp/x", "--only", "everything"],
    ] {
        let out = w.run(args);
        out.expect(3);
        assert!(out.stderr.contains("--help"), "{args:?}: {}", out.stderr);
    }
    let mut w = World::new();
    w.config = Value::Null;
    let out = w.run(&["status", "--config", "/nowhere.yml", "--json"]);
    assert_eq!(out.expect(3).json()["error"]["code"], "INVALID_CONFIG");
}

#[test]
fn every_help_has_an_example() {
    let w = World::new();
    for command in [
        "",
        "init",
        "run",
        "status",
        "logs",
        "snapshots",
        "restore",
        "recover",
        "config",
        "config validate",
        "config show",
        "config schema",
        "explain",
        "completions",
        "man",
    ] {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let out = w.run(&args);
        out.expect(0);
        let example = format!("backupctl {command}");
        let (usage, after) = out.stdout.split_once("Usage:").unwrap();
        let after = after.lines().skip(1);
        let lines: Vec<&str> = usage.lines().chain(after).collect();
        assert!(
            lines.iter().any(|l| l.trim_start().starts_with(&*example)),
            "{command}: {}",
            out.stdout
        );
    }
}

#[test]
fn generated_things_are_what_they_should_be() {
    let w = World::new();
    let explained = w.run(&["explain", "REPO_LOCKED"]);
    assert!(explained.expect(0).stdout.contains("What to do"), "{}", explained.stdout);
    let code = w.json(&["explain", "repo_locked", "--json"]);
    has_keys(&code, &["code", "transient", "exit_status", "meaning", "causes", "remedy"]);
    let all = w.json(&["explain", "--json"]);
    for code in all["codes"].as_array().unwrap() {
        words(code, "meaning");
        words(code, "remedy");
    }
    w.run(&["explain", "NO_SUCH_CODE"]).expect(3);

    let script = w.run(&["completions", "bash"]).stdout;
    let script = w.work.file("completions.bash", script);
    let bash = super::support::command("bash").arg("-n").arg(script).status().unwrap();
    assert!(bash.success());
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(w.run(&["completions", shell]).expect(0).stdout.contains("snapshots"));
    }
    let man = w.run(&["man"]).stdout;
    assert!(man.contains(".TH backupctl") && man.contains(".SH DESCRIPTION"), "{man}");
    let version = w.run(&["--version"]);
    assert_eq!(version.expect(0).stdout, format!("backupctl {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    let w = World::new();
    for args in [&["explain"][..], &["explain", "--json"], &["completions", "bash"], &["--help"]] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut command = w.backupctl(args);
        let out = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
        let out = out.spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(out.status.code(), Some(0), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&out.stderr), "", "{args:?}");
    }
}

#[test]
fn people_read_stderr_and_machines_stdout() {
    let w = World::new();
    let plain = w.run(&["run", "shop"]);
    plain.expect(0);
    assert!(plain.stdout.starts_with("backup of shop succeeded"), "{}", plain.stdout);
    assert!(plain.stderr.contains("[SKIP] Dump — "), "{}", plain.stderr);
    assert!(!plain.stderr.contains('\u{1b}') && !plain.stdout.contains('\u{1b}'));
    let quiet = w.run(&["run", "shop", "-q"]);
    assert_eq!(quiet.expect(0).stderr, "");
    let loud = w.run(&["status", "-vv"]);
    assert!(loud.expect(0).stderr.contains("DEBUG"), "{}", loud.stderr);
}
