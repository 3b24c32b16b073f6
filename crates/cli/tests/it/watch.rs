//! Whether backups come as promised, asked by `watch` and `status --check`: each way in which they may
//! not is told by a word of its own, with code and remedy, and none of them is green.

use std::fs;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::support::{Gate, World, words};

/// A world with `shop` at 02:00 every day.
fn scheduled() -> World {
    let mut w = World::new();
    w.project()["cron"] = json!("0 2 * * *");
    w
}

/// Makes all that is known of the project's runs so much older.
fn age(w: &World, project: &str, hours: i64) {
    // Here is nothing that would have been remembered beside the records.
    let _ = fs::remove_file(w.state(&format!(".schedule/{project}.json")));
    let by = SignedDuration::from_hours(hours);
    let db = rusqlite::Connection::open(w.state("audit.db")).unwrap();
    let records: Vec<(String, String)> = db
        .prepare("SELECT run_id, record FROM backup_runs WHERE project = ?1")
        .unwrap()
        .query_map([project], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (id, text) in records {
        let mut record: Value = serde_json::from_str(&text).unwrap();
        for key in ["started_at", "finished_at"] {
            let Ok(at) = record[key].as_str().unwrap_or_default().parse::<Timestamp>() else {
                continue;
            };
            record[key] = json!(format!("{:.3}", at - by));
        }
        let started: Timestamp = words(&record, "started_at").parse().unwrap();
        db.execute(
            "UPDATE backup_runs SET record = ?2, started_at = ?3 WHERE run_id = ?1",
            rusqlite::params![id, record.to_string(), started.as_millisecond()],
        )
        .unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "the program under test goes by the real time")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// Pauses the project since so many hours, as `schedule pause` remembers it.
fn pause(w: &World, hours: i64) {
    fs::create_dir_all(w.state(".schedule")).unwrap();
    let since = now() - SignedDuration::from_hours(hours);
    fs::write(
        w.state(".schedule/shop.json"),
        json!({"pause": {"since": since, "until": null}}).to_string(),
    )
    .unwrap();
}

fn project<'a>(document: &'a Value, name: &str) -> &'a Value {
    document["projects"].as_array().unwrap().iter().find(|p| p["project"] == name).unwrap()
}

#[test]
fn a_fresh_project_is_the_only_green_one() {
    let w = scheduled();
    w.backup();
    let seen = w.json(&["watch", "--json"]);
    assert_eq!((&seen["ok"], &seen["problems"]), (&json!(true), &json!([])));
    let shop = project(&seen, "shop");
    assert_eq!((words(shop, "state"), &shop["late"]), ("fresh", &json!(false)));
    let shown = w.run(&["watch"]);
    assert!(shown.expect(0).stdout.ends_with("well: 1 of 1 projects are fresh\n"));
    let check = w.run(&["status", "--check"]);
    assert_eq!(check.expect(0).stdout, "OK: 1 fresh\n");
    assert_eq!(w.events_of("backup_warning"), Vec::<Value>::new());
}

#[test]
fn a_slot_that_was_missed_is_shown_as_that_and_as_no_run() {
    let w = scheduled();
    w.backup();
    age(&w, "shop", 72);
    let db = rusqlite::Connection::open(w.state("audit.db")).unwrap();
    let text: String =
        db.query_row("SELECT record FROM backup_runs", [], |row| row.get(0)).unwrap();
    let mut record: Value = serde_json::from_str(&text).unwrap();
    record["status"] = json!("failed");
    record["error"] = json!({
        "stage": null, "code": "RUN_MISSED", "message": "not made: no daemon ran",
        "remedy": "start it",
    });
    db.execute(
        "UPDATE backup_runs SET record = ?1, status = 'failed'",
        rusqlite::params![record.to_string()],
    )
    .unwrap();
    let shown = w.run(&["status"]);
    let row = shown.expect(0).stdout.lines().nth(1).unwrap().to_owned();
    assert!(row.contains(" missed ") && row.contains("never ran"), "{row}");
    assert!(!row.contains("failing") && !row.contains("failed"), "{row}");
}

