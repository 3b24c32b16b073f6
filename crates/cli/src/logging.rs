//! Logs: to stderr what was asked for, to daily files what the configuration says.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use backupctl_adapters::application::ports::LogSettings;
use backupctl_adapters::domain::{ErrorCode, Failure};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::args::Global;

/// Writes what is left of the logs when dropped.
pub(crate) struct Guard {
    _file: Option<WorkerGuard>,
    stderr: Option<WorkerGuard>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Its own end waits for the terminal, which nobody may be reading.
        if let Some(stderr) = self.stderr.take() {
            let (done, wait) = mpsc::channel::<()>();
            thread::spawn(move || {
                drop(stderr);
                drop(done);
            });
            let _ = wait.recv_timeout(END_WITHIN);
        }
    }
}

/// How long the end waits for the last lines on stderr.
const END_WITHIN: Duration = Duration::from_millis(500);

/// How lines get to stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stderr {
    /// At once.
    Direct,
    /// By a thread of its own, and not at all where nobody reads them: the daemon must not wait.
    Apart,
}

/// How many daily files are kept.
const KEPT_FILES: usize = 30;

/// Starts logging.
///
/// stderr gets logs only with `-v` (info) and `-vv` (debug): what goes wrong in a run is in its record,
/// which a command shows anyway. The files of `log.dir` get `log.level`.
pub(crate) fn start(
    args: &Global,
    settings: Option<&LogSettings>,
    stderr: Stderr,
) -> Result<Guard, Failure> {
    let level = match args.verbose {
        0 => "off",
        1 => "info,sqlx=warn,sea_orm=warn,sea_orm_migration=warn",
        _ => "debug,sqlx=warn,sea_orm=warn,sea_orm_migration=warn,hyper=info,reqwest=info",
    };
    let json = settings.is_some_and(|s| s.json);
    let (writer, stderr_guard) = match stderr {
        Stderr::Direct => (BoxMakeWriter::new(std::io::stderr), None),
        Stderr::Apart => {
            let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
            (BoxMakeWriter::new(writer), Some(guard))
        }
    };
    let stderr = fmt::layer().with_writer(writer).with_ansi(false).with_target(true);
    let stderr = if json { stderr.json().boxed() } else { stderr.boxed() };
    let stderr = stderr.with_filter(EnvFilter::new(level));

    let mut guard = None;
    let file = match settings.and_then(|s| s.dir.as_ref().map(|dir| (s, dir))) {
        None => None,
        Some((s, dir)) => {
            let cannot = |e: String| {
                Failure::new(
                    ErrorCode::PathNotWritable,
                    format!("log.dir {} cannot be written: {e}", dir.display()),
                )
            };
            std::fs::create_dir_all(dir).map_err(|e| cannot(e.to_string()))?;
            let appender = rolling::Builder::new()
                .rotation(rolling::Rotation::DAILY)
                .filename_prefix("backupctl")
                .filename_suffix("log")
                .max_log_files(KEPT_FILES)
                .build(dir)
                .map_err(|e| cannot(e.to_string()))?;
            let (writer, file_guard) = tracing_appender::non_blocking(appender);
            guard = Some(file_guard);
            let filter = EnvFilter::try_new(&s.level).map_err(|e| {
                Failure::new(
                    ErrorCode::InvalidConfig,
                    format!("log.level {:?} is not understood: {e}", s.level),
                )
            })?;
            let layer = fmt::layer().with_writer(writer).with_ansi(false);
            let layer = if s.json { layer.json().boxed() } else { layer.boxed() };
            Some(layer.with_filter(filter))
        }
    };
    // A second start in one process (never in the binary) keeps the first.
    let _ = tracing_subscriber::registry().with(stderr).with(file).try_init();
    Ok(Guard { _file: guard, stderr: stderr_guard })
}
