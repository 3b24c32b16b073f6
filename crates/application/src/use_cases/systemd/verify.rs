//! Proves that what is installed can run and has run: each thing is told, whatever the others are like.

use std::path::Path;
use std::sync::Arc;

use backupctl_domain::{ErrorCode, Failure};

use super::{running, sandbox};
use crate::World;
use crate::context::Cancel;
use crate::ports::{
    FileState, InstalledUnit, ProjectEntry, ServiceHost, ServiceManager, UnitFile, UnitFiles,
    UnitPlan,
};
use crate::use_cases::checks::{Check, CheckOutcome, ProjectChecks};
use crate::use_cases::health::{HealthCheck, HealthReport};
use crate::use_cases::run_all::invalid;

/// What a check of the files is called.
const UNIT: &str = "unit";
const PROGRAM: &str = "program";
const CONFIG: &str = "config";

/// Verifies units.
pub struct VerifyUnits {
    /// The other ports.
    pub world: Arc<World>,
    /// The files.
    pub files: Arc<dyn UnitFiles>,
    /// systemd.
    pub manager: Arc<dyn ServiceManager>,
    /// The machine.
    pub host: Arc<dyn ServiceHost>,
}

impl VerifyUnits {
    /// Looks at everything. Changes nothing, but for a probe in `base_dir` that is taken back.
    /// `installed` says whether there are units at all: without, that is all there is to say.
    pub async fn execute(
        &self,
        plan: &UnitPlan,
        entries: &[ProjectEntry],
        installed: bool,
    ) -> HealthReport {
        let mut checks = Found::default();
        let absence = self.manager.absence().await;
        checks.shared(running::systemd(absence.as_deref()));
        if !installed {
            let failure = Failure::new(
                ErrorCode::DaemonNotRunning,
                "no unit of backupctl is installed: nothing starts backups by itself",
            )
            .with_remedy("install them with `backupctl systemd install`");
            checks.shared(Check::bad(UNIT, CheckOutcome::Fail, failure));
            return HealthReport { checks: checks.all };
        }
        let services = self.units(plan, absence.is_some(), &mut checks).await;
        for service in &services {
            self.program(service, plan, &mut checks).await;
        }
        for entry in entries {
            if let Err(issues) = &entry.project {
                let failure = invalid(&entry.name, issues);
                checks.of(&entry.name, Check::bad(CONFIG, CheckOutcome::Fail, failure));
            }
        }
        let view = sandbox::View {
            world: &self.world,
            host: self.host.as_ref(),
            plan,
            services: &services,
        };
        view.look(&mut checks).await;
        let enabled = entries.iter().filter_map(|entry| entry.project.as_ref().ok());
        for project in enabled.filter(|project| project.enabled) {
            let look = ProjectChecks::new(&self.world, project, Cancel::new());
            checks.of(project.name.as_str(), look.disk().await);
        }
        if absence.is_none() {
            running::units(self.manager.as_ref(), plan, &self.files, &mut checks).await;
        }
        running::freshness(&self.world, entries, &mut checks).await;
        HealthReport { checks: checks.all }
    }

    /// The files: there, and as they would be written now. The services that are there.
    async fn units(
        &self,
        plan: &UnitPlan,
        offline: bool,
        checks: &mut Found,
    ) -> Vec<InstalledUnit> {
        let looked = async {
            let files = self.files.render(plan)?;
            let states = self.files.compare(&files).await?;
            let ours = self.files.ours().await?;
            Ok::<_, Failure>((files, states, ours))
        };
        match looked.await {
            Err(failure) => checks.shared(Check::bad(UNIT, CheckOutcome::Fail, failure)),
            Ok((files, states, ours)) => {
                for (file, state) in files.iter().zip(&states) {
                    checks.shared(judge_file(file, state));
                    if offline && file.enabled && *state != FileState::Missing {
                        checks.extend(self.link(file).await);
                    }
                }
                for path in ours.iter().filter(|path| !files.iter().any(|f| f.path == **path)) {
                    let failure = Failure::new(
                        ErrorCode::InvalidConfig,
                        format!("{} belongs to nothing that is configured", path.display()),
                    )
                    .with_remedy("write the units anew with `backupctl systemd install`");
                    checks.shared(Check::bad(UNIT, CheckOutcome::Fail, failure));
                }
            }
        }
        match self.files.services().await {
            Ok(services) => services,
            Err(failure) => {
                checks.shared(Check::bad(UNIT, CheckOutcome::Fail, failure));
                Vec::new()
            }
        }
    }

    async fn link(&self, file: &UnitFile) -> Option<Check> {
        match self.files.is_linked(file).await {
            Ok(true) => None,
            Ok(false) => Some(Check::bad(UNIT, CheckOutcome::Fail, not_enabled(&file.name()))),
            Err(failure) => Some(Check::bad(UNIT, CheckOutcome::Fail, failure)),
        }
    }

