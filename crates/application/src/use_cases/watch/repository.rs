//! Watches by what the repository itself shows, as another machine can that has no more than its
//! password: neither the audit nor the machine that makes the backups is asked, and no lock is taken.
//!
//! A snapshot says that something was stored, not that its run went well to the end; who has the audit
//! asks that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use backupctl_domain::destination::SnapshotMode;
use backupctl_domain::freshness::{Freshness, Known};
use backupctl_domain::retention::Proof;
use backupctl_domain::schedule::memory::ScheduleMemory;
use backupctl_domain::tag::Tag;
use backupctl_domain::{Destination, ErrorCode, Failure, Project};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::super::snapshots::{Listing, list_snapshots};
use super::super::status::ProjectStatus;
use super::alerts::{Alert, Side};
use super::troubles::Trouble;
use super::verdict::Verdict;
use super::{Lesson, Look, Watch, WatchReport, Watched, as_seen};
use crate::context::{Cancel, Interrupt};
use crate::ports::{ProjectEntry, Snapshot};

/// How many repositories are asked at once: each costs a process of restic.
const AT_ONCE: usize = 4;

/// How long one may take to answer.
const LIMIT: Duration = Duration::from_mins(3);

/// What a repository shows of a project.
struct Shown {
    /// The oldest among the newest snapshots of each part; `None` where a part has none.
    complete: Option<Timestamp>,
    /// The newest snapshot of any part.
    newest: Option<Timestamp>,
    /// The parts without a snapshot, in words.
    missing: Vec<String>,
}

impl Watch {
    /// Looks at the snapshots of these projects and tells people what they are to know, as
    /// [`Watch::execute`] does. A success is as old as the oldest among the newest snapshots of each
    /// part of the backup; a part without one is late at once. Never fails: what could not be asked is
    /// in the report.
    pub async fn from_repository(&self, entries: &[ProjectEntry], cancel: &Cancel) -> WatchReport {
        let now = self.world.clock.now();
        let tz = &self.world.settings.timezone;
        let mut asked = self.ask_all(entries, cancel).await;
        let mut report = WatchReport::default();
        let mut alerts = Vec::new();
        let (mut away, mut broken) = (Vec::new(), Vec::new());
        for (index, entry) in entries.iter().enumerate() {
            let memory = self.memory(entry, &mut report).await;
            let known = as_seen(memory.as_ref(), entry, now);
            let (shown, unreachable) = match asked.remove(&index) {
                Some(Ok(shown)) => (Some(shown), None),
                Some(Err(failure)) => (None, Some(failure)),
                None if entry.project.as_ref().is_ok_and(|p| p.enabled) => {
                    (None, Some(Failure::internal("asking its repository ended too early")))
                }
                None => (None, None),
            };
            let project = entry.project.as_ref().ok();
            let freshness =
                project.map(|p| judge(p, shown.as_ref(), &known, memory.is_some(), now));
            let p = ProjectStatus {
                name: entry.name.clone(),
                project: project.cloned(),
                last_run: None,
                last_success: None,
                last_success_at: shown.as_ref().and_then(|s| s.complete),
                running: None,
                age: None,
                pause: known.pause_at(now),
                pause_age: None,
                next_run: None,
                freshness: freshness.filter(|_| unreachable.is_none()),
                waits_behind: None,
                destinations: Vec::new(),
            };
            let look = Look::at(&p, known.repository_alert, now);
            report.at_the_latest(look.next);
            let verdict = match &unreachable {
                Some(failure) => out_of_reach(failure),
                None => elsewhere(
                    Verdict::of(&p, entry, look.is_late, now, tz),
                    &p,
                    shown.as_ref().filter(|_| look.is_late),
                ),
            };
            let watched = Watched {
                name: entry.name.clone(),
                state: if unreachable.is_some() { "unreachable" } else { p.state() },
                freshness: p.freshness,
                is_late: look.is_late,
                last_success: p.last_success_at,
                pause: p.pause,
                verdict,
                unreachable,
                told: None,
                undelivered: Vec::new(),
            };
            if memory.is_some() {
                let ended = look.ends_episode.then_some(Side::Repository);
                let lesson = Lesson { success: known.last_success, ended, now };
                self.learn(&p, memory.as_ref(), lesson, &mut report).await;
            }
            if let (true, Some(told), Some(project)) = (self.tells, look.tell, project) {
                let began = known.repository_alert.map(|alert| alert.since);
                let alert = Alert::new(self, &p, project, told, &watched, began, now);
                alerts.push((report.projects.len(), alert.of_repository()));
            }
            if watched.unreachable.is_some() {
                away.push(report.projects.len());
            }
            if entry.project.is_err() {
                broken.push(report.projects.len());
            }
            report.projects.push(watched);
        }
        self.send(alerts, &mut report).await;
        self.tell_of_troubles(Trouble::Broken, &broken, &mut report, now).await;
        // What was not asked to the end because somebody stops this is in no trouble, nor well.
        if cancel.reason().is_none() {
            self.tell_of_troubles(Trouble::Unreachable, &away, &mut report, now).await;
        }
        self.sign(&mut report, now).await;
        report
    }

