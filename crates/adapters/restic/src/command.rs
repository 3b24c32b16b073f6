//! Builds calls of restic and runs them: its environment, options and how it is ended.
//!
//! Secrets go by the environment, which only the same user can read; arguments are public. What is
//! inherited of restic's own variables is kept out: they belong to another repository.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use backupctl_adapter_process::{EndSignal, Output, ProcessError, Tool};
use backupctl_application::context::StageContext;
use backupctl_domain::{ErrorCode, Failure};

use crate::failure::{Ended, Op, classify};
use crate::{Restic, Version, ssh, version};

/// How long restic may take to remove its lock after SIGINT.
const GRACE: Duration = Duration::from_secs(30);

/// How much of stderr is kept: it names the files that could not be read.
const STDERR_LIMIT: usize = 256 * 1024;

/// Variables of restic that a caller's shell may have set.
const INHERITED: [&str; 25] = [
    "RESTIC_REPOSITORY",
    "RESTIC_REPOSITORY_FILE",
    "RESTIC_PASSWORD",
    "RESTIC_PASSWORD_FILE",
    "RESTIC_PASSWORD_COMMAND",
    "RESTIC_KEY_HINT",
    "RESTIC_CACHE_DIR",
    "RESTIC_CACERT",
    "RESTIC_TLS_CLIENT_CERT",
    "RESTIC_COMPRESSION",
    "RESTIC_PACK_SIZE",
    "RESTIC_PROGRESS_FPS",
    "RESTIC_HOST",
    "RESTIC_READ_CONCURRENCY",
    "RESTIC_FROM_REPOSITORY",
    "RESTIC_FROM_REPOSITORY_FILE",
    "RESTIC_FROM_PASSWORD",
    "RESTIC_FROM_PASSWORD_FILE",
    "RESTIC_FROM_PASSWORD_COMMAND",
    "RESTIC_FROM_KEY_HINT",
    "RESTIC_REPOSITORY2",
    "RESTIC_PASSWORD2",
    "RESTIC_FEATURES",
    "RESTIC_REST_USERNAME",
    "RESTIC_REST_PASSWORD",
];

/// A call of restic, for whoever starts it in a way of their own (the user's terminal attached).
#[derive(Clone)]
pub struct Invocation {
    /// The program.
    pub program: PathBuf,
    /// Its arguments; no secret among them.
    pub args: Vec<OsString>,
    /// Variables to set; secrets among them.
    pub env: Vec<(OsString, OsString)>,
    /// Variables to keep from it.
    pub env_remove: Vec<OsString>,
}

impl std::fmt::Debug for Invocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The environment is left out: it holds the password.
        f.debug_struct("Invocation")
            .field("program", &self.program)
            .field("args", &self.args)
            .finish_non_exhaustive()
    }
}

/// A call that restic has ended with status 0, or with 3 where that is no failure.
pub(crate) struct Ran<T> {
    pub(crate) output: Output,
    pub(crate) value: T,
    pub(crate) version: Version,
}

impl Restic {
    /// A call of restic with this repository, its secrets and options. The arguments are restic's:
    /// its command, or options before it.
    ///
    /// # Errors
    /// `TOOL_MISSING` where restic is not there.
    pub fn invocation<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Invocation, Failure> {
        let target = self.target();
        let program = version::find(target)?;
        let mut all: Vec<OsString> = Vec::new();
        for (key, value) in &target.options {
            all.extend(["-o".into(), option(&format!("{key}={value}"))]);
        }
        if let Some(ssh) = &self.ssh {
            all.extend(["-o".into(), option(&format!("sftp.command={}", ssh.text()))]);
        }
        if let Some(limit) = target.limit_upload_kib {
            all.push(format!("--limit-upload={limit}").into());
        }
        let mut args = args.into_iter().map(|arg| arg.as_ref().to_owned()).peekable();
        // The command first, so that a process list says at once what is going on. What does not begin
        // with one may be an option with its value, which ours must not come between.
        let command = args.next_if(|first| !first.as_encoded_bytes().starts_with(b"-"));
        let args: Vec<OsString> = command.into_iter().chain(all).chain(args).collect();

        let mut env: Vec<(OsString, OsString)> = Vec::new();
        for (key, value) in &target.env {
            env.push((key.into(), value.expose()?.into()));
        }
        env.push(("RESTIC_REPOSITORY".into(), self.location.text().into()));
        env.push(("RESTIC_PASSWORD".into(), target.password.expose()?.into()));
        if let Some(dir) = &self.cache_dir {
            env.push(("RESTIC_CACHE_DIR".into(), dir.into()));
        }
        let is_set = |name: &OsStr| env.iter().any(|(key, _)| key == name);
        let env_remove =
            INHERITED.iter().map(OsString::from).filter(|name| !is_set(name)).collect();
        Ok(Invocation { program, args, env, env_remove })
    }

