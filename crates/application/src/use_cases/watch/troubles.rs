//! Tells everybody of projects that cannot even be looked at: their configuration has errors, or their
//! repository does not answer. Then nobody knows whether there is a backup, and their own channels may
//! be what cannot be read.

use backupctl_domain::notice::Troubled;
use backupctl_domain::schedule::memory::{Episode, MachineMemory};
use backupctl_domain::{ErrorCode, Notice};
use jiff::Timestamp;

use super::{Told, Watch, WatchReport, due_alert, problem};

/// Why a project cannot be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Its configuration has errors.
    Broken,
    /// Its repository does not answer.
    Unreachable,
}

impl Trouble {
    /// The name of it in `data.status` and in what is remembered.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Broken => "project_broken",
            Self::Unreachable => "repository_unreachable",
        }
    }

    const fn over(self) -> &'static str {
        match self {
            Self::Broken => "project_mended",
            Self::Unreachable => "repository_back",
        }
    }

    const fn headline(self) -> &'static str {
        match self {
            Self::Broken => "⚠️ Backups cannot be made: the configuration has errors",
            Self::Unreachable => "⚠️ Backups cannot be watched: the repository does not answer",
        }
    }

    const fn headline_over(self) -> &'static str {
        match self {
            Self::Broken => "✅ The configuration can be read again",
            Self::Unreachable => "✅ The repository answers again",
        }
    }

    fn key(self, project: &str) -> String {
        format!("{} {project}", self.as_str())
    }
}

impl Watch {
    /// Tells everybody once an episode, and daily, of the projects at these places of the report; and of
    /// those that are out of it again. All in one notice: what one of them has, its neighbours may have.
    pub(super) async fn tell_of_troubles(
        &self,
        trouble: Trouble,
        places: &[usize],
        report: &mut WatchReport,
        now: Timestamp,
    ) {
        let memory = match self.world.schedules.machine().await {
            Ok(memory) => memory,
            Err(failure) => {
                problem(report, None, &failure);
                MachineMemory::default()
            }
        };
        let (mut due, mut over) = (Vec::new(), Vec::new());
        let mut next = None;
        for (place, p) in report.projects.iter().enumerate() {
            let episode = memory.troubles.get(&trouble.key(&p.name)).copied();
            if !places.contains(&place) {
                over.extend(episode.map(|_| (place, p.name.clone())));
                continue;
            }
            let (told, again) = due_alert(episode.map(|e| e.told_at), now);
            next = next.into_iter().chain(again).min();
            due.extend(told.map(|told| (place, told, episode.map_or(now, |e| e.since))));
        }
        report.at_the_latest(next);
        if !self.tells {
            return;
        }
        self.tell_of_these(trouble, due, report, now).await;
        self.tell_that_these_are_over(trouble, over, report, now).await;
    }

    async fn tell_of_these(
        &self,
        trouble: Trouble,
        due: Vec<(usize, Told, Timestamp)>,
        report: &mut WatchReport,
        now: Timestamp,
    ) {
        let all: Vec<Troubled> = due
            .iter()
            .filter_map(|(place, ..)| report.projects.get(*place))
            .map(|p| Troubled {
                project: p.name.clone(),
                message: p.verdict.message.clone(),
                code: p.verdict.code.unwrap_or(ErrorCode::Internal),
                remedy: p.verdict.remedy.clone().unwrap_or_default(),
            })
            .collect();
        if all.is_empty() {
            return;
        }
        let notice = Notice::troubled(trouble.as_str(), trouble.headline(), &all, now);
        if !self.tell_everybody(&notice, report).await {
            return;
        }
        let mut episodes = Vec::new();
        for (place, told, since) in due {
            let Some(p) = report.projects.get_mut(place) else { continue };
            p.told = Some(told);
            episodes.push((trouble.key(&p.name), Episode { since, told_at: now }));
        }
        let change = move |machine: &mut MachineMemory| machine.troubles.extend(episodes);
        if let Err(failure) = self.world.schedules.update_machine(Box::new(change)).await {
            problem(report, None, &failure);
        }
    }

    async fn tell_that_these_are_over(
        &self,
        trouble: Trouble,
        over: Vec<(usize, String)>,
        report: &mut WatchReport,
        now: Timestamp,
    ) {
        if over.is_empty() {
            return;
        }
        let names: Vec<&str> = over.iter().map(|(_, name)| name.as_str()).collect();
        let notice = Notice::out_of_trouble(trouble.over(), trouble.headline_over(), &names, now);
        self.tell_everybody(&notice, report).await;
        for (place, _) in &over {
            if let Some(p) = report.projects.get_mut(*place) {
                p.told = p.told.or(Some(Told::Recovered));
            }
        }
        let change = move |machine: &mut MachineMemory| {
            for (_, name) in over {
                machine.troubles.remove(&trouble.key(&name));
            }
        };
        if let Err(failure) = self.world.schedules.update_machine(Box::new(change)).await {
            problem(report, None, &failure);
        }
    }
}
