//! Whether systemd has the units, starts them, and what came of it: green is only what has run.

use std::sync::Arc;
use std::time::Duration;

use backupctl_domain::freshness::Freshness;
use backupctl_domain::{ErrorCode, Failure, RunStatus, human, notice};

use super::verify::{Found, not_enabled};
use crate::World;
use crate::ports::{ProjectEntry, ServiceManager, UnitFile, UnitFiles, UnitPlan, UnitState};
use crate::use_cases::checks::{Check, CheckOutcome};
use crate::use_cases::status::{ProjectStatus, Status};

const SYSTEMD: &str = "systemd";
const STATE: &str = "state";
const FRESHNESS: &str = "freshness";

/// Whether there is a systemd at all.
pub(super) fn systemd(absence: Option<&str>) -> Check {
    match absence {
        None => Check::pass(SYSTEMD, "systemd runs here"),
        Some(why) => Check::warn(
            SYSTEMD,
            format!("{why}: nothing here can start the units, so only their files are looked at"),
            "verify on the machine that is to start them; in a container let its engine start \
             `backupctl serve`",
        ),
    }
}

/// Every unit that is to be there, as systemd has it.
pub(super) async fn units(
    manager: &dyn ServiceManager,
    plan: &UnitPlan,
    files: &Arc<dyn UnitFiles>,
    found: &mut Found,
) {
    let Ok(rendered) = files.render(plan) else { return };
    let units: Vec<&UnitFile> =
        rendered.iter().filter(|file| file.is_unit() && !file.name().contains("@.")).collect();
    let names: Vec<String> = units.iter().map(|file| file.name()).collect();
    let states = match manager.show(&names).await {
        Ok(states) => states,
        Err(failure) => {
            found.shared(Check::bad(STATE, CheckOutcome::Fail, failure));
            return;
        }
    };
    for (file, name) in units.iter().zip(&names) {
        let Some(state) = states.iter().find(|state| state.name == *name) else {
            let failure = Failure::new(
                ErrorCode::DaemonNotRunning,
                format!("systemd says nothing of {name}"),
            )
            .with_remedy("run `systemctl daemon-reload`, then `backupctl systemd install`");
            found.shared(Check::bad(STATE, CheckOutcome::Fail, failure));
            continue;
        };
        let checked = judge(file, state);
        match project_of(name, plan) {
            Some(project) => found.of(project, checked),
            None => found.shared(checked),
        }
    }
}

/// The project whose unit it is.
fn project_of<'a>(unit: &str, plan: &'a UnitPlan) -> Option<&'a str> {
    let own = |name: &str| {
        unit.strip_prefix("backupctl-")
            .and_then(|rest| rest.strip_prefix(name))
            .is_some_and(|kind| kind == ".service" || kind == ".timer")
    };
    plan.projects.iter().map(|p| p.name.as_str()).find(|name| own(name))
}

fn judge(file: &UnitFile, state: &UnitState) -> Check {
    let name = &state.name;
    let fail = |failure| Check::bad(STATE, CheckOutcome::Fail, failure);
    let down = |text: String| Failure::new(ErrorCode::DaemonNotRunning, text);
    if state.load != "loaded" {
        let load = if state.load.is_empty() { "not loaded" } else { &state.load };
        return fail(down(format!("systemd has {name} as {load}")).with_remedy(
            "run `systemctl daemon-reload`, and `systemctl status UNIT` for the reason",
        ));
    }
    if !matches!(state.result.as_str(), "" | "success") || state.active == "failed" {
        return fail(last_failure(state));
    }
    if file.enabled {
        if !matches!(state.file.as_str(), "enabled" | "enabled-runtime" | "linked") {
            return fail(not_enabled(name));
        }
        if !matches!(state.active.as_str(), "active" | "activating" | "reloading") {
            return fail(
                down(format!("{name} is {}: it starts nothing", state.active))
                    .with_remedy(format!("run `systemctl start {name}`")),
            );
        }
    }
    if state.needs_reload {
        return Check::warn(
            STATE,
            format!("{name} has changed on disk since systemd read it"),
            "run `systemctl daemon-reload`",
        );
    }
    let mut text = format!("{name} is {}", state.active);
    if let Some(last) = &state.last_trigger {
        text = format!("{text}, went off last {last}");
    }
    if let Some(next) = &state.next {
        text = format!("{text}, goes off next {next}");
    } else if file.enabled && file.is_timer() && state.active == "active" {
        return fail(
            down(format!("{name} is active and has no next time"))
                .with_remedy(format!("see its `OnCalendar` with `systemctl cat {name}`")),
        );
    }
    Check::pass(STATE, text)
}

