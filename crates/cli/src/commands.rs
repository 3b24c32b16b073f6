//! One file a command.

pub(crate) mod cache;
pub(crate) mod config;
pub(crate) mod explain;
pub(crate) mod forget;
pub(crate) mod generate;
pub(crate) mod health;
pub(crate) mod init;
pub(crate) mod logs;
pub(crate) mod prune;
pub(crate) mod recover;
pub(crate) mod restic;
pub(crate) mod restore;
pub(crate) mod restore_into;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schedule;
pub(crate) mod serve;
pub(crate) mod snapshots;
pub(crate) mod status;
pub(crate) mod systemd;
pub(crate) mod verify;
pub(crate) mod watch;
