//! How every project stands: last run, its age, what is due, what goes on.

use std::time::Duration;

use backupctl_domain::freshness::{Freshness, Known};
use backupctl_domain::schedule::Schedule;
use backupctl_domain::schedule::memory::{Pause, ScheduleMemory};
use backupctl_domain::{BackupRun, Failure, Project, RunStatus, notice};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::World;
use crate::ports::{LockState, ProjectEntry};

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
            // A fresh enough backup of yesterday does not make today's failure green.
            Some(RunStatus::Failed) if self.freshness.is_some() && !off => "failing",
            Some(RunStatus::Started) => "interrupted",
            _ => self.freshness.map_or("invalid", Freshness::as_str),
        }
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
        let runs = self.world.audit.latest_runs().await?;
        let mut all = Vec::with_capacity(entries.len());
        for entry in entries {
            let memory = match &entry.project {
                Ok(p) => self.world.schedules.project(&p.name).await?,
                Err(_) => ScheduleMemory::default(),
            };
            all.push(self.one(entry, &runs, &memory).await);
        }
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
        let last_success = of_project()
            .filter(|r| r.status == RunStatus::Success)
            .max_by_key(|r| r.started_at)
            .cloned();
        let last_success_at = last_success.as_ref().map(|r| r.started_at).max(memory.last_success);
        let running = self.running(last_run.as_ref()).await;
        let project = entry.project.ok();
        let schedule = project.as_ref().and_then(|p| p.schedule.as_ref());
        let pause = memory.pause_at(now);
        let next_run = project
            .as_ref()
            .filter(|p| p.enabled)
            .and(schedule)
            .and_then(|s| s.next_after(pause.map_or(Some(now), |pause| pause.until)?));
        let freshness = project.as_ref().map(|p| {
            let known = Known {
                schedule: p.schedule.as_ref(),
                enabled: p.enabled,
                paused: pause.is_some(),
                last_success: last_success_at,
                last_run: last_run
                    .as_ref()
                    .filter(|r| r.status != RunStatus::Started)
                    .map(|r| r.started_at),
                known_since: memory.known_since,
            };
            Freshness::of(known, now)
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

fn since(time: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(time)).unwrap_or_default()
}
