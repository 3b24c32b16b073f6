//! Running a program to its end, in the four ways that adapters need.

use std::fs::{File, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use backupctl_application::context::StageContext;
use rustix::fs::{MemfdFlags, memfd_create};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, spawn_blocking};

use crate::capture::{Head, Lines, Sink, Tail, drain};
use crate::child::{Child, Ending, Pipes, code_and_signal};
use crate::container::{self, Place};
use crate::pipe::{StdinWriter, StdoutReader, Stop};
use crate::{Output, ProcessError, Tool};

impl Tool {
    /// Runs it to its end, whatever its status, and keeps its output.
    ///
    /// # Errors
    /// It could not be started, was not done in time, or the run stops.
    pub async fn run(self, ctx: &StageContext) -> Result<Output, ProcessError> {
        let head = Head::new(self.capture_limit);
        let running = Running::start(&self, ctx, None, None, None)?;
        let (ended, head) = running.finish(ctx, head, std::future::pending()).await;
        Ok(Output { stdout: head.into_bytes(), ..ended.usual()? })
    }

    /// Runs it and hands over each line of stdout (without its end) as it comes. Of a line beyond
    /// 16 MiB the rest is dropped.
    ///
    /// # Errors
    /// Those of [`Tool::run`].
    pub async fn run_lines(
        self,
        ctx: &StageContext,
        on_line: impl FnMut(&[u8]) + Send + 'static,
    ) -> Result<Output, ProcessError> {
        let running = Running::start(&self, ctx, None, None, None)?;
        let (ended, _) = running.finish(ctx, Lines::new(on_line), std::future::pending()).await;
        ended.usual()
    }

    /// Runs it while `consume` reads its stdout on a blocking thread. If `consume` fails, the program
    /// is ended and the error is [`ProcessError::Pipe`], with the program's own outcome beside it.
    /// When the program is ended for another reason, `consume` gets `ConnectionAborted`.
    ///
    /// # Errors
    /// Those of [`Tool::run`], and `consume`'s.
    pub async fn run_reading<T: Send + 'static>(
        self,
        ctx: &StageContext,
        consume: impl FnOnce(&mut (dyn Read + Send)) -> io::Result<T> + Send + 'static,
    ) -> Result<(Output, T), ProcessError> {
        let (mut reader, stop, stdout) = StdoutReader::new().map_err(|e| self.no_pipe(e))?;
        let running = Running::start(&self, ctx, None, Some(stdout), Some(stop))?;
        // The reader goes with the closure: the program then learns that nobody reads.
        let job = spawn_blocking(move || consume(&mut reader));
        let (ended, consumed) = alongside(job, false, |failed| {
            let nothing = Head::new(0);
            async { running.finish(ctx, nothing, failed).await.0 }
        })
        .await;
        match (&ended.ending, consumed) {
            (Ending::Itself | Ending::Unwanted, consumed) => {
                let output = ended.usual()?;
                match consumed {
                    Ok(value) => Ok((output, value)),
                    Err(error) => Err(ProcessError::Pipe(error, Some(Box::new(output)))),
                }
            }
            (_, _) => Err(ended.error()),
        }
    }

    /// Runs it while `produce` writes its stdin on a blocking thread; stdin closes when `produce`
    /// returns. Stdout is captured. A program that stops reading early is no error of its own
    /// (`produce` sees `BrokenPipe`): its exit status decides, so `produce`'s result is returned as it is.
    ///
    /// # Errors
    /// Those of [`Tool::run`].
    pub async fn run_writing<T: Send + 'static>(
        self,
        ctx: &StageContext,
        produce: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<T> + Send + 'static,
    ) -> Result<(Output, io::Result<T>), ProcessError> {
        let head = Head::new(self.capture_limit);
        let (mut writer, stop, stdin) = StdinWriter::new().map_err(|e| self.no_pipe(e))?;
        let running = Running::start(&self, ctx, Some(stdin), None, Some(stop))?;
        let job = spawn_blocking(move || produce(&mut writer));
        let ((ended, head), produced) =
            alongside(job, true, |failed| running.finish(ctx, head, failed)).await;
        Ok((Output { stdout: head.into_bytes(), ..ended.usual()? }, produced))
    }

    /// Runs it with this stream, which must block, as its stdin and its stdout at once: it talks to
    /// whoever has the other end, and nothing of that comes by here.
    ///
    /// # Errors
    /// Those of [`Tool::run`].
    pub async fn run_on(self, ctx: &StageContext, stream: OwnedFd) -> Result<Output, ProcessError> {
        let stdin = stream.try_clone().map_err(|e| self.no_pipe(e))?;
        let running = Running::start(&self, ctx, Some(stdin), Some(stream), None)?;
        let (ended, _) = running.finish(ctx, Head::new(0), std::future::pending()).await;
        ended.usual()
    }

    fn no_pipe(&self, source: io::Error) -> ProcessError {
        ProcessError::Start { program: self.name(), source }
    }
}

/// Awaits the blocking `job` beside `rest`, which is told when the job has panicked or, unless
/// `errors_are_results`, failed. A panic of the job goes on in the caller.
async fn alongside<T, R, F: Future<Output = R>>(
    job: tokio::task::JoinHandle<io::Result<T>>,
    errors_are_results: bool,
    rest: impl FnOnce(Failed) -> F,
) -> (R, io::Result<T>) {
    let (sender, receiver) = oneshot::channel();
    let job = async {
        let joined = job.await;
        let fine = match &joined {
            Ok(result) => result.is_ok() || errors_are_results,
            Err(_) => false,
        };
        if !fine {
            let _ = sender.send(());
        }
        joined
    };
    let (rest, joined) = tokio::join!(rest(Box::pin(told(receiver))), job);
    (rest, joined.unwrap_or_else(|error| Err(no_result(error))))
}

