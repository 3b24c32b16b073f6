//! A configuration that changes while the daemon runs.

use backupctl_application::ports::{Clock, DaemonControl};
use backupctl_domain::{ErrorCode, Failure};
use backupctl_testkit::TestBench;
use backupctl_testkit::builders::{at, name};
use backupctl_testkit::fakes::Inject;

use super::{launches, missed, scheduled, serve};

#[tokio::test]
async fn a_change_is_seen_within_a_minute() {
    let bench = TestBench::new();
    bench.config.set_projects([scheduled("shop", "0 * * * *"), scheduled("gone", "30 * * * *")]);
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T01:40:00Z")).await;
    bench.config.set_projects([scheduled("shop", "45 * * * *"), scheduled("new", "50 * * * *")]);
    served.until(&bench, "2026-03-18T02:35:00Z").await;
    assert_eq!(
        launches(&bench),
        [
            "gone scheduled 2026-03-18T00:30:00Z",
            "shop scheduled 2026-03-18T01:00:00Z",
            "gone scheduled 2026-03-18T01:30:00Z",
            "shop scheduled 2026-03-18T01:45:00Z",
            "new scheduled 2026-03-18T01:50:00Z",
        ]
    );
    assert!(missed(&bench).is_empty(), "a new schedule counts from when it is seen");
}

#[tokio::test]
async fn a_project_that_was_off_for_a_while_has_missed_nothing() {
    let bench = TestBench::new();
    let off = || backupctl_testkit::project("shop").cron("0 * * * *").disabled().build();
    bench.config.set_projects([scheduled("shop", "0 * * * *")]);
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T01:30:00Z")).await;
    bench.config.set_projects([off()]);
    bench.clock.sleep_until(at("2026-03-18T03:30:00Z")).await;
    served.stop().await;
    // On again while no daemon runs.
    bench.config.set_projects([scheduled("shop", "0 * * * *")]);
    bench.clock.set(at("2026-03-18T05:30:00Z"));
    serve(&bench).until(&bench, "2026-03-18T06:30:00Z").await;
    assert_eq!(
        launches(&bench),
        ["shop scheduled 2026-03-18T01:00:00Z", "shop scheduled 2026-03-18T06:00:00Z"]
    );
    assert!(missed(&bench).is_empty());
}

#[tokio::test]
async fn a_reload_that_somebody_asks_for_says_how_it_went() {
    let bench = TestBench::new();
    bench.config.set_projects([scheduled("shop", "0 * * * *")]);
    let mut served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T00:10:00Z")).await;
    served.control.reload().await.unwrap();
    assert!(served.heard().contains(&"reloaded".to_owned()));
    bench.config.fail_once("load", Failure::new(ErrorCode::InvalidConfig, "line 3: no YAML"));
    let refused = served.control.reload().await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidConfig);
    assert!(served.heard().contains(&"reload_failed".to_owned()));
    served.stop().await;
}

#[tokio::test]
async fn what_needs_a_restart_is_said() {
    let bench = TestBench::new();
    bench.config.set_projects([scheduled("shop", "0 * * * *")]);
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T00:10:00Z")).await;
    assert!(served.control.readiness().problems.is_empty());
    bench.config.change_global(|global| global.base_dir = "/elsewhere".into());
    served.control.reload().await.unwrap();
    let problems = served.control.readiness().problems;
    assert!(problems.len() == 1 && problems[0].starts_with("base_dir changed"), "{problems:?}");
    served.stop().await;
}

#[tokio::test]
async fn a_new_schedule_of_a_run_that_goes_on_counts_from_its_next_slot() {
    let bench = TestBench::new();
    bench.config.set_projects([scheduled("shop", "0 * * * *")]);
    bench.launcher.set_duration(&name("shop"), std::time::Duration::from_mins(20));
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T01:05:00Z")).await;
    bench.config.set_projects([scheduled("shop", "10,40 * * * *")]);
    served.until(&bench, "2026-03-18T01:50:00Z").await;
    assert_eq!(
        launches(&bench),
        [
            "shop scheduled 2026-03-18T01:00:00Z",
            "shop scheduled 2026-03-18T01:10:00Z",
            "shop scheduled 2026-03-18T01:40:00Z",
        ]
    );
    assert!(missed(&bench).is_empty());
}
