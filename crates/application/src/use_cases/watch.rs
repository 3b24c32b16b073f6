//! Watches that backups come as promised, and tells people where they do not.
//!
//! A backup that silently stopped says nothing of itself, so somebody has to look from the side: the
//! daemon does after each run and at each moment at which something can become late, `backupctl watch`
//! does once. Nothing is run and no slot is accounted for here: on a machine with timers a run may
//! just be starting.

mod alerts;
mod audit;
mod repository;
mod troubles;
pub mod verdict;

use std::sync::Arc;
use std::time::Duration;

use backupctl_domain::freshness::Freshness;
use backupctl_domain::schedule::memory::{Episode, MachineMemory, Pause, Promise, ScheduleMemory};
use backupctl_domain::{BackupRun, Failure, Project, RunStatus, notice};
use jiff::Timestamp;
use serde_json::{Value, json};
use tracing::warn;

use self::alerts::{Alert, Side};
use self::troubles::Trouble;
use self::verdict::Verdict;
use super::status::{ProjectStatus, Status, is_missed, latest_runs, run_behind_missed};
use crate::World;
use crate::ports::{ConfigLoader, ProjectEntry, RunQuery};

/// How often people are told again while something stays wrong.
const AGAIN_AFTER: Duration = Duration::from_hours(24);

/// How soon a look is worth it while the audit does not answer: nothing tells when it is back.
const AUDIT_RETRY: Duration = Duration::from_mins(15);

/// How fine the note is of when the last look was: a daemon looks after every run.
const WATCHED_AT_STEP: Duration = Duration::from_mins(1);

/// What people were told of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// That a success is missing, for the first time.
    First,
    /// The same again, after a day.
    Again,
    /// That it is well again.
    Recovered,
}

impl Told {
    /// The name in `--json`: `first`, `again`, `recovered`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Again => "again",
            Self::Recovered => "recovered",
        }
    }
}

/// One project as it was seen.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Its name as configured.
    pub name: String,
    /// The one word for it, as [`ProjectStatus::state`] has it; `unreachable` for a repository that
    /// could not be asked.
    pub state: &'static str,
    /// How fresh its backup is; `None` with a broken configuration, or an unreachable repository.
    pub freshness: Option<Freshness>,
    /// Whether a success that was promised is missing.
    pub is_late: bool,
    /// When its last success began, as far as anybody knows.
    pub last_success: Option<Timestamp>,
    /// The pause of its schedule that is in force.
    pub pause: Option<Pause>,
    /// What to say of it, with code and remedy.
    pub verdict: Verdict,
    /// Why its repository could not be asked, where that is what was watched.
    pub unreachable: Option<Failure>,
    /// What people were told just now.
    pub told: Option<Told>,
    /// What went wrong with telling them, a line a channel.
    pub undelivered: Vec<String>,
}

impl Watched {
    /// The JSON form of `watch --json`: an object with `snake_case` keys.
    pub fn to_json(&self) -> Value {
        let failure = self.unreachable.as_ref();
        json!({
            "project": self.name,
            "state": self.state,
            "ok": !self.verdict.is_bad && failure.is_none(),
            "late": self.is_late,
            "late_since": self.freshness.and_then(late_since).filter(|_| self.is_late)
                .map(notice::stamp),
            "last_success": self.last_success.map(notice::stamp),
            "paused_since": self.pause.map(|p| notice::stamp(p.since)),
            "paused_until": self.pause.and_then(|p| p.until).map(notice::stamp),
            "message": self.verdict.message,
            "code": self.verdict.code,
            "remedy": self.verdict.remedy,
            "told": self.told.map(Told::as_str),
            "undelivered": self.undelivered,
        })
    }
}