#[test]
fn an_overdue_project_is_told_once_and_again_when_it_is_well() {
    let w = scheduled();
    w.backup();
    age(&w, "shop", 72);
    let first = w.run(&["watch", "--json"]);
    let seen = first.expect(1).json();
    let shop = project(&seen, "shop");
    assert_eq!((words(shop, "state"), words(shop, "told")), ("overdue", "first"));
    assert_eq!(words(shop, "code"), "RUN_MISSED");
    let event = &w.events_of("backup_warning")[0];
    assert!(words(event, "text").starts_with("⚠️ Backup overdue for shop\nLast success: "));
    assert!(words(event, "text").contains("\nFix: "), "{event:#}");
    assert_eq!(event["data"]["status"], "overdue");

    let second = w.run(&["watch"]);
    assert!(second.expect(1).stdout.contains("overdue for "), "{}", second.stdout);
    assert_eq!(w.events_of("backup_warning").len(), 1, "one episode, one alert");

    let check = w.run(&["status", "--check"]);
    let lines: Vec<&str> = check.expect(1).stdout.lines().collect();
    assert_eq!(lines[0], "CRITICAL: the project needs somebody");
    assert!(lines[1].starts_with("shop: overdue: [RUN_MISSED] overdue for "), "{}", lines[1]);
    assert_eq!(lines.len(), 2);
    let shown = w.run(&["status"]);
    assert!(shown.expect(0).stdout.contains("overdue by "), "{}", shown.stdout);
    assert!(shown.stderr.contains("nothing is seen that starts the scheduled runs"));
    assert!(shown.stderr.contains("backupctl serve"), "{}", shown.stderr);

    w.backup();
    let well = w.run(&["watch", "--json"]);
    assert_eq!(project(&well.expect(0).json(), "shop")["told"], "recovered");
    let events = w.events_of("backup_warning");
    assert_eq!(events.len(), 2);
    assert!(words(&events[1], "text").starts_with("✅ Backup of shop is well again\n"));
}

#[test]
fn without_notices_nobody_is_told_and_it_is_said_later() {
    let w = scheduled();
    w.backup();
    age(&w, "shop", 72);
    w.run(&["watch", "--no-notify"]).expect(1);
    assert_eq!(w.events_of("backup_warning"), Vec::<Value>::new());
    w.run(&["watch"]).expect(1);
    assert_eq!(w.events_of("backup_warning").len(), 1);
}

#[test]
fn a_paused_schedule_is_named_with_its_age_and_is_no_failure() {
    let w = scheduled();
    w.backup();
    age(&w, "shop", 24 * 30);
    pause(&w, 24 * 17);
    let watch = w.run(&["watch"]);
    assert!(watch.expect(0).stdout.contains("paused for 17 days"), "{}", watch.stdout);
    assert!(watch.stdout.ends_with("nothing is late: 0 of 1 projects are fresh\n"));
    assert!(watch.stdout.contains("backupctl schedule resume shop"), "{}", watch.stdout);
    let check = w.run(&["status", "--check"]);
    assert_eq!(check.expect(0).stdout, "OK: 1 paused (shop for 17 days)\n");
    for args in [&["status"][..], &["status", "shop"]] {
        let shown = w.run(args);
        assert!(shown.expect(0).stdout.contains("17 days"), "{args:?}: {}", shown.stdout);
        assert!(shown.stdout.contains("paused"), "{args:?}: {}", shown.stdout);
    }
    let status = w.json(&["status", "--json"]);
    let shop = project(&status, "shop");
    assert_eq!((words(shop, "state"), &shop["paused"]), ("paused", &json!(true)));
    assert_eq!(shop["paused_seconds"].as_u64().unwrap() / 3600, 24 * 17);
    assert_eq!(w.events_of("backup_warning"), Vec::<Value>::new());
    // Who asks for an age wants a backup, not a schedule.
    let aged = w.run(&["status", "--max-age", "26h"]);
    assert!(aged.expect(1).stdout.contains("paused for 17 days"), "{}", aged.stdout);
}

