//! Tells everybody of what belongs to no single project: over the global channels, or where there are
//! none over every channel that an enabled project has, each once.

use std::collections::HashSet;

use backupctl_domain::project::Channel;
use backupctl_domain::{ErrorCode, Failure, Notice, Project, ProjectName, Secret};
use tracing::warn;

use super::deliver;
use crate::World;
use crate::ports::{ConfigLoader, FallbackEntry, LoadedConfig, Notifier};

/// What came of telling everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToldEverybody {
    /// How many channels it was for; 0 where nobody is configured to be told.
    pub channels: usize,
    /// What went wrong, one line each; empty where every channel took it.
    pub problems: Vec<String>,
}

/// The channels of everybody, in the order of the file; their secrets are still files and commands.
pub fn everybody(loaded: &LoadedConfig) -> Vec<Channel> {
    let global = loaded.global.as_ref().map(|g| g.notifications.as_slice()).unwrap_or_default();
    let projects = loaded.projects.iter().filter_map(|entry| entry.project.as_ref().ok());
    let own = projects.filter(|p| p.enabled).flat_map(|p| &p.notifications);
    let all: Vec<&Channel> =
        if global.is_empty() { own.collect() } else { global.iter().collect() };
    let mut seen = HashSet::new();
    all.into_iter().filter(|channel| seen.insert(place(channel))).cloned().collect()
}

/// Sends the notice to everybody. Each channel fails by itself, also by a secret that cannot be had,
/// and what one does not take goes to the fallback file.
pub async fn tell(
    world: &World,
    config: &dyn ConfigLoader,
    loaded: &LoadedConfig,
    notice: &Notice,
) -> ToldEverybody {
    let channels = everybody(loaded);
    let mut told = ToldEverybody { channels: channels.len(), problems: Vec::new() };
    for (index, channel) in channels.into_iter().enumerate() {
        let kind = channel.kind();
        let sent = match notifier(world, config, channel).await {
            Ok(notifier) => notifier.notify(notice).await,
            Err(failure) => Err(failure),
        };
        let Err(failure) = sent else { continue };
        warn!(
            channel = kind, event = notice.kind.event(), error.code = %failure.code,
            "notification not delivered: {}", failure.full_message()
        );
        told.problems.push(format!("{kind}: {}", failure.message));
        let entry = FallbackEntry::GlobalNotification {
            channel: kind.to_owned(),
            index,
            notice: notice.clone(),
        };
        deliver::keep(world, &entry, &mut told.problems).await;
    }
    told
}

/// Delivers a kept notice over the channel that it was meant for, marked as late.
pub(super) async fn tell_late(
    world: &World,
    config: &dyn ConfigLoader,
    loaded: &LoadedConfig,
    kind: &str,
    index: usize,
    notice: &Notice,
) -> Result<(), Failure> {
    let channels = everybody(loaded);
    // The channel may have moved in the list since; its kind is the better witness.
    let same = |channel: &&Channel| channel.kind() == kind;
    let channel = channels.get(index).filter(same).or_else(|| channels.iter().find(same)).cloned();
    let Some(channel) = channel else {
        return Err(Failure::new(
            ErrorCode::NotifyFailed,
            format!("no global {kind} channel is configured any more"),
        )
        .with_remedy("configure `notification` at the top of the file"));
    };
    let notice = notice.clone().into_delayed(&world.settings.timezone);
    notifier(world, config, channel).await?.notify(&notice).await
}

async fn notifier(
    world: &World,
    config: &dyn ConfigLoader,
    mut channel: Channel,
) -> Result<std::sync::Arc<dyn Notifier>, Failure> {
    for secret in channel.secrets_mut() {
        *secret = config.resolve_secret("notification", secret.clone()).await?;
    }
    // Channels are made for a project; these are nobody's.
    let nobody = ProjectName::new("everybody").map_err(Failure::internal)?;
    let project = Project::unreadable(nobody, Vec::new());
    world.registries.notifiers.make(channel.kind(), &project, &channel)
}

/// What tells channels apart: their kind and where they lead. May hold a secret, and is never shown.
fn place(channel: &Channel) -> (&'static str, String) {
    let text = |secret: &Secret| match secret {
        Secret::Value(_) => format!("value {}", secret.expose().unwrap_or_default()),
        Secret::File(path) => format!("file {}", path.display()),
        Secret::Command(command) => format!("command {command}"),
    };
    let place = match channel {
        Channel::Slack { webhook_url } => text(webhook_url),
        Channel::Webhook { url, .. } => text(url),
        Channel::Email(mail) => {
            let mut to = mail.to.clone();
            to.sort();
            format!("{}:{} {}", mail.host, mail.port, to.join(","))
        }
    };
    (channel.kind(), place)
}
