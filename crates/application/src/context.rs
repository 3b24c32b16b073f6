//! What every long call is given: how it is told to stop, and whom it tells of its progress.

use std::sync::Arc;

use backupctl_domain::{ErrorCode, Failure, Redactor, RunId, Stage, StageRecord};
use tokio::sync::watch;

/// Why a run is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// SIGINT: exit status 130.
    Int,
    /// SIGTERM: exit status 143.
    Term,
}

impl Interrupt {
    /// The exit status of a command that ends for it.
    pub const fn exit_status(self) -> u8 {
        match self {
            Self::Int => 130,
            Self::Term => 143,
        }
    }

    /// The signal's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int => "SIGINT",
            Self::Term => "SIGTERM",
        }
    }
}

/// A request to stop that everybody who holds a clone sees. Once made it stays.
#[derive(Debug, Clone)]
pub struct Cancel {
    sender: Arc<watch::Sender<Option<Interrupt>>>,
}

impl Default for Cancel {
    fn default() -> Self {
        Self { sender: Arc::new(watch::Sender::new(None)) }
    }
}

impl Cancel {
    /// One that nobody has used yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everybody to stop. The first reason stays.
    pub fn cancel(&self, why: Interrupt) {
        self.sender.send_if_modified(|state| {
            let first = state.is_none();
            if first {
                *state = Some(why);
            }
            first
        });
    }

    /// Why to stop; `None` to go on.
    pub fn reason(&self) -> Option<Interrupt> {
        *self.sender.borrow()
    }

    /// Waits until somebody asks to stop.
    pub async fn cancelled(&self) -> Interrupt {
        let mut receiver = self.sender.subscribe();
        // The sender lives as long as `self`, so waiting ends only with a reason.
        // The guard of the value is let go at once: it must not live across another await.
        let reason = receiver.wait_for(Option::is_some).await.ok().and_then(|reason| *reason);
        match reason {
            Some(why) => why,
            None => std::future::pending().await,
        }
    }

    /// An `INTERRUPTED` failure if somebody has asked to stop.
    pub fn check(&self) -> Result<(), Failure> {
        match self.reason() {
            Some(why) => Err(interrupted(why)),
            None => Ok(()),
        }
    }
}

/// The failure of work that was told to stop.
pub fn interrupted(why: Interrupt) -> Failure {
    Failure::new(ErrorCode::Interrupted, format!("interrupted by {}", why.name()))
        .with_remedy("start it again when nothing is going to end it; no partial file is left")
}

/// Something that happens in a run, for whoever watches it.
#[derive(Debug, Clone)]
pub enum RunEvent {
    /// The run has its lock and id.
    Started {
        /// The run.
        run_id: RunId,
    },
    /// A stage begins an attempt.
    StageStarted {
        /// The stage.
        stage: Stage,
        /// 1 for the first attempt.
        attempt: u32,
    },
    /// A stage has got so far.
    Progress {
        /// The stage.
        stage: Stage,
        /// Bytes done.
        bytes: u64,
        /// Bytes to do, if known.
        total: Option<u64>,
    },
    /// A stage failed and is tried again.
    Retry {
        /// The stage.
        stage: Stage,
        /// Which retry comes, from 1.
        retry: u32,
        /// How many there may be.
        of: u32,
        /// The wait before it.
        delay: std::time::Duration,
        /// What went wrong.
        failure: Failure,
    },
    /// A stage has ended or was skipped.
    StageFinished {
        /// Its record.
        record: StageRecord,
    },
    /// Something was noticed that does not fail the run.
    Warning {
        /// What.
        message: String,
    },
}

/// Watches a run. Called from any thread; must not block.
pub trait Observer: Send + Sync {
    /// Something has happened.
    fn event(&self, event: &RunEvent);
}

/// Watches nothing.
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: &RunEvent) {}
}

/// Given to every long call of a port.
#[derive(Clone)]
pub struct StageContext {
    /// The stage that calls.
    pub stage: Stage,
    /// Tells the call to stop.
    pub cancel: Cancel,
    /// Hears of progress.
    pub observer: Arc<dyn Observer>,
    /// Takes this project's secrets out of texts.
    pub redactor: Arc<Redactor>,
}

impl StageContext {
    /// A context for a call outside a run.
    pub fn new(stage: Stage, cancel: Cancel, redactor: Arc<Redactor>) -> Self {
        Self { stage, cancel, observer: Arc::new(Silent), redactor }
    }

    /// Tells how far the stage has got, in bytes.
    pub fn progress(&self, bytes: u64, total: Option<u64>) {
        self.observer.event(&RunEvent::Progress { stage: self.stage, bytes, total });
    }
}
