//! The promises of locks, cleanup, fallback, hooks, disks and the clock, kept on a real machine.

use std::sync::Arc;

use backupctl_adapter_local::{
    FallbackFile, FileLock, ProjectFiles, ShellHooks, SystemClock, SystemDisk,
};
use backupctl_testkit::{WorkDir, contracts};

#[tokio::test]
async fn backup_lock() {
    let work = WorkDir::new();
    contracts::backup_lock(|| Arc::new(FileLock::new(work.path(), Arc::new(SystemClock)))).await;
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
