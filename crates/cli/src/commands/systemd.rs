//! `backupctl systemd`: units that start backups, and the proof that they do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anstyle::Style;
use backupctl_adapters::application::ports::{
    ConfigLoader, ServiceHost, ServiceManager, UnitFile, UnitFiles, UnitMode, UnitOptions,
    UnitPlan, UnitUser,
};
use backupctl_adapters::application::use_cases::HealthCheck;
use backupctl_adapters::application::use_cases::systemd::{
    InstallUnits, Installed, PlanInput, VerifyUnits, mounts, plan, uninstall,
};
use backupctl_adapters::config::{Environment, FileConfig};
use backupctl_adapters::domain::{ErrorCode, Failure};
use backupctl_adapters::systemd::{Machine, Systemctl, UnitFolder};
use serde_json::{Value, json};

use super::health;
use crate::args::{Global, InstallArgs, SystemdCommand, UnitPlace};
use crate::exit::{CommandResult, status};
use crate::render::{BOLD, DIM, GOOD, Out};
use crate::wire::{self, App};

/// The PATH of units of which nobody has chosen another.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs the command.
pub(crate) async fn run(global: &Global, out: Out, command: SystemdCommand) -> CommandResult {
    match command {
        SystemdCommand::Install(args) => install(global, out, args).await,
        SystemdCommand::Verify(place) => verify(global, out, place).await,
        SystemdCommand::Uninstall(place) => remove(&out, &place).await,
    }
}

/// The configuration as a unit sees it: nothing that only this shell has set counts.
fn as_unit(global: &Global, options: &UnitOptions, user: &UnitUser) -> Result<FileConfig, Failure> {
    let file = wire::config(global).locate()?;
    let home = user.home.clone();
    let variables = [
        ("PATH".to_owned(), options.path.clone()),
        ("HOME".to_owned(), home.to_string_lossy().into_owned()),
    ];
    let environment = Environment {
        variables: variables.into(),
        cwd: PathBuf::from("/"),
        home: Some(home),
        euid: user.uid,
    };
    // A file that is named by a link or a relative path is found from everywhere.
    let file = std::path::absolute(&file).unwrap_or(file);
    Ok(FileConfig::new(Some(file), environment))
}

/// This program, where it really is.
fn program() -> Result<PathBuf, Failure> {
    let cannot = |e| Failure::internal(format!("this program's own path cannot be read: {e}"));
    let path = std::env::current_exe().map_err(cannot)?;
    // The kernel says so of a program that was replaced since it was started.
    match path.to_str().and_then(|path| path.strip_suffix(" (deleted)")) {
        Some(replaced) => Ok(PathBuf::from(replaced)),
        None => Ok(path),
    }
}

fn folder(place: &UnitPlace) -> Arc<dyn UnitFiles> {
    Arc::new(UnitFolder::new(place.root.clone().unwrap_or_else(|| PathBuf::from("/"))))
}

fn manager(place: &UnitPlace) -> Arc<dyn ServiceManager> {
    Arc::new(match (&place.systemctl, &place.root) {
        (Some(program), _) => Systemctl::program(program),
        (None, Some(root)) => {
            Systemctl::absent(format!("only the files below {} are looked at", root.display()))
        }
        (None, None) => Systemctl::of_machine(),
    })
}

/// Whoever changes the system's units must be root; those of an image are its maker's.
fn refuse_others(place: &UnitPlace, what: &str) -> Result<(), Failure> {
    let euid = Environment::from_process().euid;
    if euid == 0 || place.root.is_some() {
        return Ok(());
    }
    Err(Failure::new(
        ErrorCode::PathNotWritable,
        format!("the units in /etc/systemd/system are root's, and this is user number {euid}"),
    )
    .with_remedy(format!(
        "run `sudo backupctl systemd {what}`, or work on a folder with `--root DIR`"
    )))
}

async fn plan_for(app: &App, options: UnitOptions, user: UnitUser) -> Result<Planned, Failure> {
    let config: Arc<dyn ConfigLoader> = app.config.clone();
    let unresolved = app.loaded.global.as_ref().map_or(&app.global, |global| global);
    let input = PlanInput {
        options,
        program: program()?,
        config: app.loaded.file.clone(),
        global: &app.global,
        audit_url: &unresolved.audit_url,
        user,
        entries: &app.loaded.projects,
    };
    let (plan, problems) = plan(&config, input).await;
    Ok(Planned { plan, problems })
}

struct Planned {
    plan: UnitPlan,
    /// Why somebody cannot be told of a failure.
    problems: Vec<String>,
}

