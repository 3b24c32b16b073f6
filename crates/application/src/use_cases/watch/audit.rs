//! Tells everybody that the audit does not answer, and when it does again.

use std::time::Duration;

use backupctl_domain::Notice;
use backupctl_domain::schedule::memory::{Episode, MachineMemory};
use jiff::Timestamp;

use super::super::everybody;
use super::{AUDIT_RETRY, Told, Watch, WatchReport, due_alert, problem};

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

    /// Tells everybody; false where that is nobody.
    pub(super) async fn tell_everybody(&self, notice: &Notice, report: &mut WatchReport) -> bool {
        let config = self.config.as_ref();
        let loaded = match config.load().await {
            Ok(loaded) => loaded,
            Err(failure) => {
                problem(report, None, &failure);
                return false;
            }
        };
        let told = everybody::tell(&self.world, config, &loaded, notice).await;
        report.problems.extend(told.problems);
        told.channels > 0
    }
}
