//! `restic`: the process becomes restic, with a project's repository and secrets.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::{REPOSITORY_PASSWORD, Running, World, real};

#[test]
fn restic_is_restic_with_the_projects_repository() {
    let mut w = World::new();
    w.backup();
    // What this project's restic needs not is not asked for: neither of others, nor of its own rest.
    w.add_project("broken")["restic"]["password"] = Value::Null;
    w.project()["database"] = json!({
        "type": "postgres", "host": "localhost", "name": "x", "user": "x",
        "password_file": w.work.join("nowhere"),
    });
    std::fs::remove_file(w.state("audit.db")).unwrap();
    let list = |args: &[&str]| {
        let out = w.run(args);
        let list: Value = serde_json::from_str(&out.expect(0).stdout).unwrap();
        list.as_array().unwrap().len()
    };
    assert_eq!(list(&["restic", "shop", "snapshots", "--json"]), 1);
    assert_eq!(list(&["restic", "shop", "--json", "snapshots"]), 1);
    assert_eq!(list(&["restic", "shop", "--", "--json", "snapshots"]), 1);
    assert_eq!(list(&["restic", "shop", "snapshots", "--json", "--tag", "project:shop"]), 1);
    let out = w.run(&["restic", "shop", "--", "version"]);
    assert!(out.expect(0).stdout.starts_with("restic "), "{}", out.stdout);
    let help = w.run(&["restic", "shop", "--help"]);
    assert!(help.expect(0).stdout.contains("restic is a backup program"), "{}", help.stdout);
    let ours = w.run(&["restic", "--help"]);
    assert!(ours.expect(0).stdout.contains("backupctl restic shop"), "{}", ours.stdout);
    assert!(!w.state("audit.db").exists(), "no audit for this");

    // Ours before the project.
    let unknown = w.run(&["restic", "--json", "nobody", "snapshots"]);
    assert_eq!(unknown.expect(3).json()["error"]["code"], "UNKNOWN_PROJECT");
    w.run(&["restic"]).expect(3);
    w.project()["restic"]["binary"] = json!("/nowhere/restic");
    let missing = w.run(&["restic", "shop", "snapshots"]);
    assert!(missing.expect(1).stderr.contains("error[TOOL_MISSING]"), "{}", missing.stderr);
}

#[test]
fn arguments_input_status_and_signals_go_through_and_the_password_is_no_argument() {
    let mut w = World::new();
    let log = w.work.join("calls");
    w.wrap(
        "restic",
        &format!(
            "echo \"$*|$RESTIC_REPOSITORY|${{RESTIC_PASSWORD_FILE-unset}}\" >> '{}'\n\
             case \"$*\" in *fail*) exit 42;; *wait*) echo waiting; exec sleep 1000;; esac\n\
             exec '{}' \"$@\"",
            log.display(),
            real("restic").display()
        ),
    );
    // What another repository was set up with must not lead astray.
    w.env.insert("RESTIC_REPOSITORY".into(), "/elsewhere".into());
    w.env.insert("RESTIC_PASSWORD_FILE".into(), "/elsewhere".into());
    let program = env!("CARGO_BIN_EXE_backupctl");
    let script = format!("echo piped | {program} restic shop backup --stdin --tag 'a b' -v");
    w.finish(Running::start(w.prefixed(&["sh", "-c", &script], &[]))).expect(0);
    let dumped = w.run(&["restic", "shop", "dump", "latest", "stdin"]);
    assert_eq!(dumped.expect(0).stdout, "piped\n");

    w.run(&["restic", "shop", "fail", "--yes"]).expect(42);
    let calls = std::fs::read_to_string(&log).unwrap();
    let repository = w.repository.path().display();
    let lines: Vec<&str> = calls.lines().collect();
    assert_eq!(lines[0], format!("backup --stdin --tag a b -v|{repository}|unset"));
    assert_eq!(lines[2], format!("fail --yes|{repository}|unset"));
    assert!(!calls.contains(REPOSITORY_PASSWORD));

    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut running = w.start(&["restic", "shop", "wait"]);
        running.wait("restic", |r| r.stdout().contains("waiting"));
        running.signal(signal);
        w.finish(running).expect(code);
    }
}
