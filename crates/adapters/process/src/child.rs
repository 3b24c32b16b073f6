//! A running program: started in its own process group, waited for, ended with its group.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use backupctl_application::context::{Cancel, Interrupt};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::journal::{Entry, TOKEN};
use crate::pipe::Stop;
use crate::program::{find_in, is_path};
use crate::{EndSignal, ProcessError, Tool};

/// How long a killed program is waited for. One that hangs in the kernel (a dead network disk)
/// does not even end by SIGKILL, and must not keep the run.
const KILL_WAIT: Duration = Duration::from_secs(20);

/// The groups of the programs that this process has running, by their leader's number.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn running() -> MutexGuard<'static, BTreeSet<i32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills every program that this process has running, with its group: for an end without delay.
pub fn kill_running() {
    for leader in running().iter().filter_map(|pid| Pid::from_raw(*pid)) {
        let _ = kill_process_group(leader, Signal::KILL);
    }
}

/// What made a program end.
pub(crate) enum Ending {
    /// It did so by itself.
    Itself,
    /// It was told to: its time was up.
    TimedOut,
    /// It was told to: the run stops.
    Interrupted(Interrupt),
    /// It was told to: nobody takes its output any more.
    Unwanted,
}

/// The program's ends of its pipes.
pub(crate) struct Pipes {
    /// /dev/null if `None`.
    pub(crate) stdin: Option<OwnedFd>,
    /// The same as stderr if `None`.
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: OwnedFd,
}

/// A running program. Dropped before its end, it is killed with its group.
pub(crate) struct Child {
    handle: duct::Handle,
    leader: Pid,
    end_signal: Signal,
    grace: Duration,
    stop: Option<Stop>,
    journal: Option<Entry>,
    started: Instant,
    gone: bool,
}

impl Child {
    /// Starts the program; `stop` is told of its end.
    pub(crate) fn start(
        tool: &Tool,
        pipes: Pipes,
        stop: Option<Stop>,
    ) -> Result<Self, ProcessError> {
        let program = tool.name();
        // A path is left to the system, which knows best why it cannot be started.
        let file = if is_path(&tool.program) {
            tool.program.clone()
        } else {
            find_in(&tool.program, tool.path())
                .ok_or_else(|| ProcessError::Missing { program: program.clone() })?
                .into_os_string()
        };
        let mut journal = tool.journal.clone().and_then(|path| {
            // A program in a container carries its token there already.
            warned(Entry::announce(path, tool.token.as_deref()))
        });
        let started = Instant::now();
        let token = journal.as_ref().map(Entry::token);
        let handle = expression(tool, &file, pipes, token)
            .and_then(|expression| expression.start())
            .map_err(|source| start_error(tool, program.clone(), source))?;
        let leader = handle
            .pids()
            .first()
            .and_then(|pid| i32::try_from(*pid).ok())
            .and_then(Pid::from_raw)
            .ok_or_else(|| ProcessError::Start {
                program,
                source: io::Error::other("the system gave it no number"),
            })?;
        running().insert(leader.as_raw_pid());
        if let Some(entry) = &mut journal {
            warned(entry.started(leader, tool.container.as_deref()));
        }
        let end_signal = match tool.end_signal {
            EndSignal::Int => Signal::INT,
            EndSignal::Term => Signal::TERM,
        };
        Ok(Self {
            handle,
            leader,
            end_signal,
            grace: tool.grace,
            stop,
            journal,
            started,
            gone: false,
        })
    }

    /// Waits for its end and sees to it: when `limit` has passed, when the run stops, or when
    /// `unwanted` comes, it is ended with its group. The status is `None` only for a program that
    /// even SIGKILL did not end. The time is that from its start to its end.
    pub(crate) async fn watch(
        mut self,
        cancel: &Cancel,
        limit: Option<Duration>,
        unwanted: impl Future<Output = ()>,
    ) -> (Ending, Option<ExitStatus>, Duration) {
        let mut exit = self.exit();
        let ending = tokio::select! {
            biased;
            _ = &mut exit => Ending::Itself,
            why = cancel.cancelled() => Ending::Interrupted(why),
            () = unwanted => Ending::Unwanted,
            () = elapsed(limit) => Ending::TimedOut,
        };
        if let Ending::Itself = ending {
            if let Some(stop) = &mut self.stop {
                stop.exited();
            }
        } else {
            if let Some(stop) = &mut self.stop {
                stop.abort();
            }
            self.signal(self.end_signal);
            if timeout(self.grace, &mut exit).await.is_err() {
                self.signal(Signal::KILL);
                let _ = timeout(KILL_WAIT, &mut exit).await;
            }
            // Whoever of its group is left. The leader is not reaped yet, so that the group's
            // number cannot be anybody else's.
            self.signal(Signal::KILL);
        }
        let wall = self.started.elapsed();
        let status = self.handle.try_wait().ok().flatten().map(|output| output.status);
        self.gone = true;
        self.journal = None;
        (ending, status, wall)
    }

