//! What every failed run owes: its code and remedy everywhere, a notice, a heartbeat, a record.

use serde_json::Value;

use super::{Output, World};

/// The stages that every record of an ended run lists.
pub(crate) const STAGES: [&str; 13] = [
    "NotifyStarted",
    "PreHook",
    "Dump",
    "Verify",
    "Encrypt",
    "Sync",
    "Prune",
    "Cleanup",
    "PostHook",
    "Audit",
    "Notify",
    "Heartbeat",
    "Unlock",
];

impl World {
    /// The bodies that the webhook got, in order.
    pub(crate) fn events(&self) -> Vec<Value> {
        let requests = self.receiver.requests();
        let posts = requests.iter().filter(|r| r.method == "POST");
        posts.map(|r| serde_json::from_slice(&r.body).unwrap()).collect()
    }

    /// The bodies of one kind.
    pub(crate) fn events_of(&self, kind: &str) -> Vec<Value> {
        self.events().into_iter().filter(|e| e["event"] == kind).collect()
    }

    /// The status and message of each heartbeat, in order.
    pub(crate) fn beats(&self) -> Vec<(String, String)> {
        let requests = self.receiver.requests();
        let pushes = requests.iter().filter(|r| r.path().starts_with("/api/push/"));
        pushes.map(|r| (r.query("status").unwrap(), r.query("msg").unwrap())).collect()
    }

    /// A run of `shop` fails like this, and everybody is told so; its record.
    #[track_caller]
    pub(crate) fn fails(&self, code: &str, exit: i32, stage: &str) -> Value {
        let output = self.run(&["run", "shop"]);
        self.failed(&output, code, exit, stage)
    }

    /// That run of `shop` has failed like this, and everybody was told so; its record.
    #[track_caller]
    pub(crate) fn failed(&self, output: &Output, code: &str, exit: i32, stage: &str) -> Value {
        output.expect(exit);
        let said = &output.stderr;
        assert!(said.contains(&format!("error[{code}]:")), "{said}");
        assert!(said.contains("\n  fix: "), "{said}");

        let record = self.records().swap_remove(0);
        let error = &record["error"];
        assert_eq!(record["status"], "failed", "{record:#}");
        assert_eq!(record["current_stage"], Value::Null, "{record:#}");
        assert_eq!((&error["code"], &error["stage"]), (&code.into(), &stage.into()), "{error:#}");
        let (message, remedy) = (words(error, "message"), words(error, "remedy"));
        let listed: Vec<&str> =
            record["stages"].as_array().unwrap().iter().map(|s| words(s, "stage")).collect();
        for name in STAGES {
            assert!(listed.contains(&name), "{name} is missing in {listed:?}");
        }

        let run = &words(&record, "run_id")[..8];
        let failed = self.events_of("backup_failed");
        let event = failed.last().expect("a notice of the failure");
        let lines: Vec<&str> = words(event, "text").lines().collect();
        assert_eq!(lines[0], "❌ Backup failed for shop");
        assert_eq!(lines[1], format!("Run ID: {run}"));
        assert!(lines[2].starts_with(&format!("Failed at stage: {stage}")), "{lines:#?}");
        assert!(lines[3].starts_with("Duration: "), "{lines:#?}");
        assert_eq!(lines[4], format!("Error: {message}"));
        assert_eq!(lines[5], format!("Code: {code}"));
        assert_eq!(lines[6], format!("Fix: {remedy}"));
        let data = &event["data"];
        assert_eq!((&data["runId"], &data["status"]), (&run.into(), &"failed".into()));
        assert_eq!((&data["code"], &data["failedStage"]), (&code.into(), &stage.into()));

        let beats = self.beats();
        let (status, text) = beats.last().expect("a heartbeat");
        assert_eq!(status, "down");
        assert!(text.starts_with(code) && text.chars().count() <= 200, "{text}");

        let shown = self.run(&["logs", "--run", run]);
        shown.expect(0);
        assert!(shown.stdout.contains(&format!("error[{code}] at {stage}:")), "{}", shown.stdout);
        record
    }
}

/// A key's text; it must have one.
#[track_caller]
pub(crate) fn words<'a>(value: &'a Value, key: &str) -> &'a str {
    let text = value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value:#}"));
    assert!(!text.trim().is_empty(), "{key} is empty in {value:#}");
    text
}
