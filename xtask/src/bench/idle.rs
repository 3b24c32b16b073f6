//! What the daemon takes while it waits: memory, and CPU time that nobody asked for.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Size;
use super::report::{Goal, Report};
use super::world::World;

/// As many projects as anybody is likely to have.
const PROJECTS: usize = 1000;

/// The token of the HTTP interface, which is for this machine alone.
const TOKEN: &str = "bench";

/// For what a start brings with it: the first look at every project.
const SETTLE: Duration = Duration::from_secs(10);

/// How long the start may take.
const START_WITHIN: Duration = Duration::from_mins(1);

pub(super) fn measure(world: &World, size: &Size, report: &mut Report) -> Result<()> {
    let minutes = size.idle_minutes;
    println!("an idle daemon ({PROJECTS} projects, {minutes} min)");
    let folder = world.folder("idle")?;
    let config = folder.join("backupctl.yml");
    fs::write(&config, configuration(&folder)?)?;
    let daemon = Daemon::start(world, &config)?;
    let started = Instant::now();
    while !daemon.is_ready()? {
        ensure!(started.elapsed() < START_WITHIN, "the daemon does not become ready");
        wait(Duration::from_millis(100));
    }
    wait(SETTLE);
    let before = daemon.cpu_ms()?;
    wait(Duration::from_mins(u64::from(minutes)));
    let cpu = daemon.cpu_ms()? - before;
    ensure!(daemon.is_ready()?, "the daemon is not ready any more");

    // The goal is for ten minutes: hundredths of a second say too little about one.
    let goal = if minutes == 10 { Goal::AtMost(50.0) } else { Goal::None };
    let title =
        format!("Idle daemon of {PROJECTS} projects: CPU time in {minutes} min (in steps of 10)");
    report.figure("idle_cpu_ms", title, &[cpu], "ms", goal);
    for (id, key, goal) in [
        ("idle_rss_mib", "VmRSS", Goal::AtMost(20.0)),
        ("idle_rss_anon_mib", "RssAnon", Goal::None),
        ("idle_rss_file_mib", "RssFile", Goal::None),
    ] {
        let title = format!("Idle daemon of {PROJECTS} projects: {key}");
        report.figure(id, title, &[daemon.memory_mib(key)?], "MiB", goal);
    }
    Ok(())
}

/// Projects whose schedules differ from each other. All come true on leap days alone, so that no run
/// is due meanwhile and everything is planned for all the same.
fn configuration(folder: &Path) -> Result<String> {
    let mut text = format!(
        "base_dir: {}\nhttp: {{listen: '127.0.0.1:0', token: {TOKEN}}}\ndaily_summary_cron: ''\n\
         defaults:\n  restic: {{password: bench}}\nprojects:\n",
        folder.join("state").display()
    );
    for n in 0..PROJECTS {
        write!(
            text,
            "  - name: p{n}\n    cron: '{} {} 29 2 *'\n    assets: {{paths: [/data/p{n}]}}\n    \
             restic: {{repository: /backups/p{n}}}\n",
            n % 60,
            n / 60,
        )?;
    }
    Ok(text)
}

/// A daemon, killed when it is dropped.
struct Daemon {
    child: Child,
    /// Where it answers.
    address: String,
}

impl Daemon {
    /// Starts it, and waits until it says where it answers.
    fn start(world: &World, config: &Path) -> Result<Self> {
        let mut command = world.call(config);
        command.arg("serve").stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().context("cannot start `backupctl serve`")?;
        let mut daemon = Self { child, address: String::new() };
        let stderr = daemon.child.stderr.take().context("stderr is a pipe")?;
        let (mut stderr, mut said) = (BufReader::new(stderr), String::new());
        loop {
            let begun = said.len();
            if stderr.read_line(&mut said)? == 0 {
                bail!("`backupctl serve` has ended:\n{said}");
            }
            if let Some((_, rest)) = said[begun..].split_once("HTTP on http://") {
                let address = rest.split_whitespace().next().context("an address")?;
                address.clone_into(&mut daemon.address);
                break;
            }
        }
        // What it says later must not fill the pipe.
        thread::spawn(move || io::copy(&mut stderr, &mut io::sink()));
        Ok(daemon)
    }

    /// Whether it says that it keeps the schedules.
    fn is_ready(&self) -> Result<bool> {
        let mut stream = TcpStream::connect(&self.address).context("the daemon does not answer")?;
        write!(
            stream,
            "GET /health/ready HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n\
             Connection: close\r\n\r\n",
            self.address
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    }

    /// Milliseconds of CPU time so far (proc(5): utime and stime, at 100 Hz).
    fn cpu_ms(&self) -> Result<f64> {
        let stat = self.proc("stat")?;
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|f| f.parse::<f64>().ok());
        let (user, system) = ticks(11).zip(ticks(12)).context("/proc/PID/stat is too short")?;
        Ok((user + system) * 10.0)
    }

    /// A line of `/proc/PID/status`, in MiB.
    fn memory_mib(&self, key: &str) -> Result<f64> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
        let kib = line.and_then(|l| l.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
        Ok(kib.with_context(|| format!("/proc/PID/status has no {key}"))? / 1024.0)
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).with_context(|| format!("the daemon has ended: no {path}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "waiting is what is measured")]
fn wait(time: Duration) {
    thread::sleep(time);
}
