//! Run records, as people read them.

use std::time::Duration;

use anstyle::Style;
use backupctl_adapters::domain::{
    BackupRun, ByteSize, RunStatus, Stage, StageOutcome, StageRecord, human, notice, tag,
};
use jiff::tz::TimeZone;

use super::table::Table;
use super::{BAD, BOLD, DIM, GOOD, Out, WARN};

/// A status with its colour.
pub(crate) fn status(status: RunStatus) -> (String, Option<Style>) {
    let style = match status {
        RunStatus::Success => GOOD,
        RunStatus::Failed => BAD,
        RunStatus::Started => WARN,
    };
    (status.as_str().to_owned(), Some(style))
}

/// Runs, one a line.
pub(crate) fn runs(out: &Out, runs: &[BackupRun], tz: &TimeZone) {
    let mut table =
        Table::new(&["RUN", "STARTED", "STATUS", "DURATION", "DUMP", "SNAPSHOT", "TRIGGER", ""]);
    for run in runs {
        let remark = match (&run.error, run.current_stage) {
            (Some(error), _) => format!("{}: {}", error.code, error.message),
            (None, Some(stage)) if run.status == RunStatus::Started => {
                format!("at {}", stage.with_number())
            }
            _ => match run.warnings.len() {
                0 => String::new(),
                1 => "1 warning".to_owned(),
                n => format!("{n} warnings"),
            },
        };
        table.row(vec![
            (run.run_id.short(), None),
            (run.started_at.to_zoned(tz.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(), None),
            status(run.status),
            (run.duration.map(human::duration).unwrap_or_default(), None),
            (run.dump.as_ref().map(|d| ByteSize(d.bytes).to_string()).unwrap_or_default(), None),
            (run.main_snapshot().map(|s| s.short().to_owned()).unwrap_or_default(), None),
            (run.trigger.as_str().to_owned(), Some(DIM)),
            (first_line(&remark), None),
        ]);
    }
    for line in table.lines() {
        out.line(line.trim_end());
    }
}

/// One run with everything that is known of it.
pub(crate) fn run(out: &Out, run: &BackupRun, tz: &TimeZone) {
    let (text, style) = status(run.status);
    let style = style.unwrap_or(BOLD);
    out.line(format!(
        "{BOLD}{}{BOLD:#}  run {}  {style}{text}{style:#}  ({})",
        run.project,
        run.run_id,
        run.trigger.as_str()
    ));
    out.line(format!("started   {}", notice::local_time(run.started_at, tz)));
    if let (Some(at), Some(took)) = (run.finished_at, run.duration) {
        let at = notice::local_time(at, tz);
        out.line(format!("finished  {at}, after {}", human::duration(took)));
    }
    out.line(format!("host      {}, backupctl {}", run.host, run.version));
    if let Some(dump) = &run.dump {
        out.line(format!("dump      {}", dump.file));
        out.line(format!(
            "          {}, {} before compression, by {}",
            ByteSize(dump.bytes),
            ByteSize(dump.raw_bytes),
            dump.tool_version
        ));
        out.line(format!("          {DIM}{}{DIM:#}", dump.checksum));
    }
    for s in &run.snapshots {
        let tags: Vec<String> = s.tags.iter().map(|t| tag::shown(t)).collect();
        let at = match &s.destination {
            Some(name) if run.destinations.len() > 1 => format!("{name}  "),
            _ => String::new(),
        };
        out.line(format!(
            "snapshot  {}  {at}{}  ({} new data; files: {} new, {} changed, {} unmodified)",
            s.id.short(),
            tags.join(", "),
            ByteSize(s.bytes_added),
            s.files_new,
            s.files_changed,
            s.files_unmodified
        ));
        if let Some(archive) = &s.archive {
            let parts = match archive.parts {
                1 => String::new(),
                n => format!(" in {n} parts"),
            };
            out.line(format!("archive   {}, {}{parts}", archive.file, ByteSize(archive.bytes)));
            out.line(format!("          {DIM}{}{DIM:#}", archive.checksum));
        }
    }
    destinations(out, run);
    if let Some(bytes) = run.repository_bytes {
        out.line(format!("{:<9} {}", stored_in(run), ByteSize(bytes)));
    }
    if let Some(stage) = run.current_stage {
        out.line(format!("now at    {}", stage.with_number()));
    }
    out.line("");
    stages(out, &run.stages);
    for warning in &run.warnings {
        out.line(format!("{WARN}warning:{WARN:#} {warning}"));
    }
    if let Some(error) = &run.error {
        let stage = error.stage.map(|s| format!(" at {s}")).unwrap_or_default();
        out.line(format!("{BAD}error[{}]{stage}:{BAD:#} {}", error.code, error.message));
        out.line(format!("  {BOLD}fix:{BOLD:#} {}", error.remedy));
    }
}

/// What the whole of what is stored is called.
pub(crate) fn stored_in(run: &BackupRun) -> &'static str {
    if run.has_only_archives() { "archives" } else { "repository" }
}

