//! The stages of a run, their numbers and their order (spec: pipeline.md §1).

use std::fmt;

use serde::{Deserialize, Serialize};

/// One step of the pipeline. The variant order is the order of execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// Step 0: takes the project's lock. Happens before a run record exists.
    Lock,
    /// Step 1: says that the run has begun.
    NotifyStarted,
    /// Step 2: runs `hooks.pre_backup`.
    PreHook,
    /// Step 3: dumps the database into one file.
    Dump,
    /// Step 4: proves the whole dump file.
    Verify,
    /// Step 5: encrypts the dump file.
    Encrypt,
    /// Step 6: stores and proves the snapshots.
    Sync,
    /// Step 7: applies the retention policy to the repository.
    Prune,
    /// Step 8: removes old local dump files.
    Cleanup,
    /// Step 9: runs `hooks.post_backup`.
    PostHook,
    /// Between 9 and 10, whatever happened: runs `hooks.finally`.
    FinallyHook,
    /// Step 10: writes the finished record.
    Audit,
    /// Step 11: says how the run ended.
    Notify,
    /// Step 12: tells the heartbeat monitor.
    Heartbeat,
    /// Step 13: gives the lock back.
    Unlock,
}

/// How many stages the numbers in messages count: `Sync (6/11)`.
pub const COUNTED_STAGES: u8 = 11;

impl Stage {
    /// Every stage, in the order in which a run goes through them.
    pub const ALL: [Self; 15] = [
        Self::Lock,
        Self::NotifyStarted,
        Self::PreHook,
        Self::Dump,
        Self::Verify,
        Self::Encrypt,
        Self::Sync,
        Self::Prune,
        Self::Cleanup,
        Self::PostHook,
        Self::FinallyHook,
        Self::Audit,
        Self::Notify,
        Self::Heartbeat,
        Self::Unlock,
    ];

    /// The stages that make the backup itself, 2 to 9: a failure of one fails the run.
    pub const WORK: [Self; 8] = [
        Self::PreHook,
        Self::Dump,
        Self::Verify,
        Self::Encrypt,
        Self::Sync,
        Self::Prune,
        Self::Cleanup,
        Self::PostHook,
    ];

    /// The thirteen numbered steps that every run record lists, 1 to 13.
    pub const RECORDED: [Self; 13] = [
        Self::NotifyStarted,
        Self::PreHook,
        Self::Dump,
        Self::Verify,
        Self::Encrypt,
        Self::Sync,
        Self::Prune,
        Self::Cleanup,
        Self::PostHook,
        Self::Audit,
        Self::Notify,
        Self::Heartbeat,
        Self::Unlock,
    ];

    /// The step's number, 0 to 13; `None` for [`Stage::FinallyHook`], which has none.
    pub const fn number(self) -> Option<u8> {
        match self {
            Self::Lock => Some(0),
            Self::NotifyStarted => Some(1),
            Self::PreHook => Some(2),
            Self::Dump => Some(3),
            Self::Verify => Some(4),
            Self::Encrypt => Some(5),
            Self::Sync => Some(6),
            Self::Prune => Some(7),
            Self::Cleanup => Some(8),
            Self::PostHook => Some(9),
            Self::FinallyHook => None,
            Self::Audit => Some(10),
            Self::Notify => Some(11),
            Self::Heartbeat => Some(12),
            Self::Unlock => Some(13),
        }
    }

    /// Whether a transient failure of this stage is tried again: stages 3 to 8 are.
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Dump | Self::Verify | Self::Encrypt | Self::Sync | Self::Prune | Self::Cleanup
        )
    }

    /// Whether a failure of this stage fails the run: 2 to 9 do, everything else is told and
    /// passed over.
    pub const fn is_critical(self) -> bool {
        matches!(
            self,
            Self::PreHook
                | Self::Dump
                | Self::Verify
                | Self::Encrypt
                | Self::Sync
                | Self::Prune
                | Self::Cleanup
                | Self::PostHook
        )
    }

    /// The name as records, texts and `--json` carry it, e.g. `NotifyStarted`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lock => "Lock",
            Self::NotifyStarted => "NotifyStarted",
            Self::PreHook => "PreHook",
            Self::Dump => "Dump",
            Self::Verify => "Verify",
            Self::Encrypt => "Encrypt",
            Self::Sync => "Sync",
            Self::Prune => "Prune",
            Self::Cleanup => "Cleanup",
            Self::PostHook => "PostHook",
            Self::FinallyHook => "FinallyHook",
            Self::Audit => "Audit",
            Self::Notify => "Notify",
            Self::Heartbeat => "Heartbeat",
            Self::Unlock => "Unlock",
        }
    }

    /// The name with its place among the counted stages: `Sync (6/11)`; the bare name for a stage
    /// outside 1 to 11.
    pub fn with_number(self) -> String {
        match self.number() {
            Some(n @ 1..=COUNTED_STAGES) => format!("{} ({n}/{COUNTED_STAGES})", self.name()),
            _ => self.name().to_owned(),
        }
    }

    /// The stage of that name, as [`Stage::name`] writes it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_stages_three_to_eight_retry() {
        let numbers: Vec<_> =
            Stage::ALL.iter().filter(|s| s.is_retryable()).filter_map(|s| s.number()).collect();
        assert_eq!(numbers, [3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn the_numbered_steps_of_a_record_are_one_to_thirteen() {
        let numbers: Vec<_> = Stage::RECORDED.iter().filter_map(|s| s.number()).collect();
        assert_eq!(numbers, (1..=13).collect::<Vec<u8>>());
    }

    #[test]
    fn messages_count_eleven_stages() {
        assert_eq!(Stage::Sync.with_number(), "Sync (6/11)");
        assert_eq!(Stage::Notify.with_number(), "Notify (11/11)");
        assert_eq!(Stage::Heartbeat.with_number(), "Heartbeat");
        assert_eq!(Stage::FinallyHook.with_number(), "FinallyHook");
    }

    #[test]
    fn names_round_trip() {
        for stage in Stage::ALL {
            assert_eq!(Stage::from_name(stage.name()), Some(stage));
        }
    }

    #[test]
    fn the_variant_order_is_the_order_of_execution() {
        assert!(Stage::ALL.windows(2).all(|w| w[0] < w[1]));
    }
}
