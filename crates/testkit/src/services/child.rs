//! Starting programs for tests, and ending them for sure.
//!
//! Servers are children of one thread that lives as long as the process and ask the kernel for
//! SIGKILL when it is gone (`setpriv --pdeathsig`), so that even a killed test leaves none behind.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How long a service may take to start or to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// The program's path: from these folders first, then from `PATH`. Ends the test where there is none.
pub(super) fn find(program: &str, folders: &[&Path], package: &str) -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "where programs are is the environment's to say")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = folders.iter().map(|f| f.to_path_buf()).chain(std::env::split_paths(&path));
    candidates.map(|folder| folder.join(program)).find(|file| file.is_file()).unwrap_or_else(|| {
        panic!(
            "this test needs {program}: install the Debian package {package}, or run \
             `cargo xtask setup`"
        )
    })
}

/// A user of this machine.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl User {
    /// The user of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|u| u.name == name)
    }

    /// The user that runs the test.
    pub(super) fn current() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let found = Self::all().into_iter().find(|u| u.uid == uid);
        found.expect("the user that runs the test is in /etc/passwd")
    }

    fn all() -> Vec<Self> {
        let text = fs::read_to_string("/etc/passwd").expect("/etc/passwd can be read");
        let user = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(Self { name, uid, gid })
        };
        text.lines().filter_map(user).collect()
    }
}

/// A program to run.
pub(super) struct Program {
    file: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    input: Vec<u8>,
    user: Option<User>,
}

impl Program {
    pub(super) fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            file: program.into(),
            args: Vec::new(),
            env: vec![("LC_ALL".into(), "C".into())],
            input: Vec::new(),
            user: None,
        }
    }

    pub(super) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    pub(super) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.into(), value.as_ref().to_owned()));
        self
    }

    pub(super) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Runs it as that user; as the one that runs the test for `None`.
    pub(super) fn user(mut self, user: Option<&User>) -> Self {
        self.user = user.cloned();
        self
    }

    fn command(&self, die_with_parent: bool) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        if die_with_parent {
            words.extend(["--pdeathsig".into(), "KILL".into()]);
        }
        if let Some(user) = &self.user {
            words.push(format!("--reuid={}", user.uid).into());
            words.push(format!("--regid={}", user.gid).into());
            words.push("--init-groups".into());
        }
        let program = if words.is_empty() {
            self.file.clone()
        } else {
            words.push("--".into());
            words.push(self.file.clone().into());
            find("setpriv", &[], "util-linux")
        };
        words.extend(self.args.iter().cloned());
        #[expect(clippy::disallowed_methods, reason = "the one place of the testkit")]
        let mut command = Command::new(program);
        command.args(words).envs(self.env.iter().cloned()).current_dir("/");
        for key in ["RESTIC_REPOSITORY", "RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_COMMAND"] {
            command.env_remove(key);
        }
        command
    }

    /// Runs it to its end: its stdout, or the stderr of a program that failed.
    pub(super) fn try_run(self) -> Result<String, String> {
        let mut command = self.command(false);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program can be started");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = self.input;
        // A thread of its own: the program may fill its output before it has read all its input.
        let writer = thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().expect("the program can be waited for");
        writer.join().expect("writing to a pipe does not panic");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(format!("{}: {}", output.status, text(&output.stderr)))
        }
    }

    /// Runs it to its end; a failure ends the test.
    pub(super) fn run(self) -> String {
        let name = self.file.display().to_string();
        self.try_run().unwrap_or_else(|e| panic!("{name} failed: {e}"))
    }

    /// Starts it as a server in a process group of its own; its words go to the file `log`.
    pub(super) fn start(&self, log: &Path) -> Child {
        let file = File::options().create(true).append(true).open(log).expect("a log file");
        let mut command = self.command(true);
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .process_group(0);
        Child { process: spawn(command), log: log.to_owned() }
    }
}

type Order = (Command, Sender<std::io::Result<std::process::Child>>);

/// Starts it on the thread that never ends: `--pdeathsig` means the thread, not the process.
fn spawn(command: Command) -> std::process::Child {
    static KEEPER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (reply, answer) = channel();
    let order = (command, reply);
    keeper.lock().unwrap_or_else(PoisonError::into_inner).send(order).expect("the keeper lives");
    answer.recv().expect("the keeper answers").expect("the program can be started")
}

/// A running server. Dropping it kills its process group.
#[derive(Debug)]
pub(super) struct Child {
    process: std::process::Child,
    log: PathBuf,
}

impl Child {
    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal to its whole group.
    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        let _ = kill_process_group(pid.expect("a pid"), signal);
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("a child can be waited for")
    }

    /// Waits until `ready` says so. Tells what the program said if it ends before.
    pub(super) fn wait_ready(&mut self, mut ready: impl FnMut() -> bool) -> Result<(), String> {
        let mut end = None;
        let good = wait_until(|| {
            end = self.ended();
            end.is_some() || ready()
        });
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        match end {
            Some(status) => Err(format!("ended with {status}: {log}")),
            None if !good => Err(format!("not ready after {} s: {log}", PATIENCE.as_secs())),
            None => Ok(()),
        }
    }

    /// Asks it to end by this signal and waits; kills its group if it takes too long.
    pub(super) fn end(&mut self, signal: Signal) {
        self.signal(signal);
        wait_until(|| self.ended().is_some());
        self.kill();
    }

    /// Kills its group and waits for it.
    pub(super) fn kill(&mut self) {
        if self.ended().is_none() {
            self.signal(Signal::KILL);
            let _ = self.process.wait();
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Asks again and again until it is true; false when that takes too long.
pub(super) fn wait_until(mut condition: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    while !condition() {
        if begin.elapsed() > PATIENCE {
            return false;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a foreign server tells nobody that it is up"
        )]
        thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Whether something listens there.
pub(super) fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}
