//! A project's destinations, as commands name them: one, or all.

use std::sync::Arc;

use backupctl_domain::manifest::listed;
use backupctl_domain::{Destination, ErrorCode, Failure, Project};
use tracing::warn;

use crate::World;
use crate::context::StageContext;
use crate::ports::Snapshot;
use crate::registry::Storage;

/// The destination of that name, or all without one; `INVALID_CONFIG` for a name that is none.
pub fn chosen<'p>(
    project: &'p Project,
    name: Option<&str>,
) -> Result<Vec<&'p Destination>, Failure> {
    let Some(name) = name else { return Ok(project.destinations.iter().collect()) };
    if let Some(found) = project.destination(name) {
        return Ok(vec![found]);
    }
    let known: Vec<String> = project.destinations.iter().map(|d| d.name.to_string()).collect();
    let message = format!(
        "project {} has no destination {name:?} (it has {})",
        project.name,
        listed(&known, 9)
    );
    Err(Failure::new(ErrorCode::InvalidConfig, message)
        .with_remedy("name one of them with --destination, or leave it out"))
}

/// What a destination has of the project.
pub(super) struct Held<'p> {
    pub(super) at: &'p Destination,
    pub(super) storage: Arc<Storage>,
    /// Newest first.
    pub(super) snapshots: Vec<Snapshot>,
}

/// What each destination has, and why others could not be asked. An error where none could.
pub(super) async fn ask<'p>(
    world: &World,
    project: &'p Project,
    name: Option<&str>,
    ctx: &StageContext,
) -> Result<(Vec<Held<'p>>, Vec<(&'p Destination, Failure)>), Failure> {
    let (mut held, mut silent) = (Vec::new(), Vec::new());
    for at in chosen(project, name)? {
        let asked = async {
            let storage = world.registries.storage(project, at)?;
            let snapshots = storage.remote.snapshots(ctx).await?;
            Ok::<_, Failure>(Held { at, storage, snapshots })
        };
        match asked.await {
            Ok(of_destination) => held.push(of_destination),
            Err(failure) if failure.code == ErrorCode::Interrupted => return Err(failure),
            Err(failure) => {
                warn!(project = %project.name, destination = %at.name, "{}", failure.message);
                silent.push((at, failure));
            }
        }
    }
    if held.is_empty()
        && let Some((_, failure)) = silent.first()
    {
        return Err(failure.clone());
    }
    Ok((held, silent))
}

/// The destinations that could not be asked, in words for a text; empty where all could.
pub(super) fn unasked(silent: &[(&Destination, Failure)]) -> String {
    let each = silent.iter().map(|(at, failure)| {
        format!("; {} could not be asked: {}: {}", at.name, failure.code, failure.message)
    });
    each.collect()
}
