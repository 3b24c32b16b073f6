//! The daemon: keeps every project's schedule, makes the runs in processes of their own, and watches
//! that they come.
//!
//! One loop decides everything, and waits for whatever comes first: the next slot, the end of a run, a
//! request, a change of the configuration, the end of the daemon. What takes its time (runs, notices,
//! the watch) goes on in tasks of its own. `roster` knows the projects and their next slots, `board`
//! which runs go on and which wait, `job` makes one run, `config` reads the configuration again and
//! `duties` does what is due beside the runs.
//!
//! A slot that has come is dealt with only when its run has begun, or a record says that there was none:
//! a daemon that dies in between leaves it to the next one, which finds it missed.

mod alarm;
mod board;
mod clock;
mod config;
mod control;
mod duties;
mod job;
mod roster;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use backupctl_domain::schedule::planner::{Due, PUNCTUAL};
use backupctl_domain::{Failure, ProjectName, Trigger};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::World;
use crate::context::{Cancel, Interrupt};
use crate::ports::{Asked, ConfigLoader, Launcher, LockGuard};
use crate::use_cases::recover::RecoverStartup;
use crate::use_cases::slots::{self, Pass};
pub use alarm::tell_of_config;
use board::{Ask, Board, Placed};
use clock::Doubt;
use config::Standing;
pub use control::Handle;
use control::{Command, Reply, Shared};
use duties::{Done, Duties};
use job::Job;
use roster::Roster;

/// How often the daemon looks whether the configuration has changed.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// How long the end may take: each run its own, and the record of those that had to be killed.
const STOP_WITHIN: Duration = Duration::from_secs(75);

/// Why a slot was missed that passed before the start.
const WHY_DOWN: &str = "backupctl was not running";

/// Why one was missed while the daemon ran.
const WHY_LATE: &str = "the machine slept at the time, or its clock was set";

/// What the loop and its tasks work on.
#[derive(Clone)]
struct Ports {
    world: Arc<World>,
    config: Arc<dyn ConfigLoader>,
    launcher: Arc<dyn Launcher>,
    recovery: Arc<RecoverStartup>,
    cancel: Cancel,
}

/// The daemon.
pub struct Daemon {
    ports: Ports,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    look_every: Duration,
    roster: Roster,
    board: Board,
    standing: Standing,
    duties: Duties,
    tasks: JoinSet<Done>,
    /// When the loop was awake last, to see a clock that is set back.
    awake_at: Timestamp,
    /// Why no slot is looked at, while the clock cannot be right.
    doubt: Option<Doubt>,
}

/// What the loop has waited for.
enum Turn {
    Due,
    Look,
    Done(Result<Done, tokio::task::JoinError>),
    Command(Command),
}

impl Daemon {
    /// A daemon on these ports, which ends when `cancel` says so; and the handle by which others in
    /// this process speak to it.
    pub fn new(
        world: Arc<World>,
        config: Arc<dyn ConfigLoader>,
        launcher: Arc<dyn Launcher>,
        recovery: RecoverStartup,
        cancel: Cancel,
    ) -> (Self, Arc<Handle>) {
        let (handle, shared, commands) = control::handle(&world);
        let awake_at = world.clock.now();
        let ports = Ports { world, config, launcher, recovery: Arc::new(recovery), cancel };
        let daemon = Self {
            ports,
            shared,
            commands,
            look_every: LOOK_EVERY,
            roster: Roster::default(),
            board: Board::new(1),
            standing: Standing::default(),
            duties: Duties::default(),
            tasks: JoinSet::new(),
            awake_at,
            doubt: None,
        };
        (daemon, handle)
    }

    /// Looks at the configuration as often as this; every minute unless told otherwise.
    #[must_use]
    pub fn with_look_every(mut self, look_every: Duration) -> Self {
        self.look_every = look_every;
        self.shared.expect_looks(look_every);
        self
    }

    /// Runs until it is told to end, and says by what. `lock` is the daemon's, which nobody else may
    /// have; it is given back last.
    ///
    /// `INVALID_CONFIG` where there is no configuration to begin with.
    pub async fn run(mut self, lock: Box<dyn LockGuard>) -> Result<Interrupt, Failure> {
        let now = self.now();
        self.shared.stand(|readiness| readiness.since = Some(now));
        let cancel = self.ports.cancel.clone();
        // What it waits for at the start, e.g. an audit that hangs, does not keep it from ending.
        let begun = tokio::select! {
            biased;
            why = cancel.cancelled() => Ok(Some(why)),
            begun = self.begin() => begun.map(|()| None),
        };
        let why = match begun {
            Ok(Some(why)) => why,
            Ok(None) => self.keep().await,
            Err(failure) => {
                lock.release()?;
                return Err(failure);
            }
        };
        info!("ending by {}", why.name());
        self.stop().await;
        lock.release()?;
        Ok(why)
    }

