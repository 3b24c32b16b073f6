//! The daemon as a process: it runs backups at their time, is alone, reads its configuration again, and
//! ends cleanly.

use std::fs;

use backupctl_testkit::services::Reply;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::{Gate, Running, World, wait_until, words};

/// A project `shop` that is due every minute, and an HTTP interface on a port that nobody has. Tests that
/// are about one run make it [`due_once`] instead: what a minute brings depends on when it ends.
pub(crate) fn world() -> World {
    let mut w = World::new();
    w.config["http"] = json!({"listen": "127.0.0.1:0"});
    w.project()["cron"] = json!("* * * * *");
    w
}

/// Starts the daemon and waits until it keeps the schedules.
pub(crate) fn serve(w: &World) -> Running {
    let mut daemon = w.start(&["serve"]);
    daemon.wait("the daemon", |d| d.stderr().contains("stop it with"));
    daemon
}

/// The minute that it is, as a slot.
pub(crate) fn this_minute() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the daemon of the test goes by this clock")]
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second().div_euclid(60) * 60).unwrap()
}

/// Makes it remembered that a schedule of every minute has been dealt with up to `until`.
pub(crate) fn remember(w: &World, project: &str, until: Timestamp) {
    remember_of(w, project, ("* * * * *", "Europe/Berlin"), until);
}

fn remember_of(w: &World, project: &str, (cron, zone): (&str, &str), until: Timestamp) {
    let memory = json!({
        "known_since": until,
        "handled_until": until,
        "promised": {"cron": cron, "timezone": zone},
    });
    w.work.file(format!("state/.schedule/{project}.json"), memory.to_string());
}

/// Has the daemon find one slot of `shop` due when it starts, half an hour ago, and none after it for most
/// of a day, however long the test takes: the slot.
fn due_once(w: &mut World) -> Timestamp {
    let slot = this_minute().checked_sub(SignedDuration::from_mins(30)).unwrap();
    // UTC, whose days are of one length.
    let at = slot.to_zoned(TimeZone::UTC);
    let cron = format!("{} {} * * *", at.minute(), at.hour());
    let before = slot.checked_sub(SignedDuration::from_mins(1)).unwrap();
    remember_of(w, "shop", (&cron, "UTC"), before);
    w.project()["cron"] = json!(cron);
    w.project()["schedule"] = json!({"timezone": "UTC"});
    slot
}

#[test]
fn a_backup_that_is_due_is_made_by_a_process_of_its_own() {
    let mut w = world();
    let slot = due_once(&mut w);
    let mut daemon = serve(&w);
    daemon.wait("the run", |d| d.stderr().contains("shop: backup succeeded"));
    let records = w.records();
    let said = |record: &Value| {
        let due = words(record, "due_at").parse::<Timestamp>().unwrap();
        (words(record, "trigger").to_owned(), words(record, "status").to_owned(), due)
    };
    let said: Vec<_> = records.iter().map(said).collect();
    // The slot was missed, and is made up for.
    let made = ("catch_up".to_owned(), "success".to_owned(), slot);
    let missed = ("scheduled".to_owned(), "failed".to_owned(), slot);
    assert_eq!(said, [made, missed]);
    assert_eq!(records[1]["error"]["code"], "RUN_MISSED");
    assert_ne!(records[0]["pid"], daemon.pid());

    let second = w.run(&["serve"]);
    let said = &second.expect(2).stderr;
    assert!(said.contains("error[BACKUP_IN_PROGRESS]"), "{said}");
    assert!(said.contains(&format!("(pid {}", daemon.pid())), "{said}");

    daemon.signal(Signal::TERM);
    let ended = w.finish(daemon);
    assert!(ended.expect(143).stderr.contains("SIGTERM: ending"), "{}", ended.stderr);
    assert!(!w.state(".daemon.lock").exists());
    // A free lock is what the next one finds.
    let again = serve(&w);
    again.signal(Signal::INT);
    w.finish(again).expect(130);
}

