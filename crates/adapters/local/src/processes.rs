//! Reaches other backupctl processes by the locks that they hold.
//!
//! A process is signalled through a descriptor (pidfd) that was opened before it was looked at and
//! seen to hold the lock: the number of one that has ended meanwhile may belong to another program by
//! then, the descriptor never does.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use backupctl_application::context::{Cancel, interrupted};
use backupctl_application::ports::{Ended, Processes};
use backupctl_domain::{ErrorCode, Failure, ProjectName};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::oneshot;

use crate::blocking::{blocking, unusable};
use crate::daemon_lock::daemon_lock_path;
use crate::kernel_lock::{LockedFile, Standing, is_missing};
use crate::lock::{lock_path, read_holder};

/// How long a killed process is waited for. One that hangs in the kernel (a dead network disk) does
/// not even end by SIGKILL.
const KILL_WAIT: Duration = Duration::from_secs(30);

/// The [`Processes`] that work below one base folder.
#[derive(Debug, Clone)]
pub struct LockHolders {
    base_dir: PathBuf,
}

impl LockHolders {
    /// Those that hold locks below `base_dir`.
    pub fn new(base_dir: impl Into<PathBuf>) -> Self {
        Self { base_dir: base_dir.into() }
    }

    async fn look(&self, path: PathBuf) -> Result<Option<Holder>, Failure> {
        blocking(move || Holder::of(&path)).await
    }

    fn daemon_lock(&self) -> PathBuf {
        daemon_lock_path(&self.base_dir)
    }
}

#[async_trait]
impl Processes for LockHolders {
    async fn end_holder(
        &self,
        project: &ProjectName,
        pid: u32,
        patience: Duration,
        cancel: &Cancel,
    ) -> Result<Ended, Failure> {
        let path = lock_path(&self.base_dir, project);
        let Some(holder) = self.look(path).await?.filter(|holder| holder.pid == pid) else {
            return Ok(Ended::Gone);
        };
        if self.daemon().await? == Some(pid) {
            return Err(Failure::new(
                ErrorCode::BackupInProgress,
                format!("the run belongs to the daemon (pid {pid}), which would end with it"),
            )
            .with_remedy("restart the daemon: it ends its runs cleanly"));
        }
        holder.signal(Signal::TERM)?;
        // One that was stopped gets the signal when it goes on.
        holder.signal(Signal::CONT)?;
        if holder.gone_within(patience, cancel).await? {
            return Ok(Ended::Asked);
        }
        holder.signal(Signal::KILL)?;
        if holder.gone_within(KILL_WAIT, cancel).await? {
            return Ok(Ended::Killed);
        }
        Err(Failure::new(
            ErrorCode::BackupInProgress,
            format!("process {pid} did not end by SIGKILL either: it hangs in the kernel"),
        )
        .with_remedy(
            "see what it waits for (`cat /proc/PID/stack`, `dmesg`), most often a disk that does \
             not answer; only a restart of the machine ends such a process",
        ))
    }

    async fn daemon(&self) -> Result<Option<u32>, Failure> {
        Ok(self.look(self.daemon_lock()).await?.map(|holder| holder.pid))
    }

    async fn daemon_since(&self) -> Result<Option<Timestamp>, Failure> {
        let path = self.daemon_lock();
        let running = self.look(path.clone()).await?.is_some();
        let told = blocking(move || Ok(read_holder(&path).started)).await?;
        Ok(told.filter(|_| running))
    }

    async fn reload_daemon(&self) -> Result<Option<u32>, Failure> {
        let Some(holder) = self.look(self.daemon_lock()).await? else { return Ok(None) };
        holder.signal(Signal::HUP)?;
        Ok(Some(holder.pid))
    }
}

/// A process that was seen to hold a lock.
struct Holder {
    pid: u32,
    pidfd: OwnedFd,
    lock: PathBuf,
}

