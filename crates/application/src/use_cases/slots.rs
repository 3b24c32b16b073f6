//! A schedule's slots and what became of them: each ends as a run, as a record that it was missed, or
//! folded into the run that waits. Both the daemon and a run that a timer starts go through here.

use std::time::Duration;

use backupctl_domain::schedule::memory::{Promise, ScheduleMemory};
use backupctl_domain::schedule::planner::{Due, Missed, PUNCTUAL, Plan};
use backupctl_domain::{BackupRun, Failure, Project, ProjectName, RunId, Trigger};
use jiff::Timestamp;
use tracing::warn;
use uuid::Uuid;

use super::deliver;
use crate::World;

/// Deals with every slot of the project up to `now`: those that passed without a run are recorded as
/// missed, for the reason `why`, and what is to be run now is returned. A schedule that is seen for
/// the first time, or has been replaced, counts from now on.
///
/// The records are written before anything is remembered, under ids that follow from the slots: a
/// process that dies in between, and the one after it, write the same records. Where the audit does
/// not take one, the fallback file has it.
pub async fn settle(
    world: &World,
    project: &Project,
    now: Timestamp,
    why: &str,
) -> Result<Settled, Failure> {
    settle_late(world, project, now, PUNCTUAL, why).await
}

/// What a pass over one or many projects has found out on its way.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// Whether the audit did not take a record: it is not asked again, which may cost seconds each
    /// time while backups wait.
    audit_is_down: bool,
}

/// Whether `now` is no more than `span` behind `slot`.
pub(super) fn within(now: Timestamp, slot: Timestamp, span: Duration) -> bool {
    Duration::try_from(now.duration_since(slot)).is_ok_and(|late| late <= span)
}

/// The same for a start that may be late by `punctual` and still be the slot's own.
pub(super) async fn settle_late(
    world: &World,
    project: &Project,
    now: Timestamp,
    punctual: Duration,
    why: &str,
) -> Result<Settled, Failure> {
    settle_on(&mut Pass::default(), world, project, now, punctual, why).await
}

/// The same as one step of a pass over many projects.
pub(super) async fn settle_on(
    pass: &mut Pass,
    world: &World,
    project: &Project,
    now: Timestamp,
    punctual: Duration,
    why: &str,
) -> Result<Settled, Failure> {
    let Some(schedule) = &project.schedule else { return Ok(Settled::default()) };
    let memory = world.schedules.project(&project.name).await?;
    let plan = Plan::tolerating(punctual, schedule, &memory, now);
    for missed in &plan.missed {
        record(pass, world, &project.name, *missed, why).await;
    }
    let promise = Promise::of(schedule);
    let is_new = memory.promised.as_ref() != Some(&promise);
    if plan.settled.is_some() || is_new || memory.handled_until.is_none() {
        // What is due is not dealt with by being due: its run says so when it has begun. A missed slot
        // has its record, so that only the run is owed.
        let settled = plan.settled;
        let made_up = plan.due.filter(|due| due.trigger == Trigger::CatchUp);
        let begin = (is_new && (plan.due.is_none() || made_up.is_some())).then_some(now);
        let change = move |memory: &mut ScheduleMemory| {
            memory.known_since = memory.known_since.or(Some(now));
            memory.handled_until = memory.handled_until.max(settled).max(begin);
            memory.note_promise(Some(promise.clone()), now);
            memory.promised = Some(promise);
            memory.owed = made_up.map(|due| due.slot).or(memory.owed);
        };
        world.schedules.update_project(&project.name, Box::new(change)).await?;
    }
    Ok(Settled { missed: plan.missed, due: plan.due })
}

/// What has become of a project's slots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// What was recorded as missed.
    pub missed: Vec<Missed>,
    /// What is to be run now.
    pub due: Option<Due>,
}

/// Remembers that a run is owed for the slot, until it has begun.
pub(super) async fn owe(
    world: &World,
    project: &ProjectName,
    slot: Timestamp,
) -> Result<(), Failure> {
    let change = move |memory: &mut ScheduleMemory| memory.owed = memory.owed.max(Some(slot));
    world.schedules.update_project(project, Box::new(change)).await.map(drop)
}

/// Remembers that the slot is dealt with, as one that is folded into the run that waits is.
pub async fn handled(world: &World, project: &ProjectName, slot: Timestamp) -> Result<(), Failure> {
    let change = move |memory: &mut ScheduleMemory| {
        memory.handled_until = memory.handled_until.max(Some(slot));
    };
    world.schedules.update_project(project, Box::new(change)).await.map(drop)
}

async fn record(pass: &mut Pass, world: &World, project: &ProjectName, missed: Missed, why: &str) {
    let who = &world.identity;
    let run = BackupRun::missed(
        id_of(project, missed),
        project.clone(),
        missed,
        why,
        &who.host,
        &who.version,
        who.pid,
    );
    warn!(
        project = %project, run.id = %run.run_id, missed = missed.count,
        "{}", run.error.as_ref().map_or("", |e| e.message.as_str())
    );
    if !pass.audit_is_down {
        let Err(failure) = world.audit.finish_run(&run).await else { return };
        warn!(run.id = %run.run_id, error.code = %failure.code, "{}", failure.full_message());
        pass.audit_is_down = true;
    }
    if let Some(lost) = deliver::keep_record(world, &run).await {
        tracing::error!(project = %project, "{lost}");
    }
}

/// The id of the record of missed slots: always the same for the same slots.
fn id_of(project: &ProjectName, missed: Missed) -> RunId {
    let name = format!("missed {project} {} {}", missed.first, missed.last);
    let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
    RunId(uuid::Builder::from_random_bytes(hash.into_bytes()).into_uuid())
}
