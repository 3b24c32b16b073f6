//! One run of a project at a time, one more in the queue, the rest folded into that.

use std::sync::Arc;
use std::time::Duration;

use backupctl_application::context::{Cancel, Interrupt};
use backupctl_application::ports::{Acquired, BackupLock, LockGuard, LockHolder, LockState};
use backupctl_domain::{ErrorCode, ProjectName};

use super::{assert_fails, soon};
use crate::builders::name;

/// How long a call that is to wait is watched doing so.
const A_WHILE: Duration = Duration::from_millis(150);

/// Holds locks to their promises. Each call of `make` gives a handle to the same locks, as another
/// process would have it.
pub async fn backup_lock(make: impl Fn() -> Arc<dyn BackupLock>) {
    let (ours, theirs) = (make(), make());
    a_lock_is_held_by_one(&*ours, &*theirs).await;
    a_dropped_guard_frees_its_lock(&*ours, &*theirs).await;
    one_waits_and_further_ones_are_folded(&*ours, &*theirs).await;
    whoever_stops_waiting_leaves_the_queue(&*ours, &*theirs).await;
}

#[track_caller]
fn locked(acquired: Acquired) -> Box<dyn LockGuard> {
    match acquired {
        Acquired::Locked(guard) => guard,
        Acquired::Busy(holder) => panic!("busy, held by {holder:?}"),
        Acquired::Folded(holder) => panic!("folded, held by {holder:?}"),
    }
}

#[track_caller]
fn assert_ours(holder: LockHolder) {
    assert_eq!(holder.pid, Some(std::process::id()), "the holder is told by its pid");
}

async fn take(lock: &dyn BackupLock, project: &ProjectName) -> Box<dyn LockGuard> {
    locked(soon("taking a free lock", lock.acquire(project)).await.unwrap())
}

async fn a_lock_is_held_by_one(ours: &dyn BackupLock, theirs: &dyn BackupLock) {
    let (one, two) = (name("lock-one"), name("lock-two"));
    assert_eq!(ours.state(&one).await.unwrap(), LockState::Free);
    assert!(!ours.clear_stale(&one).await.unwrap(), "a free lock is not stale");
    let guard = take(ours, &one).await;
    match theirs.state(&one).await.unwrap() {
        LockState::Held(holder) => assert_ours(holder),
        other => panic!("a held lock is {other:?}"),
    }
    for lock in [ours, theirs] {
        match soon("a lock that is held", lock.acquire(&one)).await.unwrap() {
            Acquired::Busy(holder) => assert_ours(holder),
            _ => panic!("a lock was taken that is held"),
        }
    }
    assert!(!theirs.clear_stale(&one).await.unwrap(), "a held lock is not stale");
    let other = take(theirs, &two).await;
    guard.release().unwrap();
    other.release().unwrap();
    assert_eq!(theirs.state(&one).await.unwrap(), LockState::Free);
    take(theirs, &one).await.release().unwrap();
}

async fn a_dropped_guard_frees_its_lock(ours: &dyn BackupLock, theirs: &dyn BackupLock) {
    let project = name("lock-dropped");
    drop(take(ours, &project).await);
    assert_eq!(theirs.state(&project).await.unwrap(), LockState::Free);
    take(theirs, &project).await.release().unwrap();
}

async fn one_waits_and_further_ones_are_folded(ours: &dyn BackupLock, theirs: &dyn BackupLock) {
    let (project, cancel) = (name("lock-queue"), Cancel::new());
    let free = soon("queueing for a free lock", ours.acquire_or_queue(&project, &cancel)).await;
    let guard = locked(free.unwrap());
    let mut second = Box::pin(theirs.acquire_or_queue(&project, &cancel));
    let waits = tokio::time::timeout(A_WHILE, &mut second).await;
    assert!(waits.is_err(), "somebody got or gave up a lock that is held");
    match soon("a third run", ours.acquire_or_queue(&project, &cancel)).await.unwrap() {
        Acquired::Folded(holder) => assert_ours(holder),
        _ => panic!("a third run was not folded into the second"),
    }
    guard.release().unwrap();
    let guard = locked(soon("the queued run", second).await.unwrap());
    match ours.state(&project).await.unwrap() {
        LockState::Held(holder) => assert_ours(holder),
        other => panic!("a queued run's lock is {other:?}"),
    }
    // The queue is empty again: the next one waits, it is not folded.
    let third = ours.acquire_or_queue(&project, &cancel);
    let waits = tokio::time::timeout(A_WHILE, third).await;
    assert!(waits.is_err(), "the queue was still taken by a run that has its lock");
    guard.release().unwrap();
}

async fn whoever_stops_waiting_leaves_the_queue(ours: &dyn BackupLock, theirs: &dyn BackupLock) {
    let (project, cancel) = (name("lock-cancel"), Cancel::new());
    let guard = take(ours, &project).await;
    let mut waiting = Box::pin(theirs.acquire_or_queue(&project, &cancel));
    assert!(tokio::time::timeout(A_WHILE, &mut waiting).await.is_err());
    cancel.cancel(Interrupt::Term);
    let ended = soon("a cancelled wait", waiting).await;
    assert_fails(ended, ErrorCode::Interrupted, "a cancelled wait");
    let again = Cancel::new();
    let waits = tokio::time::timeout(A_WHILE, ours.acquire_or_queue(&project, &again)).await;
    assert!(waits.is_err(), "a cancelled run still stands in the queue");
    guard.release().unwrap();
    take(theirs, &project).await.release().unwrap();
}
