//! Locks that the dead leave behind, and those of the living.

use std::fs;
use std::io::{Read, Write};
use std::process::Child;

use backupctl_application::ports::RemoteStorage;
use backupctl_domain::ErrorCode;
use backupctl_domain::retention::KeepPolicy;

use crate::world::{World, ctx, request};

/// A backup that holds its lock for as long as nobody ends its stdin.
fn holder(world: &World) -> Child {
    let before = world.locks();
    let args = ["backup", "--json", "--stdin", "--stdin-filename", "x"];
    let mut child = world.raw(&args).env("RESTIC_PROGRESS_FPS", "20").spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(&[b'x'; 4096]).unwrap();
    // The first status line comes when the lock is taken.
    let mut byte = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    assert_eq!(world.locks(), before + 1);
    child
}

fn keep() -> KeepPolicy {
    KeepPolicy { last: 1, ..KeepPolicy::default() }
}

#[tokio::test]
async fn a_killed_restics_lock_is_removed_when_that_is_asked_for() {
    let world = World::new();
    let restic = world.restic();
    restic.store(&request(world.part(None)), &ctx()).await.unwrap();
    restic.store(&request(world.part(None)), &ctx()).await.unwrap();
    for _ in 0..2 {
        let mut child = holder(&world);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    world.calls();
    let failure = restic.prune(&keep(), &ctx()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::RepoLocked);
    assert_eq!(world.calls(), ["forget"], "whoever prunes decides on stale locks");
    assert!(restic.unlock_stale(&ctx()).await.unwrap());
    assert_eq!(world.locks(), 0);
    assert_eq!(world.calls(), ["list", "unlock", "list"]);
    assert_eq!(restic.prune(&keep(), &ctx()).await.unwrap().removed.len(), 1);
    world.calls();
    assert!(!restic.unlock_stale(&ctx()).await.unwrap());
    assert!(world.calls().is_empty(), "a local repository without locks needs no process");
}

#[tokio::test]
async fn a_live_lock_stays_and_says_whose_it_is() {
    let world = World::new();
    let restic = world.restic();
    restic.store(&request(world.part(None)), &ctx()).await.unwrap();
    let mut child = holder(&world);
    world.calls();
    let failure = restic.prune(&keep(), &ctx()).await.unwrap_err();
    assert_eq!((failure.code, failure.is_transient()), (ErrorCode::RepoLocked, true));
    assert_eq!(world.calls(), ["forget"]);
    assert!(failure.message.contains(&format!("PID {}", child.id())), "{}", failure.message);
    assert!(!restic.unlock_stale(&ctx()).await.unwrap());
    assert_eq!(world.locks(), 1);
    // Reading and storing go on beside it.
    restic.snapshots(&ctx()).await.unwrap();
    restic.store(&request(world.part(None)), &ctx()).await.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(restic.unlock_stale(&ctx()).await.unwrap());
    assert_eq!(fs::read_dir(world.repo().join("locks")).unwrap().count(), 0);
}
