//! A run that a schedule asks for: by the daemon, a timer, or cron. Nobody watches it, so it looks
//! before it starts, and it accounts for the slots before it.

use std::sync::Arc;

use backupctl_domain::schedule::memory::{Pause, ScheduleMemory};
use backupctl_domain::schedule::planner::{Due, PUNCTUAL};
use backupctl_domain::{Project, Trigger};
use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use super::slots;
use crate::World;

/// What a scheduled start has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// The run is to be made, for this slot where one is known.
    Run {
        /// `scheduled` or `catch_up`.
        trigger: Trigger,
        /// The slot that it is for.
        due_at: Option<Timestamp>,
    },
    /// Somebody has paused the schedule: nothing is to be done.
    Paused(Pause),
    /// The configuration turns the project off: nothing is to be done.
    Disabled,
}

/// Why a slot passed without a run where timers start the runs.
const WHY: &str = "nothing started it (machine off, or its timer not active)";

/// Decides what a start by a timer or cron means, which says nothing but that it is time; records the
/// slots that have passed since the last one. A timer may be late by as much as the project's grace
/// before its run counts as made up for. Whatever cannot be found out, the backup is made.
pub async fn begin(world: &Arc<World>, project: &Project) -> Start {
    if !project.enabled {
        return Start::Disabled;
    }
    let anyhow = Start::Run { trigger: Trigger::Scheduled, due_at: None };
    let Some(schedule) = &project.schedule else { return anyhow };
    let now = world.clock.now();
    let memory = match world.schedules.project(&project.name).await {
        Ok(memory) => memory,
        Err(failure) => {
            warn!(project = %project.name, "the schedule's memory: {}", failure.full_message());
            return anyhow;
        }
    };
    // What shows, to whoever asks for the daemon, that there is something else.
    let seen = Box::new(move |memory: &mut ScheduleMemory| memory.timer_at = Some(now));
    if let Err(failure) = world.schedules.update_project(&project.name, seen).await {
        warn!(project = %project.name, "the schedule's memory: {}", failure.full_message());
    }
    if let Some(pause) = memory.pause_at(now) {
        info!(project = %project.name, "paused: no run is made");
        return Start::Paused(pause);
    }
    let grace = schedule.grace.max(PUNCTUAL);
    if memory.handled_until.is_none() {
        // The first start that is ever seen is for the slot that has just come.
        let slot = schedule.previous_at(now);
        let before = slot.and_then(|slot| slot.checked_sub(SignedDuration::from_secs(1)).ok());
        let recent = slot.is_some_and(|slot| slots::within(now, slot, grace));
        if let Some(before) = before.filter(|_| recent)
            && let Err(failure) = slots::handled(world, &project.name, before).await
        {
            warn!(project = %project.name, "the schedule's memory: {}", failure.full_message());
        }
    }
    let settled = slots::settle_late(world, project, now, grace, WHY).await;
    let settled = settled.unwrap_or_else(|failure| {
        warn!(project = %project.name, "the schedule's memory: {}", failure.full_message());
        slots::Settled::default()
    });
    let made_up = settled.missed.last().map(|missed| missed.last);
    match settled.due {
        Some(Due { slot, trigger }) => Start::Run { trigger, due_at: Some(slot) },
        // Whoever started this wants a backup, though the schedule itself would have let it be.
        None if made_up.is_some() => {
            if let Some(slot) = made_up
                && let Err(failure) = slots::owe(world, &project.name, slot).await
            {
                warn!(project = %project.name, "the schedule's memory: {}", failure.full_message());
                // With the slot it would seem to be made already.
                return anyhow;
            }
            Start::Run { trigger: Trigger::CatchUp, due_at: made_up }
        }
        None => anyhow,
    }
}
