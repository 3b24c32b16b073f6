//! `backupctl init`: a starter configuration, or everything that a configuration needs.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use backupctl_adapters::application::context::StageContext;
use backupctl_adapters::domain::{Destination, ErrorCode, Failure, Project, ProjectName, Stage};
use backupctl_adapters::{config, defaults};
use serde_json::{Value, json};

use crate::args::Global;
use crate::exit::{CommandError, CommandResult, status};
use crate::render::{BOLD, GOOD, Out};
use crate::wire::{self, App};

/// The name of the starter project where none is given.
const STARTER_PROJECT: &str = "my-app";

/// Runs the command.
pub(crate) async fn run(global: &Global, out: Out, project: Option<&str>) -> CommandResult {
    if wire::config(global).locate().is_err() {
        return starter(global, &out, project);
    }
    let app = App::start(global, out).await?;
    app.ensure_base_dir().await;
    create(&app, project).await
}

/// Writes `backupctl.yml` and `.env`; neither may be there.
fn starter(global: &Global, out: &Out, project: Option<&str>) -> CommandResult {
    let name = project.unwrap_or(STARTER_PROJECT);
    if let Err(message) = ProjectName::new(name) {
        return Err(Failure::new(ErrorCode::InvalidConfig, message).into());
    }
    let file = wire::config(global).starter_path();
    let env = file.parent().unwrap_or(Path::new("")).join(".env");
    if env.exists() {
        return Err(Failure::new(
            ErrorCode::InvalidConfig,
            format!("{} is there already and is not overwritten", env.display()),
        )
        .with_remedy("move the file away, or run `backupctl init` in another folder")
        .into());
    }
    if let Some(dir) = file.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).map_err(|e| not_written(dir, &e))?;
    }
    // 244 random bits: a repository password that nobody has to remember, only to keep.
    let password = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    write_new(&file, 0o640, &config::starter_config(name))?;
    write_new(&env, 0o600, &config::starter_env(&password))?;
    if out.is_json() {
        out.json(&json!({"created": [file, env]}));
        return Ok(status::SUCCESS);
    }
    out.line(format!("{GOOD}wrote{GOOD:#} {} and {} (0600)", file.display(), env.display()));
    out.line("");
    out.line(format!("{BOLD}Next{BOLD:#}"));
    out.line(format!("  1. edit {}: the database, the folders, the repository", file.display()));
    out.line(format!(
        "  2. keep a copy of the password in {} somewhere else: without it no backup can be read",
        env.display()
    ));
    out.line("  3. backupctl config validate");
    out.line("  4. backupctl init               creates the repository and the audit database");
    out.line(format!("  5. backupctl run {name} --dry-run   checks everything"));
    out.line(format!("  6. backupctl run {name}"));
    Ok(status::SUCCESS)
}

fn write_new(path: &Path, mode: u32, text: &str) -> Result<(), CommandError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(|e| not_written(path, &e))?;
    file.write_all(text.as_bytes()).map_err(|e| not_written(path, &e))?;
    file.sync_all().map_err(|e| not_written(path, &e))?;
    Ok(())
}

fn not_written(path: &Path, error: &std::io::Error) -> CommandError {
    Failure::new(
        ErrorCode::PathNotWritable,
        format!("{} cannot be written: {error}", path.display()),
    )
    .into()
}

/// Creates missing repositories and the audit database; tells of each, and fails if one failed.
async fn create(app: &App, project: Option<&str>) -> CommandResult {
    let out = &app.out;
    let mut results: Vec<Value> = Vec::new();
    let mut first_error: Option<CommandError> = None;
    let audit = prepare_audit(app).await;
    tell(out, "audit", audit, &mut results, &mut first_error);
    for entry in app.entries(project)? {
        let project = match app.project(&entry.name).await {
            Ok(project) => project,
            Err(error) => {
                tell(out, &entry.name, Err(error.failure), &mut results, &mut first_error);
                continue;
            }
        };
        for at in &project.destinations {
            let result = prepare(app, &project, at).await;
            let name = if project.has_several_destinations() {
                format!("{}, {}", entry.name, at.name)
            } else {
                entry.name.clone()
            };
            tell(out, &name, result, &mut results, &mut first_error);
        }
    }
    if out.is_json() {
        out.json(&json!({"results": results}));
    }
    match first_error {
        None => Ok(status::SUCCESS),
        Some(error) => Err(CommandError::silent(error.exit)),
    }
}

async fn prepare_audit(app: &App) -> Result<String, Failure> {
    let audit = defaults::audit(&app.global)?;
    audit.prepare().await?;
    Ok(format!("ready at {}", audit.location()))
}

/// Makes a repository or a folder of archives, where it is not there.
async fn prepare(app: &App, project: &Project, at: &Destination) -> Result<String, Failure> {
    let storage = app.world.registries.storage(project, at)?;
    let redactor = Arc::new(project.redactor());
    let ctx = StageContext::new(Stage::Sync, app.cancel.clone(), redactor);
    let (info, created) = storage.admin.init(&ctx).await?;
    let verb = if created { "created" } else { "found" };
    Ok(match &info.id {
        Some(id) => {
            let id = id.get(..8).unwrap_or(id);
            format!("{verb} repository {id} at {}", info.location)
        }
        None => format!("{verb} the folder of archives {}", info.shown()),
    })
}

fn tell(
    out: &Out,
    what: &str,
    result: Result<String, Failure>,
    results: &mut Vec<Value>,
    first_error: &mut Option<CommandError>,
) {
    match result {
        Ok(message) => {
            results.push(json!({"name": what, "ok": true, "message": message}));
            if !out.is_json() {
                out.line(format!("{GOOD}ok{GOOD:#}  {what}: {message}"));
            }
        }
        Err(failure) => {
            results.push(json!({
                "name": what, "ok": false, "message": failure.full_message(),
                "code": failure.code, "remedy": failure.remedy,
            }));
            if !out.is_json() {
                let message = format!("{what}: {}", failure.full_message());
                out.error(failure.code, &message, &failure.remedy);
            }
            first_error.get_or_insert_with(|| failure.into());
        }
    }
}
