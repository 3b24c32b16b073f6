//! An observer that keeps every event.

use std::sync::Mutex;

use backupctl_application::context::{Observer, RunEvent};
use backupctl_domain::Stage;

use super::locked;

/// Keeps what it is told.
#[derive(Default)]
pub struct RecordingObserver {
    events: Mutex<Vec<RunEvent>>,
}

impl RecordingObserver {
    /// One that has heard nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every event, in order.
    pub fn events(&self) -> Vec<RunEvent> {
        locked(&self.events).clone()
    }

    /// The stages that began an attempt, in order, once an attempt.
    pub fn stages_started(&self) -> Vec<Stage> {
        let started = |event: &RunEvent| match event {
            RunEvent::StageStarted { stage, .. } => Some(*stage),
            _ => None,
        };
        locked(&self.events).iter().filter_map(started).collect()
    }

    /// The warnings, in order.
    pub fn warnings(&self) -> Vec<String> {
        let warning = |event: &RunEvent| match event {
            RunEvent::Warning { message } => Some(message.clone()),
            _ => None,
        };
        locked(&self.events).iter().filter_map(warning).collect()
    }
}

impl Observer for RecordingObserver {
    fn event(&self, event: &RunEvent) {
        locked(&self.events).push(event.clone());
    }
}