    fn now(&self) -> Timestamp {
        self.ports.world.clock.now()
    }

    /// The start: what a dead process has left, then the slots that passed meanwhile.
    async fn begin(&mut self) -> Result<(), Failure> {
        let loaded = self.load().await?;
        let report = self.ports.recovery.execute(&loaded.projects, &self.ports.cancel).await;
        if !report.is_empty() {
            info!(
                orphans = report.orphans.len(),
                delivered = report.delivered,
                problems = report.problems.len(),
                "recovered"
            );
            let orphans = &report.orphans;
            self.shared.tell(None, json!({"event": "recovered", "orphans": orphans}));
        }
        self.doubt_the_clock(&loaded).await;
        self.adopt(loaded, WHY_DOWN).await;
        let is_ready = self.doubt.is_none();
        self.shared.stand(|readiness| readiness.is_ready = is_ready);
        Ok(())
    }

    /// Keeps the schedules until the end.
    async fn keep(&mut self) -> Interrupt {
        let clock = Arc::clone(&self.ports.world.clock);
        let cancel = self.ports.cancel.clone();
        let mut look: Pin<Box<dyn Future<Output = ()> + Send>> = clock.sleep(self.look_every);
        self.shared.looked(self.now());
        loop {
            if let Some(why) = cancel.reason() {
                return why;
            }
            self.start_runs();
            self.duties.start(&self.ports, &self.roster, &mut self.tasks);
            self.publish();
            let wake = self.roster.next().into_iter().chain(self.duties.next()).min();
            let waiting = async {
                match wake {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let turn = tokio::select! {
                // What the clock asks for comes first: no number of requests keeps a slot waiting.
                biased;
                why = cancel.cancelled() => return why,
                () = waiting => Turn::Due,
                // By a timer of its own, which a clock that is set back does not hold up.
                () = &mut look => Turn::Look,
                Some(done) = self.tasks.join_next() => Turn::Done(done),
                Some(command) = self.commands.recv() => Turn::Command(command),
            };
            if matches!(turn, Turn::Look) {
                self.shared.looked(self.now());
            }
            tokio::select! {
                biased;
                why = cancel.cancelled() => return why,
                next_look = self.take(turn) => if let Some(wait) = next_look {
                    look = clock.sleep(wait);
                },
            }
        }
    }

    /// Does what the loop has waited for; says when to look again where it has looked.
    async fn take(&mut self, turn: Turn) -> Option<Duration> {
        match turn {
            Turn::Due => self.due().await,
            Turn::Look => return Some(self.look().await),
            Turn::Done(done) => self.done(done),
            Turn::Command(command) => self.command(command).await,
        }
        None
    }

    /// Ends every run, each with its record, within a bound.
    async fn stop(&mut self) {
        self.shared.stand(|readiness| readiness.is_ready = false);
        self.shared.tell(None, json!({"event": "ending"}));
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
        for name in self.roster.names() {
            self.board.withdraw(&name);
        }
        let clock = Arc::clone(&self.ports.world.clock);
        let drained = async {
            while let Some(done) = self.tasks.join_next().await {
                if let Ok(Done::Run(project)) = done {
                    self.board.ended(&project);
                }
            }
        };
        tokio::select! {
            () = drained => {}
            () = clock.sleep(STOP_WITHIN) => {
                warn!("work goes on that does not end; it is left");
                self.tasks.abort_all();
            }
        }
    }

    /// Starts what may start.
    fn start_runs(&mut self) {
        while let Some((name, ask)) = self.board.next() {
            let Some((project, fault)) = self.roster.project(&name) else {
                self.board.ended(&name);
                continue;
            };
            let job = Job {
                ports: self.ports.clone(),
                shared: Arc::clone(&self.shared),
                project: project.clone(),
                fault: fault.cloned(),
                ask,
            };
            self.tasks.spawn(async move {
                // In a task of its own, so that a panic in it is the end of that alone.
                if let Err(panic) = tokio::spawn(job.run()).await {
                    error!(project = %name, "the launch of a run panicked: {panic}");
                }
                Done::Run(name)
            });
        }
    }

    /// Something that went on has ended.
    fn done(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Run(name)) => {
                self.board.ended(&name);
                self.duties.watch(&name);
            }
            Ok(Done::Told) => self.told(),
            Ok(done) => self.duties.done(&done, self.now()),
            Err(panic) => error!("a task of the daemon panicked: {panic}"),
        }
    }

    /// Does what somebody asks for.
    async fn command(&mut self, command: Command) {
        match command {
            Command::Reload(reply) => {
                let done = self.reload().await;
                let _ = reply.send(done);
            }
            Command::Run(project, reply) => self.run_now(&project, reply).await,
        }
    }

