//! `schedule`: what is listed, the next times, and a pause that holds for whatever starts the runs.

use serde_json::{Value, json};

use super::support::{World, words};

/// `shop` runs every night.
fn nightly() -> World {
    let mut w = World::new();
    w.project()["cron"] = json!("30 2 * * *");
    w
}

fn listed<'a>(document: &'a Value, project: &str) -> &'a Value {
    let all = document["schedules"].as_array().unwrap();
    all.iter().find(|s| s["project"] == project).unwrap()
}

#[test]
fn schedules_are_listed_with_their_next_and_last_run() {
    let mut w = nightly();
    w.add_project("off")["enabled"] = json!(false);
    w.add_project("free").as_object_mut().unwrap().remove("cron");
    w.add_project("typo")["cron"] = json!("61 * * * *");
    w.run(&["run", "shop", "--scheduled"]).expect(0);

    let document = w.json(&["schedule", "list", "--json"]);
    let states: Vec<&str> = document["schedules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["active", "disabled", "unscheduled", "invalid"]);
    let shop = listed(&document, "shop");
    assert_eq!(shop["schedule"], "every day at 02:30");
    assert_eq!(shop["timezone"], "Europe/Berlin");
    assert_eq!(shop["last_run"]["status"], "success");
    assert!(shop["next_in_seconds"].as_u64().unwrap() <= 25 * 3600);
    assert_eq!(listed(&document, "off")["next_run"], Value::Null);

    let text = w.run(&["schedule", "list"]).expect(0).stdout.clone();
    for said in
        ["every day at 02:30", "30 2 * * *", "Europe/Berlin", ", in ", "success (", "no schedule"]
    {
        assert!(text.contains(said), "no {said:?} in\n{text}");
    }
}

#[test]
fn the_next_times_come_with_weekday_and_zone() {
    let mut w = nightly();
    let document = w.json(&["schedule", "next", "shop", "--count", "400", "--json"]);
    let next = document["next"].as_array().unwrap();
    assert_eq!(next.len(), 400);
    let remarks: Vec<&str> = next.iter().filter_map(|n| n["remark"].as_str()).collect();
    assert!(
        remarks.iter().any(|r| r.contains("the clocks skip 02:30"))
            && remarks.iter().any(|r| r.contains("the clocks show 02:30 twice")),
        "a year has both changes: {remarks:?}"
    );
    assert!(next.iter().all(|n| n["weekday"].as_str().unwrap().ends_with("day")));
    let text = w.run(&["schedule", "next", "shop"]).expect(0).stdout.clone();
    assert_eq!(text.matches("day  ").count(), 5, "{text}");

    w.project().as_object_mut().unwrap().remove("cron");
    let refused = w.run(&["schedule", "next", "shop", "--json"]).expect(3).json();
    assert_eq!(refused["error"]["code"], "INVALID_CONFIG");
    assert!(words(&refused["error"], "remedy").contains("cron"));
    w.run(&["schedule", "pause", "shop"]).expect(3);
    let refused = w.run(&["schedule", "next", "shpo", "--json"]).expect(3).json();
    assert_eq!(refused["error"]["code"], "UNKNOWN_PROJECT");
}

#[test]
fn a_pause_holds_for_timers_and_is_seen_until_somebody_resumes() {
    let w = nightly();
    let paused = w.json(&["schedule", "pause", "shop", "--until", "3d", "--json"]);
    assert_eq!(paused["state"], "paused");
    words(&paused, "paused_until");
    let since = words(&paused, "paused_since").to_owned();
    let again = w.json(&["schedule", "pause", "shop", "--json"]);
    assert_eq!(
        (again["paused_since"].as_str(), &again["paused_until"]),
        (Some(&*since), &Value::Null)
    );

    let skipped = w.run(&["run", "shop", "--scheduled"]);
    skipped.expect(0);
    assert_eq!(w.records(), Vec::<Value>::new(), "no run is made");
    assert_eq!(w.json(&["status", "--json"])["projects"][0]["state"], "paused");
    let text = w.run(&["schedule", "list"]).expect(0).stdout.clone();
    assert!(text.contains("until resumed"), "{text}");
    let health = w.json(&["health", "--json"]);
    let checks = health["checks"].as_array().unwrap();
    let check = checks.iter().find(|c| c["name"] == "schedule").unwrap();
    assert_eq!(check["outcome"], "warn");
    assert!(words(check, "message").contains("paused since"), "{check}");

    let resumed = w.run(&["schedule", "resume", "shop"]).expect(0).stdout.clone();
    assert!(resumed.contains("resumed shop, which was paused for"), "{resumed}");
    let twice = w.run(&["schedule", "resume", "shop"]).expect(0).stdout.clone();
    assert!(twice.contains("shop was not paused"), "{twice}");
    w.run(&["run", "shop", "--scheduled"]).expect(0);
    assert_eq!(w.records().len(), 1);
}

#[test]
fn a_pause_that_cannot_be_is_refused_with_what_can_be_said() {
    let w = nightly();
    for until in ["tomorrow", "2020-01-01", "-3d"] {
        let until = format!("--until={until}");
        let refused = w.run(&["schedule", "pause", "shop", &until, "--json"]).expect(3).json();
        assert_eq!(refused["error"]["code"], "INVALID_CONFIG");
        assert!(words(&refused["error"], "remedy").contains("12h"), "{refused}");
    }
    let refused = w.run(&["schedule", "pause", "nobody", "--json"]).expect(3).json();
    assert_eq!(refused["error"]["code"], "UNKNOWN_PROJECT");
    assert_eq!(w.json(&["status", "--json"])["projects"][0]["paused"], false);
}

#[test]
fn what_was_missed_before_a_pause_has_its_record() {
    let w = nightly();
    let memory = json!({
        "known_since": "2020-01-10T00:00:00Z",
        "promised": {"cron": "30 2 * * *", "timezone": "Europe/Berlin"},
        "handled_until": "2020-01-10T01:30:00Z",
    });
    w.work.file("state/.schedule/shop.json", memory.to_string());
    w.json(&["schedule", "pause", "shop", "--json"]);
    let records = w.records();
    assert!(records.len() > 1);
    for record in &records {
        assert_eq!(
            (&record["status"], &record["trigger"]),
            (&json!("failed"), &json!("scheduled"))
        );
        assert_eq!(record["error"]["code"], "RUN_MISSED");
        assert!(words(&record["error"], "message").contains("when its schedule was paused"));
    }
    let listed = w.json(&["schedule", "list", "--json"]);
    assert_eq!(listed["schedules"][0]["last_run"]["code"], "RUN_MISSED");
}

#[test]
fn a_broken_configuration_keeps_nobody_from_pausing() {
    let mut w = nightly();
    w.project()["retention"] = json!({"keep_last": "many"});
    let paused = w.json(&["schedule", "pause", "shop", "--json"]);
    words(&paused, "paused_since");
    w.project()["retention"] = json!({"keep_last": 3});
    assert_eq!(w.json(&["schedule", "list", "--json"])["schedules"][0]["state"], "paused");
}

#[test]
fn a_notice_of_no_project_that_waits_comes_late_over_the_global_channel() {
    let w = World::new();
    let text = "📊 Daily Backup Summary — 2026-03-18\n⚠️ shop — no run";
    let line = json!({
        "written_at": "2026-03-18T08:00:00.000Z", "type": "global_notification",
        "channel": "webhook", "index": 0,
        "notice": {
            "kind": "daily_summary", "project": null, "text": text, "data": {},
            "at": "2026-03-18T08:00:00Z",
        },
    });
    w.work.file("state/.fallback-audit/fallback.jsonl", format!("{line}\n"));
    assert_eq!(w.json(&["recover", "--json"])["delivered"], 1);
    let events = w.events();
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(
        (&events[0]["event"], &events[0]["delayed"]),
        (&json!("daily_summary"), &json!(true))
    );
    assert!(words(&events[0], "text").contains("Delayed: from 2026-03-18 09:00:00"), "{events:?}");
    assert!(!w.state(".fallback-audit/fallback.jsonl").exists());
}