/// What a look has shown.
#[derive(Debug, Clone, Default)]
pub struct WatchReport {
    /// The projects, in the order in which they were asked about.
    pub projects: Vec<Watched>,
    /// The earliest moment at which one of them that is well can become late, or people are to be told
    /// again; `None` where nothing of that is ahead.
    pub next: Option<Timestamp>,
    /// Why the audit could not be asked; then all was judged by what this machine remembers.
    pub audit: Option<Failure>,
    /// What could not be remembered or told on the way, a line each; also in the log.
    pub problems: Vec<String>,
}

impl WatchReport {
    /// Whether nothing is late, stuck, broken, or out of reach.
    pub fn is_well(&self) -> bool {
        self.exit_status() == 0
    }

    /// 0 where all is well; 4 where the audit, or a repository, could not be asked and nothing worse is
    /// known; else 1.
    pub fn exit_status(&self) -> u8 {
        let unreachable = self.projects.iter().any(|p| p.unreachable.is_some());
        match () {
            () if self.projects.iter().any(|p| p.verdict.is_bad) => 1,
            () if self.audit.is_some() || unreachable => 4,
            () => 0,
        }
    }

    fn at_the_latest(&mut self, at: Option<Timestamp>) {
        self.next = self.next.into_iter().chain(at).min();
    }
}

/// Watches.
#[derive(Clone)]
pub struct Watch {
    world: Arc<World>,
    config: Arc<dyn ConfigLoader>,
    tells: bool,
}

impl Watch {
    /// A use case on these ports.
    pub fn new(world: Arc<World>, config: Arc<dyn ConfigLoader>) -> Self {
        Self { world, config, tells: true }
    }

    /// The same without telling anybody, and without remembering that anybody was told.
    #[must_use]
    pub fn silent(self) -> Self {
        Self { tells: false, ..self }
    }

    /// Looks at these projects, by the audit and by what is remembered, and tells people what they are
    /// to know. Never fails: what could not be had is in the report.
    ///
    /// People are told of a project once when a success has become late, again every day, and once when
    /// it is well again. They are told before that is remembered: a process that dies in between tells
    /// twice, never not at all.
    pub async fn execute(&self, entries: &[ProjectEntry]) -> WatchReport {
        let now = self.world.clock.now();
        let mut report = WatchReport::default();
        let runs = match self.runs(entries).await {
            Ok(runs) => runs,
            Err(failure) => {
                report.audit = Some(failure);
                Vec::new()
            }
        };
        let status = Status::new(&self.world);
        let (mut memories, mut all) = (Vec::new(), Vec::new());
        for entry in entries {
            let memory = self.memory(entry, &mut report).await;
            let known = as_seen(memory.as_ref(), entry, now);
            all.push(status.one(entry.clone(), &runs, &known).await);
            memories.push((memory, known));
        }
        status.find_what_is_in_the_way(&mut all, &runs).await;
        let (mut alerts, mut broken) = (Vec::new(), Vec::new());
        for ((entry, p), (memory, known)) in entries.iter().zip(all).zip(memories) {
            let look = Look::at(&p, known.alert, now);
            report.at_the_latest(look.next);
            let watched = Watched {
                name: p.name.clone(),
                state: p.state(),
                freshness: p.freshness,
                is_late: look.is_late,
                last_success: p.last_success_at,
                pause: p.pause,
                verdict: Verdict::of(&p, entry, look.is_late, now, &self.world.settings.timezone),
                unreachable: None,
                told: None,
                undelivered: Vec::new(),
            };
            if memory.is_some() {
                let ended = look.ends_episode.then_some(Side::Audit);
                let lesson = Lesson { success: p.last_success_at, ended, now };
                self.learn(&p, memory.as_ref(), lesson, &mut report).await;
            }
            if let (true, Some(told), Some(project)) = (self.tells, look.tell, &p.project) {
                let began = known.alert.map(|alert| alert.since);
                let alert = Alert::new(self, &p, project, told, &watched, began, now);
                alerts.push((report.projects.len(), alert));
            }
            if entry.project.is_err() {
                broken.push(report.projects.len());
            }
            report.projects.push(watched);
        }
        self.send(alerts, &mut report).await;
        self.tell_of_troubles(Trouble::Broken, &broken, &mut report, now).await;
        self.tell_of_the_audit(&mut report, now).await;
        self.sign(&mut report, now).await;
        report
    }