type Failed = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn told(receiver: oneshot::Receiver<()>) {
    if receiver.await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn no_result(error: JoinError) -> io::Error {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => io::Error::other(error),
    }
}

/// A program under way, with our ends of its pipes.
struct Running {
    child: Child,
    place: Option<Place>,
    program: String,
    limit: Option<Duration>,
    capture_limit: usize,
    stdout: Option<Receiver>,
    stderr: Receiver,
}

impl Running {
    /// Starts the tool. Without a `stdout` given it is captured.
    fn start(
        tool: &Tool,
        ctx: &StageContext,
        stdin: Option<OwnedFd>,
        stdout: Option<OwnedFd>,
        stop: Option<Stop>,
    ) -> Result<Self, ProcessError> {
        if let Some(why) = ctx.cancel.reason() {
            return Err(ProcessError::Interrupted(why));
        }
        let (stderr, their_stderr) = captured().map_err(|e| tool.no_pipe(e))?;
        let (captured, their_stdout) = match stdout {
            Some(stdout) => (None, Some(stdout)),
            None if tool.join_output => (None, None),
            None => {
                let (ours, theirs) = captured().map_err(|e| tool.no_pipe(e))?;
                (Some(ours), Some(theirs))
            }
        };
        let stdin = match (stdin, &tool.input) {
            (None, Some(input)) => Some(in_memory(input).map_err(|e| tool.no_pipe(e))?),
            (stdin, _) => stdin,
        };
        let pipes = Pipes { stdin, stdout: their_stdout, stderr: their_stderr };
        let inside = container::inside(tool).map_err(|f| ProcessError::Container(Box::new(f)))?;
        let child = Child::start(inside.as_ref().map_or(tool, |i| &i.tool), pipes, stop)?;
        Ok(Self {
            child,
            place: inside.map(|i| i.at),
            program: tool.name(),
            limit: tool.timeout,
            capture_limit: tool.capture_limit,
            stdout: captured,
            stderr,
        })
    }

    /// Waits for the end of the program and of its output.
    async fn finish<S: Sink>(
        self,
        ctx: &StageContext,
        sink: S,
        unwanted: impl Future<Output = ()>,
    ) -> (Ended, S) {
        let (ended, is_ended) = watch::channel(false);
        let watching = async {
            let result = self.child.watch(&ctx.cancel, self.limit, unwanted).await;
            ended.send_replace(true);
            result
        };
        let stdout = async {
            match self.stdout {
                Some(pipe) => drain(pipe, sink, is_ended.clone()).await,
                None => sink,
            }
        };
        let stderr = drain(self.stderr, Tail::new(self.capture_limit), is_ended.clone());
        let ((ending, status, wall), sink, stderr) = tokio::join!(watching, stdout, stderr);
        if let Some(place) = &self.place
            && !matches!(ending, Ending::Itself)
        {
            place.end().await;
        }
        let (code, signal) = code_and_signal(status);
        tracing::debug!(
            target: "backupctl::child",
            {
                child.program = %self.program,
                child.wall_ms = (wall.as_secs_f64() * 1_000_000.0).round() / 1000.0,
                child.code = code,
                child.signal = signal,
            },
            "program ended"
        );
        let stderr = stderr.into_text(&ctx.redactor);
        let output = Output { code, signal, stdout: Vec::new(), stderr, wall };
        let Self { program, limit, place, .. } = self;
        (Ended { program, place, limit, ending, output }, sink)
    }
}

/// A pipe that is read without blocking, and the program's end of it.
fn captured() -> io::Result<(Receiver, OwnedFd)> {
    let (ours, theirs) = io::pipe()?;
    Ok((Receiver::from_owned_fd(ours.into())?, theirs.into()))
}

/// A file that is on no disk. Private, since some programs refuse option files that others may write.
fn in_memory(content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("stdin", MemfdFlags::CLOEXEC)?);
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(content)?;
    file.rewind()?;
    Ok(file.into())
}

/// A program that has ended.
struct Ended {
    program: String,
    place: Option<Place>,
    limit: Option<Duration>,
    ending: Ending,
    output: Output,
}

impl Ended {
    /// The outcome of one that ended by itself, the error of any other.
    fn usual(self) -> Result<Output, ProcessError> {
        match self.ending {
            Ending::Itself | Ending::Unwanted => {
                let failed = self.place.filter(|_| !self.output.success());
                match failed.and_then(|place| place.failure(&self.output)) {
                    Some(failure) => Err(ProcessError::Container(Box::new(failure))),
                    None => Ok(self.output),
                }
            }
            Ending::TimedOut | Ending::Interrupted(_) => Err(self.error()),
        }
    }

    fn error(self) -> ProcessError {
        match self.ending {
            Ending::Interrupted(why) => ProcessError::Interrupted(why),
            Ending::Itself | Ending::Unwanted | Ending::TimedOut => ProcessError::TimedOut {
                program: self.program,
                limit: self.limit.unwrap_or_default(),
                stderr: self.output.stderr,
            },
        }
    }
}
