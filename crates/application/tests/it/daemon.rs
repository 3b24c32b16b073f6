//! The daemon on a clock that the test holds: every slot ends as one run or one record, whatever happens.

mod broken;
mod config;
mod requests;
mod runs;
mod stopping;
mod year;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use backupctl_application::context::{Cancel, Interrupt};
use backupctl_application::ports::{
    Clock, DaemonControl, DaemonEvent, Launch, LaunchObserver, Launched, Launcher, LockGuard,
    ScheduleStore,
};
use backupctl_application::use_cases::daemon::Handle;
use backupctl_application::use_cases::{Daemon, RecoverStartup};
use backupctl_domain::schedule::memory::ScheduleMemory;
use backupctl_domain::{BackupRun, ErrorCode, Failure, Project, ProjectName, RunId, Trigger};
use backupctl_testkit::TestBench;
use backupctl_testkit::builders::{at, name};
use backupctl_testkit::fakes::{FakeSchedules, MadeLaunch};
use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

/// A daemon that runs.
struct Served {
    control: Arc<Handle>,
    events: broadcast::Receiver<DaemonEvent>,
    cancel: Cancel,
    task: JoinHandle<Result<Interrupt, Failure>>,
}

/// The daemon's lock, which is not what these tests are about.
struct Lock;

impl LockGuard for Lock {
    fn release(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}

/// Starts the daemon on the bench, whose clock goes on by itself.
fn serve(bench: &TestBench) -> Served {
    serve_by(bench, bench.launcher.clone(), Duration::from_mins(1))
}

fn serve_by(bench: &TestBench, launcher: Arc<dyn Launcher>, look_every: Duration) -> Served {
    let cancel = Cancel::new();
    let recovery = RecoverStartup::new(bench.world(), bench.config.clone(), None);
    let world = bench.world();
    let config = bench.config.clone();
    let (daemon, control) = Daemon::new(world, config, launcher, recovery, cancel.clone());
    let events = control.events();
    let task = tokio::spawn(daemon.with_look_every(look_every).run(Box::new(Lock)));
    Served { control, events, cancel, task }
}

impl Served {
    /// Ends it.
    async fn stop(self) -> Interrupt {
        self.cancel.cancel(Interrupt::Term);
        self.task.await.unwrap().unwrap()
    }

    /// Ends it when that time has come.
    async fn until(self, bench: &TestBench, time: &str) {
        bench.clock.sleep_until(at(time)).await;
        self.stop().await;
    }

    /// The names of the events so far.
    fn heard(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            names.push(event.event["event"].as_str().unwrap().to_owned());
        }
        names
    }
}

/// Each launch as `project trigger slot`.
fn launches(bench: &TestBench) -> Vec<String> {
    bench.launcher.made().iter().map(shown).collect()
}

fn shown(made: &MadeLaunch) -> String {
    let Launch { project, trigger, due_at } = &made.launch;
    let slot = due_at.map_or_else(|| "-".to_owned(), |slot| slot.to_string());
    format!("{project} {} {slot}", trigger.as_str())
}

/// The records of missed slots.
fn missed(bench: &TestBench) -> Vec<BackupRun> {
    let is_missed = |run: &BackupRun| super::code(run) == Some(ErrorCode::RunMissed);
    bench.audit.runs().into_iter().filter(is_missed).collect()
}

/// A project of which nothing is known but its schedule.
fn scheduled(project: &str, cron: &str) -> Project {
    backupctl_testkit::project(project).cron(cron).build()
}

/// A launcher whose runs take no time, cost nothing, and are counted.
struct Instant {
    schedules: Arc<FakeSchedules>,
    runs: Mutex<Vec<(ProjectName, Trigger, Timestamp)>>,
}

impl Instant {
    fn new(bench: &TestBench) -> Arc<Self> {
        Arc::new(Self { schedules: bench.schedules.clone(), runs: Mutex::default() })
    }

    fn runs(&self) -> Vec<(ProjectName, Trigger, Timestamp)> {
        self.runs.lock().unwrap().clone()
    }
}

#[async_trait]
impl Launcher for Instant {
    async fn launch(&self, launch: &Launch, _: &Cancel, _: Arc<dyn LaunchObserver>) -> Launched {
        let slot = launch.due_at.unwrap();
        self.runs.lock().unwrap().push((launch.project.clone(), launch.trigger, slot));
        let change = move |m: &mut ScheduleMemory| m.begin(slot, slot);
        self.schedules.update_project(&launch.project, Box::new(change)).await.unwrap();
        let id = RunId(uuid::Uuid::new_v4());
        let project = launch.project.clone();
        let mut run = BackupRun::start(id, project, launch.trigger, slot, "testhost", "0.1.0", 1);
        run.finish(slot, None);
        Launched::Finished(Box::new(run))
    }
}

