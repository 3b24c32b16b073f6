//! What to start and how: the description of a program, built before it runs.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

/// A signal that asks a program to end, before the whole group is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndSignal {
    /// SIGINT: what restic wants.
    Int,
    /// SIGTERM.
    Term,
}

/// Variables with secrets of this process: the first is read from the environment alone, the others are
/// keys of the configuration.
const OWN_SECRETS: [&str; 7] = [
    "BACKUPCTL_INTO_PASSWORD",
    "AUDIT_DATABASE_URL",
    "AUDIT_DB_PASSWORD",
    "RESTIC_PASSWORD",
    "SLACK_WEBHOOK_URL",
    "SMTP_PASSWORD",
    "WEBHOOK_URL",
];

/// A program to run.
#[derive(Debug, Clone)]
pub struct Tool {
    pub(crate) program: OsString,
    pub(crate) shown_as: Option<OsString>,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) env_remove: Vec<OsString>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) end_signal: EndSignal,
    pub(crate) grace: Duration,
    pub(crate) input: Option<Vec<u8>>,
    pub(crate) capture_limit: usize,
    pub(crate) join_output: bool,
    pub(crate) journal: Option<PathBuf>,
    pub(crate) new_session: bool,
    pub(crate) container: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) whole_environment: bool,
}

impl Tool {
    /// A program by name (searched in PATH) or path.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            shown_as: None,
            args: Vec::new(),
            env: Vec::new(),
            env_remove: Vec::new(),
            cwd: None,
            timeout: None,
            end_signal: EndSignal::Term,
            grace: Duration::from_secs(10),
            input: None,
            capture_limit: 64 * 1024,
            join_output: false,
            journal: None,
            new_session: false,
            container: None,
            token: None,
            whole_environment: false,
        }
    }

    /// Has it listed, and spoken of, under this name instead of the path that it is started by.
    #[must_use]
    pub fn shown_as(mut self, name: impl Into<OsString>) -> Self {
        self.shown_as = Some(name.into());
        self
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

    /// Leaves it this process's secrets too, which no program gets otherwise unless [`Tool::env`] sets
    /// them: for the user's own commands. What `restore --into` logs in with stays here in any case.
    #[must_use]
    pub fn whole_environment(mut self) -> Self {
        self.whole_environment = true;
        self
    }

    /// The inherited variables that are kept from it.
    pub(crate) fn withheld(&self) -> impl Iterator<Item = &OsStr> {
        let own = if self.whole_environment { &OWN_SECRETS[..1] } else { &OWN_SECRETS[..] };
        own.iter().map(OsStr::new).chain(self.env_remove.iter().map(OsString::as_os_str))
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

    /// Gives it this by its stdin, for what is small and needs no reading or writing beside it: an
    /// option file with a password, of a program whose stdout is read. It is in memory alone.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
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

    /// Sends its stdout where its stderr goes, in the order of writing: the tail of both is then
    /// [`Output::stderr`](crate::Output), and stdout is empty.
    #[must_use]
    pub fn join_output(mut self) -> Self {
        self.join_output = true;
        self
    }

    /// Notes the running program in this file, so that [`end_orphans`](crate::end_orphans) can end
    /// it should this process die before it.
    #[must_use]
    pub fn journal(mut self, path: impl Into<PathBuf>) -> Self {
        self.journal = Some(path.into());
        self
    }

    /// Runs it in a session of its own, away from this process's terminal: for a program that makes
    /// itself the terminal's foreground, whose Ctrl-C would then reach nobody else. By `setsid`;
    /// where that is not there, it runs as without.
    #[must_use]
    pub fn new_session(mut self) -> Self {
        self.new_session = true;
        self
    }

    /// Runs it in this running Docker container by `docker exec`, if one is given: the program is
    /// looked for there, paths are as seen from there, and of this process's environment it gets
    /// only what [`Tool::env`] sets.
    #[must_use]
    pub fn in_container(mut self, container: Option<&str>) -> Self {
        self.container = container.map(str::to_owned);
        self
    }

    /// The PATH that it is given, if it is given one.
    pub(crate) fn path(&self) -> Option<&OsStr> {
        self.env.iter().rev().find(|(key, _)| key == "PATH").map(|(_, v)| v.as_os_str())
    }

    /// The name under which messages and logs speak of it.
    pub(crate) fn name(&self) -> String {
        self.shown_as.as_ref().unwrap_or(&self.program).to_string_lossy().into_owned()
    }
}
