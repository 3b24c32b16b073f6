//! How every project stands: last run, its age, what is due, what goes on.

use std::collections::HashSet;
use std::time::Duration;

use backupctl_domain::freshness::{Freshness, Known};
use backupctl_domain::schedule::Schedule;
use backupctl_domain::schedule::memory::{Pause, ScheduleMemory};
use backupctl_domain::{
    BackupRun, Destination, DestinationName, ErrorCode, Failure, Project, ProjectName, RunId,
    RunStatus, human, notice,
};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::watch::verdict;
use crate::World;
use crate::ports::{LockState, ProjectEntry, RunQuery};

/// How many records are looked through for a run behind slots that were missed.
const LOOKED_THROUGH: u32 = 50;

/// How one project stands.
#[derive(Debug, Clone)]
pub struct ProjectStatus {
    /// Its name as configured.
    pub name: String,
    /// The project; `None` where its configuration has errors.
    pub project: Option<Project>,
    /// Its newest run, of any end.
    pub last_run: Option<BackupRun>,
    /// Its newest successful run.
    pub last_success: Option<BackupRun>,
    /// When the newest successful run started, by the audit or by what this machine remembers: its
    /// record may wait in the fallback file.
    pub last_success_at: Option<Timestamp>,
    /// The run that goes on now, by record and lock.
    pub running: Option<BackupRun>,
    /// Age of the newest run's start.
    pub age: Option<Duration>,
    /// The pause of its schedule that is in force.
    pub pause: Option<Pause>,
    /// How old that pause is.
    pub pause_age: Option<Duration>,
    /// When it runs next by its schedule; `None` while that is paused without an end.
    pub next_run: Option<Timestamp>,
    /// Whether its last success is as new as its schedule promises; `None` with a broken
    /// configuration.
    pub freshness: Option<Freshness>,
    /// The run of another project that keeps the daemon from starting one of this, which is late.
    pub waits_behind: Option<InTheWay>,
    /// How each destination stands, in the order of the configuration; empty with a broken one.
    pub destinations: Vec<DestinationStatus>,
}

/// How one of a project's destinations stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationStatus {
    /// Its name.
    pub name: DestinationName,
    /// `restic` or `archive`.
    pub kind: &'static str,
    /// Whether a run is a success only if it is stored there.
    pub required: bool,
    /// Where it is.
    pub location: String,
    /// When the newest run started that was stored there.
    pub stored_at: Option<Timestamp>,
    /// Whether that is as new as the schedule promises.
    pub freshness: Freshness,
}

impl DestinationStatus {
    /// A line for people where it has no copy as new as promised; `None` where it has.
    pub fn complaint(&self, now: Timestamp, tz: &TimeZone) -> Option<String> {
        if !self.freshness.is_late(now) {
            return None;
        }
        Some(match self.stored_at {
            Some(at) => format!(
                "{} has had no backup since {} ({} ago)",
                self.name,
                notice::local_time(at, tz),
                human::age(since(at, now))
            ),
            None => format!("{} has never had a backup", self.name),
        })
    }
}

/// A run that goes on for so long that others wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InTheWay {
    /// Whose it is.
    pub project: ProjectName,
    /// Which.
    pub run: RunId,
    /// For how long it has been going on.
    pub elapsed: Duration,
}

impl ProjectStatus {
    /// The one word for it, in `--json`, the API and the table: `running`, `interrupted`, `failing`,
    /// `invalid`, or a freshness: `fresh`, `overdue`, `never_ran`, `paused`, `disabled`,
    /// `unscheduled`. Only `fresh` is green.
    pub fn state(&self) -> &'static str {
        if self.running.is_some() {
            return "running";
        }
        let off = matches!(self.freshness, Some(Freshness::Disabled | Freshness::Paused));
        match self.last_run.as_ref().map(|r| r.status) {
            // A fresh enough backup of yesterday does not make today's failure green. A slot that was
            // missed is no run that failed.
            Some(RunStatus::Failed) if self.freshness.is_some() && !off && !self.is_missed() => {
                "failing"
            }
            Some(RunStatus::Started) => "interrupted",
            _ => self.freshness.map_or("invalid", Freshness::as_str),
        }
    }

    /// Whether its newest record is that of a slot that was missed: no run.
    pub fn is_missed(&self) -> bool {
        self.last_run.as_ref().is_some_and(is_missed)
    }

    /// Its newest run where that has failed; `None` where the newest record is no run.
    pub fn failed_run(&self) -> Option<&BackupRun> {
        self.last_run.as_ref().filter(|run| run.status == RunStatus::Failed && !is_missed(run))
    }

    /// Whether a success that was promised is missing.
    pub const fn is_overdue(&self) -> bool {
        matches!(self.freshness, Some(Freshness::Overdue { .. }))
    }

    /// The JSON form of `status --json` and the API: an object with `snake_case` keys, moments in RFC
    /// 3339, absent values `null`.
    pub fn to_json(&self) -> Value {
        let due = match self.freshness {
            Some(Freshness::Fresh { due } | Freshness::Overdue { since: due, .. }) => Some(due),
            Some(Freshness::NeverRan { first_due }) => first_due,
            _ => None,
        };
        let schedule = self.project.as_ref().and_then(|p| p.schedule.as_ref());
        json!({
            "project": self.name,
            "enabled": self.project.as_ref().map(|p| p.enabled),
            "state": self.state(),
            "overdue": self.is_overdue(),
            "running": self.running.is_some(),
            "stage": self.running.as_ref().and_then(|r| r.current_stage),
            "age_seconds": self.age.map(|age| age.as_secs()),
            "cron": schedule.map(|s| &s.cron),
            "schedule": schedule.map(Schedule::describe),
            "next_run": self.next_run.map(notice::stamp),
            "due": due.map(notice::stamp),
            "paused": self.pause.is_some(),
            "paused_since": self.pause.map(|p| notice::stamp(p.since)),
            "paused_seconds": self.pause_age.map(|age| age.as_secs()),
            "paused_until": self.pause.and_then(|p| p.until).map(notice::stamp),
            "last_run": self.last_run,
            "last_success": self.last_success_at.map(notice::stamp),
            "destinations": self.destinations.iter().map(|d| json!({
                "destination": d.name,
                "kind": d.kind,
                "required": d.required,
                "location": d.location,
                "state": d.freshness.as_str(),
                "last_stored": d.stored_at.map(notice::stamp),
            })).collect::<Vec<_>>(),
        })
    }
}

