//! Records that a person acts upon: found by the beginning of an id, judged, deleted.

use backupctl_domain::{BackupRun, ErrorCode, Failure, RunStatus};

use crate::World;
use crate::ports::RunQuery;

/// Fewer characters of an id would name a run by chance.
const SHORTEST_ID: usize = 4;

/// The run whose id is this or begins so, with or without dashes.
///
/// `UNKNOWN_PROJECT` (there is nothing of that name) where there is none, or more than one.
pub async fn find_run(world: &World, id: &str) -> Result<BackupRun, Failure> {
    let refused = |message: String, remedy: &str| {
        Err(Failure::new(ErrorCode::UnknownProject, message).with_remedy(remedy))
    };
    let list = "list runs with `backupctl logs PROJECT`, and name the id or its beginning";
    let characters = id.chars().filter(|c| *c != '-').count();
    if characters < SHORTEST_ID || !id.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
        return refused(
            format!("{id:?} is no run's id, nor {SHORTEST_ID} or more characters of one"),
            list,
        );
    }
    let query = RunQuery { id_prefix: Some(id.to_ascii_lowercase()), ..RunQuery::default() };
    let mut runs = world.audit.find_runs(&query).await?;
    match (runs.len(), runs.pop()) {
        (1, Some(run)) => Ok(run),
        (0, _) => refused(format!("no run's id begins with {id:?}"), list),
        (n, _) => {
            refused(format!("the ids of {n} runs begin with {id:?}"), "name more of the run's id")
        }
    }
}

/// Says why a run cannot be made again; only a failed one can.
pub fn check_retry(run: &BackupRun) -> Result<(), Failure> {
    match run.status {
        RunStatus::Failed => Ok(()),
        RunStatus::Started => Err(still_going(run)),
        RunStatus::Success => Err(succeeded(run, "there is nothing to make again")
            .with_remedy(format!("make a new backup with `backupctl run {}`", run.project))),
    }
}

/// What deleting a record has brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedRun {
    /// The record that was deleted.
    pub run: BackupRun,
    /// What should be known.
    pub notes: Vec<String>,
}

/// Deletes the record of a failed run, and nothing but the record.
///
/// A run that is going on is `BACKUP_IN_PROGRESS`. The record of a success is refused: by it a
/// project is known to be backed up, and a restored dump is compared with it.
pub async fn delete_run(world: &World, id: &str) -> Result<DeletedRun, Failure> {
    let run = find_run(world, id).await?;
    match run.status {
        RunStatus::Failed => {}
        RunStatus::Started => return Err(still_going(&run)),
        RunStatus::Success => {
            return Err(succeeded(&run, "its record stays").with_remedy(format!(
                "keep it: by it the backup is known and its dump proven; `backupctl forget {} \
                 SNAPSHOT` removes a backup itself",
                run.project
            )));
        }
    }
    if !world.audit.delete_run(run.run_id).await? {
        return Err(Failure::new(
            ErrorCode::UnknownProject,
            format!("the record of run {} is gone already", run.run_id.short()),
        ));
    }
    tracing::info!(run.id = %run.run_id, project = %run.project, "record of a failed run deleted");
    let notes = run
        .snapshots
        .iter()
        .map(|s| {
            format!(
                "its snapshot {} stays in the repository; a dump restored from it can no longer be \
                 compared with a recorded checksum",
                s.id.short()
            )
        })
        .collect();
    Ok(DeletedRun { run, notes })
}

/// The failure for a run that is not over.
pub(super) fn still_going(run: &BackupRun) -> Failure {
    let (id, project) = (run.run_id.short(), &run.project);
    let at = run.current_stage.map_or_else(String::new, |s| format!(", at {}", s.with_number()));
    Failure::new(
        ErrorCode::BackupInProgress,
        format!(
            "run {id} of {project} is still going on since {} (pid {} on {}{at})",
            backupctl_domain::notice::stamp(run.started_at),
            run.pid,
            run.host
        ),
    )
    .with_remedy(format!(
        "wait for its end (`backupctl status {project}`), or end it with `backupctl runs abort \
         {id}`; if its process is gone, `backupctl recover {project}` fails it"
    ))
}

pub(super) fn succeeded(run: &BackupRun, consequence: &str) -> Failure {
    Failure::new(
        ErrorCode::InvalidConfig,
        format!("run {} of {} has succeeded: {consequence}", run.run_id.short(), run.project),
    )
}
