//! Tells everybody that the daemon goes by an old configuration, because the present one cannot be
//! loaded.

use std::time::Duration;

use backupctl_domain::notice::{NoticeKind, nothing_of_a_run};
use backupctl_domain::schedule::memory::{Episode, MachineMemory};
use backupctl_domain::{Failure, Notice, human};
use jiff::Timestamp;
use tracing::{info, warn};

use super::Ports;
use crate::World;
use crate::ports::{ConfigLoader, LoadedConfig};
use crate::use_cases::everybody;

/// How often people are told again.
const AGAIN_AFTER: Duration = Duration::from_hours(24);

/// Tells everybody over the channels of the last good configuration what is wrong with the present one:
/// once, again every day, and once that it is well again (`problem` is `None`).
pub(super) async fn tell(ports: Ports, last_good: &LoadedConfig, problem: Option<Failure>) {
    tell_of_config(&ports.world, ports.config.as_ref(), last_good, problem).await;
}

/// The same for a process that is no daemon, or cannot become one.
pub async fn tell_of_config(
    world: &World,
    config: &dyn ConfigLoader,
    last_good: &LoadedConfig,
    problem: Option<Failure>,
) {
    let now = world.clock.now();
    let episode = match world.schedules.machine().await {
        Ok(machine) => machine.config_alert,
        Err(failure) => {
            warn!("the machine's memory: {}", failure.full_message());
            None
        }
    };
    let (notice, next) = match (&problem, episode) {
        (None, None) => return,
        (Some(_), Some(Episode { told_at, .. })) if !is_past(told_at, now) => return,
        (None, Some(_)) => (well_again(now), None),
        (Some(failure), episode) => {
            let since = episode.map_or(now, |episode| episode.since);
            (broken(failure, since, now), Some(Episode { since, told_at: now }))
        }
    };
    let told = everybody::tell(world, config, last_good, &notice).await;
    if told.channels == 0 {
        info!("nobody is told of the configuration: there is no channel");
    }
    let change = Box::new(move |machine: &mut MachineMemory| machine.config_alert = next);
    if let Err(failure) = world.schedules.update_machine(change).await {
        warn!("the machine's memory: {}", failure.full_message());
    }
}

fn is_past(told_at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(told_at).unsigned_abs() >= AGAIN_AFTER
}

fn broken(failure: &Failure, since: Timestamp, now: Timestamp) -> Notice {
    let age = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    let since_when = if age < Duration::from_mins(1) {
        String::new()
    } else {
        format!("\nSince: {}", human::age(age))
    };
    let text = format!(
        "⚠️ The configuration of backupctl cannot be loaded\nNo backup is made until it is \
         repaired: each run that comes due fails.{since_when}"
    );
    let why = failure.full_message();
    let notice = notice("config_broken", text, now);
    notice.with_reason(Some(&why), Some(failure.code), Some(&failure.remedy))
}

fn well_again(now: Timestamp) -> Notice {
    let text = "✅ The configuration of backupctl can be loaded again\nBackups go by it.";
    notice("config_good", text.to_owned(), now)
}

fn notice(status: &str, text: String, at: Timestamp) -> Notice {
    let data = nothing_of_a_run(None, status);
    Notice { kind: NoticeKind::BackupWarning, project: None, text, data, at, delayed: false }
}
