//! `backupctl status`: how every project stands, or one project's history.

mod check;

use anstyle::Style;
use backupctl_adapters::application::ports::RunQuery;
use backupctl_adapters::application::use_cases::watch::verdict;
use backupctl_adapters::application::use_cases::{ProjectStatus, Status};
use backupctl_adapters::defaults;
use backupctl_adapters::domain::freshness::Freshness;
use backupctl_adapters::domain::{ErrorCode, RunStatus, Trigger, human, notice};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::logs::known_project;
use crate::args::{Global, StatusArgs};
use crate::exit::{CommandResult, status};
use crate::render::table::Table;
use crate::render::{BAD, BOLD, DIM, GOOD, Out, WARN, record};
use crate::wire::App;

/// Runs the command.
pub(crate) async fn run(global: &Global, out: Out, args: StatusArgs) -> CommandResult {
    let app = App::start(global, out).await?;
    let project = args.project.as_deref();
    if args.check || args.max_age.is_some() {
        return check::run(&app, project, args.max_age).await;
    }
    match project {
        None => overview(&app).await,
        Some(name) => history(&app, name, args.last).await,
    }
}

async fn overview(app: &App) -> CommandResult {
    let all = Status::new(&app.world).execute(app.entries(None)?).await?;
    let out = &app.out;
    let daemon = Daemon::of(app).await;
    if out.is_json() {
        let list: Vec<_> = all.iter().map(ProjectStatus::to_json).collect();
        out.json(&json!({"projects": list, "daemon": daemon.to_json()}));
        return Ok(status::SUCCESS);
    }
    if all.is_empty() {
        out.line("no projects are configured");
        return Ok(status::SUCCESS);
    }
    let tz = &app.global.timezone;
    let mut table = Table::new(&[
        "PROJECT",
        "STATE",
        "LAST RUN",
        "AGE",
        "RESULT",
        "LAST SUCCESS",
        "NEXT RUN",
        "REMARK",
    ]);
    let now = app.world.clock.now();
    for p in &all {
        table.row(row(p, now, tz));
    }
    for line in table.lines() {
        out.line(line.trim_end());
    }
    daemon.tell(app, &all).await;
    match app.world.fallback.pending().await {
        Ok(0) => {}
        Ok(n) => {
            out.warn(format!("{n} records or notices are not delivered yet: `backupctl recover`"));
        }
        Err(failure) => out.warn(failure.full_message()),
    }
    Ok(status::SUCCESS)
}

fn row(p: &ProjectStatus, now: Timestamp, tz: &TimeZone) -> Vec<(String, Option<Style>)> {
    let time = |at: Timestamp| short_time(at, tz);
    let word = p.state();
    let (remark, remark_style) = remark(p, now, tz);
    vec![
        (p.name.clone(), Some(BOLD)),
        (words(word), Some(style(word))),
        (p.last_run.as_ref().map_or_else(|| "never".into(), |r| time(r.started_at)), None),
        (p.age.map(human::age).unwrap_or_default(), None),
        match &p.last_run {
            Some(_) if p.is_missed() => ("missed".to_owned(), Some(BAD)),
            Some(run) => record::status(run.status),
            None => (String::new(), None),
        },
        (p.last_success_at.map_or_else(|| "never".into(), time), None),
        (p.next_run.map_or_else(|| "—".into(), time), None),
        (remark, Some(remark_style)),
    ]
}

/// What else there is to say of a project: that which needs somebody first.
fn remark(p: &ProjectStatus, now: Timestamp, tz: &TimeZone) -> (String, Style) {
    let mut parts = Vec::new();
    let mut style = DIM;
    if let Some(late) = lateness(p, now) {
        parts.push(late);
        style = BAD;
    }
    if let Some(pause) = pause_text(p, tz) {
        parts.push(pause);
        style = WARN;
    }
    let late = p.destinations.iter().filter(|d| d.freshness.is_late(now));
    let late: Vec<&str> = late.map(|d| d.name.as_str()).collect();
    if p.destinations.len() > 1 && !late.is_empty() {
        parts.push(format!("nothing new at {}", late.join(", ")));
        style = if style == BAD { BAD } else { WARN };
    }
    match (&p.running, &p.last_run) {
        (Some(run), _) => {
            parts.push(match run.current_stage {
                Some(stage) => format!("at {}", stage.with_number()),
                None => "starting".to_owned(),
            });
            if let Some(elapsed) = verdict::stuck(p, now) {
                style = BAD;
                parts.push(format!(
                    "running for {}, may be stuck: `backupctl runs abort {}`",
                    human::age(elapsed),
                    run.run_id.short()
                ));
            }
        }
        (None, Some(run)) if run.status == RunStatus::Started => parts
            .push(format!("killed: `backupctl recover {}` or the next run puts it right", p.name)),
        (None, Some(run)) => match (&run.error, run.warnings.len()) {
            (Some(error), _) => parts.push(error.code.to_string()),
            (None, 0) => {}
            (None, 1) => parts.push("1 warning".to_owned()),
            (None, n) => parts.push(format!("{n} warnings")),
        },
        (None, None) => {}
    }
    (parts.join(", "), style)
}

/// By how much a success is late.
fn lateness(p: &ProjectStatus, now: Timestamp) -> Option<String> {
    let freshness = p.freshness.filter(|f| f.is_late(now))?;
    let ago = |at: Timestamp| {
        human::age(std::time::Duration::try_from(now.duration_since(at)).unwrap_or_default())
    };
    Some(match freshness {
        Freshness::Overdue { since, .. } => format!("overdue by {}", ago(since)),
        Freshness::NeverRan { first_due: Some(due) } => {
            format!("its first success was due {} ago", ago(due))
        }
        _ => return None,
    })
}

