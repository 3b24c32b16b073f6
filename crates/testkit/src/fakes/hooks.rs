//! Hooks that only say what they would have run.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use backupctl_application::context::{StageContext, interrupted};
use backupctl_application::ports::{HookCall, HookExecutor, HookKind, HookOutput};
use backupctl_domain::{ErrorCode, Failure};

use super::faults::injectable;
use super::{Core, Journal, locked};

/// A [`HookExecutor`]. Operations: `pre_backup`, `post_backup`, `finally`.
///
/// Of the shell it knows `echo WORDS`, whose words are the tail, with `$NAME` from the call's
/// environment; `exit N`; and `sleep N`, which is over the timeout at once if it would be, hangs
/// until it is cancelled from 10 s on, and takes no time otherwise. Anything else succeeds in
/// silence.
pub struct FakeHooks {
    core: Core,
    calls: Mutex<Vec<HookCall>>,
}

injectable!(FakeHooks);

impl FakeHooks {
    /// Hooks that succeed.
    pub fn new(journal: &Arc<Journal>) -> Self {
        let core = Core::new(journal, &["pre_backup", "post_backup", "finally"]);
        Self { core, calls: Mutex::default() }
    }

    /// What was run, in order.
    pub fn executed(&self) -> Vec<HookCall> {
        locked(&self.calls).clone()
    }

    /// The environment that the last hook of that kind was given.
    pub fn env(&self, kind: HookKind) -> Option<Vec<(String, String)>> {
        locked(&self.calls).iter().rev().find(|c| c.kind == kind).map(|c| c.env.clone())
    }
}

#[async_trait]
impl HookExecutor for FakeHooks {
    async fn execute(&self, call: &HookCall, ctx: &StageContext) -> Result<HookOutput, Failure> {
        locked(&self.calls).push(call.clone());
        let name = call.kind.key().trim_start_matches("hooks.");
        self.core.call(name, format!("hook {name}"), Some(&ctx.cancel)).await?;
        let key = call.kind.key();
        let mut tail = String::new();
        for command in call.command.split([';', '\n']).map(str::trim) {
            let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
            match word {
                "echo" => {
                    let mut text = rest.trim_end_matches(">&2").trim().to_owned();
                    for (name, value) in &call.env {
                        text = text.replace(&format!("${name}"), value);
                    }
                    tail.push_str(&ctx.redactor.redact(text.trim_matches(['\'', '"'])));
                    tail.push('\n');
                }
                "exit" if rest.trim() != "0" => {
                    return Err(Failure::new(
                        ErrorCode::HookFailed,
                        format!("{key} ended with status {}", rest.trim()),
                    )
                    .with_detail(tail));
                }
                "exit" => break,
                "sleep" => {
                    let asleep = Duration::from_secs(rest.trim().parse().unwrap_or_default());
                    if asleep >= call.timeout {
                        return Err(Failure::new(
                            ErrorCode::HookTimeout,
                            format!("{key} did not end within {} s", call.timeout.as_secs()),
                        )
                        .with_detail(tail));
                    }
                    if asleep >= Duration::from_secs(10) {
                        return Err(interrupted(ctx.cancel.cancelled().await));
                    }
                }
                _ => {}
            }
        }
        Ok(HookOutput { tail })
    }
}
