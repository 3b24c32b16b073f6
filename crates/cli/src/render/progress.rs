//! What a run shows while it goes on: bars on a terminal, plain lines elsewhere, JSON events on
//! request.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backupctl_adapters::application::context::{Observer, RunEvent};
use backupctl_adapters::domain::{Stage, StageOutcome, human};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::record::{numbered, short, stage_line};
use super::{BAD, DIM, GOOD, Out, WARN};

/// A line for each stage, and one for each thing worth knowing.
pub(crate) struct Lines {
    out: Out,
}

impl Lines {
    /// Writes to stderr.
    pub(crate) fn new(out: Out) -> Self {
        Self { out }
    }
}

impl Observer for Lines {
    fn event(&self, event: &RunEvent) {
        match event {
            RunEvent::Started { run_id } => self.out.note(format!("run {run_id} started")),
            RunEvent::StageFinished { record } => self.out.note(stage_line(record)),
            RunEvent::Retry { stage, retry, of, delay, failure } => self.out.warn(format!(
                "{stage} failed [{}]: {}; retry {retry}/{of} in {}",
                failure.code,
                failure.full_message(),
                human::duration(*delay)
            )),
            RunEvent::Warning { message } => self.out.warn(message),
            RunEvent::StageStarted { .. } | RunEvent::Progress { .. } => {}
        }
    }
}

/// A live line for the stage that goes on, and a mark for each that has ended.
pub(crate) struct Bars {
    out: Out,
    bar: Mutex<Option<ProgressBar>>,
}

impl Bars {
    /// Draws on stderr, which is a terminal.
    pub(crate) fn new(out: Out) -> Self {
        Self { out, bar: Mutex::new(None) }
    }

    fn above(&self, text: &str) {
        let bar = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match bar.as_ref() {
            Some(bar) => bar.suspend(|| self.out.note(text)),
            None => self.out.note(text),
        }
    }
}

impl Observer for Bars {
    fn event(&self, event: &RunEvent) {
        match event {
            RunEvent::Started { run_id } => {
                self.out.note(format!("{DIM}run {run_id}{DIM:#}"));
            }
            RunEvent::StageStarted { stage, attempt } => {
                let bar =
                    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
                bar.set_style(spinner("{spinner} {prefix:<14} {elapsed:>5} {msg}"));
                bar.set_prefix(numbered(*stage));
                if *attempt > 1 {
                    bar.set_message(format!("try {attempt}"));
                }
                bar.enable_steady_tick(Duration::from_millis(125));
                let mut slot = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if let Some(old) = slot.replace(bar) {
                    old.finish_and_clear();
                }
            }
            RunEvent::Progress { bytes, total, .. } => {
                let slot = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let Some(bar) = slot.as_ref() else { return };
                if let Some(total) = total.filter(|t| *t > 0) {
                    if bar.length().is_none() {
                        bar.set_style(spinner(
                            "{spinner} {prefix:<14} {elapsed:>5} {wide_bar} {binary_bytes} of \
                             {binary_total_bytes} {binary_bytes_per_sec} {eta}",
                        ));
                    }
                    bar.set_length(total);
                } else if bar.position() == 0 {
                    bar.set_style(spinner(
                        "{spinner} {prefix:<14} {elapsed:>5} {binary_bytes} \
                         {binary_bytes_per_sec}",
                    ));
                }
                bar.set_position(*bytes);
            }
            RunEvent::StageFinished { record } => {
                let bar = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
                if let Some(bar) = bar {
                    bar.finish_and_clear();
                }
                let message = record.message.as_deref().unwrap_or_default();
                let message = message.lines().next().unwrap_or_default();
                let took = match (record.started_at, record.finished_at) {
                    (Some(a), Some(b)) => {
                        short(Duration::try_from(b.duration_since(a)).unwrap_or_default())
                    }
                    _ => String::new(),
                };
                let (mark, style) = match record.outcome {
                    StageOutcome::Ok => ("✓", GOOD),
                    StageOutcome::Failed => ("✗", BAD),
                    StageOutcome::Skipped => ("-", DIM),
                };
                self.out.note(format!(
                    "{style}{mark}{style:#} {:<14} {took:>7}  {DIM}{message}{DIM:#}",
                    numbered(record.stage)
                ));
            }
            RunEvent::Retry { stage, retry, of, delay, failure } => self.above(&format!(
                "{WARN}!{WARN:#} {stage} failed [{}]: {}; retry {retry}/{of} in {}",
                failure.code,
                failure.full_message(),
                human::duration(*delay)
            )),
            RunEvent::Warning { message } => self.above(&format!("{WARN}!{WARN:#} {message}")),
        }
    }
}

/// Watches work of one stage outside a run: a live line on a terminal for people, nothing elsewhere.
pub(crate) fn watching(out: &Out, stage: Stage) -> Arc<dyn Observer> {
    if !std::io::stderr().is_terminal() || out.is_json() || out.is_quiet() {
        return Arc::new(Silent);
    }
    let bars = Bars::new(out.clone());
    bars.event(&RunEvent::StageStarted { stage, attempt: 1 });
    Arc::new(bars)
}

fn spinner(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// One JSON object a line on stdout for every event; documented in docs/reference/output.md.
pub(crate) struct Events {
    out: Out,
}

impl Events {
    /// Writes to stdout.
    pub(crate) fn new(out: Out) -> Self {
        Self { out }
    }
}

impl Observer for Events {
    fn event(&self, event: &RunEvent) {
        self.out.json_line(&event_json(event));
    }
}

fn event_json(event: &RunEvent) -> Value {
    match event {
        RunEvent::Started { run_id } => json!({"event": "started", "run_id": run_id}),
        RunEvent::StageStarted { stage, attempt } => {
            json!({"event": "stage_started", "stage": stage, "attempt": attempt})
        }
        RunEvent::Progress { stage, bytes, total } => {
            json!({"event": "progress", "stage": stage, "bytes": bytes, "total": total})
        }
        RunEvent::Retry { stage, retry, of, delay, failure } => json!({
            "event": "retry", "stage": stage, "retry": retry, "of": of,
            "delay_ms": u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            "code": failure.code, "message": failure.full_message(),
        }),
        RunEvent::StageFinished { record } => json!({"event": "stage_finished", "record": record}),
        RunEvent::Warning { message } => json!({"event": "warning", "message": message}),
    }
}

/// Watches and shows nothing.
pub(crate) use backupctl_adapters::application::context::Silent;
