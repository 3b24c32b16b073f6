//! What a run that nobody watches needs, looked at before it does anything: a key that is gone is
//! better told of at once than behind an hour of dumping.
//!
//! Only what costs next to nothing. What the stages are about to ask anyway (the database, the
//! repository) is left to them, and so is what a pre-hook may yet bring about: a mount, a key.

use backupctl_domain::{Failure, RunError, Stage};

use super::pipeline::Shared;
use crate::use_cases::checks::{Check, CheckOutcome, ProjectChecks};

impl Shared {
    /// Looks; returns the failure of the first thing that is missing, at the stage that needs it.
    pub(super) async fn preflight(&self) -> Option<RunError> {
        let checks = ProjectChecks::new(&self.world, &self.project, self.cancel.clone());
        let mut found = Vec::new();
        if self.project.database.is_some() {
            found.push((Stage::Dump, checks.dumper().await));
        }
        let may_look = self.project.hooks.pre_backup.is_none();
        found.extend(checks.no_destination(may_look).await.map(|check| (Stage::Sync, check)));
        if may_look {
            if self.project.database.is_some() {
                found.push((Stage::Dump, checks.disk().await));
                found.push((Stage::Encrypt, checks.encryption().await));
            } else if self.project.destinations.iter().any(|d| d.archive().is_some()) {
                found.push((Stage::Sync, checks.encryption().await));
            }
            found.extend(checks.assets().await.into_iter().map(|check| (Stage::Sync, check)));
        }
        for check in checks.notifiers(false).await {
            // Nobody may hear of it there; the record, and whoever reads it, does.
            if check.outcome == CheckOutcome::Fail {
                self.note_warning(&format!("notifier: {}", check.message));
            }
        }
        found.into_iter().find_map(|(stage, check)| failed(stage, check))
    }
}

fn failed(stage: Stage, check: Check) -> Option<RunError> {
    let code = check.code.filter(|_| check.outcome == CheckOutcome::Fail)?;
    let failure = Failure::new(code, format!("before the start: {}", check.message));
    let failure = match check.remedy {
        Some(remedy) => failure.with_remedy(remedy),
        None => failure,
    };
    Some(RunError::new(Some(stage), &failure))
}
