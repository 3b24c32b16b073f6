//! The lock between tasks, threads and processes.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use backupctl_adapter_process::Tool;
use backupctl_application::context::{Interrupt, StageContext};
use backupctl_domain::{ErrorCode, Redactor, Stage};
use backupctl_testkit::WorkDir;
use backupctl_testkit::builders::{at, name};
use backupctl_testkit::fakes::{FakeClock, Journal};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;

use super::*;

/// Set in the process that a test starts to hold a lock.
const HOLD: &str = "BACKUPCTL_TEST_HOLD_LOCK_IN";

fn lock_in(work: &Path) -> FileLock {
    FileLock::new(work, Arc::new(FakeClock::new(&Arc::new(Journal::default()))))
}

fn us() -> LockHolder {
    LockHolder {
        pid: Some(std::process::id()),
        started: Some(at("2026-03-18T00:00:05Z")),
        recovering: false,
    }
}

async fn locked(lock: &FileLock, project: &str) -> Box<dyn LockGuard> {
    match lock.acquire(&name(project)).await.unwrap() {
        Acquired::Locked(guard) => guard,
        Acquired::Busy(holder) | Acquired::Folded(holder) => panic!("held by {holder:?}"),
    }
}

async fn until_queued(work: &Path) {
    let queue = work.join("shop").join(QUEUE_NAME);
    while LockedFile::standing(&queue).unwrap() != Standing::Held {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_held_lock_tells_by_whom_and_leaves_nothing_when_released() {
    let work = WorkDir::new();
    let (lock, project) = (lock_in(work.path()), name("shop"));
    assert_eq!(lock.state(&project).await.unwrap(), LockState::Free);
    let guard = locked(&lock, "shop").await;
    let file = work.join("shop/.lock");
    let pid = std::process::id();
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text, format!("pid={pid}\nstarted=2026-03-18T00:00:05.000Z\n"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&work.join("shop"))), (0o600, 0o700));
    assert!(matches!(lock.acquire(&project).await.unwrap(), Acquired::Busy(h) if h == us()));
    assert_eq!(lock.state(&project).await.unwrap(), LockState::Held(us()));
    assert!(!lock.clear_stale(&project).await.unwrap());
    let other = locked(&lock, "blog").await;
    guard.release().unwrap();
    assert!(!file.exists());
    assert_eq!(lock.state(&project).await.unwrap(), LockState::Free);
    drop(other);
    assert_eq!(lock.state(&name("blog")).await.unwrap(), LockState::Free);
}

#[tokio::test]
async fn a_file_that_nobody_holds_is_stale_and_stops_nobody() {
    let work = WorkDir::new();
    let (lock, project) = (lock_in(work.path()), name("shop"));
    // A living process has this number: it does not hold the lock all the same.
    let file = work.file("shop/.lock", format!("pid={}\nnonsense\n", std::process::id()));
    let holder = LockHolder { pid: Some(std::process::id()), started: None, recovering: false };
    assert_eq!(lock.state(&project).await.unwrap(), LockState::Stale(holder));
    assert!(lock.clear_stale(&project).await.unwrap());
    assert!(!file.exists() && !lock.clear_stale(&project).await.unwrap());
    work.file(
        "shop/.lock",
        "a longer text than the one that is going to be written over it, or so",
    );
    let _guard = locked(&lock, "shop").await;
    assert_eq!(lock.state(&project).await.unwrap(), LockState::Held(us()));
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 2);
}

#[tokio::test]
async fn a_place_that_cannot_be_locked_is_told() {
    let work = WorkDir::new();
    let lock = lock_in(&work.file("file", ""));
    let failure = lock.acquire(&name("shop")).await.err().unwrap();
    assert_eq!(failure.code, ErrorCode::PathNotWritable);
}

#[tokio::test]
async fn one_waits_and_further_ones_are_folded() {
    let work = WorkDir::new();
    let lock = Arc::new(lock_in(work.path()));
    let cancel = Cancel::new();
    let guard = locked(&lock, "shop").await;
    let waiting = tokio::spawn({
        let (lock, cancel) = (Arc::clone(&lock), cancel.clone());
        async move { lock.acquire_or_queue(&name("shop"), &cancel).await.unwrap() }
    });
    until_queued(work.path()).await;
    let third = lock.acquire_or_queue(&name("shop"), &cancel).await.unwrap();
    assert!(matches!(third, Acquired::Folded(h) if h == us()));
    guard.release().unwrap();
    let Acquired::Locked(guard) = waiting.await.unwrap() else { panic!("not locked") };
    assert_eq!(lock.state(&name("shop")).await.unwrap(), LockState::Held(us()));
    assert!(!work.join("shop/.lock.queue").exists());
    guard.release().unwrap();
    assert_eq!(fs::read_dir(work.join("shop")).unwrap().count(), 0);
}

