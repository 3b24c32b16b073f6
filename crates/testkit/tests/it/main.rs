//! The testkit tested: the contracts hold for the fakes, and the services are what they say.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, where a broken assumption ends the test"
)]

mod contracts;
mod fakes;
mod services;