    /// What the unit starts: there, of this version, with this configuration.
    async fn program(&self, service: &InstalledUnit, plan: &UnitPlan, checks: &mut Found) {
        let (name, Some(program)) = (&service.name, &service.program) else { return };
        let Some(config) = &service.config else {
            // The failure unit starts a shell, and needs nothing of us.
            if let Err(failure) = self.startable(service, program, plan).await {
                checks.shared(Check::bad(PROGRAM, CheckOutcome::Fail, failure));
            }
            return;
        };
        let version = async {
            self.startable(service, program, plan).await?;
            let said = self.host.version(program).await?;
            let ours = &self.world.identity.version;
            if said.split_whitespace().last() == Some(ours.as_str()) {
                return Ok(format!("{name} starts {} {ours}", program.display()));
            }
            Err(Failure::new(
                ErrorCode::ToolTooOld,
                format!("{name} starts {}, which is {said} and not {ours}", program.display()),
            )
            .with_remedy("install the units of this program with `backupctl systemd install`"))
        };
        checks.shared(Check::of(PROGRAM, version.await));
        if *config == plan.config {
            let readable = self.host.access(&plan.user, config).await.is_some_and(|a| a.read);
            if !readable {
                let user = &plan.user.name;
                let failure = Failure::new(
                    ErrorCode::InvalidConfig,
                    format!("{name} reads {}, which {user} may not read", config.display()),
                )
                .with_remedy(format!("run `chown {user} {}`", config.display()));
                checks.shared(Check::bad(CONFIG, CheckOutcome::Fail, failure));
            }
        } else {
            let failure = Failure::new(
                ErrorCode::InvalidConfig,
                format!(
                    "{name} reads {}, and this look is at {}",
                    config.display(),
                    plan.config.display()
                ),
            )
            .with_remedy(format!(
                "verify with `--config {}`, or install the units again for this one",
                config.display()
            ));
            checks.shared(Check::bad(CONFIG, CheckOutcome::Fail, failure));
        }
    }

    async fn startable(
        &self,
        service: &InstalledUnit,
        program: &Path,
        plan: &UnitPlan,
    ) -> Result<(), Failure> {
        let access = self.host.access(&plan.user, program).await;
        if access.is_some_and(|a| a.execute && !a.is_dir) {
            return Ok(());
        }
        let what = if access.is_none() { "is not there" } else { "is no program to it" };
        Err(Failure::new(
            ErrorCode::ToolMissing,
            format!("{} starts {}, which {what}", service.name, program.display()),
        )
        .with_remedy(
            "put the program there, or install the units anew with the program where it is now: \
             `backupctl systemd install`",
        ))
    }
}

fn judge_file(file: &UnitFile, state: &FileState) -> Check {
    let shown = file.path.display();
    let fail = |code, message: String, remedy: &str| {
        let failure = Failure::new(code, message).with_remedy(remedy);
        Check::bad(UNIT, CheckOutcome::Fail, failure)
    };
    match state {
        FileState::Same => Check::pass(UNIT, format!("{shown} is as it would be written now")),
        FileState::Missing => fail(
            ErrorCode::DaemonNotRunning,
            format!("{shown} is not there"),
            "write it with `backupctl systemd install`",
        ),
        FileState::Stale(what) => fail(
            ErrorCode::InvalidConfig,
            format!(
                "{shown} differs, for the configuration or the program has changed since: {}",
                what.join(", ")
            ),
            "bring it up to date with `backupctl systemd install`",
        ),
        FileState::Edited(what) => fail(
            ErrorCode::InvalidConfig,
            format!("{shown} was edited by hand: {}", what.join(", ")),
            "put the change into a drop-in (`systemctl edit UNIT`), then run `backupctl systemd \
             install --force`",
        ),
        FileState::Foreign => fail(
            ErrorCode::InvalidConfig,
            format!("{shown} was not written by backupctl"),
            "move it away, then run `backupctl systemd install`",
        ),
    }
}

pub(super) fn not_enabled(unit: &str) -> Failure {
    Failure::new(
        ErrorCode::DaemonNotRunning,
        format!("{unit} is installed and not enabled: nothing starts it after a reboot"),
    )
    .with_remedy(format!("run `systemctl enable --now {unit}`"))
}

/// What was found, in order.
#[derive(Default)]
pub(super) struct Found {
    pub(super) all: Vec<HealthCheck>,
}

impl Found {
    /// Of what all projects share.
    pub(super) fn shared(&mut self, check: Check) {
        self.all.push(HealthCheck { project: None, check });
    }

    /// Of one project.
    pub(super) fn of(&mut self, project: &str, check: Check) {
        self.all.push(HealthCheck { project: Some(project.to_owned()), check });
    }

    pub(super) fn extend(&mut self, checks: impl IntoIterator<Item = Check>) {
        checks.into_iter().for_each(|check| self.shared(check));
    }
}