/// What systemd's own exit statuses mean (systemd.exec(5)), and ours.
fn last_failure(state: &UnitState) -> Failure {
    let name = &state.name;
    if state.result == "start-limit-hit" {
        return Failure::new(
            ErrorCode::DaemonNotRunning,
            format!("{name} was started too often within its limit, and stays down"),
        )
        .with_remedy(format!(
            "see why with `journalctl -u {name}`, then run `systemctl reset-failed {name}` and \
             `systemctl start {name}`"
        ));
    }
    let (code, why) = match state.exit_status {
        Some(203) => (ErrorCode::ToolMissing, "its program could not be started"),
        Some(226) => (
            ErrorCode::PathNotWritable,
            "its sandbox could not be made: a folder of ReadWritePaths is missing",
        ),
        Some(217) => (ErrorCode::InvalidConfig, "its user is not there"),
        Some(243) => (ErrorCode::InvalidConfig, "a secret of LoadCredential could not be read"),
        Some(3) => (ErrorCode::InvalidConfig, "its configuration cannot be used"),
        Some(2) if name == "backupctl.service" => {
            (ErrorCode::BackupInProgress, "another daemon was running")
        }
        Some(2) => (ErrorCode::BackupInProgress, "a backup of its project was in progress"),
        Some(4) => (ErrorCode::RepoUnreachable, "something could not be reached"),
        _ => (ErrorCode::RunMissed, "its last run failed"),
    };
    let how = match (state.result.as_str(), state.exit_status) {
        ("exit-code", Some(status)) => format!("exit status {status}"),
        (result, _) => result.to_owned(),
    };
    Failure::new(code, format!("{name} failed ({how}): {why}"))
        .with_remedy(format!("see why with `journalctl -u {name}`"))
}

/// Whether a run record is there that is as new as the schedule promises: what nothing else proves.
pub(super) async fn freshness(world: &World, entries: &[ProjectEntry], found: &mut Found) {
    let all = match Status::new(world).execute(entries.to_vec()).await {
        Ok(all) => all,
        Err(failure) => {
            found.shared(Check::bad(FRESHNESS, CheckOutcome::Fail, failure));
            return;
        }
    };
    for project in &all {
        if let Some(check) = fresh(project, world) {
            found.of(&project.name, check);
        }
    }
}

fn fresh(p: &ProjectStatus, world: &World) -> Option<Check> {
    let (now, zone) = (world.clock.now(), &world.settings.timezone);
    let name = FRESHNESS;
    let local = |at| notice::local_time(at, zone);
    let success = p.last_success.as_ref().map_or_else(
        || "no success so far".to_owned(),
        |run| {
            let age = Duration::try_from(now.duration_since(run.started_at)).unwrap_or_default();
            format!("last success {} ago", human::age(age))
        },
    );
    let last_error = p
        .last_run
        .as_ref()
        .filter(|run| run.status == RunStatus::Failed)
        .and_then(|run| run.error.as_ref());
    let fail = |message: String| {
        if let Some(error) = last_error {
            return Check {
                name,
                outcome: CheckOutcome::Fail,
                message: format!("{message}; the last run failed: {}", error.message),
                code: Some(error.code),
                remedy: Some(error.remedy.clone()),
            };
        }
        let failure = Failure::new(ErrorCode::RunMissed, message).with_remedy(format!(
            "see what keeps its unit from running with `journalctl -u 'backupctl*'`, and make the \
             backup now with `backupctl run {}`",
            p.name
        ));
        Check::bad(name, CheckOutcome::Fail, failure)
    };
    let freshness = p.freshness?;
    Some(match freshness {
        Freshness::Disabled => return None,
        Freshness::Overdue { since, .. } => {
            fail(format!("overdue since {}: {success}", local(since)))
        }
        Freshness::NeverRan { first_due: Some(due) } if freshness.is_late(now) => {
            fail(format!("has never run, and its first run was due by {}", local(due)))
        }
        Freshness::NeverRan { first_due } => {
            let due = first_due.map_or_else(String::new, |at| format!("; due by {}", local(at)));
            Check::warn(
                name,
                format!("has not run yet, so nothing is proven{due}"),
                format!("prove it now with `backupctl run {}`", p.name),
            )
        }
        Freshness::Paused => Check::warn(
            name,
            format!("its schedule is paused, {success}"),
            format!("let it go on with `backupctl schedule resume {}`", p.name),
        ),
        Freshness::Unscheduled { .. } => Check::warn(
            name,
            format!("no schedule, so nothing starts it; {success}"),
            "give the project a `cron`",
        ),
        Freshness::Fresh { .. } if last_error.is_some() => fail(success),
        Freshness::Fresh { due } => {
            Check::pass(name, format!("{success}, the next is due by {}", local(due)))
        }
    })
}