/// Tells how projects stand.
pub struct Status<'a> {
    world: &'a World,
}

impl<'a> Status<'a> {
    /// A use case on these ports.
    pub fn new(world: &'a World) -> Self {
        Self { world }
    }

    /// Every project of the configuration, in its order. One question to the audit in all.
    pub async fn execute(&self, entries: Vec<ProjectEntry>) -> Result<Vec<ProjectStatus>, Failure> {
        let runs = latest_runs(self.world).await?;
        let mut all = Vec::with_capacity(entries.len());
        for entry in entries {
            let memory = match &entry.project {
                Ok(p) => self.world.schedules.project(&p.name).await?,
                Err(_) => ScheduleMemory::default(),
            };
            all.push(self.one(entry, &runs, &memory).await);
        }
        self.find_what_is_in_the_way(&mut all, &runs).await;
        Ok(all)
    }

    /// One project, by these records and what is remembered of its schedule.
    pub(super) async fn one(
        &self,
        entry: ProjectEntry,
        runs: &[BackupRun],
        memory: &ScheduleMemory,
    ) -> ProjectStatus {
        let now = self.world.clock.now();
        let of_project = || runs.iter().filter(|r| r.project.as_str() == entry.name);
        let last_run = of_project().max_by_key(|r| r.started_at).cloned();
        let past = |at: &Timestamp| !is_ahead(*at, now);
        let last_success = of_project()
            .filter(|r| r.status == RunStatus::Success && past(&r.started_at))
            .max_by_key(|r| r.started_at)
            .cloned();
        let last_success_at =
            last_success.as_ref().map(|r| r.started_at).max(memory.last_success.filter(past));
        let running = self.running(last_run.as_ref()).await;
        let project = entry.project.ok();
        let schedule = project.as_ref().and_then(|p| p.schedule.as_ref());
        let pause = memory.pause_at(now);
        let next_run = project
            .as_ref()
            .filter(|p| p.enabled)
            .and(schedule)
            .and_then(|s| s.next_after(pause.map_or(Some(now), |pause| pause.until)?));
        // A success of the project, or of one of its destinations, by the same promise.
        let judge = |p: &Project, success: Option<Timestamp>| {
            let known = Known {
                schedule: p.schedule.as_ref(),
                enabled: p.enabled,
                paused: pause.is_some(),
                last_success: success,
                last_run: of_project()
                    .filter(|r| r.status != RunStatus::Started && !is_missed(r))
                    .map(|r| r.started_at)
                    .max(),
                known_since: memory.known_since,
                promised_since: p
                    .schedule
                    .as_ref()
                    .and_then(|s| memory.promised_since(s, success, now)),
                resumed_at: memory.resumed_at(now),
            };
            Freshness::of(known, now)
        };
        let freshness = project.as_ref().map(|p| judge(p, last_success_at));
        let several = project.as_ref().is_some_and(Project::has_several_destinations);
        let stored_at = |at: &Destination| {
            if !several {
                return last_success_at;
            }
            let stored =
                |r: &&BackupRun| r.destinations.iter().any(|d| d.name == at.name && d.stored);
            let recorded = of_project().filter(stored).map(|r| r.started_at).filter(past).max();
            recorded.max(memory.stored.get(at.name.as_str()).copied().filter(past))
        };
        let destination = |p: &Project, at: &Destination| {
            let stored_at = stored_at(at);
            DestinationStatus {
                name: at.name.clone(),
                kind: at.kind(),
                required: at.required,
                location: at.location(),
                stored_at,
                freshness: judge(p, stored_at),
            }
        };
        let destinations = project.as_ref().map_or_else(Vec::new, |p| {
            p.destinations.iter().map(|at| destination(p, at)).collect()
        });
        ProjectStatus {
            name: entry.name,
            age: last_run
                .as_ref()
                .map(|r| Duration::try_from(now.duration_since(r.started_at)).unwrap_or_default()),
            project,
            last_run,
            last_success,
            last_success_at,
            running,
            pause,
            pause_age: pause.map(|pause| since(pause.since, now)),
            next_run,
            freshness,
            waits_behind: None,
            destinations,
        }
    }

