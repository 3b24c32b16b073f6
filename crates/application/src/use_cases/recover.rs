//! Puts right what a killed run has left, and delivers what could not be delivered
//! (spec: pipeline.md §6). Runs before every run, at the daemon's start, and on demand.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backupctl_domain::{
    BackupRun, Destination, ErrorCode, Failure, Notice, Project, ProjectName, RunError, RunId,
    RunStatus, Stage, StageOutcome, StageRecord,
};
use jiff::Timestamp;
use tracing::{info, warn};

use super::{deliver, everybody};
use crate::World;
use crate::context::{Cancel, StageContext};
use crate::ports::{
    Acquired, ConfigLoader, FallbackEntry, KeyManager, ProjectEntry, ReplaySink, RunQuery, Waiting,
};

/// What a recovery has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoverReport {
    /// Orphaned runs, now failed with `INTERRUPTED`.
    pub orphans: Vec<RunId>,
    /// Ended runs whose notice had never gone out, now told.
    pub told: Vec<RunId>,
    /// Programs of dead runs that were ended.
    pub children_ended: usize,
    /// Partial files removed, and the private folders of dead restores.
    pub partials: Vec<PathBuf>,
    /// Projects whose stale lock file was removed.
    pub stale_locks: Vec<ProjectName>,
    /// Projects whose repository had a stale lock removed.
    pub repositories_unlocked: Vec<ProjectName>,
    /// Folders of archives where what an interrupted backup had left was removed, with their projects.
    pub archives_cleared: Vec<(ProjectName, String)>,
    /// Records and notices delivered from the fallback file.
    pub delivered: usize,
    /// Why others remain in it.
    pub remaining: Vec<String>,
    /// What remains in it, by its place and the reason.
    pub waiting: Vec<Waiting>,
    /// Lines of it that could not be read.
    pub rejected: usize,
    /// Fingerprints of keys imported.
    pub keys_imported: Vec<String>,
    /// What could not be done, one line each.
    pub problems: Vec<String>,
}

impl RecoverReport {
    /// Whether there was nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Recovers.
pub struct RecoverStartup {
    world: Arc<World>,
    config: Arc<dyn ConfigLoader>,
    keys: Option<(Arc<dyn KeyManager>, PathBuf)>,
    replay_budget: Duration,
}

/// How long a replay may keep a run waiting.
const REPLAY_BEFORE_RUN: Duration = Duration::from_secs(30);

impl RecoverStartup {
    /// A use case on these ports. `keys` are the keyring and the folder to import from.
    pub fn new(
        world: Arc<World>,
        config: Arc<dyn ConfigLoader>,
        keys: Option<(Arc<dyn KeyManager>, PathBuf)>,
    ) -> Self {
        Self { world, config, keys, replay_budget: REPLAY_BEFORE_RUN }
    }

    /// Lets the replay take so long, where no backup waits for it.
    #[must_use]
    pub fn with_replay_budget(mut self, budget: Duration) -> Self {
        self.replay_budget = budget;
        self
    }

    /// Recovers these projects (those that are running right now are left alone), then replays the
    /// whole fallback file. Never fails: what could not be done is in the report.
    pub async fn execute(&self, entries: &[ProjectEntry], cancel: &Cancel) -> RecoverReport {
        let mut report = RecoverReport::default();
        let kept = self.kept_records(&mut report).await;
        for entry in entries {
            let Ok(name) = ProjectName::new(entry.name.clone()) else { continue };
            let project = entry.project.as_ref().ok();
            if let Err(failure) = self.project(&name, project, &kept, cancel, &mut report).await {
                report.problems.push(format!("{name}: {}", failure.full_message()));
            }
        }
        self.replay(cancel, &mut report).await;
        if let Some((keys, dir)) = &self.keys {
            match keys.import_new(dir).await {
                Ok(imported) => report.keys_imported = imported,
                Err(failure) => report.problems.push(failure.full_message()),
            }
        }
        for problem in &report.problems {
            warn!("recovery: {problem}");
        }
        report
    }

