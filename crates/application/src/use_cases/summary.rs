//! The daily summary: how every enabled project fared, told once a day even where nothing ran, since
//! silence is what nobody notices (spec: notifications.md).

use std::sync::Arc;
use std::time::Duration;

use backupctl_domain::notice::{DayResult, SummaryEntry};
use backupctl_domain::schedule::memory::{MachineMemory, SummaryMemory};
use backupctl_domain::schedule::{CatchUp, Schedule};
use backupctl_domain::{BackupRun, ErrorCode, Failure, Notice, Project, RunStatus, human};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use super::everybody;
use crate::World;
use crate::ports::{ConfigIssue, ConfigLoader, FallbackEntry, LoadedConfig, RunQuery};

/// How many records are looked through for a run that has ended, where the newest has not, or is of a
/// slot without a run.
const LOOKED_THROUGH: u32 = 50;

/// What became of a summary.
#[derive(Debug, Clone)]
pub struct SummaryReport {
    /// What was told, or was to be.
    pub notice: Notice,
    /// How many channels it was for; 0 where nobody is configured to be told.
    pub channels: usize,
    /// What went wrong, one line each; empty where every channel took it.
    pub problems: Vec<String>,
}

/// Tells the daily summary.
pub struct Summary {
    world: Arc<World>,
    config: Arc<dyn ConfigLoader>,
}

impl Summary {
    /// A use case on these ports; `config` resolves the secrets of channels.
    pub fn new(world: Arc<World>, config: Arc<dyn ConfigLoader>) -> Self {
        Self { world, config }
    }

    /// Tells everybody how each enabled project of this configuration has fared since the summary
    /// before, and remembers what came of it. Never fails: what went wrong is in the report.
    pub async fn send(&self, loaded: &LoadedConfig) -> SummaryReport {
        let world = &self.world;
        let now = world.clock.now();
        let mut problems = Vec::new();
        let memory = world.schedules.machine().await.unwrap_or_else(|failure| {
            problems.push(failure.message);
            MachineMemory::default()
        });
        let last = memory.summary.map(|summary| summary.at);
        let since = since(loaded, last, &world.settings.timezone, now);
        let entries = self.entries(loaded, since, now).await;
        let notice = Notice::daily_summary(&entries, now, zone(loaded, &world.settings.timezone));

        let told = everybody::tell(world, self.config.as_ref(), loaded, &notice).await;
        if told.channels == 0 {
            warn!("the daily summary reaches nobody: no channel is configured");
        } else if told.problems.is_empty() {
            info!(channels = told.channels, "daily summary sent");
        }
        let summary = SummaryMemory { at: now, problems: told.problems.clone() };
        let change = move |memory: &mut MachineMemory| {
            memory.summary = Some(summary);
            memory.summary_handled_until = memory.summary_handled_until.max(Some(now));
        };
        if let Err(failure) = world.schedules.update_machine(Box::new(change)).await {
            warn!(error.code = %failure.code, "{}", failure.full_message());
            problems.push(failure.message);
        }
        problems.splice(..0, told.problems);
        SummaryReport { notice, channels: told.channels, problems }
    }

    /// Sends it where one is missing that belongs to today, and no daemon is there to do it.
    pub async fn send_if_owed(
        &self,
        loaded: &LoadedConfig,
    ) -> Result<Option<SummaryReport>, Failure> {
        let world = &self.world;
        let Some(schedule) = schedule(loaded, &world.settings.timezone) else { return Ok(None) };
        let owed = is_owed(world, &schedule, world.clock.now()).await?;
        if !owed || world.processes.daemon().await?.is_some() {
            return Ok(None);
        }
        Ok(Some(self.send(loaded).await))
    }

    /// A line for each project that is not turned off, those that nobody can read included.
    async fn entries(
        &self,
        loaded: &LoadedConfig,
        since: Timestamp,
        now: Timestamp,
    ) -> Vec<SummaryEntry> {
        let known = Known {
            audit: self.world.audit.latest_runs().await,
            kept: self.kept_records().await,
            since,
            now,
        };
        let mut entries = Vec::new();
        for entry in &loaded.projects {
            let last = match &entry.project {
                Ok(project) if !project.enabled => continue,
                Ok(project) => self.fared(project, &known).await,
                Err(issues) => broken(issues),
            };
            entries.push(SummaryEntry { project: entry.name.clone(), last });
        }
        entries
    }

    async fn fared(&self, project: &Project, known: &Known) -> DayResult {
        let name = &project.name;
        let of_project = |run: &&BackupRun| run.project == *name;
        let mut runs: Vec<BackupRun> = known.kept.iter().filter(of_project).cloned().collect();
        let mut unanswered = None;
        match &known.audit {
            Ok(latest) => {
                let latest: Vec<&BackupRun> = latest.iter().filter(of_project).collect();
                let newest = latest.iter().max_by_key(|run| run.started_at);
                // The newest record hides others where its run goes on, or never was one.
                if newest.is_some_and(|run| run.status == RunStatus::Started || is_missed(run)) {
                    let query = RunQuery {
                        project: Some(name.clone()),
                        limit: Some(LOOKED_THROUGH),
                        ..RunQuery::default()
                    };
                    match self.world.audit.find_runs(&query).await {
                        Ok(found) => runs.extend(found),
                        Err(failure) => unanswered = Some(failure),
                    }
                }
                runs.extend(latest.into_iter().cloned());
            }
            Err(failure) => unanswered = Some(failure.clone()),
        }
        runs.retain(|run| {
            run.status != RunStatus::Started && run.finished_at.is_some_and(|at| at > known.since)
        });
        let newest = runs.iter().max_by_key(|run| run.finished_at);
        match (newest, unanswered) {
            (Some(run), _) if runs.iter().any(|run| !is_missed(run)) => ended(run),
            (_, Some(failure)) => self.not_known(project, &failure, known.now).await,
            _ => DayResult::NoRun,
        }
    }

