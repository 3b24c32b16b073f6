//! What the tool does, one file a use case.

pub mod abort_run;
pub mod cache;
mod checks;
pub mod deliver;
pub mod dry_run;
pub mod each;
mod exclusive;
pub mod forget;
pub mod guide;
pub mod health;
pub mod prune;
pub mod recover;
pub mod reload;
pub mod restore;
pub mod restore_into;
pub mod run_all;
pub mod run_backup;
pub mod runs;
pub mod snapshots;
pub mod status;

pub use abort_run::{AbortRun, Aborted};
pub use cache::{clear_cache, measure_cache};
pub use checks::{Check, CheckOutcome};
pub use dry_run::DryRun;
pub use each::{EachOutcome, each_project};
pub use forget::{Forget, Forgotten};
pub use health::{Health, HealthCheck, HealthReport, NoAudit};
pub use prune::{PruneOutcome, kept_text, prune};
pub use recover::{RecoverReport, RecoverStartup};
pub use restore::{Only, Restore, RestoreOptions, RestoreOutcome};
pub use restore_into::{IntoOptions, IntoOutcome, RestoreInto};
pub use run_all::{AllOutcome, ProjectOutcome, RunAll};
pub use run_backup::{RunBackup, RunOutcome, RunRequest};
pub use runs::{DeletedRun, check_retry, delete_run, find_run};
pub use snapshots::list_snapshots;
pub use status::{ProjectStatus, Status};
