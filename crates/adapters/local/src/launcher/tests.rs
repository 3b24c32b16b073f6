//! The launcher against scripts that answer as the program does, and as it never should.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backupctl_application::context::{Cancel, Interrupt};
use backupctl_application::ports::{Launch, LaunchObserver, Launched, Launcher};
use backupctl_domain::{BackupRun, ErrorCode, Failure, ProjectName, RunError, RunId, Trigger};
use backupctl_testkit::builders::at;
use backupctl_testkit::{WorkDir, contracts};
use serde_json::{Value, json};

use super::ProcessLauncher;
use crate::{Children, FileLock, SystemClock};

/// A stand-in for the program: what it says and how it ends goes by the project's name. Its record has
/// the trigger and the slot of its arguments.
const PROGRAM: &str = r#"#!/bin/sh
[ "$1 $3 $5 $6" = "--config run --scheduled --json-stream" ] || { echo "bad arguments: $*" >&2; exit 70; }
project=$4 trigger=$8 due=${10}
say() { sed -e "s/TRIGGER/$trigger/" -e "s/\"DUE\"/\"$due\"/" "$HERE/$1"; }
started() { say started.json; }
case $project in
    good) started; say good.json;;
    bad) started; say bad.json; exit 1;;
    folded) ;;
    busy) echo 'error[BACKUP_IN_PROGRESS]: a backup is in progress' >&2; exit 2;;
    broken)
        printf 'error[INVALID_CONFIG]: /etc/b.yml:3:1: no such key\n  fix: correct it\n  more: x\n' >&2
        exit 3;;
    killed) started; kill -9 $$;;
    stillborn) echo "last words" >&2; kill -9 $$;;
    endless) trap 'say interrupted.json; exit 143' TERM; started; while :; do sleep 1; done;;
    deaf) trap '' TERM; started; while :; do sleep 1; done;;
esac
"#;

struct Stage {
    work: WorkDir,
}

impl Stage {
    fn new() -> Self {
        let work = WorkDir::new();
        let program = PROGRAM.replace("$HERE", &work.path().to_string_lossy());
        let file = work.file("program", program);
        let id: RunId = "7b1c2d3e-0000-4000-8000-000000000001".parse().unwrap();
        let record = |error: Option<ErrorCode>| {
            let now = at("2026-03-18T02:00:01Z");
            let project = ProjectName::new("shop").unwrap();
            let mut run = BackupRun::start(id, project, Trigger::Manual, now, "h", "1", 1);
            run.finish(now, error.map(|code| RunError::new(None, &Failure::new(code, "why"))));
            let mut run = json!(run);
            run["trigger"] = json!("TRIGGER");
            run["due_at"] = json!("DUE");
            json!({"event": "finished", "run": run})
        };
        let line = |value: &Value| format!("{value}\n");
        work.file("started.json", line(&json!({"event": "started", "run_id": id})));
        work.file("good.json", line(&record(None)));
        work.file("bad.json", line(&record(Some(ErrorCode::HookFailed))));
        work.file("interrupted.json", line(&record(Some(ErrorCode::Interrupted))));
        // Given to the shell: a file that another test's child holds open for writing is "busy".
        assert!(file.is_file());
        Self { work }
    }

    fn launcher(&self) -> ProcessLauncher {
        let base = self.work.dir("base");
        let shim = shell_on(&self.work, "program");
        ProcessLauncher::new(
            PathBuf::from("/etc/backupctl.yml"),
            Arc::new(FileLock::new(&base, Arc::new(SystemClock))),
            Arc::new(Children::new(&base)),
        )
        .with_program(shim)
        .with_patience(Duration::from_millis(300))
    }
}

/// A program that is never written by this process, so that starting it cannot find it "busy".
#[expect(clippy::disallowed_methods, reason = "another process is to write the program")]
fn shell_on(work: &WorkDir, script: &str) -> PathBuf {
    let program = work.join("backupctl");
    let status = std::process::Command::new("install")
        .args(["-m", "755"])
        .arg(work.join(script))
        .arg(&program)
        .status()
        .unwrap();
    assert!(status.success());
    program
}

#[derive(Default)]
struct Begun(tokio::sync::Notify);

impl LaunchObserver for Begun {
    fn event(&self, _: &Value) {
        self.0.notify_one();
    }
}

fn of(project: &str) -> Launch {
    Launch {
        project: ProjectName::new(project).unwrap(),
        trigger: Trigger::Scheduled,
        due_at: Some(at("2026-03-18T02:00:00Z")),
    }
}

#[tokio::test]
async fn the_promises_of_a_launcher() {
    contracts::launcher(Arc::new(Stage::new().launcher())).await;
}

#[tokio::test]
async fn what_did_not_run_says_why() {
    let stage = Stage::new();
    let launcher = stage.launcher();
    let launch = async |project: &str| {
        launcher.launch(&of(project), &Cancel::new(), Arc::new(Begun::default())).await
    };
    let Launched::NotStarted(failure) = launch("broken").await else { panic!() };
    assert_eq!(failure.message, "/etc/b.yml:3:1: no such key");
    assert_eq!(failure.remedy, "correct it");
    assert!(matches!(launch("busy").await, Launched::Folded));
    let Launched::Lost { why, .. } = launch("stillborn").await else { panic!() };
    assert_eq!(why, "signal 9: last words");
    let missing = stage.launcher().with_program("/nonexistent/backupctl");
    let launched = missing.launch(&of("good"), &Cancel::new(), Arc::new(Begun::default())).await;
    let Launched::NotStarted(failure) = launched else { panic!("{launched:?}") };
    assert_eq!(failure.code, ErrorCode::ToolMissing, "{}", failure.full_message());
}

#[tokio::test]
async fn a_run_that_does_not_end_is_killed_with_what_it_has_started() {
    let stage = Stage::new();
    let launcher = stage.launcher();
    let (cancel, begun) = (Cancel::new(), Arc::new(Begun::default()));
    // What a run notes of a program that it has started, as one that outlives it.
    let journal = stage.work.file("base/deaf/.children", "");
    let mut orphan = orphan();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", orphan.id())).unwrap();
    let started = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().to_owned();
    std::fs::write(&journal, format!("{} {started}\n", orphan.id())).unwrap();

    let deaf = of("deaf");
    let stopping = async {
        begun.0.notified().await;
        cancel.cancel(Interrupt::Term);
    };
    let (launched, ()) = tokio::join!(launcher.launch(&deaf, &cancel, begun.clone()), stopping);
    let Launched::Lost { run_id: Some(_), why } = launched else { panic!("{launched:?}") };
    assert!(why.contains("was killed"), "{why}");
    assert!(orphan.wait().unwrap().code().is_none(), "ended by a signal");
    assert!(!journal.exists());
    assert!(!stage.work.join("base/deaf/.lock").exists());
}

/// A program in a group of its own, as a run's tools are.
#[expect(clippy::disallowed_methods, reason = "another process is what the test is about")]
fn orphan() -> std::process::Child {
    use std::os::unix::process::CommandExt;
    std::process::Command::new("sleep").arg("1000").process_group(0).spawn().unwrap()
}
