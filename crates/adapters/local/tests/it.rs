//! The promises of locks, cleanup, fallback, hooks, disks and the clock, kept on a real machine.

#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

use std::cell::RefCell;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use backupctl_adapter_local::{
    FallbackFile, FileLock, LockHolders, ProjectFiles, ShellHooks, SystemClock, SystemDisk,
};
use backupctl_application::context::Cancel;
use backupctl_application::ports::Processes;
use backupctl_domain::{ErrorCode, ProjectName};
use backupctl_testkit::contracts::Temper;
use backupctl_testkit::{WorkDir, contracts};
use rustix::process::{Pid, Signal, kill_process};

#[tokio::test]
async fn backup_lock() {
    let work = WorkDir::new();
    contracts::backup_lock(|| Arc::new(FileLock::new(work.path(), Arc::new(SystemClock)))).await;
}

#[tokio::test]
async fn processes() {
    let work = WorkDir::new();
    let children = RefCell::new(Vec::new());
    let hold = |project: &ProjectName, temper: Temper| {
        let lock = work.dir(project.as_str()).join(".lock");
        let child = holder(&lock, temper == Temper::Deaf);
        let pid = child.id();
        if temper == Temper::Stopped {
            let leader = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            kill_process(leader, Signal::STOP).unwrap();
        }
        children.borrow_mut().push(child);
        pid
    };
    let is_held = |project: &ProjectName| {
        let lock = work.join(project.as_str()).join(".lock");
        std::fs::File::open(lock).unwrap().try_lock_shared().is_err()
    };
    contracts::processes(Arc::new(LockHolders::new(work.path())), hold, is_held).await;
    for mut child in children.into_inner() {
        child.wait().unwrap();
    }
}

#[tokio::test]
async fn a_lock_that_names_another_process_signals_nobody() {
    let work = WorkDir::new();
    let shop = ProjectName::new("shop").unwrap();
    let lock = work.dir("shop").join(".lock");
    let mut child = holder(&lock, false);
    // The number of a process that lives and does not hold the lock: ours.
    std::fs::write(&lock, format!("pid={}\nstarted=x\n", std::process::id())).unwrap();
    let holders = LockHolders::new(work.path());
    for pid in [std::process::id(), child.id()] {
        let patience = std::time::Duration::from_secs(1);
        let refused = holders.end_holder(&shop, pid, patience, &Cancel::new()).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::BackupInProgress, "{}", refused.message);
        assert!(refused.message.contains("nothing was signalled"), "{}", refused.message);
    }
    assert!(child.try_wait().unwrap().is_none(), "it lives");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A process that holds the lock as a backupctl does.
#[expect(clippy::disallowed_methods, reason = "another process is what the test is about")]
fn holder(lock: &Path, deaf: bool) -> Child {
    let trap = if deaf { "trap '' TERM; " } else { "" };
    let script = format!(
        "exec 9>\"$1\"; flock 9; printf 'pid=%s\\nstarted=x\\n' $$ >&9; {trap}echo ready; exec sleep 1000"
    );
    let mut child = Command::new("sh")
        .args(["-c", &script, "sh"])
        .arg(lock)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    child
}

#[tokio::test]
async fn fallback_writer() {
    let work = WorkDir::new();
    let make = || Arc::new(FallbackFile::new(work.path(), Arc::new(SystemClock))) as Arc<_>;
    contracts::fallback_writer(make).await;
}

#[tokio::test]
async fn hook_executor() {
    let work = WorkDir::new();
    work.dir("web-shop");
    contracts::hook_executor(Arc::new(ShellHooks::new(work.path()))).await;
}

#[tokio::test]
async fn local_cleanup() {
    let work = WorkDir::new();
    contracts::local_cleanup(Arc::new(ProjectFiles::new(work.path())), work.path()).await;
}

#[tokio::test]
async fn disk() {
    contracts::disk(Arc::new(SystemDisk), WorkDir::new().path()).await;
}

#[tokio::test]
async fn clock() {
    contracts::clock(Arc::new(SystemClock)).await;
}
