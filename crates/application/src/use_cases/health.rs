//! Everything that backups stand on, looked at in one go: each thing is told, whatever the others
//! are like.
//!
//! Nothing is written but a probe in `base_dir` and one in the audit that is taken back, and nothing
//! that is missing is made. [`machine`] looks at what all projects share, [`schedules`] at what starts
//! their runs, [`project`] at what each has; this file brings them together: bounded in number and in
//! time, so that a dead server keeps nobody from hearing of the rest.

mod machine;
mod no_audit;
mod project;
mod schedules;

use std::sync::Arc;
use std::time::Duration;

use backupctl_domain::{ErrorCode, Failure, Project};
use tokio::sync::Semaphore;

pub use no_audit::NoAudit;

use super::checks::{Check, CheckOutcome, ProjectChecks};
use crate::World;
use crate::context::{Cancel, Interrupt};
use crate::ports::{ConfigLoader, ProjectEntry, ServiceUnits};

/// How many projects are looked at at once: each costs a process of restic, which is half a second of
/// one core, and connections.
const AT_ONCE: usize = 4;

/// How long one check may take. What has a limit of its own has a shorter one, and a better text.
const LIMIT: Duration = Duration::from_secs(45);

/// How long a check that was told to stop may take to end its programs.
const GRACE: Duration = Duration::from_secs(10);

/// The programs that backups are made with.
const TOOL: &str = "tool";
/// Whether successes come as promised.
const FRESHNESS: &str = "freshness";

/// One check, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// The project; `None` for what all share.
    pub project: Option<String>,
    /// The check.
    pub check: Check,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthReport {
    /// Every check: what all share, then the projects in the order of the file.
    pub checks: Vec<HealthCheck>,
}

impl HealthReport {
    /// Whether nothing failed. Warnings may be there.
    pub fn is_healthy(&self) -> bool {
        self.count(CheckOutcome::Fail) == 0
    }

    /// How many ended so.
    pub fn count(&self, outcome: CheckOutcome) -> usize {
        self.checks.iter().filter(|c| c.check.outcome == outcome).count()
    }

    /// 0 without a failure; 4 where every failure is something that cannot be reached or opened now
    /// (its code's own status is 4); else 1.
    pub fn exit_status(&self) -> u8 {
        let unreachable = |c: &Check| {
            // The code of an overdue project is that of its last run, not of now.
            c.name != FRESHNESS && c.code.is_some_and(|code| code.exit_status() == 4)
        };
        let checks = self.checks.iter().map(|c| &c.check);
        let failed: Vec<&Check> = checks.filter(|c| c.outcome == CheckOutcome::Fail).collect();
        match failed.len() {
            0 => 0,
            _ if failed.into_iter().all(unreachable) => 4,
            _ => 1,
        }
    }
}

/// Looks at everything.
#[derive(Clone)]
pub struct Health {
    world: Arc<World>,
    config: Arc<dyn ConfigLoader>,
    units: Arc<dyn ServiceUnits>,
    cancel: Cancel,
}

impl Health {
    /// A use case on these ports.
    pub fn new(
        world: Arc<World>,
        config: Arc<dyn ConfigLoader>,
        units: Arc<dyn ServiceUnits>,
        cancel: Cancel,
    ) -> Self {
        Self { world, config, units, cancel }
    }

    /// Looks at what all projects share, and at these projects. `earlier` is what was found on the way
    /// here.
    pub async fn execute(&self, entries: Vec<ProjectEntry>, earlier: Vec<Check>) -> HealthReport {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let mut projects = Vec::with_capacity(entries.len());
        for entry in entries.clone() {
            let (this, slots) = (self.clone(), Arc::clone(&slots));
            let name = entry.name.clone();
            let work = tokio::spawn(async move {
                let _slot = slots.acquire_owned().await;
                this.project(entry).await
            });
            projects.push((name, work));
        }
        let mut shared = earlier;
        shared.extend(self.machine().await);
        let fresh = self.freshness(entries, &mut shared).await;

        let mut checked = Vec::with_capacity(projects.len());
        for (name, work) in projects {
            let checks = match work.await {
                Ok(checks) => checks,
                Err(panic) => {
                    let failure = Failure::internal(format!("the checks of {name} ended: {panic}"));
                    vec![Check::bad("config", CheckOutcome::Fail, failure)]
                }
            };
            let of_project = fresh.iter().filter(|(project, _)| *project == name);
            let fresh = of_project.map(|(_, check)| check.clone());
            checked.push((name.clone(), checks.into_iter().chain(fresh).collect()));
        }
        report(shared, checked)
    }

    /// The checks of one project, told to stop by a request of their own.
    fn checks<'a>(&'a self, project: &'a Project) -> (Cancel, ProjectChecks<'a>) {
        let cancel = Cancel::new();
        let checks = ProjectChecks::new(&self.world, project, cancel.clone());
        (cancel, checks)
    }

    /// Awaits a check, for a limited time. Then it is told to stop by `cancel`, left behind where it
    /// does not, and fails with `code`.
    async fn limited<T: From<Check>>(
        &self,
        (name, code): (&'static str, ErrorCode),
        cancel: &Cancel,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        let why = tokio::select! {
            biased;
            done = &mut work => return done,
            why = self.cancel.cancelled() => why,
            () = self.world.clock.sleep(LIMIT) => Interrupt::Term,
        };
        cancel.cancel(why);
        tokio::select! {
            biased;
            // Its own words would be that it was interrupted.
            _ = &mut work => {}
            () = self.world.clock.sleep(GRACE) => {}
        }
        let failure = match self.cancel.reason() {
            Some(why) => crate::context::interrupted(why),
            None => Failure::new(code, format!("no answer within {} s: given up", LIMIT.as_secs())),
        };
        Check::bad(name, CheckOutcome::Fail, failure).into()
    }
}

impl From<Check> for Vec<Check> {
    fn from(check: Check) -> Self {
        vec![check]
    }
}

/// Puts everything in order. A program that several projects use is told once, and so is a disk that
/// is full for everybody.
fn report(shared: Vec<Check>, projects: Vec<(String, Vec<Check>)>) -> HealthReport {
    let all = |check| HealthCheck { project: None, check };
    let mut tools: Vec<HealthCheck> = Vec::new();
    let mut rest = Vec::new();
    let no_room = shared.iter().any(|c| c.name == "disk" && c.outcome == CheckOutcome::Fail);
    for (name, checks) in projects {
        for check in checks {
            if no_room && check.name == "disk" {
                continue;
            }
            let own = HealthCheck { project: Some(name.clone()), check };
            if own.check.name != TOOL {
                rest.push(own);
            } else if let Some(known) = tools.iter_mut().find(|t| t.check == own.check) {
                if known.project.as_deref() != Some(&name) {
                    known.project = None;
                }
            } else {
                tools.push(own);
            }
        }
    }
    let checks = shared.into_iter().map(all).chain(tools).chain(rest).collect();
    HealthReport { checks }
}