    /// Replaces this process by restic with this repository, its secrets and options; returns only
    /// where that cannot be done.
    pub fn replace_process<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Failure {
        let call = match self.invocation(args) {
            Ok(call) => call,
            Err(failure) => return failure,
        };
        let mut tool = Tool::new(call.program).args(call.args);
        for (key, value) in call.env {
            tool = tool.env(key, value);
        }
        for key in call.env_remove {
            tool = tool.env_remove(key);
        }
        tool.replace_process().into_failure(ErrorCode::ToolMissing)
    }

    /// The same as a [`Tool`]: its own process group, ended with SIGINT and 30 s to clean up.
    ///
    /// # Errors
    /// `TOOL_MISSING` where restic is not there.
    pub fn command<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Tool, Failure> {
        let tool = self.tool(args)?;
        Ok(match &self.settings.journal {
            Some(journal) => tool.journal(journal),
            None => tool,
        })
    }

    fn tool<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Tool, Failure> {
        let call = self.invocation(args)?;
        let mut tool = Tool::new(call.program)
            .args(call.args)
            // About as often as a person looks; without it restic writes sixty lines a second.
            .env("RESTIC_PROGRESS_FPS", "1")
            .end_with(EndSignal::Int, GRACE)
            .capture_limit(STDERR_LIMIT);
        for (key, value) in call.env {
            tool = tool.env(key, value);
        }
        for key in call.env_remove.iter().filter(|key| *key != "RESTIC_PROGRESS_FPS") {
            tool = tool.env_remove(key);
        }
        if self.location.starts_programs() && has_terminal() {
            // 0.14 makes its ssh the terminal's foreground, and leaves the terminal to itself.
            tool = tool.new_session();
        }
        Ok(tool)
    }

