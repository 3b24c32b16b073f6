//! Power cuts of the daemon alone, at random moments: no slot is lost without a record, and no project
//! is backed up twice at once.
//!
//! `BACKUPCTL_KILL_ROUNDS=200` makes it long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::serve::{remember, serve, this_minute, world};
use super::support::{World, mentioning, wait_until, words};

const PROJECTS: [&str; 3] = ["shop", "blog", "wiki"];

/// How long a daemon lives at most, in milliseconds.
const LIFE: u64 = 700;

#[test]
fn a_daemon_killed_at_random_moments_loses_no_slot_and_runs_none_twice_at_once() {
    let rounds = rounds();
    let mut w = world();
    w.config["concurrency"] = json!(2);
    w.config["log"]["level"] = json!("info");
    // Runs that take a moment and end as failed ones: what is told of them is not the question.
    w.project()["hooks"] = json!({"pre_backup": "sleep 0.2; exit 1"});
    w.config["projects"][0].as_object_mut().unwrap().remove("monitor");
    w.config.as_object_mut().unwrap().remove("notification");
    for project in &PROJECTS[1..] {
        w.add_project(project);
    }
    let mut random = Random(u64::from(std::process::id()) | 1);
    let mut seen = Seen::default();
    let mut since = BTreeMap::new();
    for round in 0..rounds {
        // In every other round the runs of the daemon before still go on.
        if round % 2 == 0 {
            seen.check(&w, &mut since);
            for project in PROJECTS {
                let back = i64::try_from(1 + random.below(10)).unwrap();
                let until = this_minute().checked_sub(SignedDuration::from_mins(back)).unwrap();
                remember(&w, project, until);
                since.insert(project, until);
            }
        }
        let daemon = w.start(&["serve"]);
        pause(random.below(LIFE));
        daemon.kill();
    }
    seen.check(&w, &mut since);
    let mut daemon = serve(&w);
    // What is owed is accounted for before a run begins, so with the present slot everything is.
    let settled = |w: &World| PROJECTS.iter().all(|p| handled(w, p) >= Some(this_minute()));
    daemon.wait("the present slot", |_| settled(&w));
    daemon.signal(Signal::TERM);
    w.finish(daemon).expect(143);
    seen.check(&w, &mut since);
    println!("{rounds} rounds: {} slots, {} runs", seen.slots, seen.runs);
    assert!(seen.slots > 0 && seen.runs > 0, "nothing came of it");
}

/// What the checks have found so far.
#[derive(Default)]
struct Seen {
    slots: u64,
    runs: usize,
}

impl Seen {
    /// While no process is left: each slot that is remembered as dealt with has a record, and no two
    /// runs went on at once. The records are removed, and `since` set, so that the next time they prove
    /// nothing.
    fn check(&mut self, w: &World, since: &mut BTreeMap<&str, Timestamp>) {
        assert!(wait_until(|| mentioning(&marker(w)).is_empty()), "{:#?}", mentioning(&marker(w)));
        if since.is_empty() {
            return;
        }
        let db = rusqlite::Connection::open(w.state("audit.db")).unwrap();
        for (project, since) in since {
            let records = records(&db, project);
            let dealt_with: BTreeSet<_> = records.iter().filter_map(|r| at(r, "due_at")).collect();
            let mut slot = since.checked_add(SignedDuration::from_mins(1)).unwrap();
            while Some(slot) <= handled(w, project) {
                assert!(
                    dealt_with.contains(&slot),
                    "{project}: nothing says what became of {slot}"
                );
                *since = slot;
                slot = slot.checked_add(SignedDuration::from_mins(1)).unwrap();
                self.slots += 1;
            }
            let mut runs: Vec<(Timestamp, Timestamp)> = records
                .iter()
                .filter(|r| r["error"]["code"] != "RUN_MISSED")
                .map(|r| (at(r, "started_at").unwrap(), at(r, "finished_at").unwrap()))
                .collect();
            runs.sort();
            for pair in runs.windows(2) {
                assert!(pair[0].1 <= pair[1].0, "{project}: two runs at once: {pair:?}");
            }
            self.runs += runs.len();
        }
        db.execute("DELETE FROM backup_runs", ()).unwrap();
    }
}

/// The records of the project; all of them have ended.
fn records(db: &rusqlite::Connection, project: &str) -> Vec<Value> {
    let mut query =
        db.prepare("SELECT status, record FROM backup_runs WHERE project = ?1").unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    let rows = query.query_map([project], row).unwrap();
    let read = |row: Result<(String, String), _>| {
        let (status, record) = row.unwrap();
        assert_ne!(status, "started", "a run has not ended: {record}");
        serde_json::from_str(&record).unwrap()
    };
    rows.map(read).collect()
}

/// Up to when the project's slots are dealt with, by what is remembered.
fn handled(w: &World, project: &str) -> Option<Timestamp> {
    let text = std::fs::read_to_string(w.state(&format!(".schedule/{project}.json"))).unwrap();
    at(&serde_json::from_str(&text).unwrap(), "handled_until")
}

fn at(value: &Value, key: &str) -> Option<Timestamp> {
    value[key].is_string().then(|| words(value, key).parse().unwrap())
}

fn marker(w: &World) -> String {
    w.work.path().to_string_lossy().into_owned()
}

#[expect(clippy::disallowed_methods, reason = "how long the test is to be, asked of who runs it")]
fn rounds() -> u64 {
    std::env::var("BACKUPCTL_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(8)
}

#[expect(clippy::disallowed_methods, reason = "a moment that nothing marks")]
fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// Numbers that differ from test to test (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
