//! Runs the user's own commands with `sh -c`.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use backupctl_adapter_process::{Output, ProcessError, Tool, journal_in, last_lines};
use backupctl_application::context::StageContext;
use backupctl_application::ports::{HookCall, HookExecutor, HookOutput};
use backupctl_domain::{ErrorCode, Failure, ProjectName};

/// How much of a hook's output is kept: what a record and a notice can carry.
const TAIL_BYTES: usize = 8 * 1024;
const TAIL_LINES: usize = 20;

/// The variable that names the project a hook belongs to.
const PROJECT_VARIABLE: &str = "BACKUPCTL_PROJECT";

/// The [`HookExecutor`] of this machine.
#[derive(Debug, Clone)]
pub struct ShellHooks {
    base_dir: PathBuf,
}

impl ShellHooks {
    /// Hooks of the projects under `base_dir`, where those that run are noted.
    pub fn new(base_dir: impl Into<PathBuf>) -> Self {
        Self { base_dir: base_dir.into() }
    }

    fn tool(&self, call: &HookCall) -> Tool {
        let mut tool = Tool::new("sh")
            .args(["-c", &call.command])
            .timeout(Some(call.timeout))
            .capture_limit(TAIL_BYTES)
            // Hooks are promised the environment.
            .whole_environment()
            .join_output();
        for (key, value) in &call.env {
            tool = tool.env(key, value);
        }
        let project = call.env.iter().find(|(key, _)| key == PROJECT_VARIABLE);
        let dir = project
            .and_then(|(_, name)| ProjectName::new(name).ok())
            .map(|name| self.base_dir.join(name.as_str()))
            .filter(|dir| dir.is_dir());
        match dir {
            Some(dir) => tool.journal(journal_in(&dir)),
            None => tool,
        }
    }
}

#[async_trait]
impl HookExecutor for ShellHooks {
    async fn execute(&self, call: &HookCall, ctx: &StageContext) -> Result<HookOutput, Failure> {
        let key = call.kind.key();
        match self.tool(call).run(ctx).await {
            Ok(output) if output.success() => {
                Ok(HookOutput { tail: output.last_lines(TAIL_LINES) })
            }
            Ok(output) => Err(failed(key, &output)),
            Err(ProcessError::TimedOut { limit, stderr, .. }) => {
                Err(timed_out(key, limit, &stderr))
            }
            Err(other) => Err(other.into_failure(ErrorCode::HookTimeout)),
        }
    }
}

fn failed(key: &str, output: &Output) -> Failure {
    let message = format!("the command of {key} ended with {}", output.status_text());
    Failure::new(ErrorCode::HookFailed, message)
        .with_remedy(format!("run the command by hand to see why it fails, then correct {key}"))
        .with_detail(output.last_lines(TAIL_LINES))
}

fn timed_out(key: &str, limit: Duration, tail: &str) -> Failure {
    let message = format!(
        "the command of {key} did not end within {} s; it and all that it had started were ended",
        limit.as_secs()
    );
    Failure::new(ErrorCode::HookTimeout, message)
        .with_remedy(format!("find out what {key} waits for, or raise hooks.timeout_minutes"))
        .with_detail(last_lines(tail, TAIL_LINES))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use backupctl_application::context::{Cancel, Interrupt};
    use backupctl_application::ports::HookKind;
    use backupctl_domain::{Redactor, Stage};
    use backupctl_testkit::WorkDir;

    use super::*;

    fn ctx() -> StageContext {
        let redactor = Redactor::new(["hunter2".to_owned()]);
        StageContext::new(Stage::PreHook, Cancel::new(), Arc::new(redactor))
    }

    fn call(command: &str) -> HookCall {
        HookCall {
            kind: HookKind::PreBackup,
            command: command.to_owned(),
            timeout: Duration::from_secs(30),
            env: vec![
                ("BACKUPCTL_PROJECT".to_owned(), "shop".to_owned()),
                ("BACKUPCTL_STATUS".to_owned(), "started".to_owned()),
            ],
        }
    }

    #[tokio::test]
    async fn both_outputs_are_kept_without_secrets_and_the_environment_is_set() {
        let command = "echo $BACKUPCTL_PROJECT; echo $BACKUPCTL_STATUS >&2; echo pw hunter2";
        let done = ShellHooks::new("/nowhere").execute(&call(command), &ctx()).await.unwrap();
        assert_eq!(done.tail, "shop\nstarted\npw ***");
    }

    #[tokio::test]
    async fn a_secret_gets_there_by_the_environment_and_is_in_no_argument() {
        let mut call =
            call("tr '\\0' ' ' < /proc/$$/cmdline; [ \"${TOKEN}\" = hunter2 ] && echo same");
        call.env.push(("TOKEN".to_owned(), "hunter2".to_owned()));
        let done = ShellHooks::new("/nowhere").execute(&call, &ctx()).await.unwrap();
        assert!(done.tail.contains("${TOKEN}") && done.tail.ends_with("same"), "{}", done.tail);
    }

    #[tokio::test]
    async fn another_status_than_0_fails_with_the_tail() {
        let call = call("seq 100; echo cannot flush >&2; exit 3");
        let failure = ShellHooks::new("/nowhere").execute(&call, &ctx()).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::HookFailed);
        assert_eq!(failure.message, "the command of hooks.pre_backup ended with exit status 3");
        assert!(failure.detail.starts_with("82\n") && failure.detail.ends_with("\ncannot flush"));
        assert!(!failure.is_transient());
    }

    #[tokio::test]
    async fn a_hook_that_hangs_is_ended() {
        let mut call = call("echo waiting; sleep 1000 | cat");
        call.timeout = Duration::from_millis(200);
        let failure = ShellHooks::new("/nowhere").execute(&call, &ctx()).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::HookTimeout);
        assert_eq!(failure.detail, "waiting");
    }

    #[tokio::test]
    async fn cancel_ends_a_hook() {
        let ctx = ctx();
        let cancel = ctx.cancel.clone();
        let call = call("sleep 1000");
        let hooks = ShellHooks::new("/nowhere");
        let (result, ()) = tokio::join!(hooks.execute(&call, &ctx), async {
            tokio::task::yield_now().await;
            cancel.cancel(Interrupt::Term);
        });
        assert_eq!(result.unwrap_err().code, ErrorCode::Interrupted);
    }

    #[tokio::test]
    async fn a_running_hook_is_noted_in_its_project() {
        let work = WorkDir::new();
        let dir = work.dir("shop");
        // Noted right after the start: the hook may be there before the note.
        let journal = journal_in(&dir);
        let call =
            call(&format!("until [ -s {0} ]; do sleep 0.01; done; cat {0}", journal.display()));
        let done = ShellHooks::new(work.path()).execute(&call, &ctx()).await.unwrap();
        assert_eq!(done.tail.split(' ').count(), 2, "{}", done.tail);
        assert!(!journal.exists());
    }
}
