//! `backupctl verify`: stored snapshots, read back whole.

use backupctl_adapters::application::use_cases::verify::Which;
use backupctl_adapters::application::use_cases::{VerifyOutcome, verify};
use backupctl_adapters::domain::{ByteSize, Project, Stage, notice};
use serde_json::{Value, json};

use crate::args::{Global, VerifyArgs};
use crate::exit::{CommandResult, status};
use crate::render::progress::watching;
use crate::render::{BAD, BOLD, GOOD, Out};
use crate::wire::App;

/// Runs the command.
pub(crate) async fn run(global: &Global, out: Out, args: VerifyArgs) -> CommandResult {
    let app = App::start_to_read(global, out).await?;
    let project = app.project_to_read(&args.project).await?;
    let which = match args.snapshot.as_str() {
        _ if args.all => Which::All,
        "latest" => Which::Latest,
        id => Which::One(id),
    };
    let observer = watching(&app.out, Stage::Verify);
    let at = args.destination.as_deref();
    let outcomes = verify(&app.world, &project, which, at, &app.cancel, observer).await;
    let outcomes = app.done(outcomes)?;
    if app.out.is_json() {
        let list: Vec<Value> = outcomes.iter().map(to_json).collect();
        app.out.json(&json!({"project": project.name, "verified": list}));
    } else {
        for one in &outcomes {
            tell(&app, &project, one);
        }
    }
    let failed = outcomes.iter().find_map(|one| one.result.as_ref().err());
    Ok(failed.map_or(status::SUCCESS, |failure| failure.code.exit_status()))
}

fn tell(app: &App, project: &Project, one: &VerifyOutcome) {
    let out = &app.out;
    let at = if project.has_several_destinations() {
        format!(" at {}", one.destination)
    } else {
        String::new()
    };
    let what = one.snapshot.as_ref().map_or_else(String::new, |s| {
        let time = notice::local_time(s.time, &app.global.timezone);
        let file = s.archive.as_ref().map(|file| format!(" {}", file.display()));
        format!("{} of {time}{} ", s.id.short(), file.unwrap_or_default())
    });
    match &one.result {
        Ok(report) => {
            let files = match report.files {
                Some(1) => ", 1 file".to_owned(),
                Some(n) => format!(", {n} files"),
                None => String::new(),
            };
            out.line(format!(
                "{GOOD}whole{GOOD:#}    {BOLD}{}{BOLD:#}{at} {what}({} read{files}; {})",
                project.name,
                ByteSize(report.bytes),
                report.how
            ));
        }
        Err(failure) => {
            out.line(
                format!("{BAD}not whole{BAD:#} {BOLD}{}{BOLD:#}{at} {what}", project.name)
                    .trim_end(),
            );
            out.error(failure.code, &failure.full_message(), &failure.remedy);
        }
    }
}

fn to_json(one: &VerifyOutcome) -> Value {
    let report = one.result.as_ref().ok();
    let failure = one.result.as_ref().err();
    json!({
        "destination": one.destination,
        "snapshot": one.snapshot.as_ref().map(|s| s.id.as_str()),
        "archive": one.snapshot.as_ref().and_then(|s| s.archive.as_ref()),
        "time": one.snapshot.as_ref().map(|s| notice::stamp(s.time)),
        "ok": report.is_some(),
        "bytes": report.map(|r| r.bytes),
        "files": report.and_then(|r| r.files),
        "how": report.map(|r| &r.how),
        "error": failure.map(|f| json!({
            "code": f.code, "message": f.full_message(), "stage": null, "remedy": f.remedy,
        })),
    })
}
