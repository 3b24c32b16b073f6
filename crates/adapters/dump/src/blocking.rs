//! Runs blocking work off the async threads, and stops it when time is up or the run is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backupctl_application::context::StageContext;
use backupctl_domain::{ErrorCode, Failure};
use rusqlite::InterruptHandle;

use crate::stream::Watch;

/// Where blocking work leaves what ends a long call of SQLite's.
pub(crate) type Interrupts = Arc<Mutex<Option<InterruptHandle>>>;

/// Runs `work` on a blocking thread and waits for its end. When `limit` passes, or the run is told to
/// stop, the work's watch fails, and the call that it has registered is interrupted; the work
/// always ends before this returns. `what` is for the message of `DUMP_TIMEOUT`.
pub(crate) async fn run<T: Send + 'static>(
    ctx: &StageContext,
    limit: Option<Duration>,
    what: &str,
    work: impl FnOnce(Watch, &Interrupts) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let expired = Arc::new(AtomicBool::new(false));
    let interrupts = Interrupts::default();
    let watch = Watch::with_stop(ctx, Arc::clone(&expired), || {
        Failure::new(ErrorCode::DumpTimeout, "out of time")
    });
    let for_work = Arc::clone(&interrupts);
    let mut task = tokio::task::spawn_blocking(move || work(watch, &for_work));
    let time_up = async {
        match limit {
            Some(limit) => {
                // `timeout` over a future that never ends: waiting by itself is the clock port's.
                let _ = tokio::time::timeout(limit, std::future::pending::<()>()).await;
            }
            None => std::future::pending().await,
        }
    };
    let joined = tokio::select! {
        joined = &mut task => joined,
        () = time_up => {
            expired.store(true, Ordering::Relaxed);
            interrupt(&interrupts);
            task.await
        }
        _ = ctx.cancel.cancelled() => {
            interrupt(&interrupts);
            task.await
        }
    };
    let result = joined.map_err(|e| Failure::internal(format!("{what} has panicked: {e}")))?;
    match (result, limit) {
        (Err(_), Some(limit)) if expired.load(Ordering::Relaxed) => Err(timed_out(what, limit)),
        (Err(_), _) if ctx.cancel.reason().is_some() => {
            ctx.cancel.check()?;
            Err(Failure::internal("a request to stop was taken back"))
        }
        (result, _) => result,
    }
}

/// The failure of a dump or check that did not end in time.
pub(crate) fn timed_out(what: &str, limit: Duration) -> Failure {
    Failure::new(
        ErrorCode::DumpTimeout,
        format!("{what} did not end within {} s and was ended", limit.as_secs()),
    )
    .with_remedy("find out what it waited for, or raise `database.dump_timeout_minutes`")
}

fn interrupt(handle: &Interrupts) {
    if let Some(handle) = handle.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
        handle.interrupt();
    }
}
