//! The record of a run (spec: pipeline.md §10). Its serialized form is the `--json` contract.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::destination::DestinationName;
use crate::notice::stamp;
use crate::schedule::planner::Missed;
use crate::{ErrorCode, Failure, ProjectName, Stage};

/// A run's identity: a random UUID (version 4: the first characters of version 7 are the time, and
/// two runs of one minute would share their short form).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub Uuid);

impl RunId {
    /// The first 8 hexadecimal characters, as texts and file names carry them.
    pub fn short(self) -> String {
        self.0.simple().to_string()[..8].to_owned()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;
    fn from_str(s: &str) -> Result<Self, uuid::Error> {
        Uuid::from_str(s).map(Self)
    }
}

/// A snapshot's id as restic gives it, or as a person shortens it: 4 to 64 hexadecimal characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SnapshotId(String);

impl SnapshotId {
    /// Takes a snapshot id; `None` unless it is 4 to 64 hexadecimal characters.
    pub fn new(id: impl Into<String>) -> Option<Self> {
        let id = id.into();
        ((4..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit()))
            .then_some(Self(id))
    }

    /// The whole id as it is known.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 8 characters.
    pub fn short(&self) -> &str {
        &self.0[..self.0.len().min(8)]
    }

    /// Whether both name the same snapshot, one of them possibly shortened.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0) || other.0.starts_with(&self.0)
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What made a run start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A person, by `backupctl run`.
    Manual,
    /// The schedule.
    Scheduled,
    /// The schedule, after its time had been missed.
    CatchUp,
    /// A person, by `backupctl runs retry`.
    Retry,
}

impl Trigger {
    /// The name in records: `manual`, `scheduled`, `catch_up`, `retry`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Scheduled => "scheduled",
            Self::CatchUp => "catch_up",
            Self::Retry => "retry",
        }
    }
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// It is going on, or its process died and nobody has noticed yet.
    Started,
    /// Every critical step succeeded.
    Success,
    /// A critical step failed, or the run was interrupted.
    Failed,
}

impl RunStatus {
    /// The name in records: `started`, `success`, `failed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Success => "success",
            Self::Failed => "failed",
        }
    }
}

/// How one stage of a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageOutcome {
    /// It did its work.
    Ok,
    /// It failed; whether the run did too depends on the stage.
    Failed,
    /// It had nothing to do, or was not reached.
    Skipped,
}

/// One stage of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageRecord {
    /// Which stage.
    pub stage: Stage,
    /// When its first attempt began; `null` where it was skipped.
    #[serde(with = "stamp_option")]
    pub started_at: Option<Timestamp>,
    /// When its last attempt ended; `null` where it was skipped.
    #[serde(with = "stamp_option")]
    pub finished_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: StageOutcome,
    /// Attempts made; 0 where it was skipped.
    pub attempts: u32,
    /// The reason of a skip, the error, or a remark.
    pub message: Option<String>,
}

/// The dump file of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpInfo {
    /// The file on disk, whole path; the encrypted one once Encrypt is through.
    pub file: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The size of the database's own stream before compression, in bytes.
    pub raw_bytes: u64,
    /// `blake3:` and 64 hexadecimal characters, over the bytes of `file`.
    pub checksum: String,
    /// The engine, e.g. `postgres`.
    pub engine: String,
    /// The dump tool and its version, e.g. `pg_dump 15.18`.
    pub tool_version: String,
}

/// One snapshot that a run stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// restic's id.
    pub id: SnapshotId,
    /// Its tags as restic shows them.
    pub tags: Vec<String>,
    /// New data in bytes, before restic's compression (restic's `data_added`).
    pub bytes_added: u64,
    /// Files that the parent did not have.
    pub files_new: u64,
    /// Files that differ from the parent's.
    pub files_changed: u64,
    /// Files taken over from the parent unread.
    pub files_unmodified: u64,
    /// The destination that it was stored at; `null` in records of versions that knew only one.
    #[serde(default)]
    pub destination: Option<DestinationName>,
    /// The file that it is, at a destination of archives; `null` elsewhere.
    #[serde(default)]
    pub archive: Option<ArchiveInfo>,
}

/// An archive file, or the parts of one that was split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveInfo {
    /// The file, whole path; without the number where it was split.
    pub file: String,
    /// Its size in bytes, of all parts.
    pub bytes: u64,
    /// How many files it was split into; 1 for one that was not.
    pub parts: u32,
    /// `blake3:` and 64 hexadecimal characters, over its bytes from the first part to the last.
    pub checksum: String,
}

