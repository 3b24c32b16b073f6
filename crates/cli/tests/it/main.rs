//! The built program from outside: started as a user would, on real programs, judged by exit status,
//! output, files, records and what the receivers got. One binary, since each costs a link.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests end the test where the world is not as it must be"
)]

mod archive;
mod commands;
mod compat;
mod configuration;
mod container;
mod destinations;
mod dry_run;
mod errors;
mod failures;
mod full_run;
mod health;
mod kills;
mod maintenance;
mod outages;
mod overlap;
mod passthrough;
mod restore;
mod restore_into;
mod restore_parts;
mod runs;
mod schedule;
mod serve;
mod serve_kills;
mod signals;
mod snapshots;
mod support;
mod systemd;
mod unheard;
mod watch;
