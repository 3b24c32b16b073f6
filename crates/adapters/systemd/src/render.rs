//! The text of every file of a plan. The same plan gives the same text.

use std::path::{Path, PathBuf};

use backupctl_application::ports::{
    Need, Needs, PlannedProject, ReadKind, UnitFile, UnitMode, UnitPlan,
};
use backupctl_domain::schedule::CatchUp;
use backupctl_domain::{ErrorCode, Failure};

use crate::alert;
use crate::calendar::on_calendar;
use crate::parse::OWN_SECTION;
use crate::sandbox::{self, line};
use crate::text::{argument, marked, path_text, word};

/// Where an administrator's units are.
pub(crate) const UNITS: &str = "/etc/systemd/system";
/// Where what the failure unit needs is.
pub(crate) const OWN_DIR: &str = "/etc/backupctl/systemd";

/// The names that units of projects must not take.
const TAKEN: [&str; 1] = ["watch"];

/// What is told with every unit that fails to start, and with every run that fails.
const ON_FAILURE: &str = "backupctl-failure@%n.service";

/// Every file of the plan.
pub(crate) fn files(plan: &UnitPlan) -> Result<Vec<UnitFile>, Failure> {
    let mut files = Vec::new();
    match plan.options.mode {
        UnitMode::Serve => files.push(unit("backupctl.service", &daemon(plan)?, true)),
        UnitMode::Timers => {
            for project in &plan.projects {
                let Some(schedule) = &project.schedule else { continue };
                let name = project.name.as_str();
                refuse_taken(name)?;
                let calendar = on_calendar(schedule).map_err(|mut failure| {
                    failure.message = format!("project {name}: {}", failure.message);
                    failure
                })?;
                files.push(unit(
                    &format!("backupctl-{name}.service"),
                    &one_run(plan, project)?,
                    false,
                ));
                let made_up = schedule.catch_up != CatchUp::Never;
                let timer = timer(&format!("Backups of {name}"), &calendar, Some(made_up));
                files.push(unit(&format!("backupctl-{name}.timer"), &timer, true));
            }
        }
    }
    files.push(unit("backupctl-watch.service", &watch(plan)?, false));
    let every_quarter = ["*-*-* *:00/15:00".to_owned()];
    let timer = timer("Watches over backups", &every_quarter, None);
    files.push(unit("backupctl-watch.timer", &timer, true));
    files.push(unit("backupctl-failure@.service", &alert::unit(), false));
    files.extend(alert::files(plan)?);
    Ok(files)
}

fn unit(name: &str, text: &str, enabled: bool) -> UnitFile {
    let path = Path::new(UNITS).join(name);
    UnitFile { path, text: marked(text), mode: 0o644, enabled }
}

/// A file beside the units that systemd does not read.
pub(crate) fn beside(name: &str, text: &str, mode: u32) -> UnitFile {
    let path = PathBuf::from(OWN_DIR).join(name);
    UnitFile { path, text: marked(text), mode, enabled: false }
}

fn refuse_taken(name: &str) -> Result<(), Failure> {
    if !TAKEN.contains(&name) {
        return Ok(());
    }
    Err(Failure::new(
        ErrorCode::InvalidConfig,
        format!("project {name} cannot have a timer: backupctl-{name}.timer is a unit of its own"),
    )
    .with_remedy(
        "rename the project, or let the daemon keep the schedule (`backupctl systemd install` \
         without --timers)",
    ))
}

fn daemon(plan: &UnitPlan) -> Result<String, Failure> {
    let needs = plan.all_needs();
    let mut out = head(plan, "Backups by their schedules (backupctl serve)", &plan.shared)?;
    // Longer than five starts can take, so that also one that hangs ends in `OnFailure=`.
    line(&mut out, "StartLimitIntervalSec", "30min");
    line(&mut out, "StartLimitBurst", "5");
    out.push_str("\n[Service]\nType=notify\nNotifyAccess=main\n");
    line(&mut out, "ExecStart", &command(plan, &["serve"])?);
    // The daemon reads its configuration again.
    line(&mut out, "ExecReload", "/bin/kill -HUP $MAINPID");
    line(&mut out, "ExecStartPost", &alert::well());
    out.push_str(
        "# Whoever ends it but systemd itself ends it by mistake.\nRestart=always\nRestartSec=30s\n\
         # A configuration that cannot be used does not get better by itself: it is told at once.\n\
         RestartPreventExitStatus=3\nSuccessExitStatus=130 143\nTimeoutStartSec=5min\n\
         TimeoutStopSec=3min\nKillMode=mixed\nOOMPolicy=continue\n",
    );
    out.push_str(&sandbox::service(plan, &needs)?);
    out.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    Ok(out)
}