    async fn project(
        &self,
        name: &ProjectName,
        project: Option<&Project>,
        kept: &[RunId],
        cancel: &Cancel,
        report: &mut RecoverReport,
    ) -> Result<(), Failure> {
        let world = &self.world;
        match world.cleanup.remove_left_scratch(name).await {
            Ok(removed) => report.partials.extend(removed.removed),
            Err(failure) => report.problems.push(format!("{name}: {}", failure.full_message())),
        }
        // Only a look as long as nothing is wrong: most starts find nothing.
        let stale = matches!(world.lock.state(name).await?, crate::ports::LockState::Stale(_));
        let recent = match self.recent(name).await {
            Ok(runs) => runs,
            Err(failure) => {
                report.problems.push(format!("{name}: {}", failure.full_message()));
                Vec::new()
            }
        };
        let suspicious = |r: &BackupRun| {
            (r.status == RunStatus::Started && !kept.contains(&r.run_id)) || end_was_never_told(r)
        };
        let recent: Vec<BackupRun> = recent.into_iter().filter(|r| self.is_ours(r)).collect();
        if !stale && !recent.iter().any(suspicious) {
            return Ok(());
        }
        // With the lock in hand no run of this project is alive, and none begins.
        let Acquired::Locked(guard) = world.lock.acquire_to_recover(name).await? else {
            return Ok(());
        };
        let result = self.locked(name, project, stale, cancel, report).await;
        guard.release()?;
        if stale {
            report.stale_locks.push(name.clone());
        }
        result
    }

    /// Runs whose end waits in the fallback file: the audit believes that they go on, but they ended
    /// properly while it was down.
    async fn kept_records(&self, report: &mut RecoverReport) -> Vec<RunId> {
        match self.world.fallback.entries().await {
            Ok(entries) => entries
                .iter()
                .filter_map(|e| match e {
                    FallbackEntry::Audit { run } => Some(run.run_id),
                    FallbackEntry::Notification { .. }
                    | FallbackEntry::GlobalNotification { .. } => None,
                })
                .collect(),
            Err(failure) => {
                report.problems.push(failure.full_message());
                Vec::new()
            }
        }
    }

    async fn recent(&self, name: &ProjectName) -> Result<Vec<BackupRun>, Failure> {
        let query = RunQuery { project: Some(name.clone()), limit: Some(3), ..RunQuery::default() };
        let mut runs = self.world.audit.find_runs(&query).await?;
        let started = RunQuery {
            project: Some(name.clone()),
            status: Some(RunStatus::Started),
            ..RunQuery::default()
        };
        for run in self.world.audit.find_runs(&started).await? {
            if !runs.iter().any(|r| r.run_id == run.run_id) {
                runs.push(run);
            }
        }
        Ok(runs)
    }

    async fn locked(
        &self,
        name: &ProjectName,
        project: Option<&Project>,
        stale: bool,
        cancel: &Cancel,
        report: &mut RecoverReport,
    ) -> Result<(), Failure> {
        let world = &self.world;
        if stale {
            report.children_ended += world.children.end_orphans(name).await?;
        }
        let runs = self.recent(name).await.unwrap_or_default();
        // Asked for again, now that no run of this project can be about to keep its record there.
        let kept = self.kept_records(report).await;
        let resolved = match project {
            Some(p) => match self.config.resolve_secrets(p.clone()).await {
                Ok(p) => Some(p),
                Err(failure) => {
                    report.problems.push(format!("{name}: {}", failure.full_message()));
                    None
                }
            },
            None => None,
        };
        let mut orphans = Vec::new();
        for run in &runs {
            if kept.contains(&run.run_id) || !self.is_ours(run) {
                continue;
            }
            if run.status == RunStatus::Started {
                orphans.push(self.orphan(run.clone(), resolved.as_ref(), report).await);
            } else if end_was_never_told(run) && resolved.is_some() {
                self.tell(run.clone(), resolved.as_ref(), report).await;
                report.told.push(run.run_id);
            }
        }
        let ids: Vec<RunId> = orphans.iter().map(|r| r.run_id).collect();
        if !ids.is_empty() {
            let removed = world.cleanup.remove_partials(name, &ids).await?;
            report.partials.extend(removed.removed);
        }
        report.orphans.extend(ids);
        // Only a run that had got to the repository can have left a lock there.
        let touched = orphans.iter().any(|r| {
            let stage = r.error.as_ref().and_then(|e| e.stage);
            stage.is_none_or(|s| s >= Stage::Sync)
        });
        if let (true, Some(project)) = (touched, &resolved) {
            self.unlock_repository(project, cancel, report).await;
        }
        Ok(())
    }

