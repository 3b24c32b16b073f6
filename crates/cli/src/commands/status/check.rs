//! `backupctl status --check`: one line for a monitoring system, and one for each project that needs
//! somebody, in the manner of its plugins.

use std::time::Duration;

use backupctl_adapters::application::use_cases::watch::verdict::Verdict;
use backupctl_adapters::application::use_cases::{ProjectStatus, Status};
use backupctl_adapters::domain::human;
use serde_json::{Value, json};

use super::{BAD, GOOD, words};
use crate::exit::{CommandError, CommandResult, status};
use crate::wire::App;

pub(super) async fn run(
    app: &App,
    project: Option<&str>,
    max_age: Option<Duration>,
) -> CommandResult {
    let out = &app.out;
    let all = match Status::new(&app.world).execute(app.entries(project)?).await {
        Ok(all) => all,
        Err(failure) => {
            if !out.is_json() {
                out.line(format!("{BAD}UNKNOWN{BAD:#}: {}", failure.message));
            }
            return Err(CommandError::from(failure));
        }
    };
    let (now, tz) = (app.world.clock.now(), &app.global.timezone);
    let judged: Vec<(&ProjectStatus, Verdict)> =
        all.iter().map(|p| (p, Verdict::strict(p, max_age, now, tz))).collect();
    let bad: Vec<&(&ProjectStatus, Verdict)> = judged.iter().filter(|(_, v)| v.is_bad).collect();
    // Where nothing is backed up at all, nobody is to believe that all is well.
    let is_ok = bad.is_empty() && !all.is_empty();
    if out.is_json() {
        let projects: Vec<Value> = all.iter().map(ProjectStatus::to_json).collect();
        let problems: Vec<Value> = bad.iter().map(|(p, v)| to_json(p, v)).collect();
        out.json(&json!({"ok": is_ok, "problems": problems, "projects": projects}));
        return Ok(exit(is_ok));
    }
    let (word, style) = if is_ok { ("OK", GOOD) } else { ("CRITICAL", BAD) };
    out.line(format!("{style}{word}{style:#}: {}", summary(&judged, bad.len())));
    for (p, verdict) in bad {
        let code = verdict.code.map(|code| format!("[{code}] ")).unwrap_or_default();
        let remedy = verdict.remedy.as_ref().map(|r| format!("; fix: {r}")).unwrap_or_default();
        out.line(one_line(&format!(
            "{}: {}: {code}{}{remedy}",
            p.name,
            words(p.state()),
            verdict.message
        )));
    }
    Ok(exit(is_ok))
}

const fn exit(is_ok: bool) -> u8 {
    if is_ok { status::SUCCESS } else { status::FAILURE }
}

fn to_json(p: &ProjectStatus, verdict: &Verdict) -> Value {
    json!({
        "project": p.name, "state": p.state(), "message": verdict.message, "code": verdict.code,
        "remedy": verdict.remedy,
    })
}

/// How many are bad, then how many there are of each word; pauses with their age.
fn summary(judged: &[(&ProjectStatus, Verdict)], bad: usize) -> String {
    if judged.is_empty() {
        return "no projects are configured".to_owned();
    }
    let mut parts = Vec::new();
    if bad > 0 {
        parts.push(match judged.len() {
            1 => "the project needs somebody".to_owned(),
            of => format!("{bad} of {of} projects need somebody"),
        });
    }
    let calm = || judged.iter().filter(|(_, verdict)| !verdict.is_bad).map(|(p, _)| *p);
    for word in ["fresh", "running", "unscheduled", "never_ran", "paused", "disabled"] {
        let of_word: Vec<&ProjectStatus> = calm().filter(|p| p.state() == word).collect();
        if of_word.is_empty() {
            continue;
        }
        let names = match word {
            "paused" => {
                format!(" ({})", of_word.iter().map(|p| since(p)).collect::<Vec<_>>().join(", "))
            }
            _ => String::new(),
        };
        parts.push(format!("{} {}{names}", of_word.len(), words(word)));
    }
    parts.join(", ")
}

/// `shop for 17 days`.
fn since(p: &ProjectStatus) -> String {
    match p.pause_age {
        Some(age) => format!("{} for {}", p.name, human::age(age)),
        None => p.name.clone(),
    }
}

/// Plugins' readers take a line for a fact.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
