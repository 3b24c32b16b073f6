//! Snapshots read back whole: whether what is stored can be restored, found out before it has to be.

use std::sync::Arc;

use backupctl_domain::{DestinationName, ErrorCode, Failure, Project, Stage};

use super::places::{ask, unasked};
use super::snapshots::{check_id, is_named};
use crate::World;
use crate::context::{Cancel, Observer, StageContext};
use crate::ports::{Snapshot, VerifyReport};

/// Which snapshots are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    /// The newest at each destination.
    Latest,
    /// Every one.
    All,
    /// The one of this id or archive name.
    One(&'a str),
}

/// A snapshot that was read, and what came of it.
#[derive(Debug)]
pub struct VerifyOutcome {
    /// Where it is.
    pub destination: DestinationName,
    /// The snapshot; `None` where the destination has none, or could not be asked.
    pub snapshot: Option<Snapshot>,
    /// What was read, or what is wrong with it.
    pub result: Result<VerifyReport, Failure>,
}

/// Reads snapshots back, at every destination or the one of that name, the newest first. What is wrong
/// with one keeps no other from being read; an interruption does. Changes nothing but what is known of
/// archives: a damaged one counts as no copy from then on.
///
/// `SNAPSHOT_NOT_FOUND` for an id that is nowhere. A destination without any snapshot is a failure: what
/// is not there is not proven.
pub async fn verify(
    world: &World,
    project: &Project,
    which: Which<'_>,
    destination: Option<&str>,
    cancel: &Cancel,
    observer: Arc<dyn Observer>,
) -> Result<Vec<VerifyOutcome>, Failure> {
    let mut ctx = StageContext::new(Stage::Verify, cancel.clone(), Arc::new(project.redactor()));
    ctx.observer = observer;
    if let Which::One(id) = which {
        check_id(&project.name, id)?;
    }
    let (held, silent) = ask(world, project, destination, &ctx).await?;
    let mut outcomes = Vec::new();
    for of in &held {
        let wanted: Vec<&Snapshot> = match which {
            Which::All => of.snapshots.iter().collect(),
            Which::One(id) => of.snapshots.iter().filter(|s| is_named(s, id)).collect(),
            // Those of one run: in separate mode each part has its own.
            Which::Latest => newest_of_each(&of.snapshots),
        };
        if wanted.is_empty() && !matches!(which, Which::One(_)) {
            let message = format!("{} has no snapshot of {}", of.at.name, project.name);
            outcomes.push(VerifyOutcome {
                destination: of.at.name.clone(),
                snapshot: None,
                result: Err(Failure::new(ErrorCode::SnapshotNotFound, message)
                    .with_remedy(format!("back up with `backupctl run {}`", project.name))),
            });
        }
        for snapshot in wanted {
            let result = of.storage.remote.verify(&snapshot.id, &ctx).await;
            if let Err(failure) = &result
                && failure.code == ErrorCode::Interrupted
            {
                return Err(failure.clone());
            }
            outcomes.push(VerifyOutcome {
                destination: of.at.name.clone(),
                snapshot: Some(snapshot.clone()),
                result,
            });
        }
    }
    if let (Which::One(id), true) = (which, outcomes.is_empty()) {
        let message = format!("project {} has no snapshot {id}{}", project.name, unasked(&silent));
        return Err(Failure::new(ErrorCode::SnapshotNotFound, message).with_remedy(format!(
            "list what there is with `backupctl snapshots {}`",
            project.name
        )));
    }
    if !matches!(which, Which::One(_)) {
        outcomes.extend(silent.into_iter().map(|(at, failure)| VerifyOutcome {
            destination: at.name.clone(),
            snapshot: None,
            result: Err(failure),
        }));
    }
    Ok(outcomes)
}

/// The newest of each set of tags.
fn newest_of_each(newest_first: &[Snapshot]) -> Vec<&Snapshot> {
    let mut found: Vec<&Snapshot> = Vec::new();
    for snapshot in newest_first {
        if !found.iter().any(|known| known.tags == snapshot.tags) {
            found.push(snapshot);
        }
    }
    found
}
