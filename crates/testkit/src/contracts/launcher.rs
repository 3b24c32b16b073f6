//! A launch tells what became of the run, and leaves nothing behind.

use std::sync::{Arc, Mutex};

use backupctl_application::context::{Cancel, Interrupt};
use backupctl_application::ports::{Launch, LaunchObserver, Launched, Launcher};
use backupctl_domain::{ErrorCode, RunStatus, Trigger};
use serde_json::Value;
use tokio::sync::Notify;

use super::soon;
use crate::builders::{at, name};

/// Holds a launcher to its promises. Its runs go by their project's name: `good` succeeds, `bad` fails
/// with `HOOK_FAILED`, `folded` finds its slot dealt with, `broken` cannot begin for `INVALID_CONFIG`,
/// `killed` dies after it has begun and `stillborn` before, `endless` goes on until it is told to stop.
pub async fn launcher(launcher: Arc<dyn Launcher>) {
    let cancel = Cancel::new();
    let (good, events) = launch(&launcher, "good", &cancel).await;
    let Launched::Finished(run) = good else { panic!("good: {good:?}") };
    assert_eq!(run.status, RunStatus::Success);
    assert_eq!(run.due_at, Some(at("2026-03-18T02:00:00Z")), "it was told its slot");
    assert_eq!(run.trigger, Trigger::CatchUp, "and what made it start");
    assert_eq!(events.first().map(String::as_str), Some("started"));
    assert_eq!(events.last().map(String::as_str), Some("finished"));

    let (bad, _) = launch(&launcher, "bad", &cancel).await;
    let Launched::Finished(run) = bad else { panic!("bad: {bad:?}") };
    assert_eq!(run.error.map(|e| e.code), Some(ErrorCode::HookFailed));

    let (folded, events) = launch(&launcher, "folded", &cancel).await;
    assert!(matches!(folded, Launched::Folded), "{folded:?}");
    assert!(events.is_empty(), "{events:?}");

    let (broken, _) = launch(&launcher, "broken", &cancel).await;
    let Launched::NotStarted(failure) = broken else { panic!("broken: {broken:?}") };
    assert_eq!(failure.code, ErrorCode::InvalidConfig, "{}", failure.full_message());

    let (killed, events) = launch(&launcher, "killed", &cancel).await;
    let Launched::Lost { run_id: Some(_), why } = killed else { panic!("killed: {killed:?}") };
    assert!(why.contains("signal 9"), "{why}");
    assert_eq!(events, ["started"]);
    let (stillborn, _) = launch(&launcher, "stillborn", &cancel).await;
    assert!(matches!(stillborn, Launched::Lost { run_id: None, .. }), "{stillborn:?}");

    let watcher = Arc::new(Watcher::default());
    let stopping = async {
        watcher.begun.notified().await;
        cancel.cancel(Interrupt::Term);
    };
    let launch = asked("endless");
    let ended = launcher.launch(&launch, &cancel, watcher.clone());
    let (ended, ()) =
        soon("the end of an endless run", async { tokio::join!(ended, stopping) }).await;
    let Launched::Finished(run) = ended else { panic!("endless: {ended:?}") };
    assert_eq!(run.error.map(|e| e.code), Some(ErrorCode::Interrupted));
}

#[derive(Default)]
struct Watcher {
    events: Mutex<Vec<String>>,
    begun: Notify,
}

impl LaunchObserver for Watcher {
    fn event(&self, event: &Value) {
        let name = event["event"].as_str().unwrap_or_default().to_owned();
        self.events.lock().unwrap().push(name);
        self.begun.notify_one();
    }
}

fn asked(project: &str) -> Launch {
    let due_at = Some(at("2026-03-18T02:00:00Z"));
    Launch { project: name(project), trigger: Trigger::CatchUp, due_at }
}

async fn launch(
    launcher: &Arc<dyn Launcher>,
    project: &str,
    cancel: &Cancel,
) -> (Launched, Vec<String>) {
    let watcher = Arc::new(Watcher::default());
    let launch = asked(project);
    let launched = soon(project, launcher.launch(&launch, cancel, watcher.clone())).await;
    let events = std::mem::take(&mut *watcher.events.lock().unwrap());
    (launched, events)
}