impl Holder {
    /// The holder of this lock; `None` where nobody holds it.
    fn of(lock: &Path) -> Result<Option<Self>, Failure> {
        let held = || {
            LockedFile::standing(lock)
                .map(|standing| standing == Standing::Held)
                .map_err(|e| unusable(e, lock, "cannot read the lock file"))
        };
        if !held()? {
            return Ok(None);
        }
        let named = read_holder(lock).pid;
        let pid = named.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let pidfd = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        if let (Some(pid), Some(pidfd)) = (named, pidfd) {
            match holds(pid, lock) {
                Ok(true) => return Ok(Some(Self { pid, pidfd, lock: lock.to_owned() })),
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(not_ours(pid, lock));
                }
                _ => {}
            }
        }
        // It may have ended while it was looked at.
        if !held()? {
            return Ok(None);
        }
        let named = named.map_or_else(|| "no process".to_owned(), |pid| format!("process {pid}"));
        Err(Failure::new(
            ErrorCode::BackupInProgress,
            format!(
                "{} is held, but not by what it names ({named}): nothing was signalled",
                lock.display()
            ),
        )
        .with_remedy(format!(
            "find its holder with `fuser -v {}` (in a container, look there), and end that",
            lock.display()
        )))
    }

    fn signal(&self, signal: Signal) -> Result<(), Failure> {
        match pidfd_send_signal(&self.pidfd, signal) {
            // It has ended: what was wanted.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(Errno::PERM) => Err(not_ours(self.pid, &self.lock)),
            Err(e) => Err(Failure::internal(format!("process {} gets no signal: {e}", self.pid))),
        }
    }

    /// Waits for its end in the kernel; false when the time has passed before. In a thread of its own,
    /// which nobody waits for: one of the runtime's would hold up the end of this process.
    async fn gone_within(&self, limit: Duration, cancel: &Cancel) -> Result<bool, Failure> {
        let cannot = |e: io::Error| {
            Failure::internal(format!("process {} cannot be waited for: {e}", self.pid))
        };
        let pidfd = self.pidfd.try_clone().map_err(cannot)?;
        let (sender, receiver) = oneshot::channel();
        std::thread::Builder::new()
            .name("process-wait".to_owned())
            .spawn(move || sender.send(ended_within(&pidfd, limit)))
            .map_err(cannot)?;
        tokio::select! {
            why = cancel.cancelled() => Err(interrupted(why)),
            gone = receiver => {
                gone.map_err(|_| Failure::internal("the waiting thread has ended"))?.map_err(cannot)
            }
        }
    }
}

/// Waits until the process ends or the time has passed; whether it has ended.
fn ended_within(pidfd: &OwnedFd, limit: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
            Err(Errno::INTR) => {}
            done => return Ok(done? > 0),
        }
    }
}

fn not_ours(pid: u32, lock: &Path) -> Failure {
    Failure::new(
        ErrorCode::BackupInProgress,
        format!("process {pid}, which holds {}, belongs to another user", lock.display()),
    )
    .with_remedy(format!("run the same command as that user (`ps -o user= -p {pid}`) or as root"))
}

/// Whether the process has the file open, with the kernel lock on it.
fn holds(pid: u32, lock: &Path) -> io::Result<bool> {
    let wanted = fs::metadata(lock)?;
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        // Follows the link to the open file itself, whatever its name is by now.
        let Ok(open) = fs::metadata(entry.path()) else { continue };
        if (open.dev(), open.ino()) != (wanted.dev(), wanted.ino()) {
            continue;
        }
        let info = Path::new("/proc").join(pid.to_string()).join("fdinfo").join(entry.file_name());
        let text = match fs::read_to_string(info) {
            Err(e) if is_missing(&e) => continue,
            text => text?,
        };
        let locks = text.lines().filter(|line| line.starts_with("lock:"));
        if locks.into_iter().any(|line| line.contains("FLOCK") && line.contains("WRITE")) {
            return Ok(true);
        }
    }
    Ok(false)
}