#[test]
fn the_configuration_is_read_again_when_it_is_told() {
    let mut w = world();
    // No matter when it comes true: no run is waited for.
    w.project()["cron"] = json!("0 3 1 1 *");
    let mut daemon = serve(&w);
    w.add_project("blog");
    let told = w.run(&["config", "reload"]);
    told.expect(0);
    daemon.wait("the reload", |d| d.stderr().contains("configuration read: 2 projects"));

    let file = w.work.join("etc/backupctl.yml");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, "projects: [").unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait("the complaint", |d| d.stderr().contains("the last good one stays"));
    assert!(wait_until(|| !w.events().is_empty()), "somebody is told");
    let notice = w.events().pop().unwrap();
    assert_eq!(notice["data"]["status"], "config_broken", "{notice:#}");
    fs::write(&file, good).unwrap();
    daemon.signal(Signal::HUP);
    let again = |d: &Running| d.stderr().matches("configuration read: 2 projects").count() == 2;
    daemon.wait("the second reload", again);
    assert!(wait_until(|| w.events().len() == 2), "and that it is well again");
    daemon.signal(Signal::TERM);
    w.finish(daemon).expect(143);
}

#[test]
fn a_run_that_goes_on_ends_with_the_daemon_and_is_recorded() {
    let mut w = world();
    let gate = Gate::new(&w, "hook");
    w.project()["hooks"] = json!({"pre_backup": gate.shell()});
    let slot = due_once(&mut w);
    let mut daemon = serve(&w);
    gate.wait(&mut daemon);
    daemon.signal(Signal::TERM);
    w.finish(daemon).expect(143);
    let record = w.records().remove(0);
    assert_eq!(record["error"]["code"], "INTERRUPTED", "{record:#}");
    assert_eq!(words(&record, "due_at").parse::<Timestamp>().unwrap(), slot);
    assert!(!w.state("shop/.lock").exists());
    let told = w.events_of("backup_failed");
    assert_eq!(told.len(), 1, "{told:#?}");
}

#[test]
fn a_run_that_is_killed_is_recorded_and_told_by_the_daemon() {
    let mut w = world();
    let gate = Gate::new(&w, "hook");
    w.project()["hooks"] = json!({"pre_backup": gate.shell()});
    due_once(&mut w);
    let mut daemon = serve(&w);
    gate.wait(&mut daemon);
    let pid = w.records()[0]["pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    daemon.wait("the end of the run", |d| d.stderr().contains("backup failed [INTERRUPTED]"));
    let record = w.records().remove(0);
    assert_eq!(record["error"]["code"], "INTERRUPTED", "{record:#}");
    assert_eq!(w.events_of("backup_failed").len(), 1);
    daemon.signal(Signal::TERM);
    w.finish(daemon).expect(143);
}

#[test]
fn a_daemon_that_is_killed_leaves_its_run_alone_and_so_does_the_next_one() {
    let mut w = world();
    let gate = Gate::new(&w, "hook");
    w.project()["hooks"] = json!({"pre_backup": gate.shell()});
    due_once(&mut w);
    let mut daemon = serve(&w);
    gate.wait(&mut daemon);
    daemon.kill();
    let next = serve(&w);
    gate.open();
    let ended = |runs: &[Value]| runs.iter().any(|run| run["status"] == "success");
    assert!(wait_until(|| ended(&w.records())), "{:#?}", w.records());
    let runs = w.records();
    assert!(runs.iter().all(|run| run["error"]["code"] != "INTERRUPTED"), "{runs:#?}");
    next.signal(Signal::TERM);
    w.finish(next).expect(143);
}

#[test]
fn a_project_whose_configuration_broke_fails_at_its_slots_and_says_so() {
    let mut w = world();
    // The receiver's own answer to whatever comes.
    w.receiver.reply_once(Reply::status(200));
    due_once(&mut w);
    w.project()["retention"] = json!({"keep_last": "many"});
    w.config["notification"] = w.config["notification"].clone();
    let mut daemon = serve(&w);
    assert!(daemon.stderr().contains("shop: broken"), "{}", daemon.stderr());
    daemon.wait("the failed run", |d| d.stderr().contains("backup failed [INVALID_CONFIG]"));
    w.project()["retention"] = json!({"keep_last": 20});
    let record = w.records().remove(0);
    assert_eq!(record["error"]["code"], "INVALID_CONFIG", "{record:#}");
    assert_eq!(w.events_of("backup_failed").len(), 1);
    daemon.signal(Signal::TERM);
    w.finish(daemon).expect(143);
}
