//! `backupctl snapshots`: what the destinations of a project hold.

use anstyle::Style;
use backupctl_adapters::application::ports::Snapshot;
use backupctl_adapters::application::use_cases::{Listing, Located, list_snapshots};
use backupctl_adapters::domain::retention::Proof;
use backupctl_adapters::domain::{ByteSize, DestinationName, Project, notice, tag};
use serde_json::json;

use crate::args::Global;
use crate::exit::{CommandResult, status};
use crate::render::table::Table;
use crate::render::{BAD, DIM, Out, WARN};
use crate::wire::App;

/// Runs the command.
pub(crate) async fn run(
    global: &Global,
    out: Out,
    project: &str,
    destination: Option<&str>,
    last: Option<usize>,
) -> CommandResult {
    let app = App::start_to_read(global, out).await?;
    let project = app.project_to_read(project).await?;
    let listing = list_snapshots(&app.world, &project, destination, last, &app.cancel).await?;
    tell(&app, &project, &listing);
    // What is listed is not all: whoever reads it must not take it for that.
    let silent = listing.silent.first();
    Ok(silent.map_or(status::SUCCESS, |(_, failure)| failure.code.exit_status()))
}

fn tell(app: &App, project: &Project, listing: &Listing) {
    let out = &app.out;
    if out.is_json() {
        let list: Vec<_> =
            listing.snapshots.iter().map(|s| to_json(&s.snapshot, &s.destination)).collect();
        let silent = listing.silent.iter().map(|(name, failure)| {
            json!({
                "destination": name, "code": failure.code, "message": failure.full_message(),
                "remedy": failure.remedy,
            })
        });
        let mut document = json!({"snapshots": list});
        if !listing.silent.is_empty() {
            document["unreachable"] = silent.collect();
        }
        out.json(&document);
        return;
    }
    if listing.snapshots.is_empty() {
        out.line(format!("no snapshots of {} yet", project.name));
    } else {
        table(app, project, listing);
    }
    for (name, failure) in &listing.silent {
        let message = format!("{name} could not be asked: {}", failure.full_message());
        out.error(failure.code, &message, &failure.remedy);
    }
}

fn table(app: &App, project: &Project, listing: &Listing) {
    let tz = &app.global.timezone;
    let several = project.has_several_destinations();
    let mut head = vec!["SNAPSHOT", "TIME", "TAGS", "SIZE", "HOST", "PATHS"];
    // Of what restic has stored nothing of the kind is known.
    let proofs = listing.snapshots.iter().any(|s| s.snapshot.proof.is_some());
    if proofs {
        head.insert(4, "STATE");
    }
    if several {
        head.insert(1, "DESTINATION");
    }
    let mut table = Table::new(&head);
    for Located { destination, snapshot: s } in &listing.snapshots {
        let tags: Vec<String> = s.tags.iter().map(|t| tag::shown(t)).collect();
        let paths: Vec<String> = s.paths.iter().map(|p| p.display().to_string()).collect();
        // Of an archive its file is what somebody has to find.
        let shown = match &s.archive {
            Some(file) => file.display().to_string(),
            None => paths.join(" "),
        };
        let mut row = vec![
            (s.id.short().to_owned(), None),
            (s.time.to_zoned(tz.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(), None),
            (tags.join(", "), None),
            (s.bytes.map(|b| ByteSize(b).to_string()).unwrap_or_default(), None),
            (s.host.clone(), Some(DIM)),
            (shown, Some(DIM)),
        ];
        if proofs {
            row.insert(4, state(s.proof));
        }
        if several {
            row.insert(1, (destination.to_string(), None));
        }
        table.row(row);
    }
    for line in table.lines() {
        app.out.line(line.trim_end());
    }
}

/// What is known of an archive, as a cell; nothing is known of a restic snapshot.
fn state(proof: Option<Proof>) -> (String, Option<Style>) {
    let style = match proof {
        Some(Proof::Damaged) => Some(BAD),
        Some(Proof::Unproven) => Some(WARN),
        Some(Proof::Proven) | None => None,
    };
    (proof.map(|proof| proof.as_str().to_owned()).unwrap_or_default(), style)
}

/// A snapshot with the keys of every list.
pub(super) fn to_json(s: &Snapshot, destination: &DestinationName) -> serde_json::Value {
    json!({
        "id": s.id,
        "short_id": s.id.short(),
        "time": notice::stamp(s.time),
        "tags": s.tags.iter().map(|t| tag::shown(t)).collect::<Vec<_>>(),
        "paths": s.paths,
        "host": s.host,
        "bytes": s.bytes,
        "destination": destination,
        "archive": s.archive,
        "proof": s.proof.map(Proof::as_str),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_or_not_proven_stands_out() {
        let cell = |text: &str, style| (text.to_owned(), style);
        assert_eq!(state(Some(Proof::Damaged)), cell("damaged", Some(BAD)));
        assert_eq!(state(Some(Proof::Unproven)), cell("unproven", Some(WARN)));
        assert_eq!(state(Some(Proof::Proven)), cell("proven", None));
        assert_eq!(
            state(None),
            cell("", None),
            "of a restic snapshot nothing of the kind is known"
        );
    }
}
