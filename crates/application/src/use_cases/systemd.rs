//! Units that start backups by themselves: planned from the configuration, written, and proven.
//!
//! A unit that looks installed may start nothing: its program may be gone, its sandbox may keep it from
//! its disk, its PATH may lack a tool that the shell has. So everything is planned from the
//! configuration as the unit sees it, and looked at with the unit's user, PATH and sandbox.

mod install;
mod needs;
mod running;
mod sandbox;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use backupctl_domain::{Project, Secret};

pub use install::{InstallUnits, Installed, uninstall};
pub use needs::{needs_of, shared_needs};
pub use verify::VerifyUnits;

use crate::World;
use crate::ports::{
    Alert, ConfigLoader, GlobalSettings, NeedsTool, PlannedProject, ProjectEntry, UnitOptions,
    UnitPlan, UnitUser,
};

/// What units are planned from.
pub struct PlanInput<'a> {
    /// The choices.
    pub options: UnitOptions,
    /// The program, by its whole path.
    pub program: PathBuf,
    /// The configuration's file, by its whole path.
    pub config: PathBuf,
    /// The global settings, the audit's URL resolved.
    pub global: &'a GlobalSettings,
    /// Where the audit's URL is from.
    pub audit_url: &'a Secret,
    /// Who runs it.
    pub user: UnitUser,
    /// The projects; those with errors in their configuration are passed over.
    pub entries: &'a [ProjectEntry],
}

/// Plans the units. Secrets of those who are to be told when backupctl cannot start are resolved here;
/// what cannot be had is told beside the plan.
pub async fn plan(config: &Arc<dyn ConfigLoader>, input: PlanInput<'_>) -> (UnitPlan, Vec<String>) {
    let projects: Vec<&Project> = input
        .entries
        .iter()
        .filter_map(|entry| entry.project.as_ref().ok())
        .filter(|project| project.enabled)
        .collect();
    let (alerts, problems) = alerts(config, input.global, &projects).await;
    let mut shared = shared_needs(input.global, input.audit_url, &projects, &input.user);
    if !alerts.is_empty() {
        // The failure unit posts by it.
        shared.tools.push(NeedsTool { any_of: vec!["curl".to_owned()] });
    }
    let planned = |project: &&Project| PlannedProject {
        name: project.name.clone(),
        schedule: project.schedule.clone(),
        needs: needs_of(project, &input.user),
    };
    let projects = projects.iter().map(planned).collect();
    let plan = UnitPlan {
        options: input.options,
        program: input.program,
        config: input.config,
        base_dir: input.global.base_dir.clone(),
        user: input.user,
        shared,
        projects,
        alerts,
    };
    (plan, problems)
}

/// Everybody who can be told, secrets resolved.
async fn alerts(
    config: &Arc<dyn ConfigLoader>,
    global: &GlobalSettings,
    projects: &[&Project],
) -> (Vec<Alert>, Vec<String>) {
    use crate::ports::AlertTarget;

    let mut wanted: Vec<(Option<_>, AlertTarget)> = Vec::new();
    for channel in &global.notifications {
        wanted.push((None, AlertTarget::Channel(channel.clone())));
    }
    for project in projects {
        for channel in &project.notifications {
            let target = AlertTarget::Channel(channel.clone());
            wanted.push((Some(project.name.clone()), target));
        }
        if let Some(monitor) = &project.monitor {
            let target = AlertTarget::Monitor(monitor.clone());
            wanted.push((Some(project.name.clone()), target));
        }
    }
    let (mut alerts, mut problems) = (Vec::new(), Vec::new());
    for (project, mut target) in wanted {
        let secrets = match &mut target {
            AlertTarget::Channel(channel) => channel.secrets_mut(),
            AlertTarget::Monitor(monitor) => vec![monitor.secret_mut()],
        };
        let mut failed = None;
        for secret in secrets {
            match config.resolve_secret("notification", secret.clone()).await {
                Ok(value) => *secret = value,
                Err(failure) => failed = Some(failure),
            }
        }
        match failed {
            None => alerts.push(Alert { project, target }),
            Some(failure) => problems.push(failure.full_message()),
        }
    }
    (alerts, problems)
}

/// Where disks are mounted that the plan writes to: only those beside the root.
pub async fn mounts(world: &World, plan: &UnitPlan) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for writes in plan.all_needs().writes {
        if let Ok(system) = world.disk.file_system(&writes.path).await
            && system.mount_point != Path::new("/")
            && !found.contains(&system.mount_point)
        {
            found.push(system.mount_point);
        }
    }
    found.sort();
    found
}
