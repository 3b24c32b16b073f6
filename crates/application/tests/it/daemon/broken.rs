//! A configuration that is broken while the daemon runs, or was before: nothing of it is silent.

use backupctl_application::ports::{Clock, DaemonControl};
use backupctl_domain::{ErrorCode, Failure, Notice};
use backupctl_testkit::TestBench;
use backupctl_testkit::builders::{at, name};
use backupctl_testkit::fakes::Inject;

use super::{launches, scheduled, serve};

fn of_the_config(bench: &TestBench) -> Vec<Notice> {
    let about = |n: &Notice| n.data["status"].as_str().is_some_and(|s| s.starts_with("config_"));
    bench.slack.notices().into_iter().filter(about).collect()
}

#[tokio::test]
async fn a_configuration_that_cannot_be_loaded_leaves_the_last_good_one_and_is_told_daily() {
    let bench = TestBench::new();
    let shop = backupctl_testkit::project("shop")
        .cron("0 12 * * *")
        .slack("https://hooks.example/x")
        .build();
    bench.config.set_projects([shop]);
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T10:00:00Z")).await;
    bench.config.fail_always("load", Failure::new(ErrorCode::InvalidConfig, "line 3: no YAML"));
    bench.config.touch();
    bench.clock.sleep_until(at("2026-03-19T14:00:00Z")).await;
    let readiness = served.control.readiness();
    assert!(!readiness.is_ready && readiness.problems[0].contains("line 3"), "{readiness:?}");
    assert_eq!(launches(&bench).len(), 2, "the schedule is kept");
    let notices = of_the_config(&bench);
    assert_eq!(notices.len(), 2, "once, and again after a day: {notices:?}");
    assert!(notices[0].text.contains("Error: line 3: no YAML\nCode: INVALID_CONFIG"));
    assert!(notices[1].text.contains("\nSince: 24h") || notices[1].text.contains("\nSince: 1"));
    assert!(bench.schedules.of_machine().config_alert.is_some());

    bench.config.heal();
    bench.config.touch();
    bench.clock.sleep_until(at("2026-03-19T14:10:00Z")).await;
    let readiness = served.control.readiness();
    assert!(readiness.is_ready && readiness.problems.is_empty(), "{readiness:?}");
    assert_eq!(of_the_config(&bench).last().unwrap().data["status"], "config_good");
    assert_eq!(of_the_config(&bench).len(), 3);
    assert_eq!(bench.schedules.of_machine().config_alert, None);
    served.stop().await;
}

#[tokio::test]
async fn a_start_without_a_configuration_is_refused() {
    let bench = TestBench::new();
    bench.config.fail_always("load", Failure::new(ErrorCode::InvalidConfig, "line 3: no YAML"));
    let refused = serve(&bench).task.await.unwrap().unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidConfig);
    bench.config.heal();
    bench.config.change(|config| config.global = Err(Vec::new()));
    let refused = serve(&bench).task.await.unwrap().unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidConfig);
    assert!(refused.message.contains("/etc/backupctl/backupctl.yml has errors"), "{refused:?}");
}

#[tokio::test]
async fn each_slot_of_a_broken_project_is_a_failed_run_that_is_told() {
    let bench = TestBench::new();
    let shop = || {
        backupctl_testkit::project("shop")
            .cron("0 * * * *")
            .slack("https://hooks.example/x")
            .build()
    };
    bench.config.set_projects([shop(), scheduled("other", "0 * * * *")]);
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T00:30:00Z")).await;
    bench.config.set_projects([scheduled("other", "0 * * * *")]);
    bench.config.add_broken("shop", "database.port", "\"x\" is no number");
    served.until(&bench, "2026-03-18T02:30:00Z").await;
    assert!(launches(&bench).iter().all(|l| l.starts_with("other ")), "{:?}", launches(&bench));
    let records: Vec<_> =
        bench.audit.runs().into_iter().filter(|run| run.project == name("shop")).collect();
    assert_eq!(records.len(), 2);
    for run in &records {
        let error = run.error.as_ref().unwrap();
        assert_eq!(error.code, ErrorCode::InvalidConfig);
        assert!(error.message.contains("database.port"), "{}", error.message);
    }
    let failed = |bench: &TestBench| {
        bench.slack.kinds().iter().filter(|kind| **kind == "backup_failed").count()
    };
    assert_eq!(failed(&bench), 2, "over the channels that were known last");

    // A daemon that starts with it knows the schedule, and tells everybody.
    bench.config.change_global(|global| global.notifications = shop().notifications);
    serve(&bench).until(&bench, "2026-03-18T03:30:00Z").await;
    let records = bench.audit.runs().into_iter().filter(|run| run.project == name("shop"));
    let last = records.max_by_key(|run| run.started_at).unwrap();
    assert_eq!(last.due_at, Some(at("2026-03-18T03:00:00Z")));
    assert_eq!(failed(&bench), 3);
}

#[tokio::test]
async fn a_configuration_that_is_mended_while_people_are_being_told_is_told_too() {
    let bench = TestBench::new();
    let shop = backupctl_testkit::project("shop").slack("https://hooks.example/x").build();
    bench.config.set_projects([shop]);
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T00:10:00Z")).await;
    let slow = bench.slack.hold("notify");
    bench.config.fail_once("load", Failure::new(ErrorCode::InvalidConfig, "line 3: no YAML"));
    served.control.reload().await.unwrap_err();
    slow.entered().await;
    served.control.reload().await.unwrap();
    slow.release();
    bench.slack.received(2).await;
    let told: Vec<_> =
        of_the_config(&bench).iter().map(|notice| notice.data["status"].clone()).collect();
    assert_eq!(told, ["config_broken", "config_good"]);
    served.stop().await;
}

#[tokio::test]
async fn a_configuration_that_is_just_being_written_alarms_nobody() {
    let bench = TestBench::new();
    let shop = backupctl_testkit::project("shop").slack("https://hooks.example/x").build();
    bench.config.set_projects([shop]);
    let mut served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T00:10:00Z")).await;
    bench.config.fail_once("load", Failure::new(ErrorCode::InvalidConfig, "line 3: no YAML"));
    bench.config.touch();
    bench.clock.sleep_until(at("2026-03-18T00:20:00Z")).await;
    assert!(of_the_config(&bench).is_empty());
    let heard = served.heard();
    assert!(heard.contains(&"reloaded".to_owned()), "{heard:?}");
    assert!(!heard.contains(&"reload_failed".to_owned()), "{heard:?}");
    served.stop().await;
}

#[tokio::test]
async fn a_project_that_is_missing_for_a_moment_is_not_forgotten() {
    let bench = TestBench::new();
    bench.config.set_projects([scheduled("shop", "0 * * * *"), scheduled("blog", "30 * * * *")]);
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T01:10:00Z")).await;
    bench.config.set_projects([scheduled("blog", "30 * * * *")]);
    served.control.reload().await.unwrap();
    let memory = bench.schedules.of(&name("shop"));
    assert_eq!(memory.handled_until, Some(at("2026-03-18T01:00:00Z")));
    // Gone for good, it counts from when it is back.
    bench.clock.sleep_until(at("2026-03-18T01:20:00Z")).await;
    assert_eq!(bench.schedules.of(&name("shop")).handled_until, None);
    served.stop().await;
}
