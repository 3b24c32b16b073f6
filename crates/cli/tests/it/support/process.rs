//! A started program: its output as it comes, its end, and the one bounded wait of these tests.

use std::fs;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(100);

/// Asks again and again until it is true; false when that takes too long.
pub(crate) fn wait_until(mut condition: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    while !condition() {
        if begin.elapsed() > PATIENCE {
            return false;
        }
        #[expect(clippy::disallowed_methods, reason = "a foreign process tells nobody how it is")]
        thread::sleep(Duration::from_millis(3));
    }
    true
}

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Output {
    /// The exit status; 128 and the signal's number for one that a signal ended.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// It ended with this status.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Its stdout, one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("{e} in stdout: {}\nstderr: {}", self.stdout, self.stderr))
    }
}

type Text = Arc<Mutex<Vec<u8>>>;

/// A program that runs. Dropped before its end, it is killed.
pub(crate) struct Running {
    child: Child,
    stdout: Text,
    stderr: Text,
    readers: Vec<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, as a shell would give it: signals are sent to the program alone.
        command.process_group(0);
        let mut child = command.spawn().expect("the program can be started");
        let (stdout, stderr) = (Text::default(), Text::default());
        let readers = vec![
            read(child.stdout.take().unwrap(), Arc::clone(&stdout)),
            read(child.stderr.take().unwrap(), Arc::clone(&stderr)),
        ];
        Self { child, stdout, stderr, readers }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdout(&self) -> String {
        text(&self.stdout)
    }

    pub(crate) fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Waits until something is so while the program runs.
    #[track_caller]
    pub(crate) fn wait(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let mut ended = None;
        let good = wait_until(|| {
            ended = self.child.try_wait().unwrap();
            condition(self) || ended.is_some()
        });
        assert!(
            good && (ended.is_none() || condition(self)),
            "{what} did not come about (ended: {ended:?})\nstdout: {}\nstderr: {}",
            self.stdout(),
            self.stderr()
        );
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) -> Output {
        self.signal(Signal::KILL);
        self.end()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Output {
        self.end()
    }

    #[track_caller]
    fn end(&mut self) -> Output {
        let ended = wait_until(|| self.child.try_wait().unwrap().is_some());
        assert!(ended, "it never ends\nstdout: {}\nstderr: {}", self.stdout(), self.stderr());
        let status = self.child.wait().unwrap();
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        // Whoever outlives it must not hold its output either.
        let closed = wait_until(|| self.readers.iter().all(JoinHandle::is_finished));
        assert!(closed, "somebody else holds its output");
        Output { code, stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(mut from: impl Read + Send + 'static, to: Text) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            to.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..n]);
        }
    })
}

fn text(bytes: &Text) -> String {
    String::from_utf8_lossy(&bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

/// The processes whose command line or environment has this in it.
pub(crate) fn mentioning(marker: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|b| b.is_ascii_digit()) || name == std::process::id().to_string() {
            continue;
        }
        let of = |file: &str| {
            let bytes = fs::read(entry.path().join(file)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let words = of("cmdline");
        if words.contains(marker) || of("environ").contains(marker) {
            found.push(format!("{name}: {words}"));
        }
    }
    found
}
