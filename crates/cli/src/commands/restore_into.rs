//! `backupctl restore --into`: a snapshot's dump, loaded into a database.

use std::sync::Arc;

use backupctl_adapters::application::ports::ConfigLoader;
use backupctl_adapters::application::use_cases::{IntoOptions, IntoOutcome, Restore, RestoreInto};
use backupctl_adapters::config::Environment;
use backupctl_adapters::domain::project::Database;
use backupctl_adapters::domain::{
    ByteSize, ErrorCode, Failure, Project, Redactor, Secret, SnapshotId, database_url, human,
};
use serde_json::json;

use super::restore::{end, target_of};
use crate::args::{OnlyArg, RestoreArgs};
use crate::exit::{CommandError, CommandResult, status};
use crate::render::GOOD;
use crate::wire::App;

/// The variable with the password for the database.
const PASSWORD_VARIABLE: &str = "BACKUPCTL_INTO_PASSWORD";

/// Runs the command.
pub(crate) async fn run(app: &App, args: &RestoreArgs, url: &str) -> CommandResult {
    if matches!(args.only, Some(OnlyArg::Assets)) {
        return Err(usage(
            "--into loads the database's dump, and --only assets leaves that out",
            "leave out --only, or restore the assets without --into",
        )
        .into());
    }
    let database = database_url::parse(url).map_err(|problems| {
        usage(
            &format!("the URL of --into cannot be used: {}", problems.join("; ")),
            "write it as `postgres://USER@HOST:PORT/NAME`, `mysql://…`, `mariadb://…` or \
             `sqlite:///WHOLE/PATH`, with `%XX` for what has a meaning in a URL",
        )
    })?;
    let database = with_password(app, args, database).await?;
    let project = app.project_to_read(&args.project).await?;
    let options = IntoOptions {
        snapshot: (args.snapshot != "latest").then(|| args.snapshot.clone()),
        destination: args.destination.clone(),
        target: args.target.as_deref().map(target_of),
        decompress: args.decompress,
        database,
        create: args.create,
        force: args.force,
    };
    let mut ctx = Restore::context(&project, app.cancel.clone());
    ctx.redactor = Arc::new(redactor(&project, &options.database, url));
    let redactor = Arc::clone(&ctx.redactor);
    let loaded = RestoreInto::new(&app.world, &project, ctx).execute(&options).await;
    let outcome = loaded.map_err(|mut failure| {
        failure.message = redactor.redact(&failure.message);
        failure.detail = redactor.redact(&failure.detail);
        end(app, failure)
    })?;
    tell(app, &project, &options, &outcome);
    Ok(status::SUCCESS)
}

fn usage(message: &str, remedy: &str) -> Failure {
    Failure::new(ErrorCode::InvalidConfig, message).with_remedy(remedy)
}

/// The database with its password: the URL's, the file's, the variable's, or, on the same server and
/// for the same user, the project's own, with how that is reached.
async fn with_password(
    app: &App,
    args: &RestoreArgs,
    mut database: Database,
) -> Result<Database, CommandError> {
    let project = app.unresolved_project(&args.project)?;
    let ours = project.database.filter(|ours| database_url::same_login(ours, &database));
    if let Some(ours) = &ours {
        database.container.clone_from(&ours.container);
        if database.options.sslmode.is_none() {
            database.options.sslmode.clone_from(&ours.options.sslmode);
        }
        if database.options.sslrootcert.is_none() {
            database.options.sslrootcert.clone_from(&ours.options.sslrootcert);
        }
    }
    if database.password.is_some() {
        if args.into_password_file.is_some() {
            return Err(usage(
                "the URL of --into has a password, and --into-password-file is given too",
                "take the password out of the URL",
            )
            .into());
        }
        app.out.warn(format!(
            "the password in the URL shows in the list of processes; give it by \
             --into-password-file or {PASSWORD_VARIABLE}"
        ));
        return Ok(database);
    }
    let variable = Environment::from_process().variables.remove(PASSWORD_VARIABLE);
    database.password = match (&args.into_password_file, variable) {
        (Some(file), _) => {
            let file = target_of(file);
            let remedy = "name a file with the password in its first line";
            let secret = app.config.resolve_secret("--into", Secret::File(file)).await;
            Some(secret.map_err(|failure| failure.with_remedy(remedy))?)
        }
        (None, Some(password)) if !password.is_empty() => Some(Secret::value(password)),
        (None, _) => match ours.and_then(|ours| ours.password) {
            Some(secret) => Some(app.config.resolve_secret("database.password", secret).await?),
            None => None,
        },
    };
    Ok(database)
}

/// Takes the project's secrets out of texts, and the database's in every form that it is given in.
fn redactor(project: &Project, database: &Database, url: &str) -> Redactor {
    let mut secrets: Vec<String> =
        project.secrets().into_iter().filter_map(|s| s.expose().ok().map(str::to_owned)).collect();
    if let Some(Ok(password)) = database.password.as_ref().map(Secret::expose) {
        secrets.push(password.to_owned());
        if url.contains('@') {
            secrets.push(url.to_owned());
        }
    }
    Redactor::new(secrets)
}

fn tell(app: &App, project: &Project, options: &IntoOptions, outcome: &IntoOutcome) {
    let (out, restored) = (&app.out, &outcome.restored);
    let database = &options.database;
    let notes: Vec<&String> = restored.notes.iter().chain(&outcome.loaded.notes).collect();
    if out.is_json() {
        out.json(&json!({
            "project": project.name,
            "snapshots": restored.snapshots,
            "target": options.target,
            "dump": restored.dump,
            "bytes": restored.bytes,
            "checksum_proven": restored.checksum_proven,
            "into": {
                "engine": database.engine,
                "database": database_url::shown(database),
                "created": outcome.created,
                "replaced": options.force,
                "tables": outcome.loaded.tables,
                "tool": format!("{} {}", outcome.tool.name, outcome.tool.version),
                "duration": seconds(outcome.took),
            },
            "notes": notes,
        }));
        return;
    }
    let ids: Vec<&str> = restored.snapshots.iter().map(SnapshotId::short).collect();
    let tables = outcome.loaded.tables;
    let word = if tables == 1 { "table" } else { "tables" };
    out.line(format!(
        "{GOOD}loaded{GOOD:#} {tables} {word} from {} into {} in {}",
        ids.join(", "),
        database_url::shown(database),
        human::duration(outcome.took)
    ));
    if outcome.created {
        out.line("  the database was created");
    }
    let proven =
        if restored.checksum_proven { " (checksum as recorded at the backup)" } else { "" };
    match &restored.dump {
        Some(dump) => out.line(format!("  dump  {}{proven}", dump.display())),
        None => out.line(format!("  dump  {}{proven}", ByteSize(restored.bytes))),
    }
    for note in notes {
        out.note(format!("  note: {note}"));
    }
}

/// Seconds with three decimals.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of a load fit 53 bits")]
fn seconds(took: std::time::Duration) -> f64 {
    took.as_millis() as f64 / 1000.0
}
