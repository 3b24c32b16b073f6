//! Everything a run needs, checked without doing any of it (spec: pipeline.md §9).

use backupctl_domain::Project;

use super::checks::{Check, CheckOutcome, ProjectChecks};
use crate::World;
use crate::context::Cancel;

/// Checks a project without touching anything.
pub struct DryRun<'a> {
    world: &'a World,
    project: &'a Project,
    checks: ProjectChecks<'a>,
}

impl<'a> DryRun<'a> {
    /// A use case for one project, its secrets resolved.
    pub fn new(world: &'a World, project: &'a Project, cancel: Cancel) -> Self {
        Self { world, project, checks: ProjectChecks::new(world, project, cancel) }
    }

    /// All checks, in the order of the specification, each told whatever the others found.
    pub async fn execute(&self) -> Vec<Check> {
        let p = self.project;
        let mut checks = vec![Check::pass("config", format!("project {} is valid", p.name))];
        checks.push(self.checks.dumper().await);
        checks.push(self.notifier().await);
        checks.extend(self.checks.destinations().await);
        checks.push(self.checks.disk().await);
        checks.push(self.checks.encryption().await);
        checks.extend(self.checks.assets().await);
        checks.push(self.checks.database().await);
        checks
    }

    /// All channels and the monitor as one check: the first that is bad, else who is told.
    async fn notifier(&self) -> Check {
        let mut channels = self.checks.notifiers(false).await;
        if let Err(failure) = self.world.registries.monitor(self.project) {
            channels.push(Check::bad("notifier", CheckOutcome::Fail, failure));
        }
        if let Some(bad) = channels.iter().position(|c| c.outcome == CheckOutcome::Fail) {
            return channels.swap_remove(bad);
        }
        if let [only] = &channels[..] {
            return only.clone();
        }
        let kinds: Vec<&str> = channels.iter().map(|c| c.message.as_str()).collect();
        Check::pass("notifier", kinds.join(", "))
    }
}
