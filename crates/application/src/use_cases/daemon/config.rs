//! The configuration as the daemon goes by it: the last good one, until a better one can be loaded.

use std::collections::HashMap;
use std::sync::Arc;

use backupctl_domain::schedule::memory::{Promise, ScheduleMemory};
use backupctl_domain::schedule::{CatchUp, Schedule};
use backupctl_domain::{ErrorCode, Failure, Project, ProjectName, Secret};
use jiff::Timestamp;
use serde_json::json;
use tracing::{info, warn};

use super::duties::Done;
use super::roster::Roster;
use super::{Daemon, WHY_LATE, alarm};
use crate::ports::{GlobalSettings, LoadedConfig, ProjectEntry};
use crate::use_cases::run_all;
use crate::use_cases::slots::Pass;

/// How long after a first failure a changed configuration is loaded once more before anything is told:
/// it may just be being written.
const ONCE_MORE_AFTER: std::time::Duration = std::time::Duration::from_secs(3);

/// The grace of a schedule of which only its cron is remembered.
const GRACE: std::time::Duration = std::time::Duration::from_hours(2);

/// How the configuration stands.
#[derive(Default)]
pub(super) struct Standing {
    /// What the files looked like when they were read last.
    fingerprint: u64,
    /// Why they could not be loaded, while that is so.
    problem: Option<Failure>,
    /// The global part that this process was wired by.
    wired: Option<Wired>,
    /// Whether people are just being told.
    telling: bool,
    /// Whether there is more to tell when they have been.
    more_to_tell: bool,
    /// Whether a change could not be loaded, once so far.
    doubtful: bool,
    /// What the configuration has lost, and whether a look has seen that since. A file that is just
    /// being written may lack what comes behind.
    vanished: HashMap<ProjectName, bool>,
}

/// Leaves of each project what schedule, watch and notices need: each run reads the rest afresh, and
/// there may be a thousand of them. The slim ones are new copies, so that they lie side by side.
fn slim(loaded: &mut LoadedConfig) {
    let slim = |project: Project| Project {
        enabled: project.enabled,
        schedule: project.schedule,
        timeout: project.timeout,
        monitor: project.monitor,
        ..Project::unreadable(project.name, project.notifications)
    };
    let entries = std::mem::take(&mut loaded.projects).into_iter();
    loaded.projects = entries
        .map(|entry| ProjectEntry { name: entry.name, project: entry.project.map(slim) })
        .collect();
    loaded.warnings = Vec::new();
}

