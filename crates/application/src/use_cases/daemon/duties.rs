//! What is due beside the runs: the watch that successes come, and the daily summary.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use backupctl_domain::ProjectName;
use backupctl_domain::schedule::Schedule;
use jiff::Timestamp;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::Ports;
use super::roster::Roster;
use crate::World;
use crate::ports::ProjectEntry;
use crate::use_cases::summary::{self, Summary};
use crate::use_cases::watch::Watch;

/// Two looks of the watch at everything are no closer than this.
const NOT_SOONER: Duration = Duration::from_secs(1);

/// What a task of the daemon has done.
pub(super) enum Done {
    /// A run of this project has ended.
    Run(ProjectName),
    /// The watch has looked; when it is worth it again, and whether it has looked at everything.
    Watched { next: Option<Timestamp>, all: bool },
    /// The daily summary is out.
    Summarized,
    /// People were told of the configuration.
    Told,
}

/// What the watch is to look at.
#[derive(Default)]
enum Wanted {
    #[default]
    Nothing,
    Some(BTreeSet<ProjectName>),
    All,
}

/// What is due, and what goes on.
#[derive(Default)]
pub(super) struct Duties {
    wanted: Wanted,
    watching: bool,
    watch_next: Option<Timestamp>,
    summary: Option<Schedule>,
    summary_next: Option<Timestamp>,
    summary_wanted: bool,
    summarizing: bool,
}

impl Duties {
    /// The watch is to look at this project: it may have become late, or well again.
    pub(super) fn watch(&mut self, name: &ProjectName) {
        match &mut self.wanted {
            Wanted::All => {}
            Wanted::Some(names) => {
                names.insert(name.clone());
            }
            Wanted::Nothing => self.wanted = Wanted::Some(BTreeSet::from([name.clone()])),
        }
    }

    /// Plans by a new configuration: looks at everything, and makes up for a summary of this day.
    pub(super) async fn plan(&mut self, world: &Arc<World>, roster: &Roster, now: Timestamp) {
        self.wanted = Wanted::All;
        let zone = &world.settings.timezone;
        self.summary = roster.config().and_then(|config| summary::schedule(config, zone));
        self.summary_next = self.summary.as_ref().and_then(|schedule| schedule.next_after(now));
        let Some(schedule) = self.summary.as_ref().filter(|_| !self.summarizing) else { return };
        match summary::is_owed(world, schedule, now).await {
            Ok(owed) => self.summary_wanted = owed,
            Err(failure) => warn!("the machine's memory: {}", failure.full_message()),
        }
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.watch_next.into_iter().chain(self.summary_next).min()
    }

    /// Notes what has become due.
    pub(super) fn due(&mut self, roster: &Roster, now: Timestamp) {
        if self.watch_next.is_some_and(|at| at <= now) {
            self.watch_next = None;
            self.wanted = Wanted::All;
        }
        if self.summary_next.is_some_and(|at| at <= now) {
            self.summary_next = self.summary.as_ref().and_then(|schedule| schedule.next_after(now));
            self.summary_wanted = true;
        }
        // A project that is gone is none of the watch's.
        if let Wanted::Some(names) = &mut self.wanted {
            names.retain(|name| roster.project(name).is_some());
        }
    }

    /// Starts what is wanted and does not go on already.
    pub(super) fn start(&mut self, ports: &Ports, roster: &Roster, tasks: &mut JoinSet<Done>) {
        self.start_watch(ports, roster, tasks);
        self.start_summary(ports, roster, tasks);
    }

    fn start_watch(&mut self, ports: &Ports, roster: &Roster, tasks: &mut JoinSet<Done>) {
        if self.watching || matches!(self.wanted, Wanted::Nothing) {
            return;
        }
        let Some(config) = roster.config().cloned() else { return };
        self.watching = true;
        let wanted = std::mem::take(&mut self.wanted);
        let watch = Watch::new(Arc::clone(&ports.world), Arc::clone(&ports.config));
        let all = matches!(wanted, Wanted::All);
        tasks.spawn(async move {
            let look = async move {
                match wanted {
                    Wanted::All => watch.execute(&config.projects).await,
                    Wanted::Some(names) => {
                        let names: HashSet<&str> = names.iter().map(ProjectName::as_str).collect();
                        let is_wanted = |entry: &&ProjectEntry| names.contains(&*entry.name);
                        let some: Vec<ProjectEntry> =
                            config.projects.iter().filter(is_wanted).cloned().collect();
                        watch.execute(&some).await
                    }
                    Wanted::Nothing => watch.execute(&[]).await,
                }
            };
            let next = match tokio::spawn(look).await {
                Ok(report) => report.next,
                Err(panic) => {
                    error!("the watch panicked: {panic}");
                    None
                }
            };
            Done::Watched { next, all }
        });
    }

    fn start_summary(&mut self, ports: &Ports, roster: &Roster, tasks: &mut JoinSet<Done>) {
        if self.summarizing || !std::mem::take(&mut self.summary_wanted) {
            return;
        }
        let Some(config) = roster.config().cloned() else { return };
        self.summarizing = true;
        let summary = Summary::new(Arc::clone(&ports.world), Arc::clone(&ports.config));
        tasks.spawn(async move {
            // What went wrong with it is remembered, and told by `health`.
            let sent = tokio::spawn(async move { summary.send(&config).await }).await;
            if let Err(panic) = sent {
                error!("the daily summary panicked: {panic}");
            }
            Done::Summarized
        });
    }

    /// Something has been done.
    pub(super) fn done(&mut self, done: &Done, now: Timestamp) {
        match done {
            Done::Watched { next, all } => {
                self.watching = false;
                let soonest = now.checked_add(NOT_SOONER).unwrap_or(now);
                let next = next.map(|at| at.max(soonest));
                let before = self.watch_next.filter(|_| !all);
                self.watch_next = before.into_iter().chain(next).min();
            }
            Done::Summarized => {
                self.summarizing = false;
                info!("daily summary done");
            }
            Done::Run(_) | Done::Told => {}
        }
    }
}
