//! One file a command.

pub mod config;
pub mod explain;
pub mod generate;
pub mod init;
pub mod logs;
pub mod recover;
pub mod restore;
pub mod run;
pub mod snapshots;
pub mod status;
