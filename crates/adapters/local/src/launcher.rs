//! Makes runs by starting this very program again: `run PROJECT --scheduled --json-stream`.

mod answer;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backupctl_adapter_process::{EndSignal, Output, ProcessError, Tool};
use backupctl_application::context::{Cancel, StageContext, interrupted};
use backupctl_application::ports::{
    Acquired, BackupLock, ChildJournal, Launch, LaunchObserver, Launched, Launcher,
};
use backupctl_domain::notice::stamp;
use backupctl_domain::{ErrorCode, Redactor, Stage};
use tracing::warn;

use answer::Answer;

/// The program of this process, also where its file has been replaced meanwhile.
const OURSELVES: &str = "/proc/self/exe";

/// How long a run that was told to stop may take for its own end: hooks, record, notices.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the service manager tells this process alone.
const OWN_VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// The [`Launcher`] of this machine.
pub struct ProcessLauncher {
    program: OsString,
    config: PathBuf,
    patience: Duration,
    lock: Arc<dyn BackupLock>,
    children: Arc<dyn ChildJournal>,
}

impl ProcessLauncher {
    /// Starts this program on that configuration file; `lock` and `children` are to end what a killed
    /// run has left running.
    pub fn new(
        config: PathBuf,
        lock: Arc<dyn BackupLock>,
        children: Arc<dyn ChildJournal>,
    ) -> Self {
        Self { program: OURSELVES.into(), config, patience: PATIENCE, lock, children }
    }

    /// Starts another program instead, which takes the same arguments and says the same.
    #[must_use]
    pub fn with_program(mut self, program: impl Into<OsString>) -> Self {
        self.program = program.into();
        self
    }

    /// Kills a run that was told to stop after this time; 30 s unless told otherwise.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn tool(&self, launch: &Launch) -> Tool {
        let mut tool = Tool::new(&self.program)
            .shown_as("backupctl")
            .arg("--config")
            .arg(&self.config)
            .arg("run")
            .arg(launch.project.as_str())
            .args(["--scheduled", "--json-stream", "--trigger", launch.trigger.as_str()]);
        if let Some(slot) = launch.due_at {
            tool = tool.args(["--due-at", &stamp(slot)]);
        }
        // It reads the same configuration, whose variables may be secrets of ours.
        tool = tool.whole_environment().end_with(EndSignal::Term, self.patience);
        OWN_VARIABLES.into_iter().fold(tool, Tool::env_remove)
    }

    /// Ends what the run has left running, unless another process has the project's lock by now: then
    /// that one has done so before it began.
    async fn clean_up(&self, launch: &Launch) {
        let project = &launch.project;
        let cleaned = async {
            if let Acquired::Locked(guard) = self.lock.acquire_to_recover(project).await? {
                self.children.end_orphans(project).await?;
                guard.release()?;
            }
            Ok::<(), backupctl_domain::Failure>(())
        };
        if let Err(failure) = cleaned.await {
            warn!(project = %project, "left by a dead run: {}", failure.full_message());
        }
    }
}

#[async_trait]
impl Launcher for ProcessLauncher {
    async fn launch(
        &self,
        launch: &Launch,
        cancel: &Cancel,
        observer: Arc<dyn LaunchObserver>,
    ) -> Launched {
        let answer = Arc::new(Mutex::new(Answer::default()));
        let listening = Arc::clone(&answer);
        // The run has redacted what it says.
        let ctx = StageContext::new(Stage::Lock, cancel.clone(), Arc::new(Redactor::default()));
        let ended = self
            .tool(launch)
            .run_lines(&ctx, move |line| {
                let event = listening.lock().unwrap_or_else(PoisonError::into_inner).take(line);
                if let Some(event) = event {
                    observer.event(&event);
                }
            })
            .await;
        let answer = std::mem::take(&mut *answer.lock().unwrap_or_else(PoisonError::into_inner));
        let launched = outcome(answer, ended);
        if let Launched::Lost { run_id: Some(_), .. } = &launched {
            self.clean_up(launch).await;
        }
        launched
    }
}

/// What the run's words and the end of its process mean together.
fn outcome(answer: Answer, ended: Result<Output, ProcessError>) -> Launched {
    // Its record stands, whatever became of the process behind that.
    if let Some(run) = answer.finished {
        return Launched::Finished(run);
    }
    let output = match ended {
        Ok(output) => output,
        Err(ProcessError::Interrupted(why)) => {
            return match answer.run_id {
                None => Launched::NotStarted(interrupted(why)),
                run_id => {
                    let why = "it did not end in time when it was told to, and was killed";
                    Launched::Lost { run_id, why: why.to_owned() }
                }
            };
        }
        Err(error) => return Launched::NotStarted(error.into_failure(ErrorCode::Internal)),
    };
    let begun = answer.run_id.is_some();
    let failure = answer.failure.or_else(|| answer::failure_in(&output.stderr));
    match (output.code, failure) {
        (Some(0 | 2), _) if !begun => Launched::Folded,
        (Some(_), Some(failure)) if !begun => Launched::NotStarted(failure),
        _ => {
            let last_words = output.last_lines(3);
            let why = match last_words.as_str() {
                "" => output.status_text(),
                words => format!("{}: {words}", output.status_text()),
            };
            Launched::Lost { run_id: answer.run_id, why }
        }
    }
}
