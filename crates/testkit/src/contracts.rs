//! What each port promises, as functions that end the test where a promise is broken.
//!
//! Run on the fakes here and on the real adapters in their own tests: what the application was
//! tested with is then what it gets.

mod audit;
mod cleanup;
mod clock;
mod config;
mod disk;
mod dumper;
mod encryptor;
mod fallback;
mod hooks;
mod keys;
mod launcher;
mod loader;
mod lock;
mod notifier;
mod processes;
mod schedules;
mod storage;
mod unpacker;

pub use audit::{audit_log, finished_run, started_run};
pub use cleanup::local_cleanup;
pub use clock::clock;
pub use config::config_loader;
pub use disk::disk;
pub use dumper::database_dumper;
pub use encryptor::dump_encryptor;
pub use fallback::fallback_writer;
pub use hooks::hook_executor;
pub use keys::key_manager;
pub use launcher::launcher;
pub use loader::database_loader;
pub use lock::backup_lock;
pub use notifier::{heartbeat_monitor, notifier};
pub use processes::{Temper, processes};
pub use schedules::schedule_store;
pub use storage::{archive_storage, remote_storage};
pub use unpacker::unpacker;

use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backupctl_application::context::{Cancel, Interrupt, StageContext};
use backupctl_domain::{ErrorCode, Failure, Redactor, Stage};

/// A secret that the contexts of the contracts know.
const SECRET: &str = "contract-s3cret";

/// Long enough for anything that should happen, also on a busy machine.
const SOON: Duration = Duration::from_secs(30);

fn context(stage: Stage) -> StageContext {
    context_with(stage, Cancel::new())
}

fn context_with(stage: Stage, cancel: Cancel) -> StageContext {
    StageContext::new(stage, cancel, Arc::new(Redactor::new([SECRET.to_owned()])))
}

/// A context that was told to stop before the call.
fn cancelled(stage: Stage) -> StageContext {
    let cancel = Cancel::new();
    cancel.cancel(Interrupt::Term);
    context_with(stage, cancel)
}

/// What happens soon; ends the test if it does not.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

#[track_caller]
fn assert_fails<T>(result: Result<T, Failure>, code: ErrorCode, what: &str) -> Failure {
    match result {
        Ok(_) => panic!("{what}: succeeded, and {code} was to be expected"),
        Err(failure) => {
            assert_eq!(failure.code, code, "{what}: {}", failure.full_message());
            failure
        }
    }
}

#[track_caller]
fn assert_private(path: &Path) {
    let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "{} is readable by others", path.display());
}

#[track_caller]
fn assert_checksum(checksum: &str) {
    let hex = checksum.strip_prefix("blake3:").unwrap_or_default();
    let good = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(good, "{checksum:?} is not blake3: and 64 hexadecimal characters");
}

/// The names in a folder, sorted.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Bytes that hardly compress, the same each time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}