    /// Finds for each project that is late, and of which no run goes on, the run of another that the
    /// daemon has been making for longer than that one may take, or than this one can wait: its own
    /// timeout, else the distance between two runs.
    pub(super) async fn find_what_is_in_the_way(
        &self,
        all: &mut [ProjectStatus],
        runs: &[BackupRun],
    ) {
        let now = self.world.clock.now();
        let waits = |p: &ProjectStatus| {
            p.running.is_none() && p.freshness.is_some_and(|freshness| freshness.is_late(now))
        };
        if !all.iter().any(waits) {
            return;
        }
        let mut going: Vec<(InTheWay, Option<Duration>)> = Vec::new();
        for run in runs.iter().filter(|r| r.status == RunStatus::Started) {
            let of = all.iter().find(|p| p.name == run.project.as_str());
            let goes_on = match of {
                Some(p) => p.running.as_ref().is_some_and(|r| r.run_id == run.run_id),
                None => self.running(Some(run)).await.is_some(),
            };
            if goes_on {
                let elapsed = since(run.started_at, now);
                let limit = of.and_then(|p| verdict::longest_run(p, now));
                going.push((
                    InTheWay { project: run.project.clone(), run: run.run_id, elapsed },
                    limit,
                ));
            }
        }
        // Without a daemon nobody waits for anybody.
        if going.is_empty() || !matches!(self.world.processes.daemon().await, Ok(Some(_))) {
            return;
        }
        for p in all.iter_mut().filter(|p| waits(p)) {
            let own = verdict::longest_run(p, now);
            let is_long = |(run, limit): &&(InTheWay, Option<Duration>)| {
                run.project.as_str() != p.name
                    && limit.iter().copied().chain(own).any(|limit| run.elapsed > limit)
            };
            let longest = going.iter().filter(is_long).max_by_key(|(run, _)| run.elapsed);
            p.waits_behind = longest.map(|(run, _)| run.clone());
        }
    }

    /// The newest run if it goes on: its record says so and its lock is held.
    async fn running(&self, last: Option<&BackupRun>) -> Option<BackupRun> {
        let run = last.filter(|r| r.status == RunStatus::Started)?;
        match self.world.lock.state(&run.project).await {
            Ok(LockState::Held(_)) => Some(run.clone()),
            _ => None,
        }
    }
}

/// The newest record and the newest success of each project; and where the newest record is a slot that
/// was missed and there is no success, the newest run before it as well: whether the project has ever
/// run is not for a missed slot to say.
pub(super) async fn latest_runs(world: &World) -> Result<Vec<BackupRun>, Failure> {
    let mut runs = world.audit.latest_runs().await?;
    let succeeded: HashSet<&ProjectName> =
        runs.iter().filter(|r| r.status == RunStatus::Success).map(|r| &r.project).collect();
    let hidden: Vec<ProjectName> = runs
        .iter()
        .filter(|r| is_missed(r) && !succeeded.contains(&r.project))
        .map(|r| r.project.clone())
        .collect();
    for project in hidden {
        runs.extend(run_behind_missed(world, project).await?);
    }
    Ok(runs)
}

/// The newest run of the project behind slots that were missed.
pub(super) async fn run_behind_missed(
    world: &World,
    project: ProjectName,
) -> Result<Option<BackupRun>, Failure> {
    let query =
        RunQuery { project: Some(project), limit: Some(LOOKED_THROUGH), ..RunQuery::default() };
    Ok(world.audit.find_runs(&query).await?.into_iter().find(|run| !is_missed(run)))
}

/// Whether the record is that of a slot that was missed.
pub(super) fn is_missed(run: &BackupRun) -> bool {
    run.error.as_ref().is_some_and(|e| e.code == ErrorCode::RunMissed)
}

/// Whether a moment is further ahead than clocks that are right differ. A success so dated, by a clock
/// that was wrong, would keep a project green until then.
pub(super) fn is_ahead(at: Timestamp, now: Timestamp) -> bool {
    at.duration_since(now) > SignedDuration::from_hours(1)
}

fn since(time: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(time)).unwrap_or_default()
}
