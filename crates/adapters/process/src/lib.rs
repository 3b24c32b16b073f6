//! The one place that starts programs.
//!
//! Every program gets its own process group, /dev/null as stdin unless told otherwise, bounded
//! capture, a way to be ended with all its children, and texts without secrets.

mod capture;
mod child;
mod error;
mod journal;
mod output;
mod pipe;
mod program;
mod run;
#[cfg(test)]
mod tests;
mod tool;

pub use child::kill_running;
pub use error::{ProcessError, failure_from_io};
pub use journal::{end_orphans, journal_in};
pub use output::{Output, last_lines};
pub use program::find_program;
pub use tool::{EndSignal, Tool};
