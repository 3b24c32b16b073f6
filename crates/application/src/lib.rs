//! The use cases of backupctl and the ports that they need.
//!
//! Everything that touches the world is behind a trait of [`ports`]; every rule is a function of
//! `backupctl-domain`. What is left here is the order of things.

pub mod context;
pub mod ports;
pub mod registry;
pub mod use_cases;
pub mod world;

pub use world::{Identity, Settings, World};
