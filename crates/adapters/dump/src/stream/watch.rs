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
pub(crate) struct Watch {
    ctx: StageContext,
    expired: Arc<AtomicBool>,
    total: Option<u64>,
    done: u64,
    next: u64,
}

impl Watch {
    /// A watch that only the context can stop.
    pub(crate) fn new(ctx: &StageContext) -> Self {
        Self::with_expiry(ctx, Arc::default())
    }

    /// A watch that also stops once `expired` is set.
    pub(crate) fn with_expiry(ctx: &StageContext, expired: Arc<AtomicBool>) -> Self {
        Self { ctx: ctx.clone(), expired, total: None, done: 0, next: 0 }
    }

    /// The same watch for a new count of bytes, out of `total` if that is known.
    #[must_use]
    pub(crate) fn of(&self, total: Option<u64>) -> Self {
        Self { total, done: 0, next: 0, ..self.clone() }
    }

    /// Counts bytes, reports now and then, and fails if the work is to stop.
    pub(crate) fn advance(&mut self, bytes: usize) -> io::Result<()> {
        self.done += bytes as u64;
        if self.done >= self.next {
            self.report();
            self.next = self.done + (self.done / 16).clamp(FIRST_STEP, LAST_STEP);
        }
        self.check().map_err(io::Error::other)
    }

    /// Fails if the work is to stop.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.expired.load(Ordering::Relaxed) {
            return Err(Failure::new(backupctl_domain::ErrorCode::DumpTimeout, "out of time"));
        }
        self.ctx.cancel.check()
    }

    /// Tells how far the work has got.
    pub(crate) fn report(&self) {
        self.ctx.progress(self.done, self.total);
    }
}