#[test]
fn a_project_that_never_ran_is_not_green() {
    let w = scheduled();
    let check = w.run(&["status", "--check", "--json"]);
    let document = check.expect(1).json();
    assert_eq!(document["ok"], false);
    let problem = &document["problems"][0];
    assert_eq!((words(problem, "project"), words(problem, "state")), ("shop", "never_ran"));
    assert!(words(problem, "remedy").contains("backupctl run shop"), "{problem:#}");
    // Its first success is not due yet: nobody is woken up.
    let seen = w.json(&["watch", "--json"]);
    let shop = project(&seen, "shop");
    assert_eq!((words(shop, "state"), &shop["late"]), ("never_ran", &json!(false)));
    let due: Timestamp = words(&seen, "next").parse().unwrap();
    assert!(due > now());
}

#[test]
fn a_failed_last_run_is_told_with_its_code_and_remedy() {
    let mut w = scheduled();
    w.backup();
    w.project()["hooks"] = json!({"pre_backup": "exit 3"});
    w.run(&["run", "shop"]).expect(1);
    let check = w.run(&["status", "--check"]);
    let line = check.expect(1).stdout.lines().nth(1).unwrap();
    assert!(line.starts_with("shop: failing: [HOOK_FAILED] last success "), "{line}");
    assert!(line.contains("; the last run failed: ") && line.contains("; fix: "), "{line}");
    // The run itself has told of it, and the last success is fresh enough.
    w.run(&["watch"]).expect(0);
    assert_eq!(w.events_of("backup_warning"), Vec::<Value>::new());
}

#[test]
fn a_run_that_was_killed_and_one_that_is_stuck_are_told_apart() {
    let mut w = scheduled();
    w.backup();
    let gate = Gate::new(&w, "hook");
    w.project()["hooks"] = json!({"pre_backup": gate.shell()});
    w.project()["timeout_minutes"] = json!(30);
    let mut running = w.start(&["run", "shop"]);
    gate.wait(&mut running);
    w.run(&["status", "--check"]).expect(0);
    age(&w, "shop", 2);
    let check = w.run(&["status", "--check"]);
    let line = check.expect(1).stdout.lines().nth(1).unwrap().to_owned();
    assert!(line.contains("may be stuck: it has been running for 2h at PreHook"), "{line}");
    assert!(line.contains("backupctl runs abort "), "{line}");
    let shown = w.run(&["status"]);
    assert!(shown.expect(0).stdout.contains("may be stuck"), "{}", shown.stdout);
    w.run(&["watch"]).expect(1);

    let killed = running.kill();
    w.note(&killed);
    let check = w.run(&["status", "--check"]);
    let line = check.expect(1).stdout.lines().nth(1).unwrap().to_owned();
    assert!(line.starts_with("shop: interrupted: [INTERRUPTED] the last run was killed"), "{line}");
    w.run(&["recover"]).expect(0);
}

#[test]
fn the_age_of_a_backup_can_be_asked_for_whatever_the_schedule_says() {
    let w = World::new();
    w.backup();
    let fresh = w.run(&["status", "--max-age", "26h"]);
    assert_eq!(fresh.expect(0).stdout, "OK: 1 unscheduled\n");
    age(&w, "shop", 27);
    w.run(&["status", "--check"]).expect(0);
    let old = w.run(&["status", "shop", "--max-age", "26h"]);
    let line = old.expect(1).stdout.lines().nth(1).unwrap();
    assert!(line.starts_with("shop: unscheduled: [RUN_MISSED] last success "), "{line}");
    assert!(line.contains("older than 26h is too old"), "{line}");
    w.run(&["status", "--max-age", "28h"]).expect(0);
    w.run(&["status", "--max-age", "tomorrow"]).expect(3);
}

#[test]
fn broken_and_disabled_projects_are_told_apart() {
    let mut w = scheduled();
    w.backup();
    w.add_project("off")["enabled"] = json!(false);
    let check = w.run(&["status", "--check"]);
    assert_eq!(check.expect(0).stdout, "OK: 1 fresh, 1 disabled\n");
    w.add_project("broken")["cron"] = json!("0 25 * * *");
    let check = w.run(&["status", "--check"]);
    let lines: Vec<&str> = check.expect(1).stdout.lines().collect();
    assert_eq!(lines[0], "CRITICAL: 1 of 3 projects need somebody, 1 fresh, 1 disabled");
    assert!(lines[1].starts_with("broken: invalid: [INVALID_CONFIG] "), "{}", lines[1]);
    let watch = w.run(&["watch", "--json"]);
    let broken = watch.expect(1).json();
    let message = words(project(&broken, "broken"), "message");
    assert!(message.contains("cron") && message.contains("25"), "{message}");
}

