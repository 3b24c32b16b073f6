//! Which programs are running, noted on disk.
//!
//! Programs have their own process groups, so they outlive a backupctl that is killed with SIGKILL.
//! The next start ends them by this file: one line a program, `{pgid} {start time}`. The start time
//! (field 22 of `/proc/{pid}/stat`) tells a program from another one that got its number later.
//!
//! A program runs before its number is known here. So it is announced before it starts, by a line
//! `? {token}`, and carries the token in its environment until, a moment later, its number takes the
//! line's place. Only a line that is still an announcement makes the next start look for the token:
//! what a hook has left running on purpose carries one too, and is to be left alone.
//!
//! A line of a program in a container has two fields more, the container and the token, by which it
//! is ended there: the end of the client on this side does not reach it.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, getpgid, getpgrp, getpid, kill_process_group, pidfd_open,
};

use crate::container;

/// How long an orphan may take to end after SIGINT.
const ORPHAN_GRACE: Duration = Duration::from_secs(10);

/// The variable in which a program carries the token of its announcement.
pub(crate) const TOKEN: &str = "BACKUPCTL_CHILD";

/// What an announcement begins with.
const ANNOUNCED: &str = "? ";

/// Where the programs of a project's runs are noted: `.children` in the project's folder. Given to
/// [`Tool::journal`](crate::Tool::journal) and [`end_orphans`].
#[must_use]
pub fn journal_in(project_dir: &Path) -> PathBuf {
    project_dir.join(".children")
}

/// The note of one running program, taken back when dropped.
pub(crate) struct Entry {
    path: PathBuf,
    line: String,
}

impl Entry {
    /// Notes that a program is about to be started.
    pub(crate) fn announce(path: PathBuf, token: Option<&str>) -> io::Result<Self> {
        let line = format!("{ANNOUNCED}{}", token.map_or_else(new_token, str::to_owned));
        let mut file = open_locked(&path, true)?;
        file.seek(io::SeekFrom::End(0))?;
        writeln!(file, "{line}")?;
        Ok(Self { path, line })
    }

    /// What the program is to carry as [`TOKEN`].
    pub(crate) fn token(&self) -> &str {
        self.line.trim_start_matches(ANNOUNCED)
    }

    /// Notes the number of the program, which has just been started.
    pub(crate) fn started(&mut self, leader: Pid, container: Option<&str>) -> io::Result<()> {
        let started = start_time(leader).unwrap_or_default();
        let mut line = format!("{} {started}", leader.as_raw_nonzero());
        if let Some(container) = container {
            let _ = write!(line, " {container} {}", self.token());
        }
        self.replace(Some(&line))?;
        self.line = line;
        Ok(())
    }

    fn replace(&self, by: Option<&str>) -> io::Result<()> {
        let mut file = open_locked(&self.path, false)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let mut left = String::new();
        let others = text.lines().filter(|line| *line != self.line);
        for line in others.chain(by) {
            let _ = writeln!(left, "{line}");
        }
        if left.is_empty() {
            return fs::remove_file(&self.path);
        }
        file.rewind()?;
        file.write_all(left.as_bytes())?;
        file.set_len(left.len() as u64)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Err(error) = self.replace(None) {
            // Harmless: the start time no longer matches anything.
            tracing::debug!(target: "backupctl::child", %error, "journal entry not taken back");
        }
    }
}

/// A token that no other program of any process carries.
pub(crate) fn new_token() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let me = getpid();
    let started = start_time(me).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{started}-{count}", me.as_raw_nonzero())
}

/// Ends the programs that a dead backupctl has left behind, each with its group: SIGINT, and
/// SIGKILL after 10 s. Removes the journal and returns how many there were. Blocks meanwhile.
pub fn end_orphans(path: &Path) -> usize {
    let Ok(mut file) = open_locked(path, false) else { return 0 };
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    let mut ended = 0;
    for line in text.lines() {
        if let Some(token) = line.strip_prefix(ANNOUNCED) {
            ended += end_carriers(token);
            continue;
        }
        let fields: Vec<&str> = line.split(' ').collect();
        let [pid, started, place @ ..] = &fields[..] else { continue };
        let Some(leader) = pid.parse().ok().filter(|p| *p > 1).and_then(Pid::from_raw) else {
            continue;
        };
        let started = started.parse::<u64>().ok();
        if started.is_some() && start_time(leader) == started {
            end_group(leader);
            ended += 1;
        }
        if let [container, token] = place {
            container::end(container, token);
        }
    }
    let _ = fs::remove_file(path);
    ended
}

/// Ends the groups of those that carry this token.
fn end_carriers(token: &str) -> usize {
    let variable = format!("{TOKEN}={token}");
    let mut groups = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let pid = entry.file_name().to_str().and_then(|n| n.parse().ok()).and_then(Pid::from_raw);
        // Another user's environment cannot be read, and is none of ours.
        let (Some(pid), Ok(environment)) = (pid, fs::read(entry.path().join("environ"))) else {
            continue;
        };
        if !environment.split(|b| *b == 0).any(|v| v == variable.as_bytes()) {
            continue;
        }
        match getpgid(Some(pid)) {
            Ok(group) if group != getpgrp() && !groups.contains(&group) => groups.push(group),
            _ => {}
        }
    }
    for group in &groups {
        end_group(*group);
    }
    groups.len()
}

fn end_group(leader: Pid) {
    let Ok(pidfd) = pidfd_open(leader, PidfdFlags::empty()) else {
        let _ = kill_process_group(leader, Signal::KILL);
        return;
    };
    let _ = kill_process_group(leader, Signal::INT);
    let deadline = Instant::now() + ORPHAN_GRACE;
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
            Err(Errno::INTR) => {}
            _ => break,
        }
    }
    let _ = kill_process_group(leader, Signal::KILL);
}

/// When a process started, in clock ticks since boot.
pub(crate) fn start_time(pid: Pid) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The second field is the name in parentheses and may hold anything, spaces and `)` too.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(22 - 3)?.parse().ok()
}

/// Opens the journal and locks it; `create` where there is none.
fn open_locked(path: &Path, create: bool) -> io::Result<File> {
    loop {
        let file =
            OpenOptions::new().read(true).write(true).create(create).mode(0o600).open(path)?;
        file.lock()?;
        // Whoever held the lock before may have removed the file: then this one is nobody's.
        match fs::metadata(path) {
            Ok(now) if now.ino() == file.metadata()?.ino() => return Ok(file),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound && create => {}
            Err(e) => return Err(e),
        }
    }
}
