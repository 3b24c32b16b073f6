//! `backupctl explain`: what an error code means and what to do.

use backupctl_adapters::domain::error::Class;
use backupctl_adapters::domain::{ErrorCode, Failure};
use serde_json::json;

use crate::exit::{CommandResult, status};
use crate::render::table::Table;
use crate::render::{BOLD, DIM, Out};

/// Runs the command.
pub(crate) fn run(out: &Out, code: Option<&str>) -> CommandResult {
    let Some(text) = code else { return Ok(list(out)) };
    let code: ErrorCode = text.parse().map_err(|message: String| {
        Failure::new(ErrorCode::InvalidConfig, message)
            .with_remedy("list all codes with `backupctl explain`")
    })?;
    let e = code.explanation();
    if out.is_json() {
        out.json(&document(code));
        return Ok(status::SUCCESS);
    }
    out.line(format!("{BOLD}{code}{BOLD:#}  {DIM}{}{DIM:#}", nature(code)));
    out.line("");
    out.line(e.meaning);
    out.line("");
    out.line(format!("{BOLD}Usual causes{BOLD:#}"));
    for cause in e.causes {
        out.line(format!("  - {cause}"));
    }
    out.line("");
    out.line(format!("{BOLD}What to do{BOLD:#}"));
    out.line(format!("  {}", e.remedy));
    Ok(status::SUCCESS)
}

fn nature(code: ErrorCode) -> String {
    let class = match code.class() {
        Class::Transient => "transient: retried",
        Class::Permanent => "permanent: not retried",
    };
    let exit = if code == ErrorCode::Interrupted {
        "130 or 143".to_owned()
    } else {
        code.exit_status().to_string()
    };
    format!("{class}; exit status {exit}")
}

fn document(code: ErrorCode) -> serde_json::Value {
    let e = code.explanation();
    json!({
        "code": code,
        "transient": code.class() == Class::Transient,
        "exit_status": code.exit_status(),
        "meaning": e.meaning,
        "causes": e.causes,
        "remedy": e.remedy,
    })
}

fn list(out: &Out) -> u8 {
    if out.is_json() {
        let all: Vec<_> = ErrorCode::ALL.iter().map(|c| document(*c)).collect();
        out.json(&json!({"codes": all}));
        return status::SUCCESS;
    }
    let mut table = Table::new(&["CODE", "EXIT", "MEANING"]);
    for code in ErrorCode::ALL {
        table.row(vec![
            (code.to_string(), None),
            (code.exit_status().to_string(), Some(DIM)),
            (code.explanation().meaning.lines().next().unwrap_or_default().to_owned(), None),
        ]);
    }
    for line in table.lines() {
        out.line(line);
    }
    status::SUCCESS
}