#[tokio::test]
async fn a_project_is_run_at_its_time_and_one_without_a_schedule_never() {
    let bench = TestBench::new();
    bench.config.set_projects([
        scheduled("shop", "0 * * * *"),
        backupctl_testkit::project("by-hand").build(),
        backupctl_testkit::project("off").cron("0 * * * *").disabled().build(),
    ]);
    let served = serve(&bench);
    served.until(&bench, "2026-03-18T02:30:00Z").await;
    assert_eq!(
        launches(&bench),
        ["shop scheduled 2026-03-18T01:00:00Z", "shop scheduled 2026-03-18T02:00:00Z"]
    );
    let late = bench.launcher.made().iter().all(|l| Some(l.began) == l.launch.due_at);
    assert!(late, "to the moment");
    assert!(missed(&bench).is_empty());
    assert!(bench.schedules.of_machine().watched_at.is_some(), "and watched");
}

#[tokio::test]
async fn what_passed_while_no_daemon_ran_is_recorded_and_made_up_for_once() {
    let bench = TestBench::new();
    bench.config.set_projects([scheduled("shop", "0 * * * *")]);
    serve(&bench).until(&bench, "2026-03-18T01:30:00Z").await;
    bench.clock.set(at("2026-03-18T04:10:00Z"));
    let mut served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T05:30:00Z")).await;
    assert!(served.heard().contains(&"missed".to_owned()));
    served.stop().await;
    assert_eq!(
        launches(&bench),
        [
            "shop scheduled 2026-03-18T01:00:00Z",
            "shop catch_up 2026-03-18T04:00:00Z",
            "shop scheduled 2026-03-18T05:00:00Z",
        ]
    );
    let missed = missed(&bench);
    let slots: Vec<_> = missed.iter().filter_map(|run| run.due_at).map(|s| s.to_string()).collect();
    assert_eq!(slots, ["2026-03-18T02:00:00Z", "2026-03-18T03:00:00Z", "2026-03-18T04:00:00Z"]);
    let why = &missed[0].error.as_ref().unwrap().message;
    assert!(why.contains("backupctl was not running"), "{why}");
}

#[tokio::test]
async fn a_machine_that_sleeps_misses_slots_and_a_clock_that_goes_back_repeats_none() {
    let bench = TestBench::new();
    bench.config.set_projects([scheduled("shop", "0 * * * *")]);
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T01:30:00Z")).await;
    bench.clock.set(at("2026-03-18T03:20:00Z"));
    bench.clock.sleep_until(at("2026-03-18T04:10:00Z")).await;
    // Ten minutes back: the slot of 04:00 comes again, and has been dealt with.
    bench.clock.set_back(at("2026-03-18T03:55:00Z"));
    bench.clock.sleep_until(at("2026-03-18T05:10:00Z")).await;
    // A clock that was years ahead for a while leaves no schedule dead.
    bench.clock.set(at("2028-01-01T00:30:00Z"));
    bench.clock.sleep_until(at("2028-01-01T01:30:00Z")).await;
    bench.clock.set_back(at("2026-03-18T05:15:00Z"));
    bench.clock.sleep_until(at("2026-03-18T06:10:00Z")).await;
    served.stop().await;
    let made: Vec<_> =
        bench.launcher.made().iter().map(|l| l.launch.due_at.unwrap().to_string()).collect();
    assert_eq!(
        made,
        [
            "2026-03-18T01:00:00Z",
            "2026-03-18T03:00:00Z",
            "2026-03-18T04:00:00Z",
            "2026-03-18T05:00:00Z",
            "2028-01-01T00:00:00Z",
            "2028-01-01T01:00:00Z",
            "2026-03-18T06:00:00Z",
        ]
    );
}

