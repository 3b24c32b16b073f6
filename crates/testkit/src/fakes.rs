//! A stateful fake in memory for every port.
//!
//! All fakes of a bench write what happens to one [`Journal`], so that a test can assert the order
//! of things, and all can be told to misbehave through [`Inject`].

mod audit;
mod children;
mod clock;
mod config;
mod daemon;
mod disk;
mod dumper;
mod encryptor;
mod fallback;
mod faults;
mod files;
mod hooks;
mod journal;
mod keys;
mod launcher;
mod loader;
mod lock;
mod monitor;
mod notifier;
mod observer;
mod processes;
mod schedules;
mod services;
mod storage;
mod units;

pub use audit::FakeAudit;
pub use children::FakeChildren;
pub use clock::FakeClock;
pub use config::{FakeConfig, global_settings};
pub use daemon::FakeDaemon;
pub use disk::FakeDisk;
pub use dumper::FakeDumper;
pub use encryptor::FakeEncryptor;
pub use fallback::FakeFallback;
pub use faults::{Core, Hold, Inject};
pub use files::{FakeCleanup, FakeUnpacker};
pub use hooks::FakeHooks;
pub use journal::Journal;
pub use keys::FakeKeys;
pub use launcher::{FakeLauncher, Fate, MadeLaunch};
pub use loader::FakeLoader;
pub use lock::FakeLock;
pub use monitor::FakeMonitor;
pub use notifier::FakeNotifier;
pub use observer::RecordingObserver;
pub use processes::FakeProcesses;
pub use schedules::FakeSchedules;
pub use services::{FakeServiceHost, FakeServiceManager, FakeUnitFiles};
pub use storage::{FakeRepository, FakeStorage, RepositoryLock};
pub use units::FakeUnits;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex whatever a panicking test has done to it: an injected panic is no end of the fake.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 64 hexadecimal characters that depend on every byte (four FNV-1a lanes); not cryptographic, and
/// named `blake3:` by the fakes only because that is the form of a record.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let lane = |lane: u64| {
        let seed = 0xcbf2_9ce4_8422_2325_u64.wrapping_mul(lane * 2 + 1);
        bytes.iter().fold(seed, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(5)
        })
    };
    format!("{:016x}{:016x}{:016x}{:016x}", lane(1), lane(2), lane(3), lane(4))
}

/// The fakes' checksum in the form of `DumpInfo::checksum`.
fn checksum(bytes: &[u8]) -> String {
    format!("blake3:{}", digest(bytes))
}

/// A path with something added to its last part.
fn with_suffix(path: &std::path::Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
