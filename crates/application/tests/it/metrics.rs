//! What monitoring systems are told: numbers that are known, and gaps where none is.

use std::time::Duration;

use backupctl_application::ports::{
    ConfigLoader as _, FallbackEntry, LockHolder, ScheduleStore as _,
};
use backupctl_application::use_cases::DestinationMetrics;
use backupctl_application::use_cases::metrics::{LastRun, Metrics, ProjectMetrics, gather};
use backupctl_domain::schedule::memory::{MachineMemory, Pause, ScheduleMemory, SummaryMemory};
use backupctl_domain::{DumpInfo, ErrorCode, Project, SnapshotId, SnapshotInfo, Stage};
use backupctl_testkit::builders::{self, at, name};
use backupctl_testkit::fakes::Inject;
use backupctl_testkit::{TestBench, project};

use super::failure;

const MINUTE: Duration = Duration::from_mins(1);

/// Backed up at 02:00; the bench's clock shows five seconds after midnight of the 18th.
fn shop() -> Project {
    project("shop").cron("0 2 * * *").build()
}

async fn gathered(bench: &TestBench) -> Metrics {
    let entries = bench.config.load().await.unwrap().projects;
    gather(&bench.world(), entries).await
}

async fn of_shop(bench: &TestBench) -> ProjectMetrics {
    bench.config.set_projects([shop()]);
    gathered(bench).await.projects.remove(0)
}

fn success(time: &str) -> builders::RunBuilder {
    builders::run("shop").started_at(time).success(MINUTE).with(|r| {
        r.dump = Some(DumpInfo {
            file: "/x".to_owned(),
            bytes: 1000,
            raw_bytes: 5000,
            checksum: String::new(),
            engine: "postgres".to_owned(),
            tool_version: String::new(),
        });
        for bytes_added in [7, 8] {
            r.snapshots.push(SnapshotInfo {
                id: SnapshotId::new("0123456789").unwrap(),
                tags: Vec::new(),
                bytes_added,
                files_new: 0,
                files_changed: 0,
                files_unmodified: 0,
                destination: None,
                archive: None,
            });
        }
        r.repository_bytes = Some(1 << 30);
    })
}

fn failed(time: &str, code: ErrorCode) -> builders::RunBuilder {
    builders::run("shop").started_at(time).failed(Stage::Sync, code, "x", 2 * MINUTE)
}

fn going(bench: &TestBench) {
    let run = builders::run("shop").in_stage(Stage::Dump).build();
    let holder = LockHolder { pid: Some(run.pid), started: None, recovering: false };
    bench.lock.set_held(&run.project, holder);
    bench.audit.seed(run);
}

#[tokio::test]
async fn a_fresh_project_in_numbers() {
    let bench = TestBench::new();
    bench.audit.seed(success("2026-03-17T02:00:00Z").build());
    assert_eq!(
        of_shop(&bench).await,
        ProjectMetrics {
            project: "shop".to_owned(),
            enabled: Some(true),
            state: Some("fresh"),
            is_overdue: Some(false),
            is_paused: Some(false),
            is_running: false,
            due: shop().schedule.map(|s| at("2026-03-18T02:00:00Z") + s.grace),
            last_success: Some(at("2026-03-17T02:00:00Z")),
            last_run: Some(LastRun {
                started_at: at("2026-03-17T02:00:00Z"),
                duration: MINUTE,
                succeeded: true,
            }),
            dump_bytes: Some(1000),
            bytes_added: Some(15),
            repository_bytes: Some(1 << 30),
            failures: Vec::new(),
            destinations: vec![DestinationMetrics {
                destination: "restic".to_owned(),
                last_stored: Some(at("2026-03-17T02:00:00Z")),
                is_overdue: false,
            }],
        }
    );
}

