//! What a run says of itself, read line by line.

use backupctl_domain::{BackupRun, ErrorCode, Failure, RunId};
use serde::Deserialize;
use serde_json::Value;

/// What a run has said so far.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// The run, once it has begun.
    pub run_id: Option<RunId>,
    /// Its record, once it has ended.
    pub finished: Option<Box<BackupRun>>,
    /// Why it could not begin.
    pub failure: Option<Failure>,
}

impl Answer {
    /// Takes a line; returns it if it is an event.
    pub(super) fn take(&mut self, line: &[u8]) -> Option<Value> {
        let value: Value = serde_json::from_slice(line).ok()?;
        if let Some(error) = value.get("error").filter(|_| value.get("event").is_none()) {
            self.failure = told(error);
            return None;
        }
        match value.get("event")?.as_str()? {
            "started" => {
                self.run_id = value.get("run_id").and_then(|id| RunId::deserialize(id).ok());
            }
            "finished" => {
                let run = value.get("run").and_then(|run| BackupRun::deserialize(run).ok());
                self.finished = run.map(Box::new);
            }
            _ => {}
        }
        Some(value)
    }
}

fn told(error: &Value) -> Option<Failure> {
    let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
    failure(text("code"), text("message"), text("remedy"))
}

fn failure(code: &str, message: &str, remedy: &str) -> Option<Failure> {
    let code: ErrorCode = code.parse().ok()?;
    let failure = Failure::new(code, message);
    Some(if remedy.is_empty() { failure } else { failure.with_remedy(remedy) })
}

/// The error that a command has told people: `error[CODE]: message`, and `fix: remedy` behind it.
pub(super) fn failure_in(stderr: &str) -> Option<Failure> {
    let from = stderr.rfind("error[")?;
    let (code, rest) = stderr[from + "error[".len()..].split_once("]: ")?;
    let (message, rest) = match rest.split_once("\n  fix: ") {
        Some((message, rest)) => (message, rest),
        None => (rest.lines().next().unwrap_or_default(), ""),
    };
    let remedy = rest.split("\n  more: ").next().unwrap_or_default();
    failure(code, message.trim(), remedy.trim())
}
