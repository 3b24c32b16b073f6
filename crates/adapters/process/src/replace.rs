//! Becoming another program: for a command that is nothing but that program, well prepared.

#![expect(clippy::disallowed_methods, reason = "the one place that starts programs")]

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::{ProcessError, Tool};

impl Tool {
    /// Replaces this process by the program: it has our terminal, stdin, stdout and stderr, gets our
    /// signals, and its exit status is ours. Nothing of this process runs any more, no destructor
    /// either. Limits, capture and journal do not apply.
    ///
    /// Returns only where the program could not be started.
    #[must_use]
    pub fn replace_process(self) -> ProcessError {
        let program = self.name();
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        for key in self.withheld() {
            command.env_remove(key);
        }
        // What is set stays set, as in a child.
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        ProcessError::Start { program, source: command.exec() }
    }
}
