//! `backupctl config`: check, show and document the configuration.

use std::path::Path;
use std::sync::Arc;

use backupctl_adapters::application::ports::{Clock, ConfigLoader};
use backupctl_adapters::application::use_cases::{reload, run_all};
use backupctl_adapters::config;
use backupctl_adapters::defaults;
use backupctl_adapters::domain::project::unknown_project;
use backupctl_adapters::domain::{ErrorCode, Failure, Project, Secret};
use backupctl_adapters::local::{LockHolders, SystemClock};
use serde_json::json;

use crate::args::{ConfigCommand, Global};
use crate::exit::{CommandResult, status};
use crate::render::{BAD, GOOD, Out, WARN};
use crate::wire;

/// Runs the command.
pub(crate) async fn run(global: &Global, out: Out, command: ConfigCommand) -> CommandResult {
    match command {
        ConfigCommand::Validate => validate(global, &out).await,
        ConfigCommand::Show { project } => show(global, &out, &project).await,
        ConfigCommand::ImportGpgKey { file } => import_gpg_key(&out, &file).await,
        ConfigCommand::Reload => reload(global, &out).await,
        ConfigCommand::Schema => {
            out.json(&config::schema());
            Ok(status::SUCCESS)
        }
    }
}

/// Tells what is wrong with the configuration in any case; the daemon only of a good one.
async fn reload(global: &Global, out: &Out) -> CommandResult {
    let mut loaded = wire::config(global).load().await?;
    let settings = match &loaded.global {
        Ok(settings) => settings.clone(),
        // Without a base folder nobody knows where the daemon's lock is.
        Err(issues) => return Err(wire::invalid(out, &loaded.file, issues)),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let identity = defaults::identity();
    let registries = defaults::registries(&settings, &identity, &clock);
    registries.refuse_unsupported(&mut loaded);
    let lines: Vec<String> = loaded.issues().into_iter().map(wire::issue_line).collect();
    if !out.is_json() {
        for line in &lines {
            out.note(format!("{BAD}error[INVALID_CONFIG]:{BAD:#} {line}"));
        }
    }
    let processes = LockHolders::new(settings.base_dir);
    let told = reload::reload(&processes, &loaded).await;
    let pid =
        told.map_err(
            |failure| {
                if out.is_json() { failure.with_detail(lines.join("\n")) } else { failure }
            },
        )?;
    if out.is_json() {
        out.json(&json!({"file": loaded.file, "reloaded": true, "pid": pid}));
    } else {
        out.line(format!(
            "{GOOD}told{GOOD:#} the daemon (pid {pid}) to read {}",
            loaded.file.display()
        ));
    }
    Ok(status::SUCCESS)
}

async fn import_gpg_key(out: &Out, file: &Path) -> CommandResult {
    let keyring = defaults::keyring().ok_or_else(|| {
        Failure::new(ErrorCode::InvalidConfig, "this build has no gpg")
            .with_remedy("build with the feature `gpg`, or run `gpg --import` yourself")
    })?;
    let fingerprints = keyring.import_file(file).await?;
    if out.is_json() {
        out.json(&json!({"fingerprints": fingerprints}));
    } else {
        for fingerprint in &fingerprints {
            out.line(format!("{GOOD}imported{GOOD:#} {fingerprint}"));
        }
    }
    Ok(status::SUCCESS)
}

async fn validate(global: &Global, out: &Out) -> CommandResult {
    let mut loaded = wire::config(global).load().await?;
    if let Ok(settings) = &loaded.global {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let identity = defaults::identity();
        let registries = defaults::registries(settings, &identity, &clock);
        registries.refuse_unsupported(&mut loaded);
    }
    let issues = loaded.issues();
    let code = if issues.is_empty() { status::SUCCESS } else { status::USAGE };
    if out.is_json() {
        let issue = |i: &backupctl_adapters::application::ports::ConfigIssue| {
            json!({
                "file": i.file, "line": i.line, "column": i.column, "project": i.project,
                "key": i.key, "message": i.message,
            })
        };
        let projects: Vec<_> = loaded
            .projects
            .iter()
            .map(|p| json!({"project": p.name, "valid": p.project.is_ok()}))
            .collect();
        out.json(&json!({
            "file": loaded.file,
            "valid": issues.is_empty(),
            "projects": projects,
            "errors": issues.iter().map(|i| issue(i)).collect::<Vec<_>>(),
            "warnings": loaded.warnings.iter().map(issue).collect::<Vec<_>>(),
        }));
        return Ok(code);
    }
    for warning in &loaded.warnings {
        out.warn(wire::issue_line(warning));
    }
    for p in &loaded.projects {
        match &p.project {
            Ok(project) if project.enabled => {
                let missing = missing_files(project);
                if missing.is_empty() {
                    out.line(format!("{GOOD}valid{GOOD:#}    {}", p.name));
                } else {
                    out.line(format!("{WARN}valid{WARN:#}    {} ({missing})", p.name));
                }
            }
            Ok(_) => out.line(format!("{GOOD}valid{GOOD:#}    {} (disabled)", p.name)),
            Err(issues) => out.line(format!(
                "{BAD}invalid{BAD:#}  {} ({} {})",
                p.name,
                issues.len(),
                if issues.len() == 1 { "error" } else { "errors" }
            )),
        }
    }
    if issues.is_empty() {
        let n = loaded.projects.len();
        let word = if n == 1 { "project" } else { "projects" };
        out.line(format!("{}: {n} {word}, no errors", loaded.file.display()));
        return Ok(code);
    }
    for issue in &issues {
        out.note(format!("{BAD}error[INVALID_CONFIG]:{BAD:#} {}", wire::issue_line(issue)));
    }
    let word = if issues.len() == 1 { "error" } else { "errors" };
    out.note(format!("{}: {} {word}", loaded.file.display(), issues.len()));
    Ok(code)
}

/// The files of this project's secrets that are not there: valid as text, and no run can succeed.
fn missing_files(project: &Project) -> String {
    let mut missing = Vec::new();
    for secret in project.secrets() {
        if let Secret::File(path) = secret
            && !path.exists()
            && !missing.contains(path)
        {
            missing.push(path.clone());
        }
    }
    let texts: Vec<_> =
        missing.iter().map(|p| format!("warning: {} does not exist", p.display())).collect();
    texts.join("; ")
}

async fn show(global: &Global, out: &Out, name: &str) -> CommandResult {
    let config = wire::config(global);
    let loaded = config.load().await?;
    let known: Vec<String> = loaded.projects.iter().map(|p| p.name.clone()).collect();
    let entry = loaded
        .projects
        .into_iter()
        .find(|p| p.name == name)
        .ok_or_else(|| unknown_project(name, &known))?;
    let project = entry.project.map_err(|issues| {
        for issue in &issues {
            out.note(format!("{BAD}error[INVALID_CONFIG]:{BAD:#} {}", wire::issue_line(issue)));
        }
        run_all::invalid(name, &issues)
    })?;
    let view = config.masked_view(&project);
    if out.is_json() {
        out.json(&view);
    } else {
        out.line(config::to_yaml(&view).trim_end());
    }
    Ok(status::SUCCESS)
}