    /// Runs restic while `consume` reads its stdout. Anything but status 0 (for a backup, 3 too) is
    /// a failure with its code.
    pub(crate) async fn exec<T: Send + 'static>(
        &self,
        op: Op,
        args: Vec<OsString>,
        ctx: &StageContext,
        consume: impl FnOnce(&mut (dyn Read + Send)) -> io::Result<T> + Send + 'static,
    ) -> Result<Ran<T>, Failure> {
        let version = self.version(ctx).await?;
        self.preflight(op)?;
        if op.writes() || op == Op::Init {
            version::remember(self.target(), &self.settings.state_dir, version);
        }
        // What a dry run does writes nothing, not even a note of what is running.
        let tool = if op == Op::CatConfig { self.tool(args)? } else { self.command(args)? };
        let tool = tool.timeout(op.time_limit());
        let (output, value) = match tool.run_reading(ctx, consume).await {
            Ok(done) => done,
            Err(ProcessError::TimedOut { limit, stderr, .. }) => {
                return Err(self.timed_out(op, limit, stderr));
            }
            Err(error) => return Err(error.into_failure(ErrorCode::RepoUnreachable)),
        };
        let fine = output.code == Some(0) || (op == Op::Backup && output.code == Some(3));
        if fine {
            return Ok(Ran { output, value, version });
        }
        Err(self.explained(op, version, &output, ctx).await)
    }

    /// The version of restic, asked once per binary.
    pub(crate) async fn version(&self, ctx: &StageContext) -> Result<Version, Failure> {
        let ask = || version::of(self.target(), &self.settings.state_dir, ctx);
        self.version.get_or_try_init(ask).await.copied()
    }

    /// What would fail anyway, after a long time or with a worse text.
    fn preflight(&self, op: Op) -> Result<(), Failure> {
        if self.ssh.is_some() {
            ssh::check_key(self.target())?;
        }
        let Some(repository) = self.local_path() else { return Ok(()) };
        if !op.writes() {
            return Ok(());
        }
        for part in ["locks", "snapshots"] {
            let dir = repository.join(part);
            let denied = |error: &rustix::io::Errno| {
                matches!(*error, rustix::io::Errno::ACCESS | rustix::io::Errno::ROFS)
            };
            // restic would try for some 44 s before it says so.
            if let Err(error) = rustix::fs::access(&dir, rustix::fs::Access::WRITE_OK)
                && denied(&error)
            {
                return Err(Failure::new(
                    ErrorCode::PathNotWritable,
                    format!("repository folder {} cannot be written: {error}", dir.display()),
                )
                .with_remedy(format!(
                    "let this user write {} and all in it, or mount it read-write",
                    repository.display()
                )));
            }
        }
        Ok(())
    }

    /// The failure of an ended call. Where ssh's own words were lost, ssh is asked once more.
    async fn explained(
        &self,
        op: Op,
        version: Version,
        output: &Output,
        ctx: &StageContext,
    ) -> Failure {
        let ended = Ended {
            op,
            version,
            code: output.code,
            signal: output.signal,
            stderr: &output.stderr,
            location: self.location.shown(),
            sftp: self.location.sftp().is_some(),
        };
        let failure = classify(&ended);
        if failure.code == ErrorCode::RepoUnreachable
            && ended.ssh_ended_at_once()
            && let Some(stderr) = self.ask_ssh(ctx).await
        {
            let text = format!("{stderr}\n{}", output.stderr);
            return self.with_places(classify(&Ended { stderr: &text, ..ended }));
        }
        if failure.code == ErrorCode::RepoNotInitialized {
            self.missing(failure)
        } else {
            self.with_places(failure)
        }
    }

    /// A host key's failure, whose remedy can be copied as it stands.
    fn with_places(&self, failure: Failure) -> Failure {
        match &self.ssh {
            Some(ssh) if failure.code == ErrorCode::SshHostKeyUnknown => {
                let remedy = ssh.fill(&failure.remedy, self.target());
                failure.with_remedy(remedy)
            }
            _ => failure,
        }
    }

    /// The words of a failing ssh, called as restic calls it with nothing to say.
    async fn ask_ssh(&self, ctx: &StageContext) -> Option<String> {
        let (program, args) = self.ssh.as_ref()?.words().split_first()?;
        let tool = Tool::new(program).args(args).timeout(Some(Duration::from_secs(45)));
        let output = tool.run(ctx).await.ok()?;
        (output.code != Some(0)).then_some(output.stderr)
    }

    fn timed_out(&self, op: Op, limit: Duration, stderr: String) -> Failure {
        let code = if self.location.sftp().is_some() {
            ErrorCode::SshTimeout
        } else {
            ErrorCode::RepoUnreachable
        };
        Failure::new(
            code,
            format!(
                "repository {} did not answer within {} s (restic {})",
                self.location(),
                limit.as_secs(),
                op.name()
            ),
        )
        .with_remedy(format!("check that {} is reachable and mounted", self.location()))
        .with_detail(stderr)
    }
}

/// Whether this process has a terminal to lose.
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// An extended option as restic's `-o` takes it: a row of CSV, where a comma begins another option.
fn option(text: &str) -> OsString {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text.into()
    }
}

/// Arguments from texts and paths alike.
macro_rules! args {
    ($($arg:expr),* $(,)?) => { vec![$(std::ffi::OsString::from($arg)),*] };
}
pub(crate) use args;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_with_a_comma_or_quotes_stays_one() {
        assert_eq!(option("s3.region=eu"), "s3.region=eu");
        assert_eq!(option("sftp.args=-o 'A=\"b c\"',x"), "\"sftp.args=-o 'A=\"\"b c\"\"',x\"");
    }
}
