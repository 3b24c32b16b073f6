//! A power cut at every stage: the next run succeeds, tells what happened, and has lost nothing.

use std::collections::BTreeSet;

use backupctl_testkit::services::Reply;
use serde_json::{Value, json};

use super::support::{Gate, Running, World, postgres, real, words};

/// The status of what SIGKILL has ended, as a shell tells it.
const KILLED: i32 = 128 + 9;

/// The next run succeeds and sets right what the killed one has left; the killed one's record.
#[track_caller]
fn recovered(w: &World, stages: &[&str]) -> Value {
    let before = w.records();
    let orphan = words(&before[0], "run_id").to_owned();
    assert_eq!(before[0]["status"], "started", "{:#}", before[0]);
    w.receiver.clear();
    let finished = kept(w);
    let record = w.backup();
    let records = w.records();
    assert_eq!(records[0], record);
    let orphan_record = records.into_iter().find(|r| r["run_id"] == orphan).unwrap();
    assert_eq!(orphan_record["status"], "failed", "{orphan_record:#}");
    assert_eq!(orphan_record["error"]["code"], "INTERRUPTED");
    let stage = words(&orphan_record["error"], "stage");
    assert!(stages.contains(&stage), "{stage} is none of {stages:?}");
    words(&orphan_record["error"], "remedy");

    // Told, before anything of the new run is.
    let events = w.events();
    let kinds: Vec<&str> = events.iter().map(|e| words(e, "event")).collect();
    assert_eq!(kinds, ["backup_failed", "backup_started", "backup_success"]);
    let text = words(&events[0], "text");
    assert!(text.contains(&orphan[..8]) && text.contains("\nCode: INTERRUPTED\n"), "{text}");
    assert!(text.contains(&format!("Failed at stage: {stage}")), "{text}");

    let now = kept(w);
    assert!(now.is_superset(&finished), "a finished dump is gone: {finished:?}, now {now:?}");
    let names = w.work.names("state/shop");
    assert!(!names.iter().any(|n| n == ".lock" || n == ".children"), "{names:?}");
    orphan_record
}

/// Kills it where a program that it has started stands at a gate.
fn kill_at(gate: &Gate, mut running: Running) {
    gate.wait(&mut running);
    running.kill().expect(KILLED);
}

fn kept(w: &World) -> BTreeSet<String> {
    w.dumps().into_iter().collect()
}

#[test]
fn killed_before_and_during_the_dump() {
    let server = postgres();
    let mut w = World::with_postgres(&server);
    let dump = Gate::new(&w, "dump");
    w.wrap("pg_restore", &format!("exec {} \"$@\"", real("pg_restore").display()));

    w.receiver.reply_once(Reply::Hang);
    let running = w.start(&["run", "shop"]);
    w.receiver.wait_for(1);
    running.kill().expect(KILLED);
    recovered(&w, &["NotifyStarted"]);

    let hook = Gate::new(&w, "hook");
    w.project()["hooks"] = json!({"pre_backup": hook.shell()});
    let running = w.start(&["run", "shop"]);
    kill_at(&hook, running);
    w.project()["hooks"] = json!({});
    recovered(&w, &["PreHook"]);

    // The whole dump is written, and pg_dump has not ended yet.
    let pg_dump = real("pg_dump");
    w.wrap(
        "pg_dump",
        &format!(
            "case \"$*\" in *--version*) exec {0} \"$@\";; esac\n{0} \"$@\"\n[ -e {1} ] || {{ {2}; }}",
            pg_dump.display(),
            w.work.join("open").display(),
            dump.shell()
        ),
    );
    let running = w.start(&["run", "shop"]);
    kill_at(&dump, running);
    let names = w.work.names("state/shop");
    assert!(names.iter().any(|n| n.ends_with(".partial")), "{names:?}");
    w.work.file("open", "");
    recovered(&w, &["Dump"]);
    let names = w.work.names("state/shop");
    assert!(!names.iter().any(|n| n.ends_with(".partial")), "{names:?}");
}

