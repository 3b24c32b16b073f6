//! What the tool does, one file a use case.

pub mod deliver;
pub mod dry_run;
pub mod guide;
pub mod recover;
pub mod restore;
pub mod run_all;
pub mod run_backup;
pub mod snapshots;
pub mod status;

pub use dry_run::{Check, CheckOutcome, DryRun};
pub use recover::{RecoverReport, RecoverStartup};
pub use restore::{Only, Restore, RestoreOptions, RestoreOutcome};
pub use run_all::{AllOutcome, ProjectOutcome, RunAll};
pub use run_backup::{RunBackup, RunOutcome, RunRequest};
pub use snapshots::list_snapshots;
pub use status::{ProjectStatus, Status};