/// How a run went at one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationRecord {
    /// Its name.
    pub name: DestinationName,
    /// `restic` or `archive`.
    pub kind: String,
    /// Whether the run is a success only if it is stored here.
    pub required: bool,
    /// Where it is, without secrets.
    pub location: String,
    /// Whether all that the run made is proven to be here.
    pub stored: bool,
    /// Attempts made to store it.
    pub attempts: u32,
    /// What went wrong here, in whatever stage; `null` where nothing did.
    pub error: Option<RunError>,
    /// Snapshots that retention removed here; `null` where it was not reached.
    pub removed: Option<u64>,
    /// Snapshots that it kept; `null` where it was not reached.
    pub kept: Option<u64>,
    /// The size in bytes of what is here, where that is known at no cost.
    pub bytes: Option<u64>,
}

/// The destination whose failure fails the run, by its place: the first that is required; the first of
/// any kind where nothing is stored anywhere, since a run that is stored nowhere is no success. `None`
/// where the run may go on.
pub fn decisive_failure(destinations: &[DestinationRecord]) -> Option<usize> {
    let failed = |d: &DestinationRecord| d.error.is_some();
    let required = destinations.iter().position(|d| failed(d) && d.required);
    let nowhere = !destinations.iter().any(|d| d.stored);
    required.or_else(|| destinations.iter().position(failed).filter(|_| nowhere))
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// The stable code.
    pub code: ErrorCode,
    /// The stage that failed; `null` where none had begun.
    pub stage: Option<Stage>,
    /// The facts.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// Retries made of the failed stage, of how many allowed; both 0 where none was made.
    #[serde(default)]
    pub retries: u32,
    /// Retries that the policy allowed.
    #[serde(default)]
    pub retries_allowed: u32,
}

impl RunError {
    /// The error of a run that failed at `stage` without a retry.
    pub fn new(stage: Option<Stage>, failure: &Failure) -> Self {
        Self {
            code: failure.code,
            stage,
            message: failure.full_message(),
            remedy: failure.remedy.clone(),
            retries: 0,
            retries_allowed: 0,
        }
    }
}

/// How an asset path was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssetState {
    /// It is there.
    Present,
    /// It is a folder without entries.
    Empty,
    /// It is not there.
    Missing,
}

/// One asset path of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetRecord {
    /// The path as configured.
    pub path: String,
    /// How it was found.
    pub state: AssetState,
}

/// Everything that is known of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupRun {
    /// Its identity.
    pub run_id: RunId,
    /// The project's name.
    pub project: ProjectName,
    /// What made it start.
    pub trigger: Trigger,
    /// How it stands.
    pub status: RunStatus,
    /// The stage that it is in; `null` once it has ended.
    pub current_stage: Option<Stage>,
    /// Its stages so far; the thirteen numbered ones once it has ended.
    pub stages: Vec<StageRecord>,
    /// What was noticed on the way and did not fail the run.
    pub warnings: Vec<String>,
    /// Why it failed; `null` otherwise.
    pub error: Option<RunError>,
    /// The time of the schedule that it is for; `null` for one that nobody's schedule asked for.
    #[serde(default, with = "stamp_option")]
    pub due_at: Option<Timestamp>,
    /// When it took the lock; of one that was missed, when it was due.
    #[serde(with = "stamp")]
    pub started_at: Timestamp,
    /// When its last critical step ended; `null` while it goes on.
    #[serde(with = "stamp_option")]
    pub finished_at: Option<Timestamp>,
    /// From start to finish in seconds, three decimals; `null` while it goes on.
    #[serde(with = "seconds")]
    pub duration: Option<Duration>,
    /// The dump file; `null` without a database or before it is written.
    pub dump: Option<DumpInfo>,
    /// The asset paths and how they were found.
    #[serde(default)]
    pub assets: Vec<AssetRecord>,
    /// How it went at each destination, in the order of the configuration; empty before Sync, and in
    /// records of versions that knew only one.
    #[serde(default)]
    pub destinations: Vec<DestinationRecord>,
    /// The snapshots stored, in order.
    pub snapshots: Vec<SnapshotInfo>,
    /// The repository's size in bytes where it is known at no cost.
    pub repository_bytes: Option<u64>,
    /// The machine's name.
    pub host: String,
    /// backupctl's version.
    pub version: String,
    /// The process that makes the run.
    pub pid: u32,
}

