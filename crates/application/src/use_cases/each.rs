//! The same work for many projects, one after the other in the order of the file.

use backupctl_domain::{ErrorCode, Failure, Project, plan};

use super::run_all::invalid;
use crate::context::Cancel;
use crate::ports::{ConfigLoader, ProjectEntry};

/// How the work went for each project.
#[derive(Debug)]
pub struct EachOutcome<T> {
    /// Each project by its name, in order; those after an interruption are missing.
    pub projects: Vec<(String, Result<T, Failure>)>,
}

impl<T> EachOutcome<T> {
    /// 0 all went well, 5 some did, 1 none.
    pub fn exit_status(&self) -> u8 {
        self.exit_status_where(|_| true)
    }

    /// The same, where what was done may not be good although something came of it.
    pub fn exit_status_where(&self, is_good: impl Fn(&T) -> bool) -> u8 {
        let is_good = |result: &Result<T, Failure>| result.as_ref().is_ok_and(&is_good);
        let good = self.projects.iter().filter(|(_, result)| is_good(result)).count();
        plan::exit_status_of_all(good, self.projects.len() - good)
    }
}

/// Does `work` on the repository of each project, with the secrets that this takes. A project that
/// fails, is busy or is misconfigured does not stop the next; an interruption does.
pub async fn each_project<T>(
    config: &dyn ConfigLoader,
    entries: Vec<ProjectEntry>,
    cancel: &Cancel,
    work: impl AsyncFn(&Project) -> Result<T, Failure>,
) -> EachOutcome<T> {
    let mut projects = Vec::with_capacity(entries.len());
    for entry in entries {
        if cancel.reason().is_some() {
            break;
        }
        let project = match entry.project {
            Ok(project) => config.resolve_secrets(project.for_its_repository()).await,
            Err(issues) => Err(invalid(&entry.name, &issues)),
        };
        let result = match project {
            Ok(project) => work(&project).await,
            Err(failure) => Err(failure),
        };
        let interrupted = matches!(&result, Err(f) if f.code == ErrorCode::Interrupted);
        projects.push((entry.name, result));
        if interrupted {
            break;
        }
    }
    EachOutcome { projects }
}