    async fn run_now(&mut self, project: &str, reply: Reply) {
        // Somebody may have added the project a moment ago.
        self.reload_if_changed().await;
        let name =
            ProjectName::new(project).ok().filter(|name| self.roster.project(name).is_some());
        let Some(name) = name else {
            let known: Vec<String> =
                self.roster.entries().iter().map(|entry| entry.name.clone()).collect();
            let _ = reply.send(Err(backupctl_domain::project::unknown_project(project, &known)));
            return;
        };
        if let Some((_, Some(fault))) = self.roster.project(&name) {
            let _ = reply.send(Err(fault.clone()));
            return;
        }
        let ask = Ask::by_hand(Some(reply));
        self.place(&name, ask);
        self.start_runs();
        if let Some(reply) = self.board.take_reply(&name) {
            self.shared.tell(Some(name.as_str()), job::queued(Trigger::Manual, None));
            let _ = reply.send(Ok(Asked::Queued));
        }
    }

    /// Asks the board for a run.
    fn place(&mut self, name: &ProjectName, ask: Ask) {
        let (trigger, due_at) = (ask.trigger, ask.due_at);
        match self.board.ask(name, ask) {
            Placed::Waits => {}
            Placed::Folded { reply } => {
                info!(project = %name, trigger = trigger.as_str(), due_at = ?due_at, "folded");
                let event = json!({"event": "folded", "trigger": trigger, "due_at": due_at});
                self.shared.tell(Some(name.as_str()), event);
                if let Some(reply) = reply {
                    let _ = reply.send(Ok(Asked::Folded));
                }
            }
        }
    }

    /// Does what has become due.
    async fn due(&mut self) {
        self.reload_if_changed().await;
        let now = self.now();
        self.note_the_clock(now).await;
        self.weigh_the_clock(now, false).await;
        let mut pass = Pass::default();
        while let Some(name) = self.roster.take_due(now) {
            self.slot(&name, now, WHY_LATE, &mut pass).await;
        }
        self.duties.due(&self.roster, now);
    }

    /// Deals with a project's slots up to `now`, and finds out when the next one comes. What is due
    /// begins at once: other projects may have a lot to be written down before their turn.
    async fn slot(&mut self, name: &ProjectName, now: Timestamp, why: &str, pass: &mut Pass) {
        let due = if self.doubt.is_some() { None } else { self.owed(name, now, why, pass).await };
        if let Some(due) = due {
            self.place(name, Ask::slot(due.trigger, due.slot));
        }
        self.roster.plan(name, now);
        while let Some(done) = self.tasks.try_join_next() {
            self.done(done);
        }
        self.start_runs();
    }

    /// What is to be run now; the slots before that are dealt with.
    async fn owed(
        &self,
        name: &ProjectName,
        now: Timestamp,
        why: &str,
        pass: &mut Pass,
    ) -> Option<Due> {
        let schedule = self.roster.schedule(name)?;
        let (project, _) = self.roster.project(name)?;
        let world = &self.ports.world;
        // The slot of a run that has not begun yet would seem to have been missed. While one goes on or
        // waits, slots are not missed but wait, as one.
        let settled = if self.board.is_busy(name) {
            let memory = world.schedules.project(name).await;
            memory
                .map(|memory| match memory.pause_at(now) {
                    Some(_) => None,
                    None => schedule.previous_at(now),
                })
                .map(|slot| slot.map(|slot| Due { slot, trigger: Trigger::Scheduled }))
        } else {
            let settled = slots::settle_on(pass, world, project, now, PUNCTUAL, why).await;
            settled.map(|settled| {
                if let (Some(first), Some(last)) = (settled.missed.first(), settled.missed.last()) {
                    let count: u64 = settled.missed.iter().map(|missed| missed.count).sum();
                    let event = json!({
                        "event": "missed", "first": first.first, "last": last.last, "count": count,
                        "why": why,
                    });
                    self.shared.tell(Some(name.as_str()), event);
                }
                settled.due
            })
        };
        match settled {
            Ok(due) => due,
            Err(failure) => {
                // Rather a backup too many than one that somebody believes was made.
                warn!(project = %name, "the schedule's memory: {}", failure.full_message());
                let slot = schedule.previous_at(now)?;
                let is_now = now.duration_since(slot) <= SignedDuration::from_mins(1);
                is_now.then_some(Due { slot, trigger: Trigger::Scheduled })
            }
        }
    }

    /// Lets others see how it stands.
    fn publish(&self) {
        let (running, queued) = (self.board.running(), self.board.queued());
        self.shared.stand(|readiness| {
            readiness.running = running;
            readiness.queued = queued;
        });
    }
}
