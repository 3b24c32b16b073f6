//! The daemon as others in its process see it: what they ask of it, and what they hear.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backupctl_domain::{ErrorCode, Failure};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::World;
use crate::ports::{Asked, DaemonControl, DaemonEvent, Readiness};

/// How many events who listens may be behind.
const EVENTS: usize = 256;

/// How many requests may wait for the loop, which is always soon back.
const COMMANDS: usize = 64;

/// How long whoever asks for a run waits for its begin. A run that a process outside holds up has then
/// not begun, and is in the queue for all that they need to know.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);

/// Where the answer to a request goes.
pub(super) type Reply = oneshot::Sender<Result<Asked, Failure>>;

/// What the loop is asked to do.
pub(super) enum Command {
    /// To make a run of this project.
    Run(String, Reply),
    /// To read the configuration again.
    Reload(oneshot::Sender<Result<(), Failure>>),
}

/// What the loop, its runs and those outside share.
pub(super) struct Shared {
    world: Arc<World>,
    events: broadcast::Sender<DaemonEvent>,
    readiness: Mutex<Readiness>,
    /// Whether no run can be made since the configuration cannot be loaded.
    unloadable: AtomicBool,
    /// When the loop looked last, in seconds; 0 before it ever did.
    looked: AtomicI64,
    /// How long it may not have looked before it is taken to have stopped, in seconds.
    patience: AtomicI64,
}

impl Shared {
    /// Tells whoever listens.
    pub(super) fn tell(&self, project: Option<&str>, event: Value) {
        if self.events.receiver_count() > 0 {
            let at = self.world.clock.now();
            // The last listener may have left meanwhile.
            let _ =
                self.events.send(DaemonEvent { at, project: project.map(str::to_owned), event });
        }
    }

    /// Changes how the daemon stands.
    pub(super) fn stand(&self, change: impl FnOnce(&mut Readiness)) {
        change(&mut self.readiness.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether the configuration, which each run reads afresh, cannot be loaded.
    pub(super) fn cannot_load(&self, is_so: bool) {
        self.unloadable.store(is_so, Ordering::Relaxed);
    }

    /// The loop looks as often as this.
    pub(super) fn expect_looks(&self, every: Duration) {
        let patience = i64::try_from(every.as_secs().saturating_mul(3)).unwrap_or(i64::MAX);
        self.patience.store(patience.max(3), Ordering::Relaxed);
    }

    /// The loop has looked.
    pub(super) fn looked(&self, now: Timestamp) {
        self.looked.store(now.as_second(), Ordering::Relaxed);
    }

    /// For how many minutes the loop has not looked, where that is too long.
    fn silent_for(&self) -> Option<i64> {
        let looked = Some(self.looked.load(Ordering::Relaxed)).filter(|at| *at != 0)?;
        let silence = self.world.clock.now().as_second().saturating_sub(looked);
        (silence > self.patience.load(Ordering::Relaxed)).then_some(silence / 60)
    }
}

/// The running daemon.
pub struct Handle {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

/// A handle, and the ends of it that the loop keeps.
pub(super) fn handle(world: &Arc<World>) -> (Arc<Handle>, Arc<Shared>, mpsc::Receiver<Command>) {
    let shared = Arc::new(Shared {
        world: Arc::clone(world),
        events: broadcast::Sender::new(EVENTS),
        readiness: Mutex::default(),
        unloadable: AtomicBool::new(false),
        looked: AtomicI64::new(0),
        patience: AtomicI64::new(3 * 60),
    });
    let (commands, receiver) = mpsc::channel(COMMANDS);
    (Arc::new(Handle { shared: Arc::clone(&shared), commands }), shared, receiver)
}

impl Handle {
    /// Tells whoever listens what has happened around the daemon, e.g. to its HTTP interface.
    pub fn announce(&self, event: Value) {
        self.shared.tell(None, event);
    }

    /// Has the configuration read again; returns when that is done, or why the old one stays.
    pub async fn reload(&self) -> Result<(), Failure> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Reload(reply)).await.map_err(|_| ending())?;
        answer.await.map_err(|_| ending())?
    }
}

#[async_trait]
impl DaemonControl for Handle {
    async fn run_now(&self, project: &str) -> Result<Asked, Failure> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Run(project.to_owned(), reply);
        self.commands.send(command).await.map_err(|_| ending())?;
        tokio::select! {
            biased;
            answer = answer => answer.map_err(|_| ending())?,
            () = self.shared.world.clock.sleep(BEGIN_WITHIN) => Ok(Asked::Queued),
        }
    }

    fn events(&self) -> broadcast::Receiver<DaemonEvent> {
        self.shared.events.subscribe()
    }

    fn readiness(&self) -> Readiness {
        let standing = self.shared.readiness.lock();
        let mut readiness = standing.unwrap_or_else(PoisonError::into_inner).clone();
        readiness.is_ready &= !self.shared.unloadable.load(Ordering::Relaxed);
        // A loop that hangs says nothing of it itself.
        if let Some(minutes) = self.shared.silent_for().filter(|_| readiness.is_ready) {
            readiness.is_ready = false;
            let problem = format!("the scheduler has not looked for {minutes} min: restart it");
            readiness.problems.insert(0, problem);
        }
        readiness
    }
}

fn ending() -> Failure {
    Failure::new(ErrorCode::Interrupted, "the daemon is ending")
        .with_remedy("ask again when it is back")
}
