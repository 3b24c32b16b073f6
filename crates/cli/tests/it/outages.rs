//! Audit or webhook down while a backup is made: it is made, and what could not be written or said
//! is delivered once, later.

use std::fs;

use backupctl_testkit::services::{HttpReceiver, Postgres, Reply, SmtpSink, SmtpTls};
use serde_json::{Value, json};

use super::support::{DATABASE_PASSWORD, Gate, World, words};

fn kept(w: &World) -> Vec<Value> {
    let file = w.state(".fallback-audit/fallback.jsonl");
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter(|l| !l.trim().is_empty());
    lines.map(|l| serde_json::from_str(l).expect("a whole JSON object")).collect()
}

#[test]
fn what_the_webhook_did_not_take_is_sent_once_by_the_next_start() {
    let w = World::with_sqlite();
    w.receiver.reply_always(Reply::status(503));
    let record = w.backup();
    let lines = kept(&w);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    let before: Vec<String> =
        w.events().iter().map(|e| words(e, "text").to_owned()).collect::<Vec<_>>();
    assert_eq!(before.len(), 4, "two tries each: {before:#?}");
    assert_eq!(w.beats().len(), 1);

    // Still down: nothing is lost by trying.
    w.run(&["recover"]).expect(1);
    assert_eq!(kept(&w).len(), 2);

    w.receiver.reply_always(Reply::status(200));
    w.receiver.clear();
    w.backup();
    let events = w.events();
    assert_eq!(events.len(), 4, "{events:#?}");
    for (event, text) in events[..2].iter().zip([&before[0], &before[2]]) {
        assert_eq!(event["delayed"], true, "{event:#}");
        assert_eq!(event["data"]["runUuid"], record["run_id"]);
        let late = words(event, "text");
        assert!(late.starts_with(text.as_str()) && late.len() > text.len(), "{late}");
    }
    assert!(events[2..].iter().all(|e| e.get("delayed").is_none()), "{events:#?}");
    assert_eq!(kept(&w), [Value::Null; 0]);

    w.receiver.clear();
    w.run(&["recover"]).expect(0);
    assert_eq!(w.events(), [Value::Null; 0], "delivered once");
}

#[test]
fn an_audit_that_goes_down_or_is_down_gets_its_records_later() {
    let mut server = Postgres::start();
    server.create_role("audit", DATABASE_PASSWORD);
    server.create_database("audit", "audit");
    let mut w = World::with_sqlite();
    w.config["audit"] = json!({"url": server.url("audit", "audit")});
    w.run(&["init"]).expect(0);
    let gate = Gate::new(&w, "hook");
    w.project()["hooks"] = json!({"pre_backup": gate.shell()});
    let mut running = w.start(&["run", "shop", "--json"]);
    gate.wait(&mut running);
    server.stop();
    gate.open();
    let first = w.finish(running);
    let first = first.expect(0).json();
    assert_eq!(kept(&w).len(), 1, "{:#?}", kept(&w));
    w.project()["hooks"] = json!({});

    // Dead from the start.
    let second = w.run(&["run", "shop", "--json"]);
    let second = second.expect(0).json();
    assert_eq!(kept(&w).len(), 2, "{:#?}", kept(&w));
    let unanswered = w.run(&["logs", "shop", "--json"]);
    assert_eq!(unanswered.expect(4).json()["error"]["code"], "AUDIT_UNAVAILABLE");
    assert_eq!(w.events_of("backup_success").len(), 2);

    server.start_again();
    w.receiver.clear();
    let third = w.backup();
    assert_eq!(kept(&w), [Value::Null; 0]);
    let records = w.records();
    let ids: Vec<&Value> = records.iter().map(|r| &r["run_id"]).collect();
    assert_eq!(ids, [&third["run_id"], &second["run_id"], &first["run_id"]]);
    assert!(records.iter().all(|r| r["status"] == "success"), "{records:#?}");
    // No run was taken for an orphan, and nobody is told a second time.
    assert_eq!(w.events().len(), 2, "{:#?}", w.events());
    // The failed writing of the audit is in the record, not hidden.
    let audit = |r: &Value| {
        let stages = r["stages"].as_array().unwrap();
        stages.iter().find(|s| s["stage"] == "Audit").unwrap()["outcome"].clone()
    };
    assert_eq!(records.iter().map(audit).collect::<Vec<_>>(), ["ok", "failed", "failed"]);
}

#[test]
fn a_heartbeat_that_is_not_taken_changes_nothing() {
    let mut w = World::new();
    w.config["uptime_kuma_base_url"] =
        json!(format!("http://127.0.0.1:{}", backupctl_testkit::services::free_port()));
    let record = w.backup();
    let stage = record["stages"].as_array().unwrap().iter().find(|s| s["stage"] == "Heartbeat");
    assert_eq!(stage.unwrap()["outcome"], "failed", "{record:#}");
    assert_eq!(kept(&w), [Value::Null; 0]);
}

#[test]
fn of_three_channels_two_get_the_notice_and_the_third_gets_it_late_and_once() {
    let mut w = World::with_sqlite();
    let slack = HttpReceiver::start();
    let mails = SmtpSink::start(SmtpTls::None);
    let webhook = w.config["notification"].clone();
    w.project()["notification"] = json!([
        {"type": "slack", "config": {"webhook_url": slack.url("/services/T0/B0/x")}},
        {"type": "email", "config": {
            "smtp_host": mails.host(), "smtp_port": mails.port(), "smtp_security": "none",
            "from": "backup@example.org", "to": "ann@example.org, bob@example.org",
        }},
        webhook,
    ]);
    w.receiver.reply_always(Reply::status(503));
    w.backup();
    assert_eq!((slack.requests().len(), mails.mails().len()), (2, 2), "start and success");
    let lines = kept(&w);
    assert_eq!(lines.len(), 2, "{lines:#?}");

    w.receiver.reply_always(Reply::status(200));
    w.receiver.clear();
    w.run(&["recover"]).expect(0);
    let events = w.events();
    assert_eq!(events.len(), 2, "{events:#?}");
    assert!(events.iter().all(|e| e["delayed"] == true), "{events:#?}");
    assert_eq!(kept(&w), [Value::Null; 0]);
    assert_eq!((slack.requests().len(), mails.mails().len()), (2, 2), "nobody is told twice");
    w.run(&["recover"]).expect(0);
    assert_eq!(w.events().len(), 2, "delivered once");
}