async fn install(global: &Global, out: Out, args: InstallArgs) -> CommandResult {
    if !args.print {
        refuse_others(&args.place, "install")?;
    }
    let options = UnitOptions {
        mode: if args.timers { UnitMode::Timers } else { UnitMode::Serve },
        user: args.user,
        path: args.path,
        read_write: absolute(args.read_write),
        mounts: Vec::new(),
    };
    let user = Machine.user(&options.user).await?;
    let config = as_unit(global, &options, &user)?;
    let (app, earlier) = App::start_to_look_by(global, out, config).await?;
    let Planned { mut plan, problems } = plan_for(&app, options, user).await?;
    plan.options.mounts = mounts(&app.world, &plan).await;
    for entry in &app.loaded.projects {
        if let Err(issues) = &entry.project {
            for issue in issues {
                app.out.warn(wire::issue_line(issue));
            }
        }
    }
    for check in earlier {
        app.out.warn(check.message);
    }
    for problem in problems {
        app.out.warn(format!("this channel is not told when a unit fails: {problem}"));
    }
    let files = folder(&args.place);
    if args.print {
        print(&app.out, &files.render(&plan)?);
        return Ok(status::SUCCESS);
    }
    let manager = manager(&args.place);
    let absence = manager.absence().await;
    if let (Some(why), None) = (&absence, &args.place.root) {
        app.out.warn(format!("{why}: the files are written, and nothing here starts them"));
    }
    let installer = InstallUnits {
        world: Arc::clone(&app.world),
        files,
        manager: absence.is_none().then_some(manager),
        host: Arc::new(Machine),
    };
    let done = installer.execute(&plan, args.force).await?;
    for warning in &done.warnings {
        app.out.warn(warning);
    }
    tell_installed(&app.out, &done, &plan);
    Ok(status::SUCCESS)
}

fn absolute(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.into_iter().map(|path| std::path::absolute(&path).unwrap_or(path)).collect()
}

/// The files as they would be written, but for what is secret.
fn print(out: &Out, files: &[UnitFile]) {
    if out.is_json() {
        let all: Vec<Value> = files
            .iter()
            .map(|file| {
                let text = (!is_secret(file)).then_some(&file.text);
                json!({"path": file.path, "mode": format!("{:04o}", file.mode), "text": text})
            })
            .collect();
        out.json(&json!({"files": all}));
        return;
    }
    for file in files {
        out.line(format!("{BOLD}# {}{BOLD:#}", file.path.display()));
        if is_secret(file) {
            out.line("# (an address to post to, for root alone)");
        } else {
            out.line(file.text.trim_end());
        }
        out.line("");
    }
}

fn is_secret(file: &UnitFile) -> bool {
    file.path.extension().is_some_and(|e| e == "curl")
}

fn tell_installed(out: &Out, done: &Installed, plan: &UnitPlan) {
    if out.is_json() {
        out.json(&json!({
            "written": done.written, "unchanged": done.unchanged, "removed": done.removed,
            "made": done.made, "enabled": done.enabled, "warnings": done.warnings,
        }));
        return;
    }
    let list = |what: &str, paths: &[PathBuf], style: Style| {
        for path in paths {
            out.line(format!("{style}{what:<9}{style:#} {}", path.display()));
        }
    };
    list("made", &done.made, GOOD);
    list("written", &done.written, GOOD);
    list("removed", &done.removed, BOLD);
    list("unchanged", &done.unchanged, DIM);
    out.line(format!("{GOOD}enabled{GOOD:#}   {}", done.enabled.join(", ")));
    if !plan.alerts.is_empty() {
        out.note(
            "The addresses to which failures are posted are in /etc/backupctl/systemd, for root \
             alone, as they are now: install again when they change.",
        );
    }
    out.note("Prove it with `backupctl systemd verify`.");
}

async fn verify(global: &Global, out: Out, place: UnitPlace) -> CommandResult {
    let files = folder(&place);
    let found = files.options().await?;
    let installed = found.is_some();
    let options = found.unwrap_or_else(|| UnitOptions {
        mode: UnitMode::Serve,
        user: "root".to_owned(),
        path: PATH.to_owned(),
        read_write: Vec::new(),
        mounts: Vec::new(),
    });
    let user = Machine.user(&options.user).await?;
    let config = as_unit(global, &options, &user)?;
    let (app, earlier) = App::start_to_look_by(global, out, config).await?;
    let Planned { plan, problems } = plan_for(&app, options, user).await?;
    for problem in problems {
        app.out.warn(format!("this channel is not told when a unit fails: {problem}"));
    }
    let verify = VerifyUnits {
        world: Arc::clone(&app.world),
        files,
        manager: manager(&place),
        host: Arc::new(Machine),
    };
    let mut report = verify.execute(&plan, &app.loaded.projects, installed).await;
    let shared = |check| HealthCheck { project: None, check };
    report.checks.splice(0..0, earlier.into_iter().map(shared));
    let code = if report.is_healthy() { status::SUCCESS } else { status::FAILURE };
    if app.out.is_json() {
        let checks: Vec<Value> = report.checks.iter().map(health::to_json).collect();
        app.out.json(&json!({"verified": report.is_healthy(), "checks": checks}));
    } else {
        health::tell(&app.out, &report, ["verified", "not verified"]);
    }
    Ok(app.interrupted_or(code))
}

async fn remove(out: &Out, place: &UnitPlace) -> CommandResult {
    refuse_others(place, "uninstall")?;
    let manager = manager(place);
    let present = manager.absence().await.is_none();
    let removed = uninstall(folder(place).as_ref(), present.then_some(manager.as_ref())).await?;
    if out.is_json() {
        out.json(&json!({"removed": removed}));
    } else if removed.is_empty() {
        out.line(format!("no unit of backupctl is installed below {}", root(place).display()));
    } else {
        for path in &removed {
            out.line(format!("{BOLD}removed{BOLD:#}   {}", path.display()));
        }
    }
    Ok(status::SUCCESS)
}

fn root(place: &UnitPlace) -> &Path {
    place.root.as_deref().unwrap_or(Path::new("/"))
}