#[tokio::test]
async fn a_failure_leaves_the_sizes_of_the_last_success() {
    let bench = TestBench::new();
    bench.audit.seed(success("2026-03-16T02:00:00Z").build());
    bench.audit.seed(failed("2026-03-17T02:00:00Z", ErrorCode::RepoLocked).build());
    bench.audit.seed(failed("2026-03-17T03:00:00Z", ErrorCode::RepoLocked).build());
    bench.audit.seed(failed("2026-03-17T04:00:00Z", ErrorCode::DiskFull).build());
    bench
        .audit
        .seed(builders::run("gone").failed(Stage::Dump, ErrorCode::DumpEmpty, "x", MINUTE).build());
    let shop = of_shop(&bench).await;
    assert_eq!(shop.state, Some("failing"));
    assert_eq!(shop.is_overdue, Some(true));
    assert_eq!((shop.dump_bytes, shop.bytes_added), (Some(1000), Some(15)));
    let last = shop.last_run.unwrap();
    assert_eq!((last.started_at, last.succeeded), (at("2026-03-17T04:00:00Z"), false));
    assert_eq!(last.duration, 2 * MINUTE);
    assert_eq!(shop.last_success, Some(at("2026-03-16T02:00:00Z")));
    assert_eq!(shop.failures, [("DISK_FULL".to_owned(), 1), ("REPO_LOCKED".to_owned(), 2)]);
}

#[tokio::test]
async fn while_a_run_goes_on_the_last_one_that_ended_stays() {
    for (last_failed, succeeded) in
        [("2026-03-16T02:00:00Z", true), ("2026-03-17T12:00:00Z", false)]
    {
        let bench = TestBench::new();
        bench.audit.seed(success("2026-03-17T02:00:00Z").build());
        bench.audit.seed(failed(last_failed, ErrorCode::RepoLocked).build());
        going(&bench);
        let shop = of_shop(&bench).await;
        assert!(shop.is_running);
        assert_eq!(shop.state, Some("running"));
        assert_eq!(shop.last_run.unwrap().succeeded, succeeded);
    }
}

#[tokio::test]
async fn a_project_that_never_ran_is_overdue_once_its_first_success_was_due() {
    let bench = TestBench::new();
    let first = of_shop(&bench).await;
    assert_eq!((first.state, first.is_overdue), (Some("never_ran"), Some(false)));
    assert_eq!((first.last_run, first.last_success, first.dump_bytes), (None, None, None));
    let memory = ScheduleMemory {
        known_since: Some(at("2026-03-10T00:00:00Z")),
        ..ScheduleMemory::default()
    };
    bench.schedules.seed(&name("shop"), memory);
    let later = of_shop(&bench).await;
    assert_eq!((later.state, later.is_overdue), (Some("never_ran"), Some(true)));
    assert!(later.due.unwrap() < at("2026-03-12T00:00:00Z"));
}

#[tokio::test]
async fn what_is_off_is_not_overdue() {
    let bench = TestBench::new();
    bench.audit.seed(success("2026-03-01T02:00:00Z").build());
    let pause = Pause { since: at("2026-03-02T00:00:00Z"), until: None };
    let memory = ScheduleMemory { pause: Some(pause), ..ScheduleMemory::default() };
    bench.schedules.seed(&name("shop"), memory);
    bench.config.set_projects([
        shop(),
        project("off").cron("0 2 * * *").disabled().build(),
        project("by-hand").build(),
    ]);
    bench.config.add_broken("wrong", "database.port", "is no port");
    let all = gathered(&bench).await.projects;
    let told: Vec<_> =
        all.iter().map(|p| (p.state.unwrap(), p.enabled, p.is_overdue, p.is_paused)).collect();
    assert_eq!(
        told,
        [
            ("paused", Some(true), Some(false), Some(true)),
            ("disabled", Some(false), Some(false), Some(false)),
            ("unscheduled", Some(true), Some(false), Some(false)),
            ("invalid", None, None, None),
        ]
    );
    assert!(all.iter().all(|p| p.due.is_none()));
}

