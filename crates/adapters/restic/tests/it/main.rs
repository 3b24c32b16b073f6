//! The adapter against real restic on private repositories.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod contract;
mod locks;
mod repository;
mod restore;
mod sftp;
mod store;
mod verify;
mod world;
