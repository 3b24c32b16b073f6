//! Tells everybody of what concerns all projects: that the audit does not answer.

use std::collections::HashSet;
use std::time::Duration;

use backupctl_domain::project::Channel;
use backupctl_domain::schedule::memory::{Episode, MachineMemory};
use backupctl_domain::{Failure, Notice, Project, Secret};
use jiff::Timestamp;
use tracing::warn;

use super::super::deliver;
use super::{AUDIT_RETRY, Told, Watch, WatchReport, due_alert, problem};
use crate::ports::{FallbackEntry, LoadedConfig};

/// A channel, and a project that has it: who delivers what was kept later finds it there.
struct Recipient {
    owner: Project,
    index: usize,
    channel: Channel,
}

impl Watch {
    /// Tells everybody once an episode, and daily, that the audit does not answer; and when it does
    /// again.
    pub(super) async fn tell_of_the_audit(&self, report: &mut WatchReport, now: Timestamp) {
        let memory = match self.world.schedules.machine().await {
            Ok(memory) => memory,
            Err(failure) => {
                problem(report, None, &failure);
                MachineMemory::default()
            }
        };
        let episode = memory.audit_alert;
        let (told, notice) = match (&report.audit, episode) {
            (None, None) => return,
            (None, Some(episode)) => {
                let down = Duration::try_from(now.duration_since(episode.since));
                (Told::Recovered, Notice::audit_back(down.unwrap_or_default(), now))
            }
            (Some(failure), episode) => {
                let (told, next) = due_alert(episode.map(|e| e.told_at), now);
                let notice = Notice::audit_down(failure, now);
                report.at_the_latest(next);
                report.at_the_latest(now.checked_add(AUDIT_RETRY).ok());
                let Some(told) = told else { return };
                (told, notice)
            }
        };
        if !self.tells || !self.tell_everybody(&notice, report).await {
            return;
        }
        let since = episode.map_or(now, |episode| episode.since);
        let episode = (told != Told::Recovered).then_some(Episode { since, told_at: now });
        let change = Box::new(move |m: &mut MachineMemory| m.audit_alert = episode);
        if let Err(failure) = self.world.schedules.update_machine(change).await {
            problem(report, None, &failure);
        }
    }

    /// Sends the notice over the global channels, or, where there are none, once over each channel that
    /// an enabled project has; false where there is no channel at all. What one does not take is kept.
    async fn tell_everybody(&self, notice: &Notice, report: &mut WatchReport) -> bool {
        let loaded = match self.config.load().await {
            Ok(loaded) => loaded,
            Err(failure) => {
                problem(report, None, &failure);
                return false;
            }
        };
        let recipients = everybody(&loaded);
        for recipient in &recipients {
            if let Some(line) = self.tell(recipient, notice).await {
                report.problems.push(line);
            }
        }
        !recipients.is_empty()
    }

    /// What went wrong with telling this one.
    async fn tell(&self, recipient: &Recipient, notice: &Notice) -> Option<String> {
        let Recipient { owner, index, channel } = recipient;
        let kind = channel.kind();
        let alone =
            Project { notifications: vec![channel.clone()], monitor: None, ..owner.clone() };
        let alone = deliver::resolved_for_notice(self.config.as_ref(), alone).await;
        let failure = match alone.notifications.first() {
            None => Failure::internal(format!("the secrets of a {kind} channel cannot be had")),
            Some(channel) => {
                let notifier = self.world.registries.notifiers.make(kind, &alone, channel);
                let sent = match notifier {
                    Ok(notifier) => notifier.notify(notice).await,
                    Err(failure) => Err(failure),
                };
                sent.err()?
            }
        };
        warn!(channel = kind, error.code = %failure.code, "not told: {}", failure.full_message());
        let entry = FallbackEntry::Notification {
            project: owner.name.clone(),
            channel: kind.to_owned(),
            index: *index,
            notice: notice.clone(),
        };
        let kept = self.world.fallback.append(&entry).await;
        Some(match kept {
            Ok(()) => format!("{kind}: {}", failure.message),
            Err(lost) => {
                format!("{kind}: {}; and it could not be kept: {}", failure.message, lost.message)
            }
        })
    }
}

/// Whom to tell of what concerns all projects: the global channels, or, where there are none, every
/// channel of an enabled project, each once.
fn everybody(loaded: &LoadedConfig) -> Vec<Recipient> {
    let projects: Vec<&Project> =
        loaded.projects.iter().filter_map(|e| e.project.as_ref().ok()).collect();
    let of_projects = projects.iter().filter(|p| p.enabled).flat_map(|owner| {
        let channels = owner.notifications.iter().enumerate();
        channels.map(|(index, channel)| Recipient {
            owner: (*owner).clone(),
            index,
            channel: channel.clone(),
        })
    });
    let global = loaded.global.as_ref().map(|g| g.notifications.as_slice()).unwrap_or_default();
    let of_all = global.iter().filter_map(|channel| {
        // Most projects have no channels of their own but these.
        let same = |c: &Channel| identity(c) == identity(channel);
        let found =
            projects.iter().find_map(|p| Some((*p, p.notifications.iter().position(same)?)));
        let (owner, index) = found.or_else(|| projects.first().map(|p| (*p, usize::MAX)))?;
        Some(Recipient { owner: owner.clone(), index, channel: channel.clone() })
    });
    let all: Vec<Recipient> =
        if global.is_empty() { of_projects.collect() } else { of_all.collect() };
    let mut seen = HashSet::new();
    all.into_iter().filter(|r| seen.insert(identity(&r.channel))).collect()
}

/// What tells channels apart: their kind and where they lead. Holds secrets, and is never shown.
fn identity(channel: &Channel) -> Vec<String> {
    let place = match channel {
        Channel::Email(mail) => {
            format!("{}:{} {} {}", mail.host, mail.port, mail.from, mail.to.join(","))
        }
        Channel::Slack { .. } | Channel::Webhook { .. } => String::new(),
    };
    let secrets = channel.secrets().into_iter().map(|secret| match secret {
        Secret::Value(_) => format!("value {}", secret.expose().unwrap_or_default()),
        Secret::File(path) => format!("file {}", path.display()),
        Secret::Command(command) => format!("command {command}"),
    });
    [channel.kind().to_owned(), place].into_iter().chain(secrets).collect()
}
