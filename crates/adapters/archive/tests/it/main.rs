//! Archives on real folders, opened by real programs.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]
#![expect(clippy::disallowed_methods, reason = "starts tar, age, zstd and restic to compare with")]
#![expect(clippy::print_stderr, reason = "says why a test does nothing")]

mod contract;
mod damage;
mod disk;
mod excludes;
mod names;
mod restoring;
mod retention;
mod standard_tools;
mod support;
