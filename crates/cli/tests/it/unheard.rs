//! What keeps backups from being made at all, and the daemon from its work, is heard by people: by the
//! configuration as it was good last, where there is no other.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::serve::{remember, serve, this_minute, world};
use super::support::{World, wait_until, words};

/// The file as it is broken in each of these tests, and what is said of it.
fn breakages(good: &str) -> [(String, &'static str); 2] {
    let global = good.replacen("\"timezone\": \"Europe/Berlin\"", "\"timezone\": \"Mars\"", 1);
    assert_ne!(global, good);
    [("projects: [".to_owned(), "is not valid YAML"), (global, "timezone")]
}

/// Takes the file into the test's own hands; the good text.
fn take_file(w: &mut World) -> String {
    w.config = Value::Null;
    fs::read_to_string(w.work.join("etc/backupctl.yml")).unwrap()
}

fn write(w: &World, text: &str) {
    fs::write(w.work.join("etc/backupctl.yml"), text).unwrap();
}

#[test]
fn a_timers_run_of_a_broken_configuration_is_recorded_and_told() {
    let mut w = world();
    w.run(&["run", "shop", "--scheduled"]).expect(0);
    let good = take_file(&mut w);
    for (times, (broken, said)) in (1..).zip(breakages(&good)) {
        write(&w, &broken);
        let run = w.run(&["run", "shop", "--scheduled"]);
        run.expect(3);
        let told = w.events_of("backup_failed");
        assert_eq!(told.len(), times, "{told:#?}\n{}", run.stderr);
        assert!(told[times - 1].to_string().contains(said), "{told:#?}");
        write(&w, &good);
        let record = w.records().remove(0);
        assert_eq!(words(&record, "status"), "failed", "{record:#}");
        assert_eq!(record["error"]["code"], "INVALID_CONFIG", "{record:#}");
        assert_eq!(w.records().len(), times + 1);
    }
    // Also where there is no file any more.
    fs::remove_file(w.work.join("etc/backupctl.yml")).unwrap();
    let file = w.work.join("etc/backupctl.yml");
    w.run(&["--config", file.to_str().unwrap(), "run", "shop", "--scheduled"]).expect(3);
    assert_eq!(w.events_of("backup_failed").len(), 3);
    write(&w, &good);
}

#[test]
fn a_paused_project_has_no_failed_run_by_a_broken_configuration() {
    let mut w = world();
    w.run(&["run", "shop", "--scheduled"]).expect(0);
    w.run(&["schedule", "pause", "shop"]).expect(0);
    let good = take_file(&mut w);
    let before = w.records().len();
    write(&w, "projects: [");
    w.run(&["run", "shop", "--scheduled"]).expect(3);
    write(&w, &good);
    assert_eq!(w.records().len(), before);
}

#[test]
fn a_daemon_and_a_watch_that_cannot_begin_tell_everybody_once() {
    let mut w = world();
    w.run(&["run", "shop", "--scheduled"]).expect(0);
    let good = take_file(&mut w);
    let count = |w: &World, status: &str| {
        w.events().iter().filter(|e| e["data"]["status"] == status).count()
    };
    for (times, (broken, said)) in (1..).zip(breakages(&good)) {
        write(&w, &broken);
        w.run(&["serve"]).expect(3);
        assert_eq!(count(&w, "config_broken"), times);
        assert!(w.events().last().unwrap().to_string().contains(said), "{:#?}", w.events());
        // The same trouble, and nothing new.
        w.run(&["serve"]).expect(3);
        w.run(&["watch"]).expect(3);
        assert_eq!(count(&w, "config_broken"), times);
        write(&w, &good);
        w.run(&["watch"]);
        assert_eq!(count(&w, "config_good"), times);
    }
}

#[test]
fn no_log_and_no_audit_keep_no_backup_from_being_made() {
    let mut w = world();
    w.config["log"]["dir"] = json!(w.work.file("a-file", "").join("logs"));
    w.config["audit"] = json!({"url_file": w.work.join("nowhere")});
    let run = w.run(&["run", "shop", "--scheduled"]);
    run.expect(0);
    assert!(run.stderr.contains("log.dir") && run.stderr.contains("audit.url"), "{}", run.stderr);
    let snapshots: Value = serde_json::from_str(&w.restic(&["snapshots", "--json"])).unwrap();
    assert_eq!(snapshots.as_array().unwrap().len(), 1, "{snapshots:#}");
}

#[test]
fn a_memory_that_cannot_be_written_keeps_no_backup_from_being_made() {
    let w = world();
    w.work.file("state/.schedule", "not a folder");
    w.run(&["run", "shop", "--scheduled"]).expect(0);
    assert_eq!(words(&w.records()[0], "status"), "success");
}

#[test]
fn a_taken_port_keeps_no_schedule_from_being_kept() {
    let mut w = world();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    w.config["http"] = json!({"listen": taken.local_addr().unwrap().to_string()});
    let slot = this_minute();
    remember(&w, "shop", slot.checked_sub(jiff::SignedDuration::from_secs(60)).unwrap());
    let mut daemon = serve(&w);
    daemon.wait("the complaint", |d| {
        let said = d.stderr();
        said.contains("cannot be listened on") && said.contains("INVALID_CONFIG")
    });
    daemon.wait("the run", |d| d.stderr().contains("shop: backup succeeded"));
    drop(taken);
    daemon.wait("the interface", |d| d.stderr().contains("\nHTTP on http://127.0.0.1:"));
    daemon.signal(Signal::TERM);
    w.finish(daemon).expect(143);

    w.config["http"] = json!({"listen": "everywhere"});
    let refused = w.run(&["serve"]);
    assert!(refused.expect(3).stderr.contains("http.listen"), "{}", refused.stderr);
}

#[test]
fn a_daemon_whose_messages_nobody_reads_goes_on_and_ends_when_it_is_told() {
    let w = world();
    let slot = this_minute();
    remember(&w, "shop", slot.checked_sub(jiff::SignedDuration::from_secs(60)).unwrap());
    let (unread, writer) = std::io::pipe().unwrap();
    let mut filler = writer.try_clone().unwrap();
    // Fills it, and waits for the reader that never comes.
    std::thread::spawn(move || while filler.write_all(&[b'.'; 1024]).is_ok() {});
    let mut command = w.backupctl(&["serve", "-vv"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer);
    let mut daemon = command.spawn().unwrap();
    drop(command);
    let is_made = |run: &Value| run["status"] == "success";
    let made = wait_until(|| w.state("audit.db").exists() && w.records().iter().any(is_made));
    let pid = Pid::from_raw(i32::try_from(daemon.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ended = wait_until(|| daemon.try_wait().unwrap().is_some());
    let _ = daemon.kill();
    let status = daemon.wait().unwrap();
    drop(unread);
    assert!(made && ended, "made: {made}, ended: {ended}");
    assert_eq!((status.code(), status.signal()), (Some(143), None));
}
