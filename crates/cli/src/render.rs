//! Output: results on stdout, messages on stderr, colour and progress on a terminal only.

pub(crate) mod apart;
pub(crate) mod progress;
pub(crate) mod record;
pub(crate) mod table;

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use anstyle::{AnsiColor, Style};
use backupctl_adapters::domain::ErrorCode;
use serde::Serialize;

/// Good news.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Bad news.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Something to look at.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
/// Of less weight.
pub(crate) const DIM: Style = Style::new().dimmed();
/// A heading.
pub(crate) const BOLD: Style = Style::new().bold();

/// Where a command writes to.
#[derive(Debug, Clone)]
pub(crate) struct Out {
    json: bool,
    quiet: bool,
}

#[expect(clippy::unused_self, reason = "whoever writes holds an `Out`, however it writes")]
impl Out {
    /// Sets up output for a process.
    pub(crate) fn new(json: bool, quiet: bool, no_color: bool) -> Self {
        if no_color {
            anstream::ColorChoice::Never.write_global();
        }
        Self { json, quiet }
    }

    /// Whether results are JSON.
    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether only results and errors are wanted.
    pub(crate) const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether messages go to a terminal.
    pub(crate) fn stderr_is_terminal(&self) -> bool {
        io::stderr().is_terminal()
    }

    /// A line of the result.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        if NOBODY_READS.load(Ordering::Relaxed) {
            return;
        }
        let mut stdout = anstream::stdout().lock();
        give_up_on_closed_pipe(writeln!(stdout, "{}", text.as_ref()));
    }

    /// A part of the result as it is.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        if NOBODY_READS.load(Ordering::Relaxed) {
            return;
        }
        let mut stdout = io::stdout().lock();
        give_up_on_closed_pipe(stdout.write_all(bytes).and_then(|()| stdout.flush()));
    }

    /// The result as one JSON document.
    pub(crate) fn json(&self, value: &impl Serialize) {
        let text = serde_json::to_string_pretty(value).unwrap_or_else(|e| {
            format!("{{\"error\":{{\"code\":\"INTERNAL\",\"message\":\"{e}\"}}}}")
        });
        self.line(text);
    }

    /// One JSON event on a line of its own.
    pub(crate) fn json_line(&self, value: &serde_json::Value) {
        self.line(value.to_string());
    }

    /// A message for people, left out with `--quiet`.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            let mut stderr = anstream::stderr().lock();
            let _ = writeln!(stderr, "{}", text.as_ref());
        }
    }

    /// A warning, shown also with `--quiet`.
    pub(crate) fn warn(&self, text: impl AsRef<str>) {
        let mut stderr = anstream::stderr().lock();
        let _ = writeln!(stderr, "{WARN}warning:{WARN:#} {}", text.as_ref());
    }

    /// An error with its code and remedy.
    pub(crate) fn error(&self, code: ErrorCode, message: &str, remedy: &str) {
        let mut stderr = anstream::stderr().lock();
        let _ = writeln!(stderr, "{BAD}error[{code}]:{BAD:#} {message}");
        if !remedy.is_empty() {
            let _ = writeln!(stderr, "  {BOLD}fix:{BOLD:#} {remedy}");
        }
        if code != ErrorCode::Internal || !remedy.is_empty() {
            let _ = writeln!(stderr, "  {DIM}more: backupctl explain {code}{DIM:#}");
        }
    }
}

/// Whether whoever read our output has gone.
static NOBODY_READS: AtomicBool = AtomicBool::new(false);

/// Whoever reads our output has seen enough: that is no error (`backupctl logs x | head`), and no
/// reason to stop either. A backup that is going on must not end with the one who watched it.
fn give_up_on_closed_pipe(result: io::Result<()>) {
    if result.is_err_and(|e| e.kind() == io::ErrorKind::BrokenPipe) {
        NOBODY_READS.store(true, Ordering::Relaxed);
    }
}