    /// The newest run and the newest success of each project.
    async fn runs(&self, entries: &[ProjectEntry]) -> Result<Vec<BackupRun>, Failure> {
        let audit = &self.world.audit;
        let [ProjectEntry { project: Ok(project), .. }] = entries else {
            return latest_runs(&self.world).await;
        };
        let newest =
            RunQuery { project: Some(project.name.clone()), limit: Some(1), ..RunQuery::default() };
        let mut runs = audit.find_runs(&newest).await?;
        if runs.iter().any(|r| r.status != RunStatus::Success) {
            let success = RunQuery { status: Some(RunStatus::Success), ..newest };
            runs.extend(audit.find_runs(&success).await?);
            if runs.iter().all(is_missed) && !runs.is_empty() {
                runs.extend(run_behind_missed(&self.world, project.name.clone()).await?);
            }
        }
        Ok(runs)
    }

    /// What is remembered of the project's schedule; `None` where that cannot be read.
    async fn memory(
        &self,
        entry: &ProjectEntry,
        report: &mut WatchReport,
    ) -> Option<ScheduleMemory> {
        let Ok(project) = &entry.project else { return Some(ScheduleMemory::default()) };
        match self.world.schedules.project(&project.name).await {
            Ok(memory) => Some(memory),
            Err(failure) => {
                problem(report, Some(&entry.name), &failure);
                None
            }
        }
    }

    /// Remembers what the look has shown: since when a schedule is known and has been what it is, and the
    /// last success. Slots
    /// are left to those who run them.
    async fn learn(
        &self,
        p: &ProjectStatus,
        before: Option<&ScheduleMemory>,
        lesson: Lesson,
        report: &mut WatchReport,
    ) {
        let (Some(project), Some(before)) = (&p.project, before) else { return };
        let Lesson { success, ended, now } = lesson;
        // A schedule that is off promises nothing; once on again it counts from then.
        let promises = project.enabled && project.schedule.is_some() && p.pause.is_none();
        // Where it was seen running before anybody remembered it, it has been known since then.
        let ran = p.failed_run().map(|run| run.started_at.min(now));
        let since = if promises { before.known_since.or(ran).or(Some(now)) } else { None };
        let promise = promise(project);
        let mut noted = before.clone();
        noted.note_promise(promise.clone(), now);
        let is_known = since == before.known_since && noted.standing == before.standing;
        if is_known && success <= before.last_success && ended.is_none() {
            return;
        }
        let change = move |memory: &mut ScheduleMemory| {
            memory.known_since = since;
            memory.note_promise(promise, now);
            memory.last_success = memory.last_success.max(success);
            if let Some(side) = ended {
                *side.episode(memory) = None;
            }
        };
        let done = self.world.schedules.update_project(&project.name, Box::new(change)).await;
        if let Err(failure) = done {
            problem(report, Some(&p.name), &failure);
        }
    }

    /// Notes that somebody has looked.
    async fn sign(&self, report: &mut WatchReport, now: Timestamp) {
        let old = |at: Timestamp| now.duration_since(at).unsigned_abs() >= WATCHED_AT_STEP;
        let signed = match self.world.schedules.machine().await {
            Ok(machine) if machine.watched_at.is_some_and(|at| !old(at)) => Ok(machine),
            _ => {
                let sign = Box::new(move |m: &mut MachineMemory| {
                    m.watched_at = Some(now);
                });
                self.world.schedules.update_machine(sign).await
            }
        };
        if let Err(failure) = signed {
            problem(report, None, &failure);
        }
    }
}

/// What a look has shown that is to be remembered.
#[derive(Debug, Clone, Copy)]
struct Lesson {
    success: Option<Timestamp>,
    /// The episode that has ended without a word: nothing is promised any more.
    ended: Option<Side>,
    now: Timestamp,
}

