//! `backupctl forget`: one snapshot deleted, after asking.

use std::io::{self, IsTerminal, Write};

use backupctl_adapters::application::context::interrupted;
use backupctl_adapters::application::ports::Snapshot;
use backupctl_adapters::application::use_cases::{Forget, snapshots};
use backupctl_adapters::domain::{ByteSize, ErrorCode, Failure, ProjectName, notice, tag};
use serde_json::json;

use crate::args::{ForgetArgs, Global};
use crate::exit::{CommandResult, status};
use crate::render::{BOLD, GOOD, Out};
use crate::wire::App;

/// Runs the command.
pub(crate) async fn run(global: &Global, out: Out, args: ForgetArgs) -> CommandResult {
    let app = App::start_to_read(global, out).await?;
    let project = app.project_to_read(&args.project).await?;
    snapshots::check_id(&project.name, &args.snapshot)?;
    let forget = Forget::new(&app.world, &project, app.cancel.clone());
    let (mut id, at) = (args.snapshot, args.destination.as_deref());
    if !args.yes {
        // What cannot be deleted in any case is told first.
        let found = app.done(forget.find(&id, at, args.force).await)?;
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Err(Failure::new(
                ErrorCode::InvalidConfig,
                format!(
                    "nobody can be asked whether snapshot {} is to be deleted: this is no terminal",
                    found.id.short()
                ),
            )
            .with_remedy("add --yes to delete it without asking")
            .into());
        }
        if !app.done(confirmed(&app, &project.name, &found).await)? {
            app.out.note("nothing was deleted");
            return Ok(status::FAILURE);
        }
        // The one that was shown, whatever has come meanwhile.
        id = found.id.as_str().to_owned();
    }
    let done = app.done(forget.execute(&id, at, args.force).await)?;
    let out = &app.out;
    if out.is_json() {
        out.json(&json!({
            "project": project.name,
            "destination": done.destination,
            "forgotten": super::snapshots::to_json(&done.snapshot, &done.destination),
            "left": done.left,
        }));
        return Ok(status::SUCCESS);
    }
    out.line(format!(
        "{GOOD}deleted{GOOD:#} snapshot {} of {}{}, {} left",
        done.snapshot.id.short(),
        project.name,
        if project.has_several_destinations() {
            format!(" at {}", done.destination)
        } else {
            String::new()
        },
        done.left
    ));
    Ok(status::SUCCESS)
}

/// Asks on the terminal. Ctrl-C is an answer, too.
async fn confirmed(app: &App, project: &ProjectName, snapshot: &Snapshot) -> Result<bool, Failure> {
    let tags: Vec<String> = snapshot.tags.iter().map(|t| tag::shown(t)).collect();
    let size = snapshot.bytes.map_or_else(String::new, |bytes| format!(", {}", ByteSize(bytes)));
    let time = notice::local_time(snapshot.time, &app.global.timezone);
    let question = format!(
        "delete snapshot {BOLD}{}{BOLD:#} of {project} for good ({time}, {}{size})? [y/N] ",
        snapshot.id.short(),
        tags.join(", ")
    );
    let answer = tokio::task::spawn_blocking(move || {
        let mut stderr = anstream::stderr().lock();
        write!(stderr, "{question}")?;
        stderr.flush()?;
        drop(stderr);
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map(|_| answer)
    });
    let answer = tokio::select! {
        why = app.cancel.cancelled() => return Err(interrupted(why)),
        answer = answer => answer,
    };
    let answer = answer.map_err(|e| Failure::internal(format!("nobody was asked: {e}")))?;
    let answer = answer.map_err(|e| {
        Failure::new(ErrorCode::InvalidConfig, format!("the answer cannot be read: {e}"))
            .with_remedy("add --yes to delete it without asking")
    })?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
