//! Tells people of a project that is late, or well again, and remembers that they were told.

use std::sync::Arc;
use std::time::Duration;

use backupctl_domain::freshness::Freshness;
use backupctl_domain::schedule::memory::{Episode, ScheduleMemory};
use backupctl_domain::{Failure, Notice, Project};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::super::deliver;
use super::super::status::ProjectStatus;
use super::{Told, Watch, WatchReport, Watched, late_since, problem, verdict};

/// How many projects are told of at once: a channel that does not answer takes its time, and a dead
/// machine may make all of them late together.
const AT_ONCE: usize = 8;

/// Which of a project's episodes an alert belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// By audit and memory.
    Audit,
    /// By what the repository shows.
    Repository,
}

impl Side {
    pub(super) const fn episode(self, memory: &mut ScheduleMemory) -> &mut Option<Episode> {
        match self {
            Self::Audit => &mut memory.alert,
            Self::Repository => &mut memory.repository_alert,
        }
    }
}

/// One notice that is to go out.
pub(super) struct Alert {
    project: Project,
    notice: Notice,
    told: Told,
    since: Timestamp,
    pub(super) side: Side,
}

impl Alert {
    /// What to tell of the project, whose status and verdict are these.
    pub(super) fn new(
        watch: &Watch,
        p: &ProjectStatus,
        project: &Project,
        told: Told,
        watched: &Watched,
        began: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let tz = &watch.world.settings.timezone;
        let (name, last) = (&project.name, watched.last_success);
        let since = began.or_else(|| watched.freshness.and_then(late_since)).unwrap_or(now);
        let notice = if told == Told::Recovered {
            let last = last.unwrap_or(now);
            Notice::recovered(name, last, elapsed(since, last), now, tz)
        } else {
            let every = match watched.freshness {
                Some(Freshness::Overdue { expected_every, .. }) => Some(expected_every),
                _ => project.schedule.as_ref().and_then(|s| s.expected_interval(now)),
            };
            let mut notice = Notice::overdue(name, last, every.unwrap_or_default(), now, tz);
            if let (Some(run), Some(elapsed)) = (&p.running, verdict::stuck(p, now)) {
                notice = notice.with_run(run, elapsed);
            }
            let why = &watched.verdict;
            notice.with_reason(why.cause.as_deref(), why.code, why.remedy.as_deref())
        };
        Self { project: project.clone(), notice, told, since, side: Side::Audit }
    }

    /// The same about what the repository shows.
    pub(super) fn of_repository(self) -> Self {
        Self { side: Side::Repository, ..self }
    }

    /// Sends it over every channel of the project that can be had; `None` where it has none at all.
    /// Else what went wrong, a line a channel.
    async fn send(&self, watch: &Watch) -> Option<Vec<String>> {
        if self.project.notifications.is_empty() {
            info!(project = %self.project.name, "nobody is told: it has no channel");
            return None;
        }
        let config = watch.config.as_ref();
        let project = Project { monitor: None, ..self.project.clone() };
        let project = deliver::resolved_for_notice(config, project).await;
        if project.notifications.is_empty() {
            return Some(vec!["no channel can be used: their secrets cannot be had".to_owned()]);
        }
        Some(deliver::notify(&watch.world, &project, &self.notice).await)
    }

    /// Remembers that people were told.
    async fn remember(&self, watch: &Watch) -> Result<(), Failure> {
        let (side, told) = (self.side, self.told);
        let episode = Episode { since: self.since, told_at: self.notice.at };
        let change = move |memory: &mut ScheduleMemory| {
            *side.episode(memory) = (told != Told::Recovered).then_some(episode);
        };
        watch.world.schedules.update_project(&self.project.name, Box::new(change)).await.map(drop)
    }
}

impl Watch {
    /// Sends the alerts, each with the place of its project in the report.
    pub(super) async fn send(&self, alerts: Vec<(usize, Alert)>, report: &mut WatchReport) {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let mut tasks = JoinSet::new();
        for (index, alert) in alerts {
            let (watch, slots) = (self.clone(), Arc::clone(&slots));
            tasks.spawn(async move {
                let _slot = slots.acquire_owned().await;
                let undelivered = alert.send(&watch).await;
                // Somebody may be told once there is a channel.
                let remembered = match &undelivered {
                    None if alert.told != Told::Recovered => Ok(()),
                    _ => alert.remember(&watch).await,
                };
                (index, alert.told, undelivered, remembered)
            });
        }
        while let Some(done) = tasks.join_next().await {
            let (index, told, undelivered, remembered) = match done {
                Ok(done) => done,
                Err(panic) => {
                    let failure = Failure::internal(format!("an alert was not sent: {panic}"));
                    problem(report, None, &failure);
                    continue;
                }
            };
            let name = report.projects.get(index).map(|p| p.name.clone()).unwrap_or_default();
            if let Some(watched) = report.projects.get_mut(index) {
                watched.told = undelivered.is_some().then_some(told);
                watched.undelivered = undelivered.unwrap_or_default();
                for line in &watched.undelivered {
                    warn!(project = %name, "alert not delivered: {line}");
                }
            }
            if let Err(failure) = remembered {
                problem(report, Some(&name), &failure);
            }
        }
    }
}

fn elapsed(since: Timestamp, until: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(since)).unwrap_or_default()
}
