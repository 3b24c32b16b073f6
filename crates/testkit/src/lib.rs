//! Fakes for every port, contract suites, and real services for tests.
//!
//! Nothing in here is part of the program: [`fakes`] stand in for the world in the application's
//! tests, [`mocks`] end a test that calls what it must not, [`contracts`] hold fakes and real adapters to the same promises, and [`services`] start
//! private servers for the adapters' tests.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "used by tests alone, where a broken assumption is to end the test"
)]

pub mod bench;
pub mod builders;
pub mod contracts;
pub mod fakes;
pub mod mocks;
pub mod mongo_archive;
pub mod services;
pub mod workdir;

pub use bench::TestBench;
pub use builders::{project, run};
pub use workdir::WorkDir;