#[test]
fn an_audit_that_is_away_is_no_lateness_and_is_told() {
    let mut w = scheduled();
    w.backup();
    w.run(&["watch"]).expect(0);
    w.config["audit"] = json!({"url": "postgres://nobody@127.0.0.1:1/none"});
    let watch = w.run(&["watch", "--json"]);
    let seen = watch.expect(4).json();
    assert_eq!(seen["audit_error"]["code"], "AUDIT_UNAVAILABLE");
    assert_eq!(words(project(&seen, "shop"), "state"), "fresh", "by what is remembered");
    let events = w.events_of("backup_warning");
    assert_eq!(events[0]["data"]["status"], "audit_down");
    let check = w.run(&["status", "--check"]);
    assert!(check.expect(4).stdout.starts_with("UNKNOWN: "), "{}", check.stdout);
    w.config["audit"] = Value::Null;
    w.run(&["watch"]).expect(0);
    assert_eq!(w.events_of("backup_warning")[1]["data"]["status"], "audit_back");
}

#[test]
fn another_machine_reads_the_repository_alone() {
    let mut w = scheduled();
    w.backup();
    // Nothing of the machine that made the backup, and not what only a backup needs.
    fs::remove_dir_all(w.state("")).unwrap();
    w.project()["database"] =
        json!({"type": "postgres", "host": "db", "name": "shop", "password": "${NOT_HERE}"});
    w.project()["monitor"] =
        json!({"type": "uptime-kuma", "config": {"push_token": "${NOR_THIS}"}});
    let look = ["watch", "--from-repository", "--json"];
    let seen = w.json(&look);
    assert_eq!(words(project(&seen, "shop"), "state"), "fresh");
    assert!(!w.state("audit.db").exists());

    let ids: Value = serde_json::from_str(&w.restic(&["snapshots", "--json"])).unwrap();
    let id = words(&ids[0], "id");
    w.restic(&["forget", id]);
    let file = w.work.file("old.txt", "old");
    let tags = "backupctl:combined,project:shop";
    w.restic(&["backup", "--time", "2026-01-02 02:00:00", "--tag", tags, file.to_str().unwrap()]);
    // Looking takes no lock, and leaves none.
    let late = w.run(&look).expect(1).json();
    let shop = project(&late, "shop");
    assert_eq!((words(shop, "state"), words(shop, "told")), ("overdue", "first"));
    assert!(words(shop, "last_success").starts_with("2026-01-0"), "{shop:#}");
    assert!(w.restic(&["list", "locks"]).trim().is_empty());

    let password = w.project()["restic"]["password"].take();
    w.project()["restic"]["password"] = json!("wrong");
    w.run(&look).expect(4);
    w.project()["restic"]["password"] = password;
    w.project()["cron"] = json!("${CRON_NOT_HERE}");
    let unreadable = w.run(&look).expect(1).json();
    assert_eq!(words(project(&unreadable, "shop"), "state"), "invalid", "nothing is watched");
}

#[test]
fn metrics_are_written_where_no_daemon_serves_them() {
    let w = scheduled();
    w.backup();
    let file = w.work.join("metrics/backupctl.prom");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    w.run(&["watch", "--textfile", file.to_str().unwrap()]).expect(0);
    let fresh = fs::read_to_string(&file).unwrap();
    assert!(fresh.contains("backupctl_overdue{project=\"shop\"} 0"), "{fresh}");
    age(&w, "shop", 72);
    w.run(&["watch", "--textfile", file.to_str().unwrap()]).expect(1);
    let late = fs::read_to_string(&file).unwrap();
    assert!(late.contains("backupctl_overdue{project=\"shop\"} 1"), "{late}");
    let unread = w.work.join("metrics/backupctl.txt");
    w.run(&["watch", "--textfile", unread.to_str().unwrap()]).expect(3);
}
