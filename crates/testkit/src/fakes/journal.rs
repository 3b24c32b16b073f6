//! What happened, in order, across all fakes of a bench.

use std::sync::Mutex;

use super::locked;

/// An ordered list of events such as `dump`, `store backupctl:db,project:web`, `track Dump`.
#[derive(Debug, Default)]
pub struct Journal {
    events: Mutex<Vec<String>>,
}

impl Journal {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an event.
    pub fn record(&self, event: impl Into<String>) {
        locked(&self.events).push(event.into());
    }

    /// Everything so far.
    pub fn events(&self) -> Vec<String> {
        locked(&self.events).clone()
    }

    /// The events that begin with one of these, in their order.
    pub fn only(&self, prefixes: &[&str]) -> Vec<String> {
        self.events().into_iter().filter(|e| prefixes.iter().any(|p| e.starts_with(p))).collect()
    }

    /// The events that begin with none of these, in their order.
    pub fn without(&self, prefixes: &[&str]) -> Vec<String> {
        self.events().into_iter().filter(|e| !prefixes.iter().any(|p| e.starts_with(p))).collect()
    }

    /// How many events begin so.
    pub fn count(&self, prefix: &str) -> usize {
        self.events().iter().filter(|e| e.starts_with(prefix)).count()
    }

    /// Whether some event begins so.
    pub fn has(&self, prefix: &str) -> bool {
        self.count(prefix) > 0
    }

    /// Where the first event that begins so stands.
    pub fn position(&self, prefix: &str) -> Option<usize> {
        self.events().iter().position(|e| e.starts_with(prefix))
    }

    /// Ends the test unless events that begin so happened in this order (others may lie between).
    #[track_caller]
    pub fn assert_order(&self, prefixes: &[&str]) {
        let events = self.events();
        let mut rest = events.iter();
        for prefix in prefixes {
            assert!(
                rest.any(|e| e.starts_with(prefix)),
                "{prefix:?} did not happen in its place; expected {prefixes:?} in {events:#?}"
            );
        }
    }

    /// Forgets everything so far.
    pub fn clear(&self) {
        locked(&self.events).clear();
    }
}