    /// Nobody knows how the project fared: that is not told as good, nor as if it had not run.
    async fn not_known(&self, project: &Project, failure: &Failure, now: Timestamp) -> DayResult {
        let memory = self.world.schedules.project(&project.name).await.unwrap_or_default();
        let last = match memory.last_success {
            Some(at) => {
                let age = Duration::try_from(now.duration_since(at)).unwrap_or_default();
                format!("last success known of {} ago", human::age(age))
            }
            None => "no success known of".to_owned(),
        };
        let message = failure.message.lines().next().unwrap_or_default();
        DayResult::Failed { stage: None, message: format!("audit: {message}; {last}") }
    }

    /// Records of ended runs that the audit has not taken yet.
    async fn kept_records(&self) -> Vec<BackupRun> {
        let entries = self.world.fallback.entries().await.unwrap_or_else(|failure| {
            warn!(error.code = %failure.code, "{}", failure.full_message());
            Vec::new()
        });
        let record = |entry| match entry {
            FallbackEntry::Audit { run } => Some(*run),
            _ => None,
        };
        entries.into_iter().filter_map(record).collect()
    }
}

/// Whether a summary is missing that belongs to the day that it is now, by when they are due and when the
/// last one was dealt with. Who asks for the first time is owed nothing for the time before.
pub async fn is_owed(world: &World, schedule: &Schedule, now: Timestamp) -> Result<bool, Failure> {
    let Some(handled) = world.schedules.machine().await?.summary_handled_until else {
        let change = Box::new(move |memory: &mut MachineMemory| {
            memory.summary_handled_until = memory.summary_handled_until.or(Some(now));
        });
        world.schedules.update_machine(change).await?;
        return Ok(false);
    };
    let day = |at: Timestamp| schedule.timezone.to_datetime(at).date();
    let slot = schedule.previous_at(now);
    // One that was due just before midnight is not forgotten at midnight.
    let recent = |slot| now.duration_since(slot) < SignedDuration::from_hours(1);
    Ok(slot.is_some_and(|slot| slot > handled && (day(slot) == day(now) || recent(slot))))
}

/// What a summary is made of.
struct Known {
    /// The newest records, or why there are none to be had.
    audit: Result<Vec<BackupRun>, Failure>,
    /// Those that wait for the audit.
    kept: Vec<BackupRun>,
    since: Timestamp,
    now: Timestamp,
}

fn ended(run: &BackupRun) -> DayResult {
    if run.status == RunStatus::Success {
        return DayResult::Success { duration: run.duration.unwrap_or_default() };
    }
    let error = run.error.as_ref();
    DayResult::Failed {
        stage: error.and_then(|e| e.stage),
        message: error.map_or_else(|| "no reason is known".to_owned(), |e| e.message.clone()),
    }
}

fn is_missed(run: &BackupRun) -> bool {
    run.error.as_ref().is_some_and(|e| e.code == ErrorCode::RunMissed)
}

/// A project whose configuration has errors has no backup either.
fn broken(issues: &[ConfigIssue]) -> DayResult {
    let first = issues.first().map_or_else(
        || "it has errors".to_owned(),
        |i| if i.key.is_empty() { i.message.clone() } else { format!("{}: {}", i.key, i.message) },
    );
    let more = match issues.len() {
        0 | 1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    let first = first.lines().next().unwrap_or_default();
    DayResult::Failed { stage: None, message: format!("configuration: {first}{more}") }
}

/// From when on runs belong to the summary made at `now`: since the summary before, by the cron; a day
/// where there is none.
fn since(
    loaded: &LoadedConfig,
    last: Option<Timestamp>,
    otherwise: &TimeZone,
    now: Timestamp,
) -> Timestamp {
    let by_cron = || {
        let schedule = schedule(loaded, otherwise)?;
        let slot = schedule.previous_at(now)?;
        // Another one for the same slot, or one that somebody has asked for in between.
        if last.is_some_and(|last| last >= slot && now > last) {
            return Some(slot);
        }
        schedule.previous_at(slot.checked_sub(SignedDuration::from_secs(1)).ok()?)
    };
    let day_ago = now.checked_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN);
    by_cron().unwrap_or(day_ago)
}

/// When the daily summary goes out; `None` where it is turned off, or the configuration does not tell.
pub fn schedule(loaded: &LoadedConfig, otherwise: &TimeZone) -> Option<Schedule> {
    let cron = loaded.global.as_ref().ok()?.daily_summary_cron.as_str();
    if cron.is_empty() {
        return None;
    }
    let zone = zone(loaded, otherwise).clone();
    Schedule::new(cron, zone, CatchUp::Never, Duration::ZERO).ok()
}

fn zone<'z>(loaded: &'z LoadedConfig, otherwise: &'z TimeZone) -> &'z TimeZone {
    loaded.global.as_ref().map_or(otherwise, |global| &global.timezone)
}
