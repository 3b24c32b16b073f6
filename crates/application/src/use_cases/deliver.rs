//! Telling people, and keeping for later what could not be told.

use std::sync::Arc;

use backupctl_domain::{BackupRun, ErrorCode, Failure, Notice, Project};
use tracing::warn;

use crate::World;
use crate::ports::FallbackEntry;

/// Sends the notice over every channel of the project; each fails by itself, and what a channel did
/// not take goes to the fallback file. Returns what went wrong, one line a channel.
pub async fn notify(world: &World, project: &Project, notice: &Notice) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, (kind, notifier)) in world.registries.notifiers(project).into_iter().enumerate() {
        let sent = match notifier {
            Ok(notifier) => notifier.notify(notice).await,
            Err(failure) => Err(failure),
        };
        let Err(failure) = sent else { continue };
        warn!(
            project = %project.name, channel = kind, event = notice.kind.event(),
            error.code = %failure.code, "notification not delivered: {}", failure.full_message()
        );
        problems.push(format!("{kind}: {}", failure.message));
        let entry = FallbackEntry::Notification {
            project: project.name.clone(),
            channel: kind.to_owned(),
            index,
            notice: notice.clone(),
        };
        keep(world, &entry, &mut problems).await;
    }
    problems
}

/// Keeps the record of an ended run, which the audit did not take, in the fallback file.
pub async fn keep_record(world: &World, run: &BackupRun) {
    warn!(run.id = %run.run_id, project = %run.project, "run record kept in the fallback file");
    keep(world, &FallbackEntry::Audit { run: Box::new(run.clone()) }, &mut Vec::new()).await;
}

/// Writes the record of an ended run, else keeps it in the fallback file.
pub async fn record(world: &World, run: &BackupRun) {
    if let Err(failure) = world.audit.finish_run(run).await {
        warn!(run.id = %run.run_id, error.code = %failure.code, "{}", failure.full_message());
        keep_record(world, run).await;
    }
}

async fn keep(world: &World, entry: &FallbackEntry, problems: &mut Vec<String>) {
    if let Err(failure) = world.fallback.append(entry).await {
        tracing::error!(
            error.code = %failure.code, "the fallback file cannot be written: {}",
            failure.full_message()
        );
        problems.push(format!("and not kept: {}", failure.message));
    }
}

/// Delivers one kept notice over the channel it was meant for, marked as late.
pub async fn notify_late(
    world: &Arc<World>,
    project: &Project,
    channel: &str,
    index: usize,
    notice: &Notice,
) -> Result<(), Failure> {
    let notifiers = world.registries.notifiers(project);
    // The channel may have moved in the list since; its kind is the better witness.
    let position = if notifiers.get(index).is_some_and(|(kind, _)| *kind == channel) {
        Some(index)
    } else {
        notifiers.iter().position(|(kind, _)| *kind == channel)
    };
    let Some((_, notifier)) = position.and_then(|i| notifiers.into_iter().nth(i)) else {
        return Err(Failure::new(
            ErrorCode::NotifyFailed,
            format!("project {} has no {channel} channel any more", project.name),
        ));
    };
    notifier?.notify(&notice.clone().into_delayed(&world.settings.timezone)).await
}
