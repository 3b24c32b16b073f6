//! How every project stands: last run, its age, what is due, what goes on.

use std::time::Duration;

use backupctl_domain::freshness::{Freshness, Known};
use backupctl_domain::{BackupRun, Failure, Project, RunStatus};
use jiff::Timestamp;

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
    /// The run that goes on now, by record and lock.
    pub running: Option<BackupRun>,
    /// Age of the newest run's start.
    pub age: Option<Duration>,
    /// When it runs next by its schedule.
    pub next_run: Option<Timestamp>,
    /// Whether its last success is as new as its schedule promises; `None` with a broken
    /// configuration.
    pub freshness: Option<Freshness>,
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
        let now = self.world.clock.now();
        let mut all = Vec::with_capacity(entries.len());
        for entry in entries {
            let of_project = || runs.iter().filter(|r| r.project.as_str() == entry.name);
            let last_run = of_project().max_by_key(|r| r.started_at).cloned();
            let last_success = of_project()
                .filter(|r| r.status == RunStatus::Success)
                .max_by_key(|r| r.started_at)
                .cloned();
            let running = self.running(last_run.as_ref()).await;
            let project = entry.project.ok();
            let schedule = project.as_ref().and_then(|p| p.schedule.as_ref());
            let next_run = project
                .as_ref()
                .filter(|p| p.enabled)
                .and(schedule)
                .and_then(|s| s.next_after(now));
            let freshness = project.as_ref().map(|p| {
                let known = Known {
                    schedule: p.schedule.as_ref(),
                    enabled: p.enabled,
                    paused: false,
                    last_success: last_success.as_ref().map(|r| r.started_at),
                    last_run: last_run
                        .as_ref()
                        .filter(|r| r.status != RunStatus::Started)
                        .map(|r| r.started_at),
                    known_since: None,
                };
                Freshness::of(known, now)
            });
            all.push(ProjectStatus {
                name: entry.name,
                age: last_run.as_ref().map(|r| {
                    Duration::try_from(now.duration_since(r.started_at)).unwrap_or_default()
                }),
                project,
                last_run,
                last_success,
                running,
                next_run,
                freshness,
            });
        }
        Ok(all)
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