/// Since when a schedule is paused, its age, and until when.
fn pause_text(p: &ProjectStatus, tz: &TimeZone) -> Option<String> {
    let (pause, age) = (p.pause?, p.pause_age?);
    let until = match pause.until {
        Some(until) => format!("until {}", short_time(until, tz)),
        None => "until resumed".to_owned(),
    };
    Some(format!("paused since {} ({}), {until}", short_time(pause.since, tz), human::age(age)))
}

fn short_time(at: Timestamp, tz: &TimeZone) -> String {
    at.to_zoned(tz.clone()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// The one word for a project as people read it.
pub(super) fn words(state: &str) -> String {
    state.replace('_', " ")
}

/// Its colour: green only for what is proven to be as it should.
pub(super) fn style(state: &str) -> Style {
    match state {
        "fresh" => GOOD,
        "failing" | "interrupted" | "invalid" | "overdue" => BAD,
        _ => WARN,
    }
}

/// The daemon of this machine, as far as it is seen.
struct Daemon {
    pid: Option<u32>,
    since: Option<Timestamp>,
}

impl Daemon {
    async fn of(app: &App) -> Self {
        let processes = &app.world.processes;
        let pid = processes.daemon().await.unwrap_or_default();
        let since = match pid {
            Some(_) => processes.daemon_since().await.unwrap_or_default(),
            None => None,
        };
        Self { pid, since }
    }

    fn to_json(&self) -> Value {
        json!({
            "running": self.pid.is_some(),
            "pid": self.pid,
            "since": self.since.map(notice::stamp),
        })
    }

    /// Says that it runs; or, where schedules are configured and nothing is seen that starts them,
    /// that nothing does.
    async fn tell(&self, app: &App, all: &[ProjectStatus]) {
        let out = &app.out;
        if let Some(pid) = self.pid {
            let since = self.since.map_or_else(String::new, |at| {
                format!(" since {}", notice::local_time(at, &app.global.timezone))
            });
            out.note(format!("{DIM}the daemon is running{since} (pid {pid}){DIM:#}"));
            return;
        }
        let scheduled = |p: &&ProjectStatus| {
            p.project.as_ref().is_some_and(|project| project.enabled && project.schedule.is_some())
        };
        let scheduled: Vec<&ProjectStatus> = all.iter().filter(scheduled).collect();
        if scheduled.is_empty() || scheduled.iter().any(|p| started_by_itself(p)) {
            return;
        }
        let units = defaults::service_units().installed().await.unwrap_or_default();
        if units.iter().any(|unit| unit.enabled == Some(true)) {
            return;
        }
        out.warn(
            "nothing is seen that starts the scheduled runs: let `backupctl serve` run, install \
             units with `backupctl systemd install`, or let cron start `backupctl run NAME \
             --scheduled`",
        );
    }
}

/// Whether its newest records show a run that a schedule has started.
fn started_by_itself(p: &ProjectStatus) -> bool {
    [&p.last_run, &p.last_success].into_iter().flatten().any(|run| {
        let missed = run.error.as_ref().is_some_and(|e| e.code == ErrorCode::RunMissed);
        matches!(run.trigger, Trigger::Scheduled | Trigger::CatchUp) && !missed
    })
}

async fn history(app: &App, name: &str, last: u32) -> CommandResult {
    let project = known_project(app, name).await?;
    let query = RunQuery { project: Some(project), limit: Some(last), ..RunQuery::default() };
    let runs = app.world.audit.find_runs(&query).await?;
    let entries = app.entries(Some(name)).unwrap_or_default();
    let standing = Status::new(&app.world).execute(entries).await?;
    let out = &app.out;
    if out.is_json() {
        let mut document =
            standing.first().map_or_else(|| json!({"project": name}), ProjectStatus::to_json);
        document["runs"] = json!(runs);
        out.json(&document);
        return Ok(status::SUCCESS);
    }
    if let Some(p) = standing.first() {
        tell_standing(app, name, p);
    }
    if runs.is_empty() {
        out.line("no runs yet");
    } else {
        record::runs(out, &runs, &app.global.timezone);
    }
    Ok(status::SUCCESS)
}

fn tell_standing(app: &App, name: &str, p: &ProjectStatus) {
    let (out, tz, now) = (&app.out, &app.global.timezone, app.world.clock.now());
    let (word, style) = (words(p.state()), style(p.state()));
    let next = match p.next_run {
        Some(at) => format!(", next run {}", notice::local_time(at, tz)),
        None => String::new(),
    };
    out.line(format!("{BOLD}{name}{BOLD:#}  {style}{word}{style:#}{next}"));
    if let Some(stage) = p.running.as_ref().and_then(|r| r.current_stage) {
        out.line(format!("a run is at {}", stage.with_number()));
    }
    let found = verdict::Verdict::strict(p, None, now, tz);
    if found.is_bad || found.is_noted || p.pause.is_some() {
        out.line(&found.message);
        if let Some(remedy) = &found.remedy {
            out.line(format!("  {BOLD}fix:{BOLD:#} {remedy}"));
        }
    }
    if p.destinations.len() > 1 {
        let mut table = Table::new(&["DESTINATION", "STATE", "LAST STORED", "REQUIRED", "AT"]);
        for d in &p.destinations {
            let word = d.freshness.as_str();
            table.row(vec![
                (d.name.to_string(), None),
                (words(word), Some(self::style(word))),
                (d.stored_at.map_or_else(|| "never".into(), |at| short_time(at, tz)), None),
                (if d.required { "yes" } else { "no" }.to_owned(), Some(DIM)),
                (d.location.clone(), Some(DIM)),
            ]);
        }
        for line in table.lines() {
            out.line(line.trim_end());
        }
    }
    out.line("");
}