impl BackupRun {
    /// Whether all that it made is proven to be at a destination, whatever came behind that.
    pub fn is_stored(&self) -> bool {
        let synced = |s: &StageRecord| s.stage == Stage::Sync && s.outcome == StageOutcome::Ok;
        self.status == RunStatus::Success
            || self.stages.iter().any(synced)
            || self.destinations.iter().any(|d| d.stored)
    }

    /// Whether all its destinations are folders of archives. Records of versions that knew repositories
    /// alone name no destination.
    pub fn has_only_archives(&self) -> bool {
        !self.destinations.is_empty() && self.destinations.iter().all(|d| d.kind == "archive")
    }

    /// A run that begins now.
    pub fn start(
        run_id: RunId,
        project: ProjectName,
        trigger: Trigger,
        started_at: Timestamp,
        host: impl Into<String>,
        version: impl Into<String>,
        pid: u32,
    ) -> Self {
        Self {
            run_id,
            project,
            trigger,
            status: RunStatus::Started,
            current_stage: None,
            stages: Vec::new(),
            warnings: Vec::new(),
            error: None,
            due_at: None,
            started_at,
            finished_at: None,
            duration: None,
            dump: None,
            assets: Vec::new(),
            destinations: Vec::new(),
            snapshots: Vec::new(),
            repository_bytes: None,
            host: host.into(),
            version: version.into(),
            pid,
        }
    }

    /// The record of slots that passed without a run: failed, at the time at which they were due.
    /// Never was a stage of it reached.
    pub fn missed(
        run_id: RunId,
        project: ProjectName,
        missed: Missed,
        why: &str,
        host: impl Into<String>,
        version: impl Into<String>,
        pid: u32,
    ) -> Self {
        let mut run =
            Self::start(run_id, project, Trigger::Scheduled, missed.last, host, version, pid);
        run.due_at = Some(missed.last);
        let message = match missed.count {
            0 | 1 => format!("the run due at {} was not made: {why}", stamp(missed.last)),
            n => format!(
                "{n} runs due between {} and {} were not made: {why}",
                stamp(missed.first),
                stamp(missed.last)
            ),
        };
        let failure = Failure::new(ErrorCode::RunMissed, message);
        run.finish(missed.last, Some(RunError::new(None, &failure)));
        run
    }

    /// Ends the run: failed with `error`, or a success without one.
    pub fn finish(&mut self, at: Timestamp, error: Option<RunError>) {
        self.status = if error.is_some() { RunStatus::Failed } else { RunStatus::Success };
        self.error = error;
        self.finished_at = Some(at);
        self.duration =
            Some(Duration::try_from(at.duration_since(self.started_at)).unwrap_or_default());
        self.current_stage = None;
    }

    /// The snapshot that texts name: the first, which has the dump where there is one, of a destination
    /// where the backup is stored; of any where it is stored nowhere.
    pub fn main_snapshot(&self) -> Option<&SnapshotId> {
        let mut stored = self.destinations.iter().filter(|d| d.stored);
        let proven = stored.find_map(|d| self.snapshot_at(&d.name));
        proven.or_else(|| self.snapshots.first().map(|s| &s.id))
    }

    /// The first snapshot that this run has made at a destination.
    pub fn snapshot_at(&self, destination: &DestinationName) -> Option<&SnapshotId> {
        let here = |s: &&SnapshotInfo| s.destination.as_ref() == Some(destination);
        self.snapshots.iter().find(here).map(|s| &s.id)
    }

    /// The record of that stage, if it has one.
    pub fn stage(&self, stage: Stage) -> Option<&StageRecord> {
        self.stages.iter().find(|s| s.stage == stage)
    }
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde's `with` passes a reference to the field")]
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a run fit 53 bits")]
    pub(super) fn serialize<S: Serializer>(d: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
        match d {
            Some(d) => s.serialize_f64(d.as_millis() as f64 / 1000.0),
            None => s.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(d)?;
        Ok(seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()))
    }
}

/// Moments in records: RFC 3339 in UTC, always with milliseconds.
mod stamp {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&crate::notice::stamp(*at))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(d)
    }
}

mod stamp_option {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde's `with` passes a reference to the field")]
    pub(super) fn serialize<S: Serializer>(
        at: &Option<Timestamp>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => super::stamp::serialize(at, s),
            None => s.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Option::deserialize(d)
    }
}
