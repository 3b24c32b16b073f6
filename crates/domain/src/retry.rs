//! Whether, and after how long, a failed stage is tried again (spec: pipeline.md §2).

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::{Failure, Stage};

/// How often and how patiently a retryable stage is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Retries after the first attempt; 0 turns retrying off.
    pub count: u32,
    /// The wait before the first retry; each further one doubles.
    pub base_delay: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { count: 3, base_delay: Duration::from_secs(5) }
    }
}

/// What to do about a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryDecision {
    /// Try again after this wait.
    RetryAfter(Duration),
    /// Fail the stage with the error as it is.
    Fail,
}

/// Decides on a failed attempt of `stage` after `retries_done` retries.
///
/// Only stages 3 to 8 retry, only a transient failure does, and at most `policy.count` times; the
/// wait is `base × 2^retries_done`, and never overflows.
pub fn evaluate_retry(
    policy: RetryPolicy,
    stage: Stage,
    failure: &Failure,
    retries_done: u32,
) -> RetryDecision {
    if !stage.is_retryable() || !failure.is_transient() || retries_done >= policy.count {
        return RetryDecision::Fail;
    }
    let factor = 1_u32.checked_shl(retries_done).unwrap_or(u32::MAX);
    RetryDecision::RetryAfter(policy.base_delay.saturating_mul(factor))
}
