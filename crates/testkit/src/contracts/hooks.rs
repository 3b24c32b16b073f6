//! The user's commands: their status, their output, their end.

use std::sync::Arc;
use std::time::Duration;

use backupctl_application::context::{Cancel, Interrupt};
use backupctl_application::ports::{HookCall, HookExecutor, HookKind};
use backupctl_domain::{ErrorCode, Stage};

use super::{SECRET, assert_fails, context, context_with, soon};

fn call(kind: HookKind, command: &str, timeout: Duration) -> HookCall {
    let env = vec![("BACKUPCTL_PROJECT".to_owned(), "web-shop".to_owned())];
    HookCall { kind, command: command.to_owned(), timeout, env }
}

/// Holds an executor of hooks to its promises.
pub async fn hook_executor(hooks: Arc<dyn HookExecutor>) {
    let ctx = context(Stage::PreHook);
    let minute = Duration::from_mins(1);
    for kind in [HookKind::PreBackup, HookKind::PostBackup, HookKind::Finally] {
        let command = "echo hello $BACKUPCTL_PROJECT; echo trouble >&2";
        let output = soon("a hook", hooks.execute(&call(kind, command, minute), &ctx)).await;
        let tail = output.unwrap().tail;
        assert!(tail.contains("hello web-shop"), "{tail:?} lacks the environment");
        assert!(tail.contains("trouble"), "{tail:?} lacks stderr");
    }

    let command = format!("echo password {SECRET}; exit 3");
    let failing = call(HookKind::PostBackup, &command, minute);
    let failed = soon("a failing hook", hooks.execute(&failing, &ctx)).await;
    let failure = assert_fails(failed, ErrorCode::HookFailed, "a hook with status 3");
    assert!(failure.message.contains('3'), "{:?} lacks the status", failure.message);
    assert!(failure.message.contains("post_backup"), "{:?} lacks the hook", failure.message);
    assert!(failure.detail.contains("password ***"), "{:?}", failure.detail);
    assert!(!failure.full_message().contains(SECRET));

    let slow = call(HookKind::PreBackup, "echo begun; sleep 3600", Duration::from_millis(300));
    let failed = soon("a hook beyond its time", hooks.execute(&slow, &ctx)).await;
    assert_fails(failed, ErrorCode::HookTimeout, "a hook beyond its time");

    let cancel = Cancel::new();
    let stopped = context_with(Stage::PreHook, cancel.clone());
    let slow = call(HookKind::PreBackup, "sleep 3600", Duration::from_hours(2));
    let mut running = Box::pin(hooks.execute(&slow, &stopped));
    let goes_on = tokio::time::timeout(Duration::from_millis(150), &mut running).await;
    assert!(goes_on.is_err(), "the hook did not run");
    cancel.cancel(Interrupt::Term);
    let ended = soon("a cancelled hook", running).await;
    assert_fails(ended, ErrorCode::Interrupted, "a cancelled hook");
}