#[test]
fn killed_while_storing_and_thinning_out() {
    let mut w = World::with_sqlite();
    for (stage, pattern) in [("Sync", "*' backup '*"), ("Prune", "*' forget '*")] {
        let gate = Gate::new(&w, stage);
        w.wrap("restic", &gate.before("restic", pattern));
        let running = w.start(&["run", "shop"]);
        kill_at(&gate, running);
        w.wrap("restic", &format!("exec {} \"$@\"", real("restic").display()));
        recovered(&w, &[stage]);
    }
    let gate = Gate::new(&w, "post");
    w.project()["hooks"] = json!({"post_backup": gate.shell()});
    let running = w.start(&["run", "shop"]);
    kill_at(&gate, running);
    w.project()["hooks"] = json!({});
    recovered(&w, &["PostHook"]);

    let gate = Gate::new(&w, "finally");
    w.project()["hooks"] = json!({"finally": gate.shell()});
    let running = w.start(&["run", "shop"]);
    kill_at(&gate, running);
    w.project()["hooks"] = json!({});
    recovered(&w, &["FinallyHook"]);
}

/// Stages within the process cannot be held; a gate behind each makes sure that the kill comes no
/// later than there.
#[test]
fn killed_within_the_process_itself() {
    let mut w = World::with_sqlite();
    let big = w.sqlite("big.sqlite", 100_000);
    w.project()["database"]["path"] = json!(big);
    let recipient = age::x25519::Identity::generate().to_public().to_string();
    w.project()["encryption"] = json!({"enabled": true, "type": "age", "recipient": recipient});
    for (stage, next) in [("Verify", "Sync"), ("Encrypt", "Sync"), ("Cleanup", "PostHook")] {
        let gate = Gate::new(&w, stage);
        if next == "Sync" {
            w.wrap("restic", &gate.before("restic", "*' backup '*"));
        } else {
            w.project()["hooks"] = json!({"post_backup": gate.shell()});
        }
        let mut running = w.start(&["run", "shop", "--json-stream"]);
        let event = format!("{{\"event\":\"stage_started\",\"stage\":\"{stage}\"");
        running.wait("the stage", |r| r.stdout().contains(&event));
        running.kill().expect(KILLED);
        w.project()["hooks"] = json!({});
        w.wrap("restic", &format!("exec {} \"$@\"", real("restic").display()));
        recovered(&w, &[stage, "Encrypt", next]);
    }
}

#[test]
fn killed_while_telling_the_end() {
    let w = World::with_sqlite();
    w.receiver.reply_once(Reply::status(200));
    w.receiver.reply_once(Reply::Hang);
    let running = w.start(&["run", "shop"]);
    w.receiver.wait_for(2);
    running.kill().expect(KILLED);
    w.receiver.clear();
    let killed = w.records().swap_remove(0);
    assert_eq!(killed["status"], "success", "the backup itself was recorded: {killed:#}");
    // Nobody was told of it: the next start does, and says that it is late.
    w.backup();
    let events = w.events();
    let kinds: Vec<&str> = events.iter().map(|e| words(e, "event")).collect();
    assert_eq!(kinds, ["backup_success", "backup_started", "backup_success"]);
    assert_eq!(events[0]["delayed"], true);
    assert_eq!(events[0]["data"]["runUuid"], killed["run_id"]);

    w.receiver.clear();
    for _ in 0..2 {
        w.receiver.reply_once(Reply::status(200));
    }
    w.receiver.reply_once(Reply::Hang);
    let running = w.start(&["run", "shop"]);
    w.receiver.wait_for(3);
    running.kill().expect(KILLED);
    w.receiver.clear();
    w.backup();
    let events = w.events();
    let kinds: Vec<&str> = events.iter().map(|e| words(e, "event")).collect();
    assert_eq!(kinds, ["backup_started", "backup_success"], "what was told is not told again");
    let all = w.records();
    assert!(all.iter().all(|r| r["status"] == "success"), "{all:#?}");
}

#[test]
fn recover_does_it_on_demand() {
    let mut w = World::with_sqlite();
    let gate = Gate::new(&w, "hook");
    w.project()["hooks"] = json!({"pre_backup": gate.shell()});
    let mut running = w.start(&["run", "shop"]);
    gate.wait(&mut running);
    // A run that lives is left alone.
    let report = w.json(&["recover", "--json"]);
    assert_eq!(report["orphans"], json!([]), "{report:#}");
    assert_eq!(report["children_ended"], 0, "{report:#}");
    let run = w.records().swap_remove(0);
    running.kill().expect(KILLED);
    let report = w.json(&["recover", "shop", "--json"]);
    assert_eq!(report["orphans"], json!([run["run_id"]]), "{report:#}");
    assert_eq!(report["children_ended"], 1, "{report:#}");
    assert_eq!(report["stale_locks_removed"], json!(["shop"]), "{report:#}");
    let again = w.run(&["recover"]);
    assert_eq!(again.expect(0).stdout, "nothing to recover\n");
}
