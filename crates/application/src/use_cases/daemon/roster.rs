//! The projects that the daemon keeps the schedules of, and when each has its next slot.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use backupctl_domain::schedule::Schedule;
use backupctl_domain::{Failure, Project, ProjectName};
use jiff::Timestamp;

use crate::ports::{LoadedConfig, ProjectEntry};
use crate::use_cases::run_all;

/// A project as the daemon knows it.
struct Member {
    known: Known,
    next: Option<Timestamp>,
}

/// Where what is known of a project stands.
enum Known {
    /// In the configuration, at this place of its list.
    Good(usize),
    /// The configuration has errors in it: this is what was known before, and what is wrong.
    Broken(Box<Project>, Failure),
}

/// All of them.
#[derive(Default)]
pub(super) struct Roster {
    config: Option<Arc<LoadedConfig>>,
    members: HashMap<ProjectName, Member>,
    slots: BTreeSet<(Timestamp, ProjectName)>,
}

impl Roster {
    /// Those of this configuration. `last_good` is asked for what was known of a project that is broken
    /// in it now; one of which nothing is known has no schedule that could be kept.
    pub(super) fn new(
        config: Arc<LoadedConfig>,
        mut last_good: impl FnMut(&ProjectName) -> Option<Project>,
    ) -> Self {
        let mut members = HashMap::new();
        for (place, entry) in config.projects.iter().enumerate() {
            let Ok(name) = ProjectName::new(entry.name.clone()) else { continue };
            let known = match &entry.project {
                Ok(_) => Known::Good(place),
                Err(issues) => match last_good(&name) {
                    Some(project) => {
                        Known::Broken(Box::new(project), run_all::invalid(&entry.name, issues))
                    }
                    None => continue,
                },
            };
            members.insert(name, Member { known, next: None });
        }
        Self { config: Some(config), members, slots: BTreeSet::new() }
    }

    /// The configuration; none before the first was read.
    pub(super) fn config(&self) -> Option<&Arc<LoadedConfig>> {
        self.config.as_ref()
    }

    /// The entries of the configuration.
    pub(super) fn entries(&self) -> &[ProjectEntry] {
        self.config.as_ref().map(|c| c.projects.as_slice()).unwrap_or_default()
    }

    /// The names of all members.
    pub(super) fn names(&self) -> Vec<ProjectName> {
        self.members.keys().cloned().collect()
    }

    /// The project, and what is wrong with it in the configuration, if anything is.
    pub(super) fn project(&self, name: &ProjectName) -> Option<(&Project, Option<&Failure>)> {
        match &self.members.get(name)?.known {
            Known::Good(place) => {
                let project = self.entries().get(*place)?.project.as_ref().ok()?;
                Some((project, None))
            }
            Known::Broken(project, failure) => Some((project, Some(failure))),
        }
    }

    /// The project's schedule, if it is enabled and has one.
    pub(super) fn schedule(&self, name: &ProjectName) -> Option<&Schedule> {
        let (project, _) = self.project(name)?;
        project.schedule.as_ref().filter(|_| project.enabled)
    }

    /// Finds out when the project has its first slot after `now`.
    pub(super) fn plan(&mut self, name: &ProjectName, now: Timestamp) {
        let next = self.schedule(name).and_then(|schedule| schedule.next_after(now));
        let Some(member) = self.members.get_mut(name) else { return };
        if let Some(before) = std::mem::replace(&mut member.next, next) {
            self.slots.remove(&(before, name.clone()));
        }
        if let Some(at) = next {
            self.slots.insert((at, name.clone()));
        }
    }

    /// The earliest slot of all.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.slots.first().map(|(at, _)| *at)
    }

    /// Takes out one project whose slot has come; [`Roster::plan`] puts it back.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<ProjectName> {
        self.slots.first().filter(|(at, _)| *at <= now)?;
        let (_, name) = self.slots.pop_first()?;
        if let Some(member) = self.members.get_mut(&name) {
            member.next = None;
        }
        Some(name)
    }
}
