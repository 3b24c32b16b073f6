//! Every enabled project, one after the other, in the order of the file.

use std::sync::Arc;

use backupctl_domain::{BackupRun, ErrorCode, Failure, RunStatus, Trigger, plan};
use tracing::error;

use super::run_backup::{RunBackup, RunOutcome, RunRequest};
use crate::World;
use crate::context::{Cancel, Observer};
use crate::ports::{ConfigIssue, ConfigLoader, LockHolder, ProjectEntry, RunQuery};

/// How one project of `run --all` ended.
#[derive(Debug)]
pub struct ProjectOutcome {
    /// Its name as configured.
    pub project: String,
    /// Its run, or why none came about.
    pub result: Result<Box<BackupRun>, Failure>,
}

impl ProjectOutcome {
    /// Whether a run was made and succeeded.
    pub fn succeeded(&self) -> bool {
        matches!(&self.result, Ok(run) if run.status == RunStatus::Success)
    }
}

/// How `run --all` ended.
#[derive(Debug, Default)]
pub struct AllOutcome {
    /// Each project, in order; those after an interruption are missing.
    pub projects: Vec<ProjectOutcome>,
}

impl AllOutcome {
    /// 0 all succeeded, 5 some did, 1 none.
    pub fn exit_status(&self) -> u8 {
        let good = self.projects.iter().filter(|p| p.succeeded()).count();
        plan::exit_status_of_all(good, self.projects.len() - good)
    }
}

/// Backs up every enabled project.
pub struct RunAll {
    run: RunBackup,
    config: Arc<dyn ConfigLoader>,
}

impl RunAll {
    /// A use case that runs projects by `run` and resolves their secrets by `config`.
    pub fn new(run: RunBackup, config: Arc<dyn ConfigLoader>) -> Self {
        Self { run, config }
    }

    /// Runs them. A project that fails, is busy or is misconfigured does not stop the next;
    /// an interruption does. `observer` makes the watcher of each project.
    pub async fn execute(
        &self,
        entries: Vec<ProjectEntry>,
        trigger: Trigger,
        wait: bool,
        cancel: &Cancel,
        observer: &(dyn Fn(&str) -> Arc<dyn Observer> + Send + Sync),
    ) -> AllOutcome {
        let mut outcome = AllOutcome::default();
        for entry in entries {
            if entry.project.as_ref().is_ok_and(|p| !p.enabled) {
                continue;
            }
            if cancel.reason().is_some() {
                break;
            }
            let name = entry.name.clone();
            let watcher = observer(&name);
            let result = self.one(entry, trigger, wait, cancel.clone(), watcher).await;
            if let Err(failure) = &result {
                error!(
                    project = name, error.code = %failure.code, "no run: {}",
                    failure.full_message()
                );
            }
            outcome.projects.push(ProjectOutcome { project: name, result });
        }
        outcome
    }

    async fn one(
        &self,
        entry: ProjectEntry,
        trigger: Trigger,
        wait: bool,
        cancel: Cancel,
        observer: Arc<dyn Observer>,
    ) -> Result<Box<BackupRun>, Failure> {
        let project = entry.project.map_err(|issues| invalid(&entry.name, &issues))?;
        let project = match self.config.resolve_secrets(project.clone()).await {
            Ok(project) => project,
            Err(failure) => {
                let config = self.config.as_ref();
                let run = self.run.refuse(config, project, trigger, None, &failure, observer).await;
                return Ok(Box::new(run));
            }
        };
        let request = RunRequest { project, trigger, due_at: None, wait, cancel, observer };
        match self.run.execute(request).await? {
            RunOutcome::Finished(run) => Ok(run),
            RunOutcome::Handled | RunOutcome::Paused(_) => {
                Err(Failure::internal("a run that no schedule asks for was not made for its sake"))
            }
            RunOutcome::Busy(holder) | RunOutcome::Folded(holder) => {
                Err(in_progress(self.run.world(), &entry.name, holder).await)
            }
        }
    }
}

/// The failure for a project whose configuration has errors.
pub fn invalid(project: &str, issues: &[ConfigIssue]) -> Failure {
    let first = issues.first().map_or_else(String::new, |i| {
        let place = match (i.line, i.column) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}: ", i.file.display()),
            _ => String::new(),
        };
        let key = if i.key.is_empty() { String::new() } else { format!("{}: ", i.key) };
        format!("{place}{key}{}", i.message)
    });
    let more = match issues.len() {
        0 | 1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    let message = format!("the configuration of project {project} has errors: {first}{more}");
    // An issue with a code of its own begins with it; that decides where nothing else is wrong.
    let own = match issues {
        [only] => only
            .message
            .split_once(": ")
            .and_then(|(code, _)| Some((code.parse::<ErrorCode>().ok()?, format!("{code}: ")))),
        _ => None,
    };
    match own {
        Some((code, mark)) => Failure::new(code, message.replacen(&mark, "", 1)),
        None => Failure::new(ErrorCode::InvalidConfig, message),
    }
}

/// The failure for a project whose lock another run holds: since when, by which process, and as which
/// run, where the audit tells it.
pub async fn in_progress(world: &World, project: &str, holder: LockHolder) -> Failure {
    let since = holder
        .started
        .map_or_else(|| "an unknown time".to_owned(), backupctl_domain::notice::stamp);
    let pid = holder.pid.map_or_else(|| "unknown".to_owned(), |p| p.to_string());
    let abort = abort_command(world, project, holder).await;
    Failure::new(
        ErrorCode::BackupInProgress,
        format!("a backup of {project} is already in progress since {since} (pid {pid})"),
    )
    .with_remedy(format!(
        "wait for its end (`backupctl status {project}` shows its stage), queue behind it with \
         `backupctl run {project} --wait`, or end one that hangs with {abort}"
    ))
}

/// How the run that holds a lock is ended by hand.
pub(super) async fn abort_command(world: &World, project: &str, holder: LockHolder) -> String {
    let query = RunQuery {
        project: backupctl_domain::ProjectName::new(project).ok(),
        status: Some(RunStatus::Started),
        ..RunQuery::default()
    };
    let runs = world.audit.find_runs(&query).await.unwrap_or_default();
    let run = runs.iter().find(|run| Some(run.pid) == holder.pid);
    run.map_or_else(
        || "`backupctl runs abort` and its id from `backupctl logs`".to_owned(),
        |run| format!("`backupctl runs abort {}`", run.run_id.short()),
    )
}
