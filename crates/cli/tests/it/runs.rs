//! Recorded runs acted upon: ended where they hang, made again, deleted; and the daemon told to reload.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::{Gate, Running, World, command, postgres, real, wait_until, words};

/// The run that goes on.
#[track_caller]
fn going(w: &World) -> String {
    let run = w.records().swap_remove(0);
    assert_eq!(run["status"], "started", "{run:#}");
    words(&run, "run_id").to_owned()
}

/// Everything of an aborted run is gone and told: its record, its notice, its heartbeat, its files.
#[track_caller]
fn aborted(w: &World, id: &str, document: &Value, ended: &str, stage: &str) {
    assert_eq!(document["ended"], ended, "{document:#}");
    let record = w.records().into_iter().find(|r| r["run_id"] == id).unwrap();
    assert_eq!(document["run"], record);
    assert_eq!(record["status"], "failed", "{record:#}");
    assert_eq!(record["error"]["code"], "INTERRUPTED", "{record:#}");
    assert_eq!(record["error"]["stage"], stage, "{record:#}");
    words(&record["error"], "remedy");
    let failed = w.events_of("backup_failed");
    let told: Vec<&Value> = failed.iter().filter(|e| e["data"]["runUuid"] == id).collect();
    assert_eq!(told.len(), 1, "told once: {failed:#?}");
    let (status, text) = w.beats().pop().unwrap();
    assert!(status == "down" && text.starts_with("INTERRUPTED"), "{status} {text}");
    let names = w.work.names("state/shop");
    let left = |n: &&String| n.ends_with(".partial") || *n == ".lock" || *n == ".children";
    assert!(!names.iter().any(|n| left(&n)), "{names:?}");
}

/// The aborted run is made again, as such.
#[track_caller]
fn retried(w: &World, id: &str) {
    let again = w.json(&["runs", "retry", &id[..8], "--json"]);
    assert_eq!((&again["status"], &again["trigger"]), (&json!("success"), &json!("retry")));
    assert_ne!(again["run_id"], id);
    assert_eq!(w.records()[0], again);
}

/// A `pg_dump` that has written everything and does not end as long as there is no file `open`.
fn hang_in_dump(w: &World, gate: &Gate) {
    w.wrap("pg_restore", &format!("exec {} \"$@\"", real("pg_restore").display()));
    w.wrap(
        "pg_dump",
        &format!(
            "case \"$*\" in *--version*) exec {0} \"$@\";; esac\n{0} \"$@\"\n[ -e {1} ] || {{ {2}; }}",
            real("pg_dump").display(),
            w.work.join("open").display(),
            gate.shell()
        ),
    );
}

#[test]
fn a_run_that_hangs_in_a_hook_is_ended_with_all_that_it_started() {
    let mut w = World::with_sqlite();
    let gate = Gate::new(&w, "hook");
    // Neither the shell nor what it has started heeds being asked.
    w.project()["hooks"] =
        json!({"pre_backup": format!("trap '' TERM INT; (sleep 1000 | cat) & {}", gate.shell())});
    let mut running = w.start(&["run", "shop"]);
    gate.wait(&mut running);
    let id = going(&w);

    for command in ["retry", "delete"] {
        let refused = w.run(&["runs", command, &id, "--json"]);
        let error = refused.expect(2).json();
        assert_eq!(error["error"]["code"], "BACKUP_IN_PROGRESS", "{error:#}");
        assert!(words(&error["error"], "remedy").contains("runs abort"), "{error:#}");
    }
    let document = w.json(&["runs", "abort", &id[..8], "--json"]);
    w.finish(running).expect(143);
    aborted(&w, &id, &document, "asked", "PreHook");
    let again = w.run(&["runs", "abort", &id, "--json"]);
    let error = again.expect(3).json();
    assert!(words(&error["error"], "message").contains("nothing to abort"), "{error:#}");

    w.project()["hooks"] = json!({});
    retried(&w, &id);
}

#[test]
fn a_run_that_hangs_in_a_dump_is_ended_also_where_it_was_stopped() {
    let server = postgres();
    let w = World::with_postgres(&server);
    let gate = Gate::new(&w, "dump");
    hang_in_dump(&w, &gate);
    for stopped in [false, true] {
        let mut running = w.start(&["run", "shop"]);
        gate.wait(&mut running);
        let id = going(&w);
        if stopped {
            running.signal(Signal::STOP);
        }
        let document = w.json(&["runs", "abort", &id, "--json"]);
        w.finish(running).expect(143);
        aborted(&w, &id, &document, "asked", "Dump");
        fs::remove_file(w.work.join("gates/dump.at")).unwrap();
        if stopped {
            w.work.file("open", "");
            retried(&w, &id);
        }
    }
}