/// What only a restart changes.
#[derive(PartialEq, Eq)]
struct Wired([(&'static str, String); 5]);

impl Wired {
    fn by(global: &GlobalSettings) -> Self {
        // Holds secrets, and is never shown.
        let text = |secret: &Secret| match secret {
            Secret::Value(_) => secret.expose().unwrap_or_default().to_owned(),
            other => format!("{other:?}"),
        };
        Self([
            ("base_dir", global.base_dir.display().to_string()),
            ("timezone", format!("{:?}", global.timezone)),
            ("audit.url", text(&global.audit_url)),
            ("http", format!("{} {:?}", global.http_listen, global.http_token.as_ref().map(text))),
            ("log", format!("{:?}", global.log)),
        ])
    }

    /// The keys that differ.
    fn differs(&self, other: &Self) -> Vec<&'static str> {
        let pairs = self.0.iter().zip(&other.0);
        pairs.filter(|(a, b)| a != b).map(|((key, _), _)| *key).collect()
    }
}

impl Daemon {
    /// Reads the configuration; one whose global part is broken cannot be used.
    pub(super) async fn load(&mut self) -> Result<LoadedConfig, Failure> {
        // Asked for first: a change while it is being read is one more.
        self.standing.fingerprint = self.ports.config.fingerprint();
        let mut loaded = self.ports.config.load().await?;
        self.ports.world.registries.refuse_unsupported(&mut loaded);
        match &loaded.global {
            Ok(_) => Ok(loaded),
            Err(issues) => {
                let file = loaded.file.display();
                let mut failure = run_all::invalid("(all)", issues);
                failure.message = failure.message.replacen(
                    "the configuration of project (all) has errors",
                    &format!("{file} has errors"),
                    1,
                );
                Err(failure)
            }
        }
    }

    /// The look that comes once a minute; says when the next one is to come.
    pub(super) async fn look(&mut self) -> std::time::Duration {
        let now = self.now();
        self.note_the_clock(now).await;
        self.weigh_the_clock(now, true).await;
        if std::mem::take(&mut self.standing.doubtful) {
            // Told where it is needed: by readiness, log, event and notice.
            let _ = self.reload().await;
        } else {
            self.confirm_what_vanished().await;
            self.reload_if_changed().await;
        }
        self.alarm();
        if self.standing.doubtful { ONCE_MORE_AFTER } else { self.look_every }
    }

    /// Reads the configuration again if it looks changed. Where that fails, the next look tries once
    /// more.
    pub(super) async fn reload_if_changed(&mut self) {
        if self.ports.config.fingerprint() == self.standing.fingerprint {
            return;
        }
        match self.load().await {
            Ok(loaded) => self.accept(loaded).await,
            Err(failure) => {
                info!(error.code = %failure.code, "not reloaded yet: {}", failure.message);
                self.standing.doubtful = true;
            }
        }
    }

    /// Goes by a configuration that has been read again.
    async fn accept(&mut self, loaded: LoadedConfig) {
        self.standing.doubtful = false;
        let was_broken = self.standing.problem.take().is_some();
        info!(file = %loaded.file.display(), projects = loaded.projects.len(), "reloaded");
        let projects = loaded.projects.len();
        self.adopt(loaded, WHY_LATE).await;
        self.shared.tell(None, json!({"event": "reloaded", "projects": projects}));
        if was_broken {
            self.tell_people();
        }
    }

    /// Reads the configuration again. One that cannot be loaded changes nothing, and is told.
    pub(super) async fn reload(&mut self) -> Result<(), Failure> {
        match self.load().await {
            Ok(loaded) => {
                self.accept(loaded).await;
                Ok(())
            }
            Err(failure) => {
                warn!(error.code = %failure.code, "not reloaded: {}", failure.full_message());
                let event = json!({
                    "event": "reload_failed", "code": failure.code,
                    "message": failure.full_message(), "remedy": failure.remedy,
                });
                self.shared.tell(None, event);
                self.standing.problem = Some(failure.clone());
                self.publish_problems();
                self.alarm();
                Err(failure)
            }
        }
    }

    /// Goes by this configuration from now on. `why` says why slots were missed that have passed.
    pub(super) async fn adopt(&mut self, mut loaded: LoadedConfig, why: &str) {
        slim(&mut loaded);
        let first = self.roster.config().is_none();
        let before = std::mem::take(&mut self.roster);
        if let Ok(global) = &loaded.global {
            self.board.set_concurrency(global.concurrency);
            self.standing.wired.get_or_insert_with(|| Wired::by(global));
        }
        let mut known = HashMap::new();
        for entry in &loaded.projects {
            let Ok(name) = ProjectName::new(entry.name.clone()) else { continue };
            let Err(issues) = &entry.project else { continue };
            warn!(
                project = %name, error.code = %ErrorCode::InvalidConfig,
                "{}", run_all::invalid(name.as_str(), issues).message
            );
            let last = match before.project(&name) {
                Some((project, _)) => Some(project.clone()),
                None => self.remembered(&name, &loaded).await,
            };
            if let Some(project) = last {
                known.insert(name, project);
            }
        }
        self.roster = Roster::new(Arc::new(loaded), |name| known.remove(name));
        for name in before.names() {
            if self.roster.project(&name).is_none() {
                info!(project = %name, "not in the configuration any more");
                self.board.withdraw(&name);
                self.standing.vanished.entry(name).or_insert(false);
            }
        }
        let now = self.now();
        let mut pass = Pass::default();
        for name in self.roster.names() {
            self.welcome(&name, first, now, why, &mut pass).await;
        }
        self.duties.plan(&self.ports.world, &self.roster, now).await;
        self.publish_problems();
        if first {
            // An episode may have ended while no daemon ran.
            self.tell_people();
        }
    }

    /// Takes up a project's schedule, or lets go of it.
    async fn welcome(
        &mut self,
        name: &ProjectName,
        first: bool,
        now: Timestamp,
        why: &str,
        pass: &mut Pass,
    ) {
        let Some(schedule) = self.roster.schedule(name) else {
            self.board.let_go(name);
            let is_off = self.roster.project(name).is_some_and(|(project, _)| !project.enabled);
            if first || is_off {
                self.standing.vanished.remove(name);
                self.forget(name).await;
            } else {
                self.standing.vanished.entry(name.clone()).or_insert(false);
            }
            return;
        };
        let promise = Promise::of(schedule);
        self.standing.vanished.remove(name);
        if self.board.is_busy(name) {
            // Its slots are dealt with when its run has begun; what it promises is known at once.
            let change = move |memory: &mut ScheduleMemory| memory.promised = Some(promise);
            self.remember(name, Box::new(change)).await;
            self.roster.plan(name, now);
            return;
        }
        self.slot(name, now, why, pass).await;
    }

    /// Forgets the schedules that the configuration has lost, once two looks have seen it so.
    async fn confirm_what_vanished(&mut self) {
        if self.ports.config.fingerprint() != self.standing.fingerprint {
            return;
        }
        for (name, was_seen) in std::mem::take(&mut self.standing.vanished) {
            if was_seen {
                self.forget(&name).await;
            } else {
                self.standing.vanished.insert(name, true);
            }
        }
    }

    /// A schedule that is off, or gone, promises nothing; once it is back it counts from then on.
    async fn forget(&self, name: &ProjectName) {
        let now = self.now();
        let change = move |memory: &mut ScheduleMemory| {
            if memory.promised.take().is_some() {
                memory.note_promise(None, now);
                memory.handled_until = None;
                memory.owed = None;
            }
        };
        self.remember(name, Box::new(change)).await;
    }

    async fn remember(&self, name: &ProjectName, change: crate::ports::Change<ScheduleMemory>) {
        if let Err(failure) = self.ports.world.schedules.update_project(name, change).await {
            warn!(project = %name, "the schedule's memory: {}", failure.full_message());
        }
    }

    /// What is remembered of a project that was broken already when the daemon started: its schedule,
    /// and everybody's channels.
    async fn remembered(&self, name: &ProjectName, loaded: &LoadedConfig) -> Option<Project> {
        let world = &self.ports.world;
        let promise = world.schedules.project(name).await.ok()?.promised?;
        let timezone = world.settings.timezone.clone();
        let like = Schedule::new("@daily", timezone, CatchUp::default(), GRACE).ok()?;
        let channels = loaded.global.as_ref().map(|global| global.notifications.clone());
        let mut project = Project::unreadable(name.clone(), channels.unwrap_or_default());
        project.schedule = Some(promise.schedule(&like)?);
        Some(project)
    }

    /// What is in the way, a line each.
    pub(super) fn publish_problems(&self) {
        let mut problems: Vec<String> = Vec::new();
        problems.extend(self.doubt.as_ref().map(super::clock::Doubt::problem));
        if let Some(failure) = &self.standing.problem {
            problems.push(format!(
                "the configuration cannot be loaded, so that each run that comes due fails: {}",
                failure.full_message()
            ));
        }
        self.shared.cannot_load(self.standing.problem.is_some());
        for entry in self.roster.entries() {
            if let Err(issues) = &entry.project {
                problems.push(run_all::invalid(&entry.name, issues).message);
            }
        }
        let global = self.roster.config().and_then(|config| config.global.as_ref().ok());
        if let (Some(wired), Some(global)) = (&self.standing.wired, global) {
            let differs = wired.differs(&Wired::by(global));
            if !differs.is_empty() {
                let keys = differs.join(", ");
                let problem = format!("{keys} changed: takes effect when the daemon is restarted");
                warn!("{problem}");
                problems.push(problem);
            }
        }
        self.shared.stand(|readiness| readiness.problems = problems);
    }

    /// Sees to it that people are told, daily, while the configuration cannot be loaded.
    fn alarm(&mut self) {
        if self.standing.problem.is_some() {
            self.tell_people();
        }
    }

    fn tell_people(&mut self) {
        let Some(config) = self.roster.config().cloned() else { return };
        if std::mem::replace(&mut self.standing.telling, true) {
            self.standing.more_to_tell = true;
            return;
        }
        let (ports, problem) = (self.ports.clone(), self.standing.problem.clone());
        self.tasks.spawn(async move {
            let told =
                tokio::spawn(async move { alarm::tell(ports, &config, problem).await }).await;
            if let Err(panic) = told {
                tracing::error!("telling of the configuration panicked: {panic}");
            }
            Done::Told
        });
    }

    /// People have been told of the configuration.
    pub(super) fn told(&mut self) {
        self.standing.telling = false;
        if std::mem::take(&mut self.standing.more_to_tell) {
            self.tell_people();
        }
    }
}
