//! `backupctl restore`: files of a snapshot, back on disk.

use std::path::{Path, PathBuf};

use backupctl_adapters::application::use_cases::{
    Only, Restore, RestoreOptions, guide::import_guide,
};
use backupctl_adapters::domain::{ByteSize, ErrorCode, Failure, SnapshotId, Stage};
use serde_json::json;

use crate::args::{Global, OnlyArg, RestoreArgs};
use crate::exit::{CommandError, CommandResult, status};
use crate::render::progress::watching;
use crate::render::{GOOD, Out};
use crate::wire::App;

/// Less of a snapshot's id would match by chance, and nothing at all any snapshot.
const SHORTEST_ID: usize = 4;

/// Runs the command.
pub(crate) async fn run(global: &Global, out: Out, args: RestoreArgs) -> CommandResult {
    let app = App::start_to_read(global, out).await?;
    if args.snapshot != "latest" && args.snapshot.len() < SHORTEST_ID {
        return Err(Failure::new(
            ErrorCode::SnapshotNotFound,
            format!("{:?} is too short for a snapshot's id", args.snapshot),
        )
        .with_remedy(format!(
            "name at least {SHORTEST_ID} characters of an id of `backupctl snapshots {}`, or `latest`",
            args.project
        ))
        .into());
    }
    if let Some(url) = &args.into {
        return super::restore_into::run(&app, &args, url).await;
    }
    let project = app.project_to_read(&args.project).await?;
    let out = &app.out;
    let target = args.target.as_deref().map(target_of).unwrap_or_default();
    if args.guide {
        let guide = import_guide(&project, &args.snapshot, &target);
        if out.is_json() {
            out.json(&json!({"project": project.name, "guide": guide}));
        } else {
            out.line(guide.trim_end());
        }
        return Ok(status::SUCCESS);
    }
    if let Some(path) = args.paths.iter().find(|path| !path.is_absolute()) {
        let text = format!("--path {} is no whole path", path.display());
        return Err(Failure::new(ErrorCode::InvalidConfig, text)
            .with_remedy("name the path as it was backed up, from `/` on")
            .into());
    }
    let options = RestoreOptions {
        snapshot: (args.snapshot != "latest").then(|| args.snapshot.clone()),
        destination: args.destination.clone(),
        target,
        only: args.only.map(|o| match o {
            OnlyArg::Db => Only::Db,
            OnlyArg::Assets => Only::Assets,
        }),
        // Without `.`, double or trailing slashes.
        paths: args.paths.iter().map(|path| path.components().collect()).collect(),
        decompress: args.decompress,
        force: args.force,
    };
    let mut ctx = Restore::context(&project, app.cancel.clone());
    ctx.observer = watching(out, Stage::Sync);
    let restored = Restore::new(&app.world, &project, ctx).execute(&options).await;
    let outcome = restored.map_err(|failure| end(&app, failure))?;
    if out.is_json() {
        out.json(&json!({
            "project": project.name,
            "target": options.target,
            "snapshots": outcome.snapshots,
            "destination": outcome.destination,
            "files": outcome.files,
            "bytes": outcome.bytes,
            "dump": outcome.dump,
            "checksum_proven": outcome.checksum_proven,
            "notes": outcome.notes,
        }));
        return Ok(status::SUCCESS);
    }
    let ids: Vec<&str> = outcome.snapshots.iter().map(SnapshotId::short).collect();
    out.line(format!(
        "{GOOD}restored{GOOD:#} {} {}, {} from {}{} to {}",
        outcome.files,
        if outcome.files == 1 { "file" } else { "files" },
        ByteSize(outcome.bytes),
        ids.join(", "),
        match &outcome.destination {
            Some(name) if project.has_several_destinations() => format!(" at {name}"),
            _ => String::new(),
        },
        options.target.display()
    ));
    if let Some(dump) = &outcome.dump {
        let proven =
            if outcome.checksum_proven { " (checksum as recorded at the backup)" } else { "" };
        out.line(format!("  dump  {}{proven}", dump.display()));
    }
    for note in &outcome.notes {
        out.note(format!("  note: {note}"));
    }
    if outcome.dump.is_some() && project.database.is_some() && !out.is_quiet() {
        out.note(format!(
            "  how to import it: backupctl restore {} {} {} --guide",
            project.name,
            args.snapshot,
            options.target.display()
        ));
    }
    Ok(status::SUCCESS)
}

/// A folder or file as an absolute path.
pub(crate) fn target_of(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// How a restore ends badly.
pub(crate) fn end(app: &App, failure: Failure) -> CommandError {
    let interrupted = failure.code == ErrorCode::Interrupted;
    let error = CommandError::from(failure);
    if interrupted { error.with_exit(app.interrupted_or(130)) } else { error }
}
