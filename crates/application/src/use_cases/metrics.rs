//! How everything stands, as numbers: what a monitoring system is to hear of.
//!
//! A number that is not known is left out, never a zero: a graph that shows a gap is asked about.

use std::time::Duration;

use backupctl_domain::freshness::Freshness;
use backupctl_domain::schedule::memory::{MachineMemory, ScheduleMemory};
use backupctl_domain::{BackupRun, RunStatus};
use jiff::Timestamp;
use tracing::warn;

use super::status::{ProjectStatus, Status, latest_runs};
use crate::World;
use crate::ports::{FailureCount, LockState, ProjectEntry, RunQuery};

/// How everything stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    /// backupctl's version.
    pub version: String,
    /// Whether the configuration could be loaded. [`gather`] is given one, so it says yes; who could
    /// load none says no.
    pub config_up: bool,
    /// Whether the audit answers. Where it does not, projects are judged by what this machine
    /// remembers, as far as it does.
    pub audit_up: bool,
    /// How many records and notices wait to be delivered.
    pub fallback_pending: Option<usize>,
    /// When freshness was last watched.
    pub watched_at: Option<Timestamp>,
    /// Whether every channel took the last daily summary; `None` where none was made yet.
    pub summary_delivered: Option<bool>,
    /// The projects, in the order of the configuration.
    pub projects: Vec<ProjectMetrics>,
}

/// How one project stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProjectMetrics {
    /// Its name as configured.
    pub project: String,
    /// Whether the configuration enables it; `None` where its configuration has errors.
    pub enabled: Option<bool>,
    /// The one word for it, see [`ProjectStatus::state`].
    pub state: Option<&'static str>,
    /// Whether a success that was promised is missing.
    pub is_overdue: Option<bool>,
    /// Whether its schedule is paused.
    pub is_paused: Option<bool>,
    /// Whether a run goes on.
    pub is_running: bool,
    /// When the next success is, or was, due.
    pub due: Option<Timestamp>,
    /// When its newest successful run started.
    pub last_success: Option<Timestamp>,
    /// Its newest run that has ended.
    pub last_run: Option<LastRun>,
    /// The size of the last successful run's dump file.
    pub dump_bytes: Option<u64>,
    /// What the last successful run added to the repository.
    pub bytes_added: Option<u64>,
    /// The repository's size, as the newest run that knows it has it.
    pub repository_bytes: Option<u64>,
    /// How many of its recorded runs have failed, by code.
    pub failures: Vec<(String, u64)>,
    /// Each of its destinations.
    pub destinations: Vec<DestinationMetrics>,
}

/// How one destination of a project stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationMetrics {
    /// Its name.
    pub destination: String,
    /// When the newest run started that was stored there.
    pub last_stored: Option<Timestamp>,
    /// Whether a backup that was promised is missing there.
    pub is_overdue: bool,
}

/// A run that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRun {
    /// When it started; of one that was missed, when it was due.
    pub started_at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// Whether it succeeded.
    pub succeeded: bool,
}

/// Gathers how the projects of the configuration stand. Never fails: what cannot be had is left out,
/// and the audit's silence is itself told.
pub async fn gather(world: &World, entries: Vec<ProjectEntry>) -> Metrics {
    let audit = &world.audit;
    let answers = match (latest_runs(world).await, audit.count_failures().await) {
        (Ok(runs), Ok(failures)) => Some((runs, failures)),
        (Err(failure), _) | (_, Err(failure)) => {
            warn!(code = %failure.code, "metrics without the audit: {failure}");
            None
        }
    };
    let machine = match world.schedules.machine().await {
        Ok(machine) => machine,
        Err(failure) => {
            warn!(code = %failure.code, "metrics without what is remembered: {failure}");
            MachineMemory::default()
        }
    };
    let mut projects = Vec::with_capacity(entries.len());
    for entry in entries {
        projects.push(match &answers {
            Some((runs, failures)) => by_records(world, entry, runs, failures).await,
            None => by_memory(world, entry).await,
        });
    }
    Metrics {
        version: world.identity.version.clone(),
        config_up: true,
        audit_up: answers.is_some(),
        fallback_pending: world.fallback.pending().await.ok(),
        watched_at: machine.watched_at,
        summary_delivered: machine.summary.map(|summary| summary.problems.is_empty()),
        projects,
    }
}