#[test]
fn a_run_that_does_not_end_in_time_is_killed_and_cleaned_up_after() {
    let server = postgres();
    let w = World::with_postgres(&server);
    let gate = Gate::new(&w, "dump");
    hang_in_dump(&w, &gate);
    let mut running = w.start(&["run", "shop"]);
    gate.wait(&mut running);
    let id = going(&w);
    assert!(w.work.names("state/shop").iter().any(|n| n.ends_with(".partial")));

    let document = w.json(&["runs", "abort", &id, "--patience", "0", "--json"]);
    w.finish(running).expect(128 + 9);
    aborted(&w, &id, &document, "killed", "Dump");
    let recovered = &document["recovered"];
    assert_eq!(recovered["orphans"], json!([id]), "{recovered:#}");
    // Between being asked and being killed the run may have ended its program and removed its partial
    // itself; what counts is that neither is left.
    assert!(recovered["children_ended"].as_u64().is_some_and(|n| n <= 1), "{recovered:#}");
    let left = w.work.names("state/shop");
    assert!(left.iter().all(|n| !n.ends_with(".partial")), "{left:?} in {recovered:#}");
    assert_eq!(recovered["stale_locks_removed"], json!(["shop"]), "{recovered:#}");
    w.work.file("open", "");
    retried(&w, &id);
}

#[test]
fn a_run_whose_process_died_is_ended_or_made_again() {
    let mut w = World::with_sqlite();
    let gate = Gate::new(&w, "hook");
    for by_retry in [false, true] {
        w.project()["hooks"] = json!({"pre_backup": gate.shell()});
        let mut running = w.start(&["run", "shop"]);
        gate.wait(&mut running);
        let id = going(&w);
        running.kill().expect(128 + 9);
        fs::remove_file(w.work.join("gates/hook.at")).unwrap();
        w.project()["hooks"] = json!({});
        if !by_retry {
            let shown = w.run(&["runs", "abort", &id]);
            assert!(shown.expect(0).stdout.contains("gone already"), "{}", shown.stdout);
        }
        retried(&w, &id);
        let record = w.records().into_iter().find(|r| r["run_id"] == id.as_str()).unwrap();
        assert_eq!(record["error"]["code"], "INTERRUPTED", "{record:#}");
    }
}

#[test]
fn only_records_of_failed_runs_are_deleted() {
    let mut w = World::new();
    let success = w.backup();
    w.project()["hooks"] = json!({"pre_backup": "exit 1"});
    let failed = w.fails("HOOK_FAILED", 1, "PreHook");
    let (success, failed) = (words(&success, "run_id"), words(&failed, "run_id"));

    for command in ["delete", "retry", "abort"] {
        let refused = w.run(&["runs", command, success, "--json"]);
        let error = refused.expect(3).json();
        assert!(words(&error["error"], "message").contains("has succeeded"), "{error:#}");
    }
    for id in ["0000", "not-a-run", "ab"] {
        let unknown = w.run(&["runs", "delete", id, "--json"]);
        assert_eq!(unknown.expect(3).json()["error"]["code"], "UNKNOWN_PROJECT");
    }
    // Made again and failed again, it ends as `run` does.
    let again = w.run(&["runs", "retry", failed, "--json"]);
    assert_eq!(again.expect(1).json()["trigger"], "retry");

    let deleted = w.run(&["runs", "delete", &failed[..8]]);
    assert!(deleted.expect(0).stdout.contains(&failed[..8]), "{}", deleted.stdout);
    let left = w.records();
    assert_eq!(left.len(), 2, "{left:#?}");
    assert!(left.iter().all(|r| r["run_id"] != failed));
    w.run(&["runs", "delete", failed]).expect(3);
}

/// A process that holds the daemon's lock as the daemon does, and notes each reload.
fn daemon(w: &World) -> Running {
    w.work.dir("state");
    let script = "use Fcntl ':flock'; $| = 1; open(L, '>', $ARGV[0]) or die; flock(L, LOCK_EX) or die;
        $SIG{HUP} = sub { open(R, '>>', $ARGV[1]); print R \"reload\\n\"; close R };
        select((select(L), $| = 1)[0]); printf L \"pid=%d\\nstarted=2026-03-18T00:00:05.000Z\\n\", $$;
        print \"ready\\n\"; sleep 1000 while 1";
    let mut command = command("perl");
    command.args(["-e", script]).arg(w.state(".daemon.lock")).arg(w.work.join("reloads"));
    let mut running = Running::start(command);
    running.wait("the daemon", |r| r.stdout().contains("ready"));
    running
}

#[test]
fn the_daemon_is_told_of_a_good_configuration_alone() {
    let mut w = World::new();
    let none = w.run(&["config", "reload"]);
    let said = &none.expect(1).stderr;
    assert!(said.contains("error[DAEMON_NOT_RUNNING]") && said.contains("afresh"), "{said}");
    // What is wrong is told all the same.
    w.project()["retention"] = json!({"keep_dayly": 3});
    let said = w.run(&["config", "reload"]);
    assert!(said.expect(1).stderr.contains("keep_dayly"), "{}", said.stderr);

    let running = daemon(&w);
    let refused = w.run(&["config", "reload", "--json"]);
    let error = refused.expect(3).json();
    assert_eq!(error["error"]["code"], "INVALID_CONFIG", "{error:#}");
    assert!(words(&error["error"], "message").contains("keep_dayly"), "{error:#}");
    assert!(!w.work.join("reloads").exists(), "it was told nothing");

    w.project()["retention"] = json!({"keep_last": 3});
    let told = w.json(&["config", "reload", "--json"]);
    assert_eq!((&told["reloaded"], &told["pid"]), (&json!(true), &json!(running.pid())));
    let reloads = w.work.join("reloads");
    assert!(wait_until(|| fs::read_to_string(&reloads).is_ok_and(|text| text == "reload\n")));
    running.kill();
    w.run(&["config", "reload"]).expect(1);
}
