//! Stops long work when told to, and tells how far it has got.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use backupctl_application::context::StageContext;
use backupctl_domain::Failure;

/// Between two reports at least this many bytes …
const FIRST_STEP: u64 = 1 << 20;
/// … and never more than these: at the speeds that disks and databases have, some ten a second.
const LAST_STEP: u64 = 32 << 20;

/// The eye that a blocking loop keeps on its caller.
#[derive(Clone)]
pub struct Watch {
    ctx: StageContext,
    stop: Arc<AtomicBool>,
    reason: fn() -> Failure,
    total: Option<u64>,
    done: u64,
    next: u64,
}

impl Watch {
    /// A watch that only the context can stop.
    pub fn new(ctx: &StageContext) -> Self {
        Self::with_stop(ctx, Arc::default(), || Failure::internal("stopped without a reason"))
    }

    /// A watch that also stops once `stop` is set, for that reason.
    pub fn with_stop(ctx: &StageContext, stop: Arc<AtomicBool>, reason: fn() -> Failure) -> Self {
        Self { ctx: ctx.clone(), stop, reason, total: None, done: 0, next: 0 }
    }

    /// The same watch for a new count of bytes, out of `total` if that is known.
    #[must_use]
    pub fn of(&self, total: Option<u64>) -> Self {
        Self { total, done: 0, next: 0, ..self.clone() }
    }

    /// Counts bytes, reports now and then, and fails if the work is to stop.
    pub fn advance(&mut self, bytes: usize) -> io::Result<()> {
        self.done += bytes as u64;
        if self.done >= self.next {
            self.report();
            self.next = self.done + (self.done / 16).clamp(FIRST_STEP, LAST_STEP);
        }
        self.check().map_err(io::Error::other)
    }

    /// Fails if the work is to stop.
    pub fn check(&self) -> Result<(), Failure> {
        if self.stop.load(Ordering::Relaxed) {
            return Err((self.reason)());
        }
        self.ctx.cancel.check()
    }

    /// Tells how far the work has got.
    pub fn report(&self) {
        self.ctx.progress(self.done, self.total);
    }
}