async fn by_records(
    world: &World,
    entry: ProjectEntry,
    runs: &[BackupRun],
    failures: &[FailureCount],
) -> ProjectMetrics {
    let memory = memory(world, &entry).await;
    let known = memory.clone().unwrap_or_default();
    let p = Status::new(world).one(entry, runs, &known).await;
    let success = p.last_success.as_ref();
    let newest = [p.last_run.as_ref(), success];
    let failures = failures.iter().filter(|c| c.project == p.name);
    ProjectMetrics {
        state: Some(p.state()),
        is_running: p.running.is_some(),
        last_run: last_run(world, &p).await,
        dump_bytes: success.and_then(|r| r.dump.as_ref()).map(|dump| dump.bytes),
        bytes_added: success.map(|r| r.snapshots.iter().map(|s| s.bytes_added).sum()),
        repository_bytes: newest.into_iter().flatten().find_map(|r| r.repository_bytes),
        failures: failures.map(|c| (c.code.clone(), c.count)).collect(),
        ..judged(world, &p, memory.as_ref())
    }
}

/// Without the audit: what this machine remembers, and whose lock is held.
async fn by_memory(world: &World, entry: ProjectEntry) -> ProjectMetrics {
    let memory = memory(world, &entry).await;
    let known = memory.clone().unwrap_or_default();
    let p = Status::new(world).one(entry, &[], &known).await;
    let is_running = match &p.project {
        Some(project) => matches!(world.lock.state(&project.name).await, Ok(LockState::Held(_))),
        None => false,
    };
    let mut metrics = ProjectMetrics {
        state: Some(if is_running { "running" } else { p.state() }),
        is_running,
        ..judged(world, &p, memory.as_ref())
    };
    // "Never ran" is what records say, and there are none to look at.
    if matches!(p.freshness, Some(Freshness::NeverRan { .. })) {
        metrics.is_overdue = None;
        metrics.due = None;
        metrics.state = metrics.state.filter(|_| is_running);
    }
    metrics
}

/// What follows from the schedule and the last success. Without a memory nobody knows whether the
/// schedule is paused.
fn judged(world: &World, p: &ProjectStatus, memory: Option<&ScheduleMemory>) -> ProjectMetrics {
    let now = world.clock.now();
    let due = match p.freshness {
        Some(Freshness::Fresh { due } | Freshness::Overdue { since: due, .. }) => Some(due),
        Some(Freshness::NeverRan { first_due }) => first_due,
        _ => None,
    };
    ProjectMetrics {
        project: p.name.clone(),
        enabled: p.project.as_ref().map(|project| project.enabled),
        is_overdue: p.freshness.map(|freshness| freshness.is_late(now)),
        is_paused: memory.map(|_| p.pause.is_some()),
        due,
        last_success: p.last_success_at,
        destinations: p
            .destinations
            .iter()
            .map(|d| DestinationMetrics {
                destination: d.name.to_string(),
                last_stored: d.stored_at,
                is_overdue: d.freshness.is_late(now),
            })
            .collect(),
        ..ProjectMetrics::default()
    }
}

async fn memory(world: &World, entry: &ProjectEntry) -> Option<ScheduleMemory> {
    let Ok(project) = &entry.project else { return None };
    match world.schedules.project(&project.name).await {
        Ok(memory) => Some(memory),
        Err(failure) => {
            warn!(project = entry.name, "metrics without what is remembered: {failure}");
            None
        }
    }
}

/// The newest run that has ended. While another goes on, it is the newer of the last success and the
/// last failure: a series must not end with every start of a run.
async fn last_run(world: &World, p: &ProjectStatus) -> Option<LastRun> {
    let newest = p.last_run.as_ref()?;
    if newest.status != RunStatus::Started {
        return ended(newest);
    }
    let failed = RunQuery {
        project: Some(newest.project.clone()),
        status: Some(RunStatus::Failed),
        limit: Some(1),
        ..RunQuery::default()
    };
    let failed = world.audit.find_runs(&failed).await.unwrap_or_default();
    let both = failed.iter().chain(&p.last_success);
    both.max_by_key(|run| run.started_at).and_then(ended)
}

fn ended(run: &BackupRun) -> Option<LastRun> {
    Some(LastRun {
        started_at: run.started_at,
        duration: run.duration?,
        succeeded: run.status == RunStatus::Success,
    })
}
