//! Making a fake misbehave: fail so many times, fail for ever, hang, panic, or wait for the test.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use backupctl_application::context::{Cancel, interrupted};
use backupctl_domain::Failure;
use tokio::sync::watch;

use super::{Journal, locked};

/// What a call does instead of, or before, its work.
#[derive(Clone)]
enum Reaction {
    Work,
    Fail(Failure),
    Hang,
    Panic,
    Hold(Hold),
}

/// A call that waits until the test lets it go on.
#[derive(Clone)]
pub struct Hold {
    entered: Arc<watch::Sender<bool>>,
    released: Arc<watch::Sender<bool>>,
}

impl Hold {
    fn new() -> Self {
        Self {
            entered: Arc::new(watch::Sender::new(false)),
            released: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Waits until the held call has been made.
    pub async fn entered(&self) {
        let _ = self.entered.subscribe().wait_for(|entered| *entered).await;
    }

    /// Lets the held call go on.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    async fn pass(&self) {
        self.entered.send_replace(true);
        let _ = self.released.subscribe().wait_for(|released| *released).await;
    }
}

#[derive(Default)]
struct Plan {
    next: VecDeque<Reaction>,
    afterwards: Option<Reaction>,
    calls: usize,
}

/// What every fake has: its journal and its planned misbehaviour, by operation.
pub struct Core {
    operations: &'static [&'static str],
    journal: Arc<Journal>,
    plans: Mutex<HashMap<&'static str, Plan>>,
}

impl Core {
    pub(super) fn new(journal: &Arc<Journal>, operations: &'static [&'static str]) -> Self {
        Self { operations, journal: Arc::clone(journal), plans: Mutex::default() }
    }

    pub(super) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The beginning of a call: journal it, then do as planned. A call that is told to stop, or has
    /// been before it began, is `INTERRUPTED`.
    pub(super) async fn call(
        &self,
        operation: &str,
        event: impl Into<String>,
        cancel: Option<&Cancel>,
    ) -> Result<(), Failure> {
        self.journal.record(event);
        if let Some(cancel) = cancel {
            cancel.check()?;
        }
        match self.next(operation) {
            Reaction::Work => Ok(()),
            Reaction::Fail(failure) => Err(failure),
            Reaction::Panic => panic!("injected panic in {operation}"),
            Reaction::Hang => match cancel {
                Some(cancel) => Err(interrupted(cancel.cancelled().await)),
                None => std::future::pending().await,
            },
            Reaction::Hold(hold) => {
                let Some(cancel) = cancel else {
                    hold.pass().await;
                    return Ok(());
                };
                tokio::select! {
                    () = hold.pass() => Ok(()),
                    why = cancel.cancelled() => Err(interrupted(why)),
                }
            }
        }
    }

    /// The same for a call that is not async: it can fail and panic, not hang.
    pub(super) fn call_now(
        &self,
        operation: &str,
        event: impl Into<String>,
    ) -> Result<(), Failure> {
        self.journal.record(event);
        match self.next(operation) {
            Reaction::Fail(failure) => Err(failure),
            Reaction::Panic => panic!("injected panic in {operation}"),
            Reaction::Work | Reaction::Hang | Reaction::Hold(_) => Ok(()),
        }
    }

    fn known(&self, operation: &str) -> &'static str {
        self.operations.iter().copied().find(|o| *o == operation).unwrap_or_else(|| {
            panic!("this fake has no operation {operation:?} (it has {:?})", self.operations)
        })
    }

    fn next(&self, operation: &str) -> Reaction {
        let operation = self.known(operation);
        let mut plans = locked(&self.plans);
        let plan = plans.entry(operation).or_default();
        plan.calls += 1;
        plan.next.pop_front().or_else(|| plan.afterwards.clone()).unwrap_or(Reaction::Work)
    }

    fn plan(&self, operation: &str, change: impl FnOnce(&mut Plan)) {
        let operation = self.known(operation);
        change(locked(&self.plans).entry(operation).or_default());
    }
}

/// Tells a fake how to misbehave. Operations are named like the port's methods; what is planned for
/// an operation happens in the order in which it was planned.
pub trait Inject {
    /// The fake's journal and plans.
    fn core(&self) -> &Core;

    /// The next `times` calls fail.
    fn fail_times(&self, operation: &str, failure: Failure, times: usize) {
        self.core().plan(operation, |plan| {
            plan.next.extend(std::iter::repeat_n(Reaction::Fail(failure), times));
        });
    }

    /// The next call fails.
    fn fail_once(&self, operation: &str, failure: Failure) {
        self.fail_times(operation, failure, 1);
    }

    /// Every call fails from now on, or after what was planned before.
    fn fail_always(&self, operation: &str, failure: Failure) {
        self.core().plan(operation, |plan| plan.afterwards = Some(Reaction::Fail(failure)));
    }

    /// Every call of every operation fails: the thing is down.
    fn down(&self, failure: &Failure) {
        for operation in self.core().operations {
            self.fail_always(operation, failure.clone());
        }
    }

    /// The next `times` calls work, before what is planned after this.
    fn work_times(&self, operation: &str, times: usize) {
        self.core().plan(operation, |plan| {
            plan.next.extend(std::iter::repeat_n(Reaction::Work, times));
        });
    }

    /// The next call hangs until it is cancelled.
    fn hang(&self, operation: &str) {
        self.core().plan(operation, |plan| plan.next.push_back(Reaction::Hang));
    }

    /// The next call panics.
    fn panic_on(&self, operation: &str) {
        self.core().plan(operation, |plan| plan.next.push_back(Reaction::Panic));
    }

    /// The next call waits for [`Hold::release`].
    fn hold(&self, operation: &str) -> Hold {
        let hold = Hold::new();
        self.core().plan(operation, |plan| plan.next.push_back(Reaction::Hold(hold.clone())));
        hold
    }

    /// Everything works again.
    fn heal(&self) {
        for plan in locked(&self.core().plans).values_mut() {
            plan.next.clear();
            plan.afterwards = None;
        }
    }

    /// How often the operation was called.
    fn calls(&self, operation: &str) -> usize {
        let operation = self.core().known(operation);
        locked(&self.core().plans).get(operation).map_or(0, |plan| plan.calls)
    }
}

/// Gives a fake with a field `core` its [`Inject`].
macro_rules! injectable {
    ($($fake:ty),*) => {$(
        impl $crate::fakes::Inject for $fake {
            fn core(&self) -> &$crate::fakes::Core {
                &self.core
            }
        }
    )*};
}
pub(super) use injectable;
