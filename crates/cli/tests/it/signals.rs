//! SIGINT and SIGTERM: everything stops, nothing is left, everybody is told.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;

use super::support::{Gate, World, postgres, real};

#[test]
fn an_interrupted_dump_leaves_no_half_file() {
    let server = postgres();
    let mut w = World::with_postgres(&server);
    let gate = Gate::new(&w, "dump");
    let log = w.work.join("finally.log");
    w.project()["hooks"] =
        json!({"finally": format!("echo $BACKUPCTL_ERROR_CODE > {}", log.display())});
    w.wrap("pg_restore", &format!("exec {} \"$@\"", real("pg_restore").display()));
    w.wrap(
        "pg_dump",
        &format!(
            "case \"$*\" in *--version*) exec {0} \"$@\";; esac\n{0} \"$@\"\n{1}",
            real("pg_dump").display(),
            gate.shell()
        ),
    );
    let mut running = w.start(&["run", "shop"]);
    gate.wait(&mut running);
    assert!(w.work.names("state/shop").iter().any(|n| n.ends_with(".partial")));
    running.signal(Signal::INT);
    let out = w.finish(running);
    w.failed(&out, "INTERRUPTED", 130, "Dump");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "INTERRUPTED\n");
    let names = w.work.names("state/shop");
    assert!(names.iter().all(|n| n == ".lock.queue"), "left behind: {names:?}");
}

#[test]
fn a_terminated_transfer_ends_restic_and_unlocks() {
    let w = World::with_sqlite();
    let gate = Gate::new(&w, "backup");
    w.wrap("restic", &gate.before("restic", "*' backup '*"));
    let mut running = w.start(&["run", "shop"]);
    gate.wait(&mut running);
    running.signal(Signal::TERM);
    let out = w.finish(running);
    w.failed(&out, "INTERRUPTED", 143, "Sync");
    assert_eq!(w.dumps().len(), 1, "the finished dump stays");
    w.wrap("restic", &format!("exec {} \"$@\"", real("restic").display()));
    w.backup();
}

#[test]
fn a_terminated_hook_ends_with_all_that_it_started() {
    let mut w = World::with_sqlite();
    let gate = Gate::new(&w, "hook");
    w.project()["hooks"] = json!({"pre_backup": format!("(sleep 1000 | cat) & {}", gate.shell())});
    let mut running = w.start(&["run", "shop"]);
    gate.wait(&mut running);
    running.signal(Signal::TERM);
    let out = w.finish(running);
    w.failed(&out, "INTERRUPTED", 143, "PreHook");
}

#[test]
fn a_run_goes_on_when_whoever_reads_its_output_has_gone() {
    let w = World::with_sqlite();
    for args in [&["run", "shop", "--json-stream"][..], &["run", "shop"]] {
        let mut command = w.backupctl(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Nobody is there from the first word on.
        drop(child.stdout.take());
        drop(child.stderr.take());
        let status = child.wait().unwrap();
        assert!(status.success(), "{args:?}: {status}");
    }
    let statuses: Vec<_> = w.records().iter().map(|run| run["status"].clone()).collect();
    assert_eq!(statuses, ["success", "success"]);
}