    /// Asks the repository of every project that is enabled, some at once; by its place.
    async fn ask_all(
        &self,
        entries: &[ProjectEntry],
        cancel: &Cancel,
    ) -> HashMap<usize, Result<Shown, Failure>> {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let mut tasks = JoinSet::new();
        for (index, entry) in entries.iter().enumerate() {
            let Ok(project) = &entry.project else { continue };
            if !project.enabled {
                continue;
            }
            let (watch, slots) = (self.clone(), Arc::clone(&slots));
            let (project, cancel) = (project.clone(), cancel.clone());
            tasks.spawn(async move {
                let _slot = slots.acquire_owned().await;
                (index, watch.ask(project, &cancel).await)
            });
        }
        let mut asked = HashMap::new();
        while let Some(done) = tasks.join_next().await {
            match done {
                Ok((index, shown)) => {
                    asked.insert(index, shown);
                }
                Err(panic) => tracing::error!("a repository was not asked: {panic}"),
            }
        }
        asked
    }

    async fn ask(&self, project: Project, cancel: &Cancel) -> Result<Shown, Failure> {
        cancel.check()?;
        let project = self.config.resolve_secrets(project.for_its_repository()).await?;
        let own = Cancel::new();
        let listing = list_snapshots(&self.world, &project, None, None, &own);
        tokio::pin!(listing);
        let why = tokio::select! {
            listed = &mut listing => return shown(&project, &listed?),
            why = cancel.cancelled() => Some(why),
            () = self.world.clock.sleep(LIMIT) => None,
        };
        own.cancel(why.unwrap_or(Interrupt::Term));
        let ended = listing.await;
        if let (Some(_), Err(failure)) = (why, ended) {
            return Err(failure);
        }
        Err(Failure::new(
            ErrorCode::RepoUnreachable,
            format!("the repository did not answer within {} minutes", LIMIT.as_secs() / 60),
        ))
    }
}

/// The parts that a run of the project stores at a destination, each with what it is in words.
fn parts(project: &Project, at: &Destination) -> Vec<(Tag, String)> {
    match at.snapshot_mode() {
        SnapshotMode::Combined => vec![(Tag::Combined, "the backup".to_owned())],
        SnapshotMode::Separate => {
            let database = project.database.as_ref();
            let dump = database.map(|_| (Tag::Db, "the database".to_owned()));
            let assets = project.assets.paths.iter().map(|path| {
                let path = path.to_string_lossy().into_owned();
                (Tag::Assets(path.clone()), path)
            });
            dump.into_iter().chain(assets).collect()
        }
    }
}

