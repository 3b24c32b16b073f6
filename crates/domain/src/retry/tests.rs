//! Who is tried again, and after how long.

use proptest::prelude::*;

use super::*;
use crate::ErrorCode;

fn stages() -> impl Strategy<Value = Stage> {
    proptest::sample::select(Stage::ALL.to_vec())
}

fn codes() -> impl Strategy<Value = ErrorCode> {
    proptest::sample::select(ErrorCode::ALL.to_vec())
}

#[test]
fn the_default_waits_five_ten_and_twenty_seconds_then_gives_up() {
    let failure = Failure::new(ErrorCode::SshConnectionRefused, "x");
    let decide = |done| evaluate_retry(RetryPolicy::default(), Stage::Sync, &failure, done);
    assert_eq!(decide(0), RetryDecision::RetryAfter(Duration::from_secs(5)));
    assert_eq!(decide(1), RetryDecision::RetryAfter(Duration::from_secs(10)));
    assert_eq!(decide(2), RetryDecision::RetryAfter(Duration::from_secs(20)));
    assert_eq!(decide(3), RetryDecision::Fail);
}

#[test]
fn a_count_of_zero_turns_retrying_off() {
    let policy = RetryPolicy { count: 0, ..RetryPolicy::default() };
    let failure = Failure::new(ErrorCode::SshTimeout, "x");
    assert_eq!(evaluate_retry(policy, Stage::Sync, &failure, 0), RetryDecision::Fail);
}

#[test]
fn errors_that_stay_burn_no_retry() {
    for code in [
        ErrorCode::ToolMissing,
        ErrorCode::RepoWrongPassword,
        ErrorCode::DbAuthFailed,
        ErrorCode::DbNotFound,
        ErrorCode::DiskFull,
        ErrorCode::EncryptionKeyMissing,
        ErrorCode::InvalidConfig,
        ErrorCode::Interrupted,
    ] {
        let decision =
            evaluate_retry(RetryPolicy::default(), Stage::Sync, &Failure::new(code, "x"), 0);
        assert_eq!(decision, RetryDecision::Fail, "{code}");
    }
}

proptest! {
    #[test]
    fn each_wait_is_twice_the_one_before(base_ms in 1_u64..100_000, done in 0_u32..20) {
        let policy = RetryPolicy { count: 100, base_delay: Duration::from_millis(base_ms) };
        let failure = Failure::new(ErrorCode::SshTimeout, "x");
        let wait = |done| match evaluate_retry(policy, Stage::Dump, &failure, done) {
            RetryDecision::RetryAfter(wait) => wait,
            RetryDecision::Fail => Duration::ZERO,
        };
        prop_assert_eq!(wait(0), policy.base_delay);
        prop_assert_eq!(wait(done + 1), wait(done) * 2);
    }

    #[test]
    fn only_a_transient_failure_of_a_retryable_stage_within_the_count_is_tried_again(
        stage in stages(),
        code in codes(),
        made_permanent: bool,
        count: u32,
        done: u32,
        base in any::<Duration>(),
    ) {
        let failure = Failure::new(code, "x");
        let failure = if made_permanent { failure.permanent() } else { failure };
        let decision =
            evaluate_retry(RetryPolicy { count, base_delay: base }, stage, &failure, done);
        let again = stage.is_retryable() && failure.is_transient() && done < count;
        prop_assert_eq!(decision != RetryDecision::Fail, again);
        // However late the retry, the wait is never shorter than the first one.
        if let RetryDecision::RetryAfter(wait) = decision {
            prop_assert!(wait >= base);
        }
    }
}