#[tokio::test]
async fn behind_a_pause_a_success_is_due_after_the_next_slot() {
    let bench = TestBench::new();
    bench.audit.seed(success("2026-03-10T02:00:00Z").build());
    let until = Some(at("2026-03-17T12:00:00Z"));
    let pause = Pause { since: at("2026-03-11T00:00:00Z"), until };
    let memory = ScheduleMemory { pause: Some(pause), ..ScheduleMemory::default() };
    bench.schedules.seed(&name("shop"), memory);
    let paused = of_shop(&bench).await;
    assert_eq!((paused.is_paused, paused.is_overdue), (Some(false), Some(false)));
    assert!(paused.due.unwrap() > at("2026-03-18T02:00:00Z"), "{paused:?}");
    bench.clock.set(at("2026-03-18T23:00:00Z"));
    assert_eq!(of_shop(&bench).await.is_overdue, Some(true));
}

#[tokio::test]
async fn without_the_audit_what_is_remembered_is_told_and_nothing_else() {
    for operation in ["latest_runs", "count_failures"] {
        let bench = TestBench::new();
        bench.audit.seed(success("2026-03-17T02:00:00Z").build());
        bench.audit.fail_always(operation, failure(ErrorCode::AuditUnavailable));
        let memory = ScheduleMemory {
            last_success: Some(at("2026-03-15T02:00:00Z")),
            ..ScheduleMemory::default()
        };
        bench.schedules.seed(&name("shop"), memory);
        bench.config.set_projects([shop(), project("other").cron("0 2 * * *").build()]);
        let holder = LockHolder { pid: Some(1), started: None, recovering: false };
        bench.lock.set_held(&name("other"), holder);
        let metrics = gathered(&bench).await;
        assert!(!metrics.audit_up);
        let [shop, other] = metrics.projects.as_slice() else { panic!("{metrics:?}") };
        assert_eq!((shop.state, shop.is_overdue), (Some("overdue"), Some(true)));
        assert_eq!(shop.last_success, Some(at("2026-03-15T02:00:00Z")));
        assert_eq!((shop.last_run, shop.dump_bytes, shop.is_running), (None, None, false));
        assert_eq!((other.state, other.is_overdue, other.due), (Some("running"), None, None));
        assert!(other.is_running);

        bench.lock.set_free(&name("other"));
        let other = gathered(&bench).await.projects.remove(1);
        assert_eq!((other.state, other.is_running), (None, false));
    }
}

#[tokio::test]
async fn the_machine_in_numbers() {
    let bench = TestBench::new();
    let metrics = gathered(&bench).await;
    assert_eq!(
        metrics,
        Metrics {
            version: "0.1.0".to_owned(),
            config_up: true,
            audit_up: true,
            fallback_pending: Some(0),
            ..Metrics::default()
        }
    );
    let run = failed("2026-03-17T02:00:00Z", ErrorCode::DiskFull).build();
    bench.fallback.seed(FallbackEntry::Audit { run: Box::new(run) });
    for (problems, delivered) in [(vec![], true), (vec!["slack: no".to_owned()], false)] {
        let summary = SummaryMemory { at: at("2026-03-17T08:00:00Z"), problems };
        let remember = |machine: &mut MachineMemory| {
            machine.summary = Some(summary);
            machine.watched_at = Some(at("2026-03-17T23:59:00Z"));
        };
        bench.schedules.update_machine(Box::new(remember)).await.unwrap();
        let metrics = gathered(&bench).await;
        assert_eq!(metrics.summary_delivered, Some(delivered));
        assert_eq!(metrics.watched_at, Some(at("2026-03-17T23:59:00Z")));
        assert_eq!(metrics.fallback_pending, Some(1));
    }
}

#[tokio::test]
async fn what_cannot_be_had_is_left_out() {
    let bench = TestBench::new();
    bench.fallback.fail_always("pending", failure(ErrorCode::PathNotWritable));
    bench.schedules.fail_always("machine", failure(ErrorCode::PathNotWritable));
    bench.schedules.fail_always("project", failure(ErrorCode::PathNotWritable));
    bench.audit.seed(success("2026-03-17T02:00:00Z").build());
    bench.config.set_projects([shop()]);
    let metrics = gathered(&bench).await;
    assert_eq!((metrics.fallback_pending, metrics.watched_at), (None, None));
    let shop = &metrics.projects[0];
    assert_eq!((shop.state, shop.is_paused), (Some("fresh"), None));
}