    /// Comes when the leader has ended; does not reap it. A thread of its own waits, not one of the
    /// runtime's: those would hold up the end of the process if the program never ends.
    fn exit(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let leader = self.leader;
        let wait = move || {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(leader), options), Err(Errno::INTR)) {}
            let _ = sender.send(());
        };
        let thread = std::thread::Builder::new().name("child-wait".to_owned());
        if let Err(error) = thread.stack_size(64 * 1024).spawn(wait) {
            // No thread, no word of its end: the receiver errs at once, and the program with it.
            tracing::warn!(target: "backupctl::child", %error, "cannot wait for a program");
            self.signal(Signal::KILL);
        }
        receiver
    }

    fn signal(&self, signal: Signal) {
        // Without a group it is gone already, or setsid has not made it yet.
        if kill_process_group(self.leader, signal).is_err() {
            let _ = kill_process(self.leader, signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        running().remove(&self.leader.as_raw_pid());
        if !self.gone {
            self.signal(Signal::KILL);
            // duct reaps it, now or when the next program starts.
        }
    }
}

/// The exit code and the signal of a status.
pub(crate) fn code_and_signal(status: Option<ExitStatus>) -> (Option<i32>, Option<i32>) {
    match status {
        Some(status) => (status.code(), status.signal()),
        None => (None, Some(Signal::KILL.as_raw())),
    }
}

async fn elapsed(limit: Option<Duration>) {
    match limit {
        Some(limit) => {
            let _ = timeout(limit, std::future::pending::<()>()).await;
        }
        None => std::future::pending().await,
    }
}

/// A journal that cannot be written makes no program fail: it is missed only after a crash.
fn warned<T>(noted: io::Result<T>) -> Option<T> {
    noted
        .inspect_err(
            |error| tracing::warn!(target: "backupctl::child", %error, "not in the journal"),
        )
        .ok()
}

/// The program with its surroundings, as duct starts it.
fn expression(
    tool: &Tool,
    file: &OsStr,
    pipes: Pipes,
    token: Option<&str>,
) -> io::Result<duct::Expression> {
    // Whether the program is there is left to the system: it says so better than setsid would.
    let setsid = if tool.new_session && find_in(file, None).is_some() {
        find_in("setsid".as_ref(), None)
    } else {
        None
    };
    let mut expression = if let Some(setsid) = setsid {
        // It becomes the program under the same number, which is then that of the new group too. As
        // the leader of a group it would have to fork first.
        let args = tool.args.iter().map(OsString::as_os_str);
        duct::cmd(setsid, std::iter::once(file).chain(args))
    } else {
        let shown_as = tool.shown_as.clone();
        duct::cmd(file, &tool.args).before_spawn(move |command| {
            command.process_group(0);
            if let Some(name) = &shown_as {
                command.arg0(name);
            }
            Ok(())
        })
    };
    // duct applies the outermost first: of two values of a variable the later one is to hold, and
    // any of them over what is kept from the inherited ones.
    for (key, value) in tool.env.iter().rev() {
        expression = expression.env(key, value);
    }
    if let Some(token) = token {
        expression = expression.env(TOKEN, token);
    }
    for key in tool.withheld() {
        expression = expression.env_remove(key);
    }
    if let Some(dir) = &tool.cwd {
        expression = expression.dir(dir);
    }
    expression = match pipes.stdin {
        Some(pipe) => expression.stdin_file(pipe),
        None => expression.stdin_null(),
    };
    expression = match pipes.stdout {
        Some(pipe) => expression.stdout_file(pipe),
        None => expression.stdout_file(pipes.stderr.try_clone()?),
    };
    Ok(expression.stderr_file(pipes.stderr).unchecked())
}

fn start_error(tool: &Tool, program: String, source: io::Error) -> ProcessError {
    // The system says the same of a missing program, a missing folder and a missing interpreter.
    let other = Path::new(&tool.program).exists()
        || !is_path(&tool.program)
        || tool.cwd.as_ref().is_some_and(|dir| !dir.is_dir());
    if source.kind() == io::ErrorKind::NotFound && !other {
        ProcessError::Missing { program }
    } else {
        ProcessError::Start { program, source }
    }
}