/// What the required destinations show together. One of them that does not answer is a failure: nobody
/// knows then. A damaged archive is no backup.
fn shown(project: &Project, listing: &Listing) -> Result<Shown, Failure> {
    let several = project.has_several_destinations();
    let mut found: Vec<(Option<Timestamp>, String)> = Vec::new();
    for at in project.destinations.iter().filter(|at| at.required) {
        if let Some((_, failure)) = listing.silent.iter().find(|(name, _)| *name == at.name) {
            return Err(failure.clone());
        }
        let here = listing.snapshots.iter().filter(|s| s.destination == at.name);
        let good: Vec<&Snapshot> =
            here.map(|s| &s.snapshot).filter(|s| s.proof != Some(Proof::Damaged)).collect();
        let newest_of = |tag: &Tag| {
            let has = |s: &&&Snapshot| s.tags.iter().any(|t| Tag::parse(t).as_ref() == Some(tag));
            good.iter().filter(has).map(|s| s.time).max()
        };
        let named = |what: String| if several { format!("{what} at {}", at.name) } else { what };
        let parts = parts(project, at).into_iter();
        found.extend(parts.map(|(tag, what)| (newest_of(&tag), named(what))));
    }
    let missing: Vec<String> =
        found.iter().filter(|(time, _)| time.is_none()).map(|(_, what)| what.clone()).collect();
    let times = || found.iter().filter_map(|(time, _)| *time);
    let complete = times().min().filter(|_| missing.is_empty());
    Ok(Shown { complete, newest: times().max(), missing })
}

/// How fresh what the repository shows is. Where nothing is remembered here, nobody knows for how long
/// there has been no snapshot: then it is late.
fn judge(
    project: &Project,
    shown: Option<&Shown>,
    known: &ScheduleMemory,
    remembers: bool,
    now: Timestamp,
) -> Freshness {
    let last_success = shown.and_then(|s| s.complete);
    let newest = shown.and_then(|s| s.newest);
    // A part that has no snapshot beside others that do is late at once, however new the schedule.
    let known_since = known.known_since.filter(|_| newest.is_none());
    let changed =
        project.schedule.as_ref().and_then(|s| known.promised_since(s, last_success, now));
    let freshness = Freshness::of(
        Known {
            schedule: project.schedule.as_ref(),
            enabled: project.enabled,
            paused: known.pause_at(now).is_some(),
            last_success,
            last_run: newest,
            known_since,
            promised_since: changed.filter(|_| last_success.is_some() || newest.is_none()),
            resumed_at: known.resumed_at(now),
        },
        now,
    );
    match freshness {
        Freshness::NeverRan { first_due: Some(_) } if !remembers => {
            Freshness::NeverRan { first_due: now.checked_sub(Duration::from_millis(1)).ok() }
        }
        other => other,
    }
}

fn out_of_reach(failure: &Failure) -> Verdict {
    Verdict {
        message: failure.full_message(),
        code: Some(failure.code),
        remedy: Some(failure.remedy.clone()),
        ..Verdict::default()
    }
}

/// The verdict as it is said on a machine that makes no backups itself.
fn elsewhere(verdict: Verdict, p: &ProjectStatus, late: Option<&Shown>) -> Verdict {
    let Some(shown) = late else { return verdict };
    let remedy = Some(format!(
        "see on the machine that makes the backups: `backupctl status {0}`, `backupctl health {0}`",
        p.name
    ));
    let message = match &shown.missing[..] {
        // Without any snapshot the words of one that never ran say it.
        missing if !missing.is_empty() && shown.newest.is_some() => {
            let what = format!("the repository has no snapshot of {}", missing.join(", "));
            return Verdict {
                cause: Some(what.clone()),
                message: format!("{}; {what}", verdict.message),
                remedy,
                ..verdict
            };
        }
        _ => verdict.message,
    };
    Verdict { message, remedy, ..verdict }
}