    /// An orphaned run: failed with `INTERRUPTED` at its last stage, recorded and told.
    async fn orphan(
        &self,
        mut run: BackupRun,
        project: Option<&Project>,
        report: &mut RecoverReport,
    ) -> BackupRun {
        let stage = run.current_stage;
        let at = stage.map_or_else(String::new, |s| format!(" at stage {s}"));
        let failure = Failure::new(
            ErrorCode::Interrupted,
            format!("the process (pid {}) ended without finishing the run{at}", run.pid),
        );
        info!(run.id = %run.run_id, project = %run.project, "orphaned run: {}", failure.message);
        run.finish(self.world.clock.now(), Some(RunError::new(stage, &failure)));
        self.tell(run, project, report).await
    }

    /// Tells the end of a run that nobody was told of, and records that it was told. Where the
    /// project's channels cannot be had now (`project` is `None`), the record says that it has ended
    /// and nothing of telling, so that the next recovery tells it.
    async fn tell(
        &self,
        mut run: BackupRun,
        project: Option<&Project>,
        report: &mut RecoverReport,
    ) -> BackupRun {
        let now = self.world.clock.now();
        let told = |stage, outcome, message: &str| StageRecord {
            stage,
            started_at: Some(now),
            finished_at: Some(now),
            outcome,
            attempts: 1,
            message: Some(message.to_owned()),
        };
        if run.stage(Stage::Audit).is_none() {
            run.stages.push(told(Stage::Audit, StageOutcome::Ok, "recorded by recovery"));
        }
        let outcome = match project.filter(|p| !p.notifications.is_empty()) {
            Some(project) => {
                let mut notice = Notice::finished(&run, run.finished_at.unwrap_or(now));
                if run.status == RunStatus::Success {
                    notice = notice.into_delayed(&self.world.settings.timezone);
                }
                deliver::notify(&self.world, project, &notice).await;
                StageOutcome::Ok
            }
            None => StageOutcome::Skipped,
        };
        if project.is_some() {
            run.stages.push(told(Stage::Notify, outcome, "told by recovery"));
        }
        report.problems.extend(deliver::record(&self.world, &run).await);
        run
    }

    async fn unlock_repository(
        &self,
        project: &Project,
        cancel: &Cancel,
        report: &mut RecoverReport,
    ) {
        let ctx = StageContext::new(Stage::Sync, cancel.clone(), Arc::new(project.redactor()));
        let mut unlocked = false;
        for at in &project.destinations {
            let freed = match self.world.registries.storage(project, at) {
                Ok(storage) => storage.remote.unlock_stale(&ctx).await,
                Err(failure) => Err(failure),
            };
            match freed {
                Ok(true) if at.archive().is_some() => {
                    report.archives_cleared.push((project.name.clone(), at.location()));
                }
                Ok(freed) => unlocked |= freed,
                // What an absent disk may hold is in nobody's way: the next archive on it removes it.
                Err(failure) if failure.code == ErrorCode::NotMounted && at.archive().is_some() => {
                    info!(project = %project.name, destination = %at.name, "{}", failure.message);
                }
                Err(failure) => {
                    let named = Self::named(project, at);
                    report.problems.push(format!("{named}: {}", failure.full_message()));
                }
            }
        }
        if unlocked {
            report.repositories_unlocked.push(project.name.clone());
        }
    }

    /// A destination in a text: by the project alone where it has no other.
    fn named(project: &Project, at: &Destination) -> String {
        if project.has_several_destinations() {
            format!("{}, {}", project.name, at.name)
        } else {
            project.name.to_string()
        }
    }

