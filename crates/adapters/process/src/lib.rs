//! The one place that starts programs.
//!
//! Every program gets its own process group, /dev/null as stdin unless told otherwise, bounded
//! capture, a way to be ended with all its children, and texts without secrets.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use backupctl_application::context::{Interrupt, StageContext};

/// A signal that asks a program to end, before the whole group is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndSignal {
    /// SIGINT: what restic wants.
    Int,
    /// SIGTERM.
    Term,
}

/// A program to run.
#[derive(Debug, Clone)]
pub struct Tool {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    env_remove: Vec<OsString>,
    cwd: Option<PathBuf>,
    timeout: Option<Duration>,
    end_signal: EndSignal,
    grace: Duration,
    capture_limit: usize,
}

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

/// Why a program has no outcome of its own.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It is not installed, or not where it was said to be.
    #[error("{program} is not installed or not in PATH")]
    Missing {
        /// The program as asked for.
        program: String,
    },
    /// It is there and cannot be started.
    #[error("{program} cannot be started: {source}")]
    Start {
        /// The program as asked for.
        program: String,
        /// The system's answer.
        source: io::Error,
    },
    /// It did not end in time and was ended with its group.
    #[error("{program} did not end within {} s and was ended", limit.as_secs())]
    TimedOut {
        /// The program as asked for.
        program: String,
        /// The time it had.
        limit: Duration,
        /// The last part of its stderr, without secrets.
        stderr: String,
    },
    /// The run was told to stop; the program was ended with its group.
    #[error("interrupted by {}", .0.name())]
    Interrupted(Interrupt),
    /// Our side of its pipe failed (e.g. the disk is full); the program was ended with its group.
    #[error("{0}")]
    Pipe(io::Error, Option<Box<Output>>),
}

impl Tool {
    /// A program by name (searched in PATH) or path.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            env_remove: Vec::new(),
            cwd: None,
            timeout: None,
            end_signal: EndSignal::Term,
            grace: Duration::from_secs(10),
            capture_limit: 64 * 1024,
        }
    }

    /// Adds an argument. Never a secret: arguments are public.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Keeps an inherited variable from it.
    #[must_use]
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.env_remove.push(key.as_ref().to_owned());
        self
    }

    /// Runs it in this folder.
    #[must_use]
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// Ends it after this time.
    #[must_use]
    pub fn timeout(mut self, limit: Option<Duration>) -> Self {
        self.timeout = limit;
        self
    }

    /// How it is asked to end; killed with its group when it has not after `grace`.
    #[must_use]
    pub fn end_with(mut self, signal: EndSignal, grace: Duration) -> Self {
        self.end_signal = signal;
        self.grace = grace;
        self
    }

    /// How many bytes of each of stdout and stderr are kept; 64 KiB unless told otherwise.
    #[must_use]
    pub fn capture_limit(mut self, bytes: usize) -> Self {
        self.capture_limit = bytes;
        self
    }

    /// Runs it to its end, whatever its status, and keeps its output.
    pub async fn run(self, ctx: &StageContext) -> Result<Output, ProcessError> {
        let _ = ctx;
        todo!()
    }

    /// Runs it and hands over each line of stdout (without its end) as it comes.
    pub async fn run_lines(
        self,
        ctx: &StageContext,
        on_line: impl FnMut(&[u8]) + Send + 'static,
    ) -> Result<Output, ProcessError> {
        let _ = (ctx, on_line);
        todo!()
    }

    /// Runs it while `consume` reads its stdout on a blocking thread. If `consume` fails, the program
    /// is ended and the error is [`ProcessError::Pipe`], with the program's own outcome beside it.
    pub async fn run_reading<T: Send + 'static>(
        self,
        ctx: &StageContext,
        consume: impl FnOnce(&mut (dyn Read + Send)) -> io::Result<T> + Send + 'static,
    ) -> Result<(Output, T), ProcessError> {
        let _ = (ctx, consume);
        todo!()
    }

    /// Runs it while `produce` writes its stdin on a blocking thread; stdin closes when `produce`
    /// returns. Stdout is captured. A program that stops reading early is no error of its own
    /// (`produce` sees `BrokenPipe`): its exit status decides, so `produce`'s result is returned as it is.
    pub async fn run_writing<T: Send + 'static>(
        self,
        ctx: &StageContext,
        produce: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<T> + Send + 'static,
    ) -> Result<(Output, io::Result<T>), ProcessError> {
        let _ = (ctx, produce);
        todo!()
    }
}