#[tokio::test]
async fn a_clock_that_is_behind_at_the_start_makes_no_slot_seem_missed() {
    let bench = TestBench::new();
    bench.config.set_projects([scheduled("shop", "0 * * * *")]);
    serve(&bench).until(&bench, "2026-03-18T02:30:00Z").await;
    let handled = bench.schedules.of(&name("shop")).handled_until;
    // As a machine without a clock of its own starts; ten minutes later it is told the time.
    bench.clock.set_back(at("2020-01-01T00:00:00Z"));
    let mut served = serve(&bench);
    bench.clock.sleep_until(at("2020-01-01T00:10:00Z")).await;
    let readiness = served.control.readiness();
    assert!(!readiness.is_ready && readiness.problems[0].contains("clock"), "{readiness:?}");
    assert!(served.heard().contains(&"clock_wrong".to_owned()));
    assert_eq!(bench.schedules.of(&name("shop")).handled_until, handled);
    bench.clock.set(at("2026-03-18T02:45:00Z"));
    bench.clock.sleep_until(at("2026-03-18T03:30:00Z")).await;
    let readiness = served.control.readiness();
    assert!(readiness.is_ready && readiness.problems.is_empty(), "{readiness:?}");
    served.stop().await;
    assert!(missed(&bench).is_empty());
    assert_eq!(launches(&bench).last().unwrap(), "shop scheduled 2026-03-18T03:00:00Z");
}

#[tokio::test]
async fn a_clock_that_was_ahead_before_the_start_leaves_no_schedule_dead() {
    let bench = TestBench::new();
    bench.config.set_projects([scheduled("shop", "0 * * * *")]);
    bench.clock.set(at("2028-01-01T00:30:00Z"));
    serve(&bench).until(&bench, "2028-01-01T01:30:00Z").await;
    bench.clock.set_back(at("2026-03-18T05:15:00Z"));
    serve(&bench).until(&bench, "2026-03-18T07:30:00Z").await;
    assert_eq!(launches(&bench).last().unwrap(), "shop scheduled 2026-03-18T07:00:00Z");
}

#[tokio::test]
async fn a_paused_schedule_is_left_alone_until_its_pause_ends() {
    use backupctl_application::use_cases::schedule;
    let bench = TestBench::new();
    bench.config.set_projects([scheduled("shop", "0 * * * *")]);
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T01:30:00Z")).await;
    let until = Some(at("2026-03-18T03:30:00Z"));
    schedule::pause(&bench.world(), &name("shop"), until).await.unwrap();
    served.until(&bench, "2026-03-18T04:30:00Z").await;
    assert_eq!(
        launches(&bench),
        ["shop scheduled 2026-03-18T01:00:00Z", "shop scheduled 2026-03-18T04:00:00Z"]
    );
    assert!(missed(&bench).is_empty(), "what lay in the pause was not promised");
}

#[tokio::test]
async fn the_summary_goes_out_at_its_time_and_is_made_up_for_within_its_day() {
    let bench = TestBench::new();
    let shop = backupctl_testkit::project("shop")
        .cron("0 1 * * *")
        .slack("https://hooks.example/x")
        .build();
    bench.config.set_projects([shop]);
    serve(&bench).until(&bench, "2026-03-18T09:00:00Z").await;
    let summaries = || bench.slack.kinds().iter().filter(|k| **k == "daily_summary").count();
    assert_eq!(summaries(), 1);
    // The day after, the daemon starts behind eight o'clock; later it is not asked for any more.
    bench.clock.set(at("2026-03-19T11:00:00Z"));
    serve(&bench).until(&bench, "2026-03-19T12:00:00Z").await;
    assert_eq!(summaries(), 2);
    bench.clock.set(at("2026-03-21T07:00:00Z"));
    serve(&bench).until(&bench, "2026-03-21T07:30:00Z").await;
    assert_eq!(summaries(), 2);
}

#[tokio::test]
async fn a_success_that_does_not_come_is_told_without_being_asked() {
    let bench = TestBench::new();
    let shop = backupctl_testkit::project("shop")
        .cron("0 * * * *")
        .slack("https://hooks.example/x")
        .build();
    bench.config.set_projects([shop]);
    let served = serve(&bench);
    bench.clock.sleep_until(at("2026-03-18T01:30:00Z")).await;
    let failure = Failure::new(ErrorCode::HookFailed, "no");
    bench.launcher.set_fate(&name("shop"), backupctl_testkit::fakes::Fate::Failed(failure));
    served.until(&bench, "2026-03-18T05:30:00Z").await;
    let overdue: Vec<_> = bench
        .slack
        .notices()
        .into_iter()
        .filter(|notice| notice.data["status"] == "overdue")
        .map(|notice| notice.at)
        .collect();
    // The success of 01:00 is as new as promised until 02:00 and two hours of grace.
    assert_eq!(overdue.len(), 1, "once: {overdue:?}");
    assert_eq!(overdue[0].as_second(), at("2026-03-18T04:00:00Z").as_second());
}