    /// A run of this machine: where the audit is shared, other machines' runs have locks that cannot
    /// be seen from here.
    fn is_ours(&self, run: &BackupRun) -> bool {
        !self.world.settings.audit_is_shared || run.host == self.world.identity.host
    }

    async fn replay(&self, cancel: &Cancel, report: &mut RecoverReport) {
        let until = self.world.clock.now().checked_add(self.replay_budget);
        let sink = Sink {
            world: Arc::clone(&self.world),
            config: Arc::clone(&self.config),
            cancel: cancel.clone(),
            until: until.unwrap_or(Timestamp::MAX),
            projects: tokio::sync::Mutex::default(),
        };
        match self.world.fallback.pending().await {
            Ok(0) => return,
            Ok(_) => {}
            Err(failure) => report.problems.push(failure.full_message()),
        }
        match self.world.fallback.replay(&sink).await {
            Ok(done) => {
                report.delivered = done.delivered;
                report.remaining = done.remaining;
                report.waiting = done.waiting;
                report.rejected = done.rejected;
                info!(
                    delivered = report.delivered,
                    remaining = report.remaining.len(),
                    rejected = report.rejected,
                    "replayed the fallback file"
                );
            }
            Err(failure) => report.problems.push(failure.full_message()),
        }
    }
}

/// Whether the record of an ended run shows that it died between recording and telling its end.
///
/// A run that came to its end lists Notify, sent or skipped; one whose record came by way of the
/// fallback file says so at Audit and is not told a second time.
fn end_was_never_told(run: &BackupRun) -> bool {
    run.status != RunStatus::Started
        && run.stage(Stage::Notify).is_none()
        && run.stage(Stage::Audit).is_some_and(|s| s.outcome == StageOutcome::Ok)
}

/// Delivers kept entries for real: records to the audit, notices over their channel.
struct Sink {
    world: Arc<World>,
    config: Arc<dyn ConfigLoader>,
    cancel: Cancel,
    until: Timestamp,
    /// Each project is looked up once a replay: its secrets may cost a command each.
    projects: tokio::sync::Mutex<HashMap<ProjectName, Result<Project, Failure>>>,
}

impl Sink {
    async fn project(&self, name: &ProjectName) -> Result<Project, Failure> {
        let mut projects = self.projects.lock().await;
        if let Some(known) = projects.get(name) {
            return known.clone();
        }
        let found = self.look_up(name).await;
        projects.insert(name.clone(), found.clone());
        found
    }

    async fn look_up(&self, name: &ProjectName) -> Result<Project, Failure> {
        let config = self.config.load().await?;
        let found = config.projects.into_iter().find(|p| p.name == name.as_str());
        match found.map(|p| p.project) {
            Some(Ok(project)) => {
                Ok(deliver::resolved_for_notice(self.config.as_ref(), project).await)
            }
            Some(Err(issues)) => Err(super::run_all::invalid(name.as_str(), &issues)),
            None => Err(Failure::new(
                ErrorCode::NotifyFailed,
                format!("project {name} is not configured any more"),
            )),
        }
    }
}

#[async_trait]
impl ReplaySink for Sink {
    async fn deliver(&self, entry: &FallbackEntry) -> Result<(), Failure> {
        self.cancel.check()?;
        if self.world.clock.now() > self.until {
            return Err(Failure::new(
                ErrorCode::NotifyFailed,
                "left for the next start: delivering took long enough",
            )
            .permanent());
        }
        match entry {
            FallbackEntry::Audit { run } => self.world.audit.finish_run(run).await,
            FallbackEntry::Notification { project, channel, index, notice } => {
                let project = self.project(project).await?;
                deliver::notify_late(&self.world, &project, channel, *index, notice).await
            }
            FallbackEntry::GlobalNotification { channel, index, notice } => {
                let loaded = self.config.load().await?;
                let config = self.config.as_ref();
                everybody::tell_late(&self.world, config, &loaded, channel, *index, notice).await
            }
        }
    }
}
