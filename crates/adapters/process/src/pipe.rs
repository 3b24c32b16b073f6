//! Our ends of a program's pipes, for code that blocks.
//!
//! A thread in a blocking read or write cannot be ended from outside, and the other end may be held
//! open by a process that outlives the program. So these ends wait for the pipe *or* for the word
//! that the program has ended.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::fcntl_setpipe_size;

use crate::capture::LINGER;

/// The size that a data pipe is given where the system allows it: fewer and larger reads.
pub(crate) const PIPE_BYTES: usize = 1024 * 1024;

const RUNNING: u8 = 0;
const EXITED: u8 = 1;
const ENDED_BY_US: u8 = 2;

/// Says that the program has ended. Dropping it without a word counts as ended by us.
pub(crate) struct Stop {
    state: Arc<AtomicU8>,
    /// Closing it wakes the other side.
    bell: Option<PipeWriter>,
}

impl Stop {
    /// The program has ended by itself: what it has written may still be read.
    pub(crate) fn exited(&mut self) {
        self.say(EXITED);
    }

    /// The program is being ended: nothing of it counts any more.
    pub(crate) fn abort(&mut self) {
        self.say(ENDED_BY_US);
    }

    fn say(&mut self, state: u8) {
        if self.bell.take().is_some() {
            // The state first: whoever the bell wakes must see it.
            self.state.store(state, Ordering::Release);
        }
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        if self.bell.is_some() {
            self.state.store(ENDED_BY_US, Ordering::Release);
        }
    }
}

struct Stopped {
    state: Arc<AtomicU8>,
    bell: PipeReader,
}

impl Stopped {
    fn state(&self) -> u8 {
        self.state.load(Ordering::Acquire)
    }
}

fn stop() -> io::Result<(Stop, Stopped)> {
    let (reader, writer) = io::pipe()?;
    let state = Arc::new(AtomicU8::new(RUNNING));
    Ok((Stop { state: Arc::clone(&state), bell: Some(writer) }, Stopped { state, bell: reader }))
}

/// Makes a pipe's end ready for large and interruptible transfers.
fn prepare(end: BorrowedFd<'_>) -> io::Result<()> {
    // An unprivileged user may be refused; the pipe works at its usual size then.
    let _ = fcntl_setpipe_size(end, PIPE_BYTES);
    fcntl_setfl(end, fcntl_getfl(end)? | OFlags::NONBLOCK)?;
    Ok(())
}

fn ended_by_us() -> io::Error {
    // Not `Interrupted`: callers of `Read` try that again.
    io::Error::new(io::ErrorKind::ConnectionAborted, "the program was ended")
}

/// Waits until `fd` is ready (true) or the bell rings (false), at most until `deadline`.
fn wait(
    fd: BorrowedFd<'_>,
    flags: PollFlags,
    bell: Option<&PipeReader>,
    deadline: Option<Instant>,
) -> io::Result<bool> {
    let mut fds = vec![PollFd::from_borrowed_fd(fd, flags)];
    fds.extend(bell.map(|bell| PollFd::new(bell, PollFlags::IN)));
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut fds, left.as_ref()) {
            Ok(_) => return Ok(!fds[0].revents().is_empty()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads a program's stdout.
pub(crate) struct StdoutReader {
    pipe: PipeReader,
    stopped: Stopped,
    /// Once the program has exited: until when, and how much, is still read.
    rest: Option<(Instant, usize)>,
}

impl StdoutReader {
    /// The reader, the word that ends it, and the program's end.
    pub(crate) fn new() -> io::Result<(Self, Stop, OwnedFd)> {
        let (pipe, theirs) = io::pipe()?;
        prepare(pipe.as_fd())?;
        let (stop, stopped) = stop()?;
        Ok((Self { pipe, stopped, rest: None }, stop, theirs.into()))
    }
}

impl Read for StdoutReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.stopped.state() {
                ENDED_BY_US => return Err(ended_by_us()),
                EXITED if self.rest.is_none() => {
                    self.rest = Some((Instant::now() + LINGER, PIPE_BYTES));
                }
                _ => {}
            }
            if self.rest.is_some_and(|(_, left)| left == 0) {
                return Ok(0);
            }
            match self.pipe.read(buffer) {
                // A program that is killed closes its pipe too; its output is not whole then.
                Ok(0) if self.stopped.state() == ENDED_BY_US => return Err(ended_by_us()),
                Ok(n) => {
                    if let Some((_, left)) = &mut self.rest {
                        *left = left.saturating_sub(n);
                    }
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    // After the exit the bell has rung already; the deadline ends the wait.
                    let bell = self.rest.is_none().then_some(&self.stopped.bell);
                    let deadline = self.rest.map(|(at, _)| at);
                    if !wait(self.pipe.as_fd(), PollFlags::IN, bell, deadline)? && bell.is_none() {
                        return Ok(0);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// Writes a program's stdin.
pub(crate) struct StdinWriter {
    pipe: PipeWriter,
    stopped: Stopped,
}

impl StdinWriter {
    /// The writer, the word that ends it, and the program's end.
    pub(crate) fn new() -> io::Result<(Self, Stop, OwnedFd)> {
        let (theirs, pipe) = io::pipe()?;
        prepare(pipe.as_fd())?;
        let (stop, stopped) = stop()?;
        Ok((Self { pipe, stopped }, stop, theirs.into()))
    }
}

impl Write for StdinWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.stopped.state() {
                ENDED_BY_US => return Err(ended_by_us()),
                EXITED => return Err(io::ErrorKind::BrokenPipe.into()),
                _ => {}
            }
            match self.pipe.write(bytes) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    wait(self.pipe.as_fd(), PollFlags::OUT, Some(&self.stopped.bell), None)?;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
