//! The rules of a backup run: pure values and decisions.
//!
//! Nothing in here reads a clock, a file, the network or the environment, and nothing is async.
//! Whatever a run has to decide — order, retry, skip, tags, retention, texts — is decided by a
//! function of this crate that a unit test can call with plain values.

pub mod archive_name;
pub mod database_url;
pub mod destination;
pub mod dump_name;
pub mod error;
pub mod freshness;
pub mod human;
pub mod manifest;
pub mod notice;
pub mod plan;
pub mod project;
pub mod redact;
pub mod retention;
pub mod retry;
pub mod run;
pub mod schedule;
pub mod stage;
pub mod sync;
pub mod tag;

pub use archive_name::ArchiveName;
pub use destination::{Destination, DestinationName};
pub use dump_name::DumpName;
pub use error::{Class, ErrorCode, Failure};
pub use human::ByteSize;
pub use notice::{Notice, NoticeKind};
pub use project::{Project, ProjectName, Secret};
pub use redact::Redactor;
pub use retry::{RetryDecision, RetryPolicy, evaluate_retry};
pub use run::{
    ArchiveInfo, AssetRecord, AssetState, BackupRun, DestinationRecord, DumpInfo, RunError, RunId,
    RunStatus, SnapshotId, SnapshotInfo, StageOutcome, StageRecord, Trigger, decisive_failure,
};
pub use stage::Stage;
