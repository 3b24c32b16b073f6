//! `backupctl schedule`: which schedules there are, when they come true, pausing and resuming them.

use anstyle::Style;
use backupctl_adapters::application::ports::ProjectEntry;
use backupctl_adapters::application::use_cases::schedule::{
    self, ScheduleState, Scheduled, Schedules, between, zone_name,
};
use backupctl_adapters::domain::schedule::Schedule;
use backupctl_adapters::domain::schedule::memory::Pause;
use backupctl_adapters::domain::{
    BackupRun, ErrorCode, Failure, ProjectName, RunStatus, human, notice,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use crate::args::{Global, ScheduleCommand};
use crate::exit::{CommandError, CommandResult, status};
use crate::render::table::Table;
use crate::render::{BAD, BOLD, DIM, GOOD, Out, WARN};
use crate::wire::App;

/// Runs the command.
pub(crate) async fn run(global: &Global, out: Out, command: ScheduleCommand) -> CommandResult {
    let app = App::start(global, out).await?;
    match command {
        ScheduleCommand::List => list(&app).await,
        ScheduleCommand::Next { project, count } => next(&app, &project, count).await,
        ScheduleCommand::Pause { project, until } => pause(&app, &project, until.as_deref()).await,
        ScheduleCommand::Resume { project } => resume(&app, &project).await,
    }
}

async fn list(app: &App) -> CommandResult {
    let Schedules { projects, audit } = schedule::list(&app.world, app.entries(None)?).await?;
    let (out, now) = (&app.out, app.world.clock.now());
    if let Some(failure) = audit {
        out.warn(format!("last runs are not known: {}", failure.full_message()));
    }
    if out.is_json() {
        let all: Vec<_> = projects.iter().map(|s| s.to_json(now)).collect();
        out.json(&json!({"schedules": all}));
        return Ok(status::SUCCESS);
    }
    if projects.is_empty() {
        out.line("no projects are configured");
        return Ok(status::SUCCESS);
    }
    let mut table = Table::new(&[
        "PROJECT",
        "STATE",
        "SCHEDULE",
        "CRON",
        "TIME ZONE",
        "NEXT RUN",
        "LAST RUN",
        "REMARK",
    ]);
    for scheduled in &projects {
        table.row(row(scheduled, now, &app.global.timezone));
    }
    for line in table.lines() {
        out.line(line.trim_end());
    }
    Ok(status::SUCCESS)
}

fn row(s: &Scheduled, now: Timestamp, tz: &TimeZone) -> Vec<(String, Option<Style>)> {
    let none = || "—".to_owned();
    let of = s.schedule();
    let zone = of.map_or(tz, |schedule| &schedule.timezone);
    let (word, style) = match s.state() {
        ScheduleState::Active => ("active", None),
        ScheduleState::Paused => ("paused", Some(WARN)),
        ScheduleState::Disabled => ("disabled", Some(WARN)),
        ScheduleState::Unscheduled => ("no schedule", Some(WARN)),
        ScheduleState::Invalid => ("invalid", Some(BAD)),
    };
    let next = s
        .next_run
        .map(|at| format!("{}, in {}", minute(at, zone), human::interval(between(now, at))));
    let remark = match (s.state(), s.pause) {
        (ScheduleState::Invalid, _) => "see `backupctl config validate`".to_owned(),
        (ScheduleState::Unscheduled, _) => "no `cron`: nothing starts it".to_owned(),
        (_, Some(pause)) => format!("paused {}", pause_text(pause, now, zone)),
        _ => String::new(),
    };
    vec![
        (s.name.clone(), Some(BOLD)),
        (word.to_owned(), style),
        (of.map_or_else(none, Schedule::describe), None),
        (of.map_or_else(none, |schedule| schedule.cron.clone()), None),
        (of.map_or_else(none, |schedule| zone_name(&schedule.timezone, now)), None),
        (next.unwrap_or_else(none), None),
        s.last_run.as_ref().map_or_else(|| (none(), None), |run| last_run(run, zone)),
        styled(remark, DIM),
    ]
}

/// A cell in a style, of which an empty one leaves no trace at the end of its line.
fn styled(text: String, style: Style) -> (String, Option<Style>) {
    let style = (!text.is_empty()).then_some(style);
    (text, style)
}

fn last_run(run: &BackupRun, zone: &TimeZone) -> (String, Option<Style>) {
    let missed = run.error.as_ref().is_some_and(|e| e.code == ErrorCode::RunMissed);
    let (word, style) = match run.status {
        RunStatus::Success => ("success", GOOD),
        RunStatus::Failed if missed => ("missed", BAD),
        RunStatus::Failed => ("failed", BAD),
        RunStatus::Started => ("started", WARN),
    };
    let at = minute(run.started_at, zone);
    (format!("{at} {word} ({})", run.trigger.as_str()), Some(style))
}

fn minute(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
}

fn pause_text(pause: Pause, now: Timestamp, zone: &TimeZone) -> String {
    let until = pause
        .until
        .map_or_else(|| "until resumed".to_owned(), |at| format!("until {}", minute(at, zone)));
    let (since, age) = (minute(pause.since, zone), human::age(between(pause.since, now)));
    format!("since {since} ({age}), {until}")
}

async fn next(app: &App, name: &str, count: u16) -> CommandResult {
    let project = app.unresolved_project(name)?;
    let of = schedule::scheduled(&project)?;
    let (out, now) = (&app.out, app.world.clock.now());
    let pause = app.world.schedules.project(&project.name).await?.pause_at(now);
    // What lies in a pause does not come true.
    let from = pause.and_then(|pause| pause.until).map_or(now, |until| until.max(now));
    let slots = schedule::next(&project, from, usize::from(count))?;
    let zone = &of.timezone;
    if out.is_json() {
        let next: Vec<_> = slots
            .iter()
            .map(|slot| {
                let local = slot.at.to_zoned(zone.clone());
                json!({
                    "at": notice::stamp(slot.at),
                    "local": local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
                    "weekday": local.strftime("%A").to_string(),
                    "in_seconds": between(now, slot.at).as_secs(),
                    "remark": slot.remark,
                })
            })
            .collect();
        out.json(&json!({
            "project": project.name,
            "enabled": project.enabled,
            "cron": of.cron,
            "schedule": of.describe(),
            "timezone": zone_name(zone, now),
            "paused_since": pause.map(|p| notice::stamp(p.since)),
            "paused_until": pause.and_then(|p| p.until).map(notice::stamp),
            "next": next,
        }));
        return Ok(status::SUCCESS);
    }
    out.line(format!(
        "{BOLD}{name}{BOLD:#}  {}  {DIM}cron {}, {}{DIM:#}",
        of.describe(),
        of.cron,
        zone_name(zone, now)
    ));
    let mut table = Table::new(&["NEXT", "", "IN", "REMARK"]);
    for slot in &slots {
        let local = slot.at.to_zoned(zone.clone());
        table.row(vec![
            (local.strftime("%Y-%m-%d %H:%M %Z").to_string(), None),
            (local.strftime("%A").to_string(), None),
            (human::interval(between(now, slot.at)), None),
            styled(slot.remark.clone().unwrap_or_default(), WARN),
        ]);
    }
    for line in table.lines() {
        out.line(line.trim_end());
    }
    if slots.is_empty() {
        out.line("it does not come true again");
    }
    if !project.enabled {
        out.warn(format!("{name} is disabled (`enabled: false`): none of these runs is made"));
    } else if let Some(pause) = pause {
        let none = if pause.until.is_none() { ": none of these runs is made" } else { "" };
        out.warn(format!("{name} is paused {}{none}", pause_text(pause, now, zone)));
    }
    Ok(status::SUCCESS)
}

async fn pause(app: &App, name: &str, until: Option<&str>) -> CommandResult {
    let (entry, project) = named(app, name)?;
    let mut zone = &app.global.timezone;
    if let Ok(project) = &entry.project {
        let of = schedule::scheduled(project).map_err(|mut failure| {
            failure.message.push_str(", so there is nothing to pause");
            failure
        })?;
        zone = &of.timezone;
    }
    let now = app.world.clock.now();
    let until = until.map(|text| schedule::read_until(text, zone, now)).transpose()?;
    app.ensure_base_dir().await;
    let memory = schedule::pause(&app.world, &project, until).await?;
    if app.out.is_json() {
        return tell_json(app, entry).await;
    }
    if let Some(pause) = memory.pause {
        app.out.line(format!(
            "{WARN}paused{WARN:#} {name} {} (time zone {})",
            pause_text(pause, now, zone),
            zone_name(zone, now)
        ));
    }
    app.out.note(format!(
        "no run is started by its schedule, and nobody is told that none is made; a run that goes on \
         is not ended\nresume it with `backupctl schedule resume {name}`"
    ));
    Ok(status::SUCCESS)
}

async fn resume(app: &App, name: &str) -> CommandResult {
    let (entry, project) = named(app, name)?;
    let now = app.world.clock.now();
    app.ensure_base_dir().await;
    let paused = app.world.schedules.project(&project).await?.pause_at(now);
    schedule::resume(&app.world, &project).await?;
    if app.out.is_json() {
        return tell_json(app, entry).await;
    }
    let of = entry.project.as_ref().ok().filter(|p| p.enabled).and_then(|p| p.schedule.as_ref());
    let next = of.and_then(|of| {
        let at = of.next_after(now)?;
        Some(format!("; next run {}", notice::local_time(at, &of.timezone)))
    });
    let next = next.unwrap_or_default();
    app.out.line(match paused {
        Some(pause) => {
            let age = human::age(between(pause.since, now));
            format!("{GOOD}resumed{GOOD:#} {name}, which was paused for {age}{next}")
        }
        None => format!("{name} was not paused{next}"),
    });
    Ok(status::SUCCESS)
}

/// The project's entry and name; its configuration may have errors.
fn named(app: &App, name: &str) -> Result<(ProjectEntry, ProjectName), CommandError> {
    let entry = app.entries(Some(name))?.into_iter().next();
    let entry = entry.ok_or_else(|| Failure::internal("a project that is known has no entry"))?;
    let project = ProjectName::new(entry.name.clone())
        .map_err(|why| Failure::new(ErrorCode::InvalidConfig, why))?;
    Ok((entry, project))
}

/// How the schedule stands now, as in the list.
async fn tell_json(app: &App, entry: ProjectEntry) -> CommandResult {
    let listed = schedule::list(&app.world, vec![entry]).await?;
    let now = app.world.clock.now();
    app.out.json(&json!(listed.projects.first().map(|s| s.to_json(now))));
    Ok(status::SUCCESS)
}
