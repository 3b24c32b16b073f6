//! How a program ended, and its words about it.

use std::time::Duration;

/// How a program ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit status; `None` where a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Stdout, at most the capture limit (its head); empty where it was read otherwise.
    pub stdout: Vec<u8>,
    /// The last part of stderr, at most the capture limit, without secrets.
    pub stderr: String,
    /// From start to end.
    pub wall: Duration,
}

impl Output {
    /// Whether it ended by itself with status 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// How it ended, for a message: `exit status 3` or `signal 9`.
    pub fn status_text(&self) -> String {
        match (self.code, self.signal) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "no known status".to_owned(),
        }
    }

    /// The last `count` lines of stderr that are not blank.
    pub fn last_lines(&self, count: usize) -> String {
        last_lines(&self.stderr, count)
    }
}

/// The last `count` lines of a text that are not blank.
#[must_use]
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