#[tokio::test]
async fn waiting_ends_when_cancelled_and_leaves_the_queue_free() {
    let work = WorkDir::new();
    let lock = Arc::new(lock_in(work.path()));
    let guard = locked(&lock, "shop").await;
    for _ in 0..2 {
        let cancel = Cancel::new();
        let project = name("shop");
        let (result, ()) = tokio::join!(lock.acquire_or_queue(&project, &cancel), async {
            until_queued(work.path()).await;
            cancel.cancel(Interrupt::Term);
        });
        assert_eq!(result.err().unwrap().code, ErrorCode::Interrupted);
    }
    guard.release().unwrap();
    locked(&lock, "shop").await.release().unwrap();
    assert_eq!(lock.state(&name("shop")).await.unwrap(), LockState::Free);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn never_two_at_once_however_many_try_and_ask() {
    let work = WorkDir::new();
    let lock = Arc::new(lock_in(work.path()));
    let (inside, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = (0..8)
        .map(|i| {
            let (lock, inside, done) = (Arc::clone(&lock), Arc::clone(&inside), Arc::clone(&done));
            tokio::spawn(async move {
                for _ in 0..50 {
                    let _ = lock.state(&name("shop")).await.unwrap();
                    let got = if i == 0 {
                        lock.acquire_or_queue(&name("shop"), &Cancel::new()).await.unwrap()
                    } else {
                        lock.acquire(&name("shop")).await.unwrap()
                    };
                    if let Acquired::Locked(guard) = got {
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        tokio::task::yield_now().await;
                        inside.fetch_sub(1, Ordering::SeqCst);
                        done.fetch_add(1, Ordering::SeqCst);
                        guard.release().unwrap();
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    // The one that queues is alone in doing so, so it always gets the lock.
    assert!(done.load(Ordering::SeqCst) >= 50);
    assert_eq!(lock.state(&name("shop")).await.unwrap(), LockState::Free);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn asking_how_it_stands_never_makes_a_free_lock_look_held() {
    let work = WorkDir::new();
    let lock = Arc::new(lock_in(work.path()));
    work.file("shop/.lock", "");
    let asking: Vec<_> = (0..3)
        .map(|_| {
            let lock = Arc::clone(&lock);
            tokio::spawn(async move {
                for _ in 0..300 {
                    let _ = lock.state(&name("shop")).await.unwrap();
                }
            })
        })
        .collect();
    for _ in 0..300 {
        locked(&lock, "shop").await.release().unwrap();
    }
    for task in asking {
        task.await.unwrap();
    }
}

/// Not a test by itself: what the process does that the next test starts.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "how a test talks to the process that it starts")]
async fn hold_when_told() {
    let Some(dir) = std::env::var_os(HOLD) else { return };
    let _guard = locked(&lock_in(Path::new(&dir)), "shop").await;
    println!("\nholding {}", std::process::id());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_process_frees_the_lock_at_once() {
    let work = WorkDir::new();
    let lock = lock_in(work.path());
    let holder = Tool::new(std::env::current_exe().unwrap())
        .args(["--exact", "lock::tests::hold_when_told", "--nocapture"])
        .env(HOLD, work.path());
    let (sender, mut pids) = mpsc::unbounded_channel();
    let process = tokio::spawn(async move {
        let ctx = StageContext::new(Stage::Lock, Cancel::new(), Arc::new(Redactor::default()));
        let on_line = move |line: &[u8]| {
            let line = String::from_utf8_lossy(line);
            if let Some(pid) = line.strip_prefix("holding ") {
                let _ = sender.send(pid.parse::<i32>().unwrap());
            }
        };
        holder.run_lines(&ctx, on_line).await
    });
    let pid = pids.recv().await.unwrap();
    let theirs = LockHolder { pid: u32::try_from(pid).ok(), ..us() };
    assert_eq!(lock.state(&name("shop")).await.unwrap(), LockState::Held(theirs));
    assert!(matches!(lock.acquire(&name("shop")).await.unwrap(), Acquired::Busy(h) if h == theirs));
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    assert_eq!(process.await.unwrap().unwrap().signal, Some(9));
    assert_eq!(lock.state(&name("shop")).await.unwrap(), LockState::Stale(theirs));
    locked(&lock, "shop").await.release().unwrap();
}