/// What is to be made of a project at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Look {
    is_late: bool,
    /// What to tell people.
    tell: Option<Told>,
    /// Whether what people were told of has ended without getting well: paused, disabled, another
    /// schedule.
    ends_episode: bool,
    /// When to look again.
    next: Option<Timestamp>,
}

impl Look {
    fn at(p: &ProjectStatus, episode: Option<Episode>, now: Timestamp) -> Self {
        let Some(freshness) = p.freshness else { return Self::default() };
        if !freshness.is_late(now) {
            // Green by a success, and not by what is promised having changed.
            let well = freshness.is_green() && episode.is_some_and(|e| ended_by_success(p, e));
            return Self {
                is_late: false,
                tell: well.then_some(Told::Recovered),
                ends_episode: !well && episode.is_some(),
                next: next_look(p, freshness),
            };
        }
        let late = Self { is_late: true, ..Self::default() };
        // A run that goes on may be the one that was missing, unless it is stuck.
        if let Some(run) = &p.running
            && verdict::stuck(p, now).is_none()
        {
            let limit = verdict::longest_run(p, now);
            let stuck = limit.and_then(|limit| run.started_at.checked_add(limit).ok());
            return Self { next: stuck.map(just_after), ..late };
        }
        let (tell, next) = due_alert(episode.map(|alert| alert.told_at), now);
        Self { tell, next, ..late }
    }
}

/// What is due to be told of something that is wrong, and when the next time is.
fn due_alert(told_at: Option<Timestamp>, now: Timestamp) -> (Option<Told>, Option<Timestamp>) {
    let after = |at: Timestamp| at.checked_add(AGAIN_AFTER).ok();
    match told_at.map(after) {
        None => (Some(Told::First), after(now)),
        Some(Some(again)) if now < again => (None, Some(again)),
        Some(_) => (Some(Told::Again), after(now)),
    }
}

/// Since when a success has been missing.
const fn late_since(freshness: Freshness) -> Option<Timestamp> {
    match freshness {
        Freshness::Overdue { since, .. } => Some(since),
        Freshness::NeverRan { first_due } => first_due,
        _ => None,
    }
}

/// Whether the last success is one that the episode was waiting for: of its slot, or later.
fn ended_by_success(p: &ProjectStatus, episode: Episode) -> bool {
    let schedule = p.project.as_ref().and_then(|project| project.schedule.as_ref());
    let slot = schedule.and_then(|s| episode.since.checked_sub(s.grace).ok());
    p.last_success_at >= Some(slot.unwrap_or(episode.since))
}

/// What is remembered, with what is promised now noted in it.
fn as_seen(
    memory: Option<&ScheduleMemory>,
    entry: &ProjectEntry,
    now: Timestamp,
) -> ScheduleMemory {
    let mut known = memory.cloned().unwrap_or_default();
    if let Ok(project) = &entry.project {
        known.note_promise(promise(project), now);
    }
    known
}

/// What the configuration promises of the project; `None` where it is off.
fn promise(project: &Project) -> Option<Promise> {
    project.schedule.as_ref().filter(|_| project.enabled).map(Promise::of)
}

/// When a project that is well can become late.
fn next_look(p: &ProjectStatus, freshness: Freshness) -> Option<Timestamp> {
    match freshness {
        Freshness::Fresh { due } => Some(just_after(due)),
        Freshness::NeverRan { first_due } => first_due.map(just_after),
        Freshness::Paused => p.pause.and_then(|pause| pause.until),
        _ => None,
    }
}

/// A success may come at the very moment at which it is due.
fn just_after(due: Timestamp) -> Timestamp {
    due.checked_add(Duration::from_millis(1)).unwrap_or(due)
}

fn problem(report: &mut WatchReport, project: Option<&str>, failure: &Failure) {
    let message = match project {
        Some(name) => format!("{name}: {}", failure.full_message()),
        None => failure.full_message(),
    };
    warn!(error.code = %failure.code, "watch: {message}");
    report.problems.push(message);
}
