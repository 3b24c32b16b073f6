//! `backupctl snapshots`: what the repository holds of a project.

use backupctl_adapters::application::ports::Snapshot;
use backupctl_adapters::application::use_cases::list_snapshots;
use backupctl_adapters::domain::{ByteSize, notice, tag};
use serde_json::json;

use crate::args::Global;
use crate::exit::{CommandResult, status};
use crate::render::table::Table;
use crate::render::{DIM, Out};
use crate::wire::App;

/// Runs the command.
pub(crate) async fn run(
    global: &Global,
    out: Out,
    project: &str,
    last: Option<usize>,
) -> CommandResult {
    let app = App::start_to_read(global, out).await?;
    let project = app.project_to_read(project).await?;
    let snapshots = list_snapshots(&app.world, &project, last, &app.cancel).await?;
    let out = &app.out;
    if out.is_json() {
        let list: Vec<_> = snapshots.iter().map(to_json).collect();
        out.json(&json!({"snapshots": list}));
        return Ok(status::SUCCESS);
    }
    if snapshots.is_empty() {
        out.line(format!("no snapshots of {} yet", project.name));
        return Ok(status::SUCCESS);
    }
    let tz = &app.global.timezone;
    let mut table = Table::new(&["SNAPSHOT", "TIME", "TAGS", "SIZE", "HOST", "PATHS"]);
    for s in &snapshots {
        let tags: Vec<String> = s.tags.iter().map(|t| tag::shown(t)).collect();
        let paths: Vec<String> = s.paths.iter().map(|p| p.display().to_string()).collect();
        table.row(vec![
            (s.id.short().to_owned(), None),
            (s.time.to_zoned(tz.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(), None),
            (tags.join(", "), None),
            (s.bytes.map(|b| ByteSize(b).to_string()).unwrap_or_default(), None),
            (s.host.clone(), Some(DIM)),
            (paths.join(" "), Some(DIM)),
        ]);
    }
    for line in table.lines() {
        out.line(line.trim_end());
    }
    Ok(status::SUCCESS)
}

/// A snapshot with the keys of every list.
pub(super) fn to_json(s: &Snapshot) -> serde_json::Value {
    json!({
        "id": s.id,
        "short_id": s.id.short(),
        "time": notice::stamp(s.time),
        "tags": s.tags.iter().map(|t| tag::shown(t)).collect::<Vec<_>>(),
        "paths": s.paths,
        "host": s.host,
        "bytes": s.bytes,
    })
}
