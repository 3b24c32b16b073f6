//! Telling people, and keeping for later what could not be told.

use std::sync::Arc;

use backupctl_domain::{BackupRun, ErrorCode, Failure, Notice, Project, Secret};
use tracing::warn;

use crate::World;
use crate::ports::{ConfigLoader, FallbackEntry};

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

/// Keeps the record of an ended run, which the audit did not take, in the fallback file. Returns what
/// to tell people where that fails too: then the record is lost.
pub async fn keep_record(world: &World, run: &BackupRun) -> Option<String> {
    warn!(run.id = %run.run_id, project = %run.project, "run record kept in the fallback file");
    let mut problems = Vec::new();
    keep(world, &FallbackEntry::Audit { run: Box::new(run.clone()) }, &mut problems).await;
    let problem = problems.pop()?;
    Some(format!("the record of this run is lost: the audit did not take it, {problem}"))
}

/// Writes the record of an ended run, else keeps it in the fallback file; returns what to tell people
/// where both fail.
pub async fn record(world: &World, run: &BackupRun) -> Option<String> {
    let failure = world.audit.finish_run(run).await.err()?;
    warn!(run.id = %run.run_id, error.code = %failure.code, "{}", failure.full_message());
    keep_record(world, run).await
}

/// The project with what it takes to tell people of a failure: channels and monitor whose secrets can
/// be had, whatever else of it cannot.
pub async fn resolved_for_notice(config: &dyn ConfigLoader, mut project: Project) -> Project {
    let mut channels = Vec::new();
    for mut channel in std::mem::take(&mut project.notifications) {
        let mut usable = true;
        for secret in channel.secrets_mut() {
            usable &= resolve(config, "notification", secret).await;
        }
        if usable {
            channels.push(channel);
        }
    }
    project.notifications = channels;
    if let Some(mut monitor) = project.monitor.take()
        && resolve(config, "monitor", monitor.secret_mut()).await
    {
        project.monitor = Some(monitor);
    }
    project
}

async fn resolve(config: &dyn ConfigLoader, key: &str, secret: &mut Secret) -> bool {
    match config.resolve_secret(key, secret.clone()).await {
        Ok(value) => {
            *secret = value;
            true
        }
        Err(failure) => {
            warn!(error.code = %failure.code, "nobody is told there: {}", failure.full_message());
            false
        }
    }
}

/// Writes the entry to the fallback file; adds to `problems` where that fails too.
pub(super) async fn keep(world: &World, entry: &FallbackEntry, problems: &mut Vec<String>) {
    if let Err(failure) = world.fallback.append(entry).await {
        tracing::error!(
            error.code = %failure.code, "the fallback file cannot be written: {}",
            failure.full_message()
        );
        problems.push(format!("and it could not be kept: {}", failure.message));
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
