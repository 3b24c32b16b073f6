//! A clock that is wrong: set back while the daemon runs, or behind what is remembered when it starts.

use backupctl_domain::ProjectName;
use backupctl_domain::notice::stamp;
use backupctl_domain::schedule::memory::ScheduleMemory;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tracing::{error, info, warn};

use super::{Daemon, WHY_DOWN};
use crate::ports::LoadedConfig;
use crate::use_cases::slots::Pass;

/// How far the clock may go back before slots are found anew.
const SET_BACK: SignedDuration = SignedDuration::from_mins(1);

/// How far ahead a slot may seem to be dealt with before that is taken for a clock that was wrong.
const NEVER_AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// After so many looks a clock that is behind is believed: it was ahead before, and no schedule may be
/// dead until then.
const BELIEVED_AFTER: u32 = 60;

/// A start at which the clock shows an earlier time than what is remembered: that of a machine which
/// keeps no time while it is off, and has not been told it yet, or one that was ahead before.
pub(super) struct Doubt {
    /// The latest time that is remembered.
    remembered: Timestamp,
    looks: u32,
}

impl Doubt {
    /// What is in the way.
    pub(super) fn problem(&self) -> String {
        format!(
            "the clock is wrong: it shows a time before {}, at which a slot was dealt with already; \
             no scheduled run is made until it is set, or for an hour (see `timedatectl`)",
            stamp(self.remembered)
        )
    }
}

impl Daemon {
    /// Before the first slot is looked at: whether the clock can be right.
    pub(super) async fn doubt_the_clock(&mut self, loaded: &LoadedConfig) {
        let Some(latest) = self.now().checked_add(NEVER_AHEAD).ok() else { return };
        let mut remembered = None;
        for entry in &loaded.projects {
            let Ok(name) = ProjectName::new(entry.name.clone()) else { continue };
            let Ok(memory) = self.ports.world.schedules.project(&name).await else { continue };
            remembered = remembered.max(memory.last_success).max(memory.handled_until);
        }
        let Some(remembered) = remembered.filter(|time| *time > latest) else { return };
        let doubt = Doubt { remembered, looks: 0 };
        let problem = doubt.problem();
        error!("{problem}");
        self.shared.tell(None, json!({"event": "clock_wrong", "message": problem}));
        self.doubt = Some(doubt);
    }

    /// Takes up the schedules once the clock shows what it may, or has shown the same for long enough.
    pub(super) async fn weigh_the_clock(&mut self, now: Timestamp, by_look: bool) {
        let Some(doubt) = &mut self.doubt else { return };
        doubt.looks += u32::from(by_look);
        let is_right = now >= doubt.remembered;
        if !is_right && doubt.looks < BELIEVED_AFTER {
            return;
        }
        if is_right {
            info!("the clock is right again");
        } else {
            warn!("the clock still shows the same: it is believed, and was ahead before");
        }
        self.doubt = None;
        let mut pass = Pass::default();
        for name in self.roster.names() {
            if !is_right {
                self.never_ahead(&name, now).await;
            }
            self.slot(&name, now, WHY_DOWN, &mut pass).await;
        }
        self.shared.stand(|readiness| readiness.is_ready = true);
        self.publish_problems();
    }

    /// A clock that was ahead and has been set right must not leave schedules waiting for a time that is
    /// far away, nor slots that seem to be dealt with.
    pub(super) async fn note_the_clock(&mut self, now: Timestamp) {
        let back = self.awake_at.duration_since(now);
        self.awake_at = now;
        if back <= SET_BACK || self.doubt.is_some() {
            return;
        }
        warn!("the clock was set back by {} s", back.as_secs());
        for name in self.roster.names() {
            self.never_ahead(&name, now).await;
            self.roster.plan(&name, now);
        }
    }

    /// No slot after `now` is dealt with.
    async fn never_ahead(&self, name: &ProjectName, now: Timestamp) {
        let Some(latest) = now.checked_add(NEVER_AHEAD).ok() else { return };
        let change = move |memory: &mut ScheduleMemory| {
            if memory.handled_until.is_some_and(|until| until > latest) {
                memory.handled_until = Some(now);
            }
        };
        let changed = self.ports.world.schedules.update_project(name, Box::new(change)).await;
        if let Err(failure) = changed {
            warn!(project = %name, "the schedule's memory: {}", failure.full_message());
        }
    }
}