/// How it went at each destination, where there are several.
fn destinations(out: &Out, run: &BackupRun) {
    if run.destinations.len() < 2 {
        return;
    }
    let mut table = Table::new(&["DESTINATION", "STORED", "TRIES", "REQUIRED", ""]);
    for d in &run.destinations {
        let (stored, style) = if d.stored { ("yes", GOOD) } else { ("no", BAD) };
        let remark = d.error.as_ref().map(|e| format!("{}: {}", e.code, e.message));
        table.row(vec![
            (d.name.to_string(), None),
            (stored.to_owned(), Some(style)),
            (if d.attempts > 1 { d.attempts.to_string() } else { String::new() }, None),
            (if d.required { "yes" } else { "no" }.to_owned(), Some(DIM)),
            (first_line(&remark.unwrap_or_else(|| d.location.clone())), Some(DIM)),
        ]);
    }
    for line in table.lines() {
        out.line(line.trim_end());
    }
}

fn stages(out: &Out, stages: &[StageRecord]) {
    let mut table = Table::new(&["#", "STAGE", "OUTCOME", "TOOK", "TRIES", ""]);
    for s in stages {
        table.row(stage_cells(s));
    }
    for line in table.lines() {
        out.line(line.trim_end());
    }
}

fn stage_cells(s: &StageRecord) -> Vec<(String, Option<Style>)> {
    let took = match (s.started_at, s.finished_at) {
        (Some(a), Some(b)) => short(Duration::try_from(b.duration_since(a)).unwrap_or_default()),
        _ => String::new(),
    };
    let (outcome, style) = outcome(s.outcome, s.finished_at.is_none() && s.attempts == 0);
    vec![
        (s.stage.number().map(|n| n.to_string()).unwrap_or_default(), Some(DIM)),
        (s.stage.name().to_owned(), None),
        (outcome.to_owned(), Some(style)),
        (took, None),
        (if s.attempts > 1 { s.attempts.to_string() } else { String::new() }, None),
        (first_line(s.message.as_deref().unwrap_or_default()), Some(DIM)),
    ]
}

fn outcome(outcome: StageOutcome, going_on: bool) -> (&'static str, Style) {
    match outcome {
        StageOutcome::Ok if going_on => ("running", WARN),
        StageOutcome::Ok => ("ok", GOOD),
        StageOutcome::Failed => ("failed", BAD),
        StageOutcome::Skipped => ("skipped", DIM),
    }
}

/// A short time with parts of a second: `0.12s`, `45s`, `1m 19s`.
pub(crate) fn short(d: Duration) -> String {
    if d < Duration::from_secs(10) {
        format!("{:.2}s", d.as_secs_f64())
    } else {
        human::duration(d)
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// One finished stage as a plain line, for output that is no terminal.
pub(crate) fn stage_line(record: &StageRecord) -> String {
    let message = record.message.as_deref().map(first_line).unwrap_or_default();
    if record.outcome == StageOutcome::Skipped {
        return format!("[SKIP] {} — {message}", record.stage);
    }
    let took = match (record.started_at, record.finished_at) {
        (Some(a), Some(b)) => short(Duration::try_from(b.duration_since(a)).unwrap_or_default()),
        _ => String::new(),
    };
    let (word, _) = outcome(record.outcome, false);
    let dash = if message.is_empty() { "" } else { " — " };
    format!("{} {word} in {took}{dash}{message}", numbered(record.stage))
}

/// A stage's name with its step number: `6 Sync`.
pub(crate) fn numbered(stage: Stage) -> String {
    match stage.number() {
        Some(n) => format!("{n:>2} {stage}"),
        None => format!("   {stage}"),
    }
}