fn one_run(plan: &UnitPlan, project: &PlannedProject) -> Result<String, Failure> {
    let name = project.name.as_str();
    let mut needs = plan.shared.clone();
    needs.extend(&project.needs);
    let mut out = head(plan, &format!("Backup of {name}"), &needs)?;
    out.push_str("\n[Service]\nType=oneshot\n");
    line(&mut out, "ExecStart", &command(plan, &["run", name, "--scheduled"])?);
    line(&mut out, "ExecStartPost", &alert::well());
    out.push_str("TimeoutStartSec=infinity\nTimeoutStopSec=3min\nKillMode=mixed\n");
    out.push_str(&sandbox::service(plan, &needs)?);
    Ok(out)
}

/// A second side that watches: it tells also of a daemon that is dead, and of timers that start nothing.
fn watch(plan: &UnitPlan) -> Result<String, Failure> {
    let mut needs = plan.shared.clone();
    let secrets = plan.projects.iter().flat_map(|p| &p.needs.reads);
    let secrets = secrets.filter(|r| r.kind == ReadKind::Secret).cloned().collect();
    needs.extend(&Needs { reads: secrets, ..Needs::default() });
    let mut out = head(plan, "Looks whether backups are as new as promised", &needs)?;
    out.push_str("\n[Service]\nType=oneshot\n");
    line(&mut out, "ExecStart", &command(plan, &["watch", "--summary"])?);
    line(&mut out, "ExecStartPost", &alert::well());
    out.push_str("TimeoutStartSec=10min\n");
    out.push_str(&sandbox::service(plan, &needs)?);
    out.extend(["\n[", OWN_SECTION, "]\n"]);
    line(&mut out, "Mode", plan.options.mode.as_str());
    line(&mut out, "User", &plan.options.user);
    line(&mut out, "Path", &word(&plan.options.path));
    for path in &plan.options.read_write {
        line(&mut out, "ReadWrite", &word(path_text(path)?));
    }
    for path in &plan.options.mounts {
        line(&mut out, "Mounted", &word(path_text(path)?));
    }
    Ok(out)
}

/// `[Unit]`. What must be mounted for it to start at all is what it cannot do without: a disk that the
/// run, or its other destinations, can do without is only waited for.
fn head(plan: &UnitPlan, description: &str, needs: &Needs) -> Result<String, Failure> {
    let mut out = String::from("[Unit]\n");
    line(&mut out, "Description", description);
    line(&mut out, "Documentation", "man:backupctl(1)");
    line(&mut out, "OnFailure", ON_FAILURE);
    line(&mut out, "Wants", "network-online.target");
    // Only an order: none of them need be there.
    line(
        &mut out,
        "After",
        "network-online.target time-sync.target postgresql.service mariadb.service mysql.service \
         mongod.service redis-server.service docker.service",
    );
    for writes in needs.writes.iter().filter(|writes| writes.need >= Need::Required) {
        line(&mut out, "RequiresMountsFor", &word(path_text(&writes.path)?));
    }
    out.push_str(&sandbox::mounts(plan));
    Ok(out)
}

fn command(plan: &UnitPlan, words: &[&str]) -> Result<String, Failure> {
    let fixed = [path_text(&plan.program)?, "--config", path_text(&plan.config)?];
    let all: Vec<String> = fixed.iter().chain(words).map(|word| argument(word)).collect();
    Ok(all.join(" "))
}

/// `persistent` says whether a time that passed while the machine was off is made up for: systemd knows
/// no bound, so it is made up for however late, or never.
fn timer(description: &str, calendar: &[String], persistent: Option<bool>) -> String {
    let mut out = String::from("[Unit]\n");
    line(&mut out, "Description", description);
    out.push_str("\n[Timer]\n");
    for value in calendar {
        line(&mut out, "OnCalendar", value);
    }
    match persistent {
        // The run that starts late records what was missed.
        Some(true) => line(&mut out, "Persistent", "true"),
        // The next run does.
        Some(false) => line(&mut out, "Persistent", "false"),
        None => {}
    }
    out.push_str("AccuracySec=1s\n\n[Install]\nWantedBy=timers.target\n");
    out
}
