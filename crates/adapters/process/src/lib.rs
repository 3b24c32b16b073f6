//! The one place that starts programs.
//!
//! Every program gets its own process group, /dev/null as stdin unless told otherwise, bounded
//! capture, a way to be ended with all its children, and texts without secrets. What programs and
//! streams give is written by [`AtomicFile`], what adapters remember by [`write_state`].

mod assets;
mod atomic_file;
mod capture;
mod child;
mod container;
mod error;
mod journal;
mod output;
mod pipe;
mod program;
mod replace;
mod run;
mod state_file;
mod syncer;
#[cfg(test)]
mod tests;
mod tool;

pub use assets::with_link_targets;
pub use atomic_file::{AtomicFile, Existing, write_failure};
pub use child::kill_running;
pub use error::{ProcessError, failure_from_io};
pub use journal::{end_orphans, journal_in};
pub use output::{Output, last_lines};
pub use program::find_program;
pub use state_file::{make_private, while_locked, write_state};
pub use syncer::Syncer;
pub use tool::{EndSignal, Tool};
