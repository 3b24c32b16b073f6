//! Which stages of a run have work to do, and what a failure of one makes of the run
//! (spec: pipeline.md §1, §4).

use crate::human::ByteSize;
use crate::{ErrorCode, Failure, Project, SnapshotId, Stage};

/// Why a stage of this project has nothing to do; `None` where it has.
///
/// Only what the configuration decides: a stage that is not reached because an earlier one failed is
/// a matter of the run.
pub fn skip_reason(stage: Stage, project: &Project) -> Option<&'static str> {
    let no_database = project.database.is_none();
    match stage {
        Stage::NotifyStarted | Stage::Notify if project.notifications.is_empty() => {
            Some("no notification configured")
        }
        Stage::PreHook if project.hooks.pre_backup.is_none() => Some("no hooks.pre_backup"),
        Stage::PostHook if project.hooks.post_backup.is_none() => Some("no hooks.post_backup"),
        Stage::FinallyHook if project.hooks.finally.is_none() => Some("no hooks.finally"),
        Stage::Encrypt if project.encryption.is_none() => Some("encryption is not enabled"),
        Stage::Dump | Stage::Verify | Stage::Encrypt | Stage::Cleanup if no_database => {
            Some("no database configured")
        }
        Stage::Verify if !project.verification => Some("verification.enabled is false"),
        Stage::Heartbeat if project.monitor.is_none() => Some("no monitor configured"),
        _ => None,
    }
}

/// A failure of a stage behind Sync, with the word that the snapshot is safe, and its name.
#[must_use]
pub fn with_snapshot_note(
    stage: Stage,
    mut failure: Failure,
    snapshot: Option<&SnapshotId>,
) -> Failure {
    if let (Stage::Prune | Stage::Cleanup | Stage::PostHook, Some(id)) = (stage, snapshot) {
        failure.message = format!("{} (the snapshot {} is safe)", failure.message, id.short());
    }
    failure
}

/// Whether a failed proof says that the dump file itself is bad, so that it must not stay and pass
/// for the newest good one.
///
/// A checksum that does not match at a later stage speaks of the copy that was read back from a
/// destination: the local file may then be the only good one.
pub const fn condemns_dump(stage: Stage, code: ErrorCode) -> bool {
    matches!(stage, Stage::Dump | Stage::Verify | Stage::Encrypt)
        && matches!(
            code,
            ErrorCode::DumpEmpty
                | ErrorCode::DumpTruncated
                | ErrorCode::DumpCorrupt
                | ErrorCode::DumpIncomplete
                | ErrorCode::ChecksumMismatch
        )
}

/// What is known of the disk before a file is written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that may still be written.
    pub free: u64,
    /// Bytes that must remain free.
    pub min_free: u64,
    /// The largest file that the file system can hold, if it has such a limit.
    pub max_file: Option<u64>,
    /// About how large the largest file is going to be, if that is known.
    pub largest: Option<u64>,
    /// About how much is going to be written in all, if that is known.
    pub total: Option<u64>,
}

/// What to expect of a dump whose last one had this size: a fifth more, and twice that on disk while
/// the encrypted copy is written beside the plain one. The file's size first, then the sum.
pub const fn expected_dump(previous: u64, encrypted: bool) -> (u64, u64) {
    let file = previous.saturating_add(previous / 5);
    (file, if encrypted { file.saturating_mul(2) } else { file })
}

/// Checks that what is going to be written has room, and leaves the reserve alone.
///
/// `DISK_LOW` when less than `min_free` is free or would be afterwards, `FS_FILE_TOO_LARGE` when the
/// file system cannot hold such a file. `place` names the folder in the message.
pub fn check_space(space: Space, place: &str) -> Result<(), Failure> {
    if space.free < space.min_free {
        return Err(Failure::new(
            ErrorCode::DiskLow,
            format!(
                "{} free at {place}, less than the {} of min_free_gb",
                ByteSize(space.free),
                ByteSize(space.min_free)
            ),
        ));
    }
    if let (Some(largest), Some(max)) = (space.largest, space.max_file)
        && largest > max
    {
        return Err(Failure::new(
            ErrorCode::FsFileTooLarge,
            format!(
                "the file system at {place} holds files of at most {}, and about {} are to be \
                 written",
                ByteSize(max),
                ByteSize(largest)
            ),
        ));
    }
    let usable = space.free - space.min_free;
    match space.total.filter(|total| *total > usable) {
        None => Ok(()),
        Some(total) => Err(Failure::new(
            ErrorCode::DiskLow,
            format!(
                "about {} are to be written at {place}, and {} may be: {} are free, of which \
                 min_free_gb keeps {}",
                ByteSize(total),
                ByteSize(usable),
                ByteSize(space.free),
                ByteSize(space.min_free)
            ),
        )),
    }
}

/// Checks that a restore whose size is known has room. No reserve is kept: whoever restores needs the
/// room now.
///
/// `DISK_LOW` for too little, `FS_FILE_TOO_LARGE` for a file that the file system cannot hold.
pub fn check_restore_space(
    free: u64,
    max_file: Option<u64>,
    total: u64,
    largest: u64,
    place: &str,
) -> Result<(), Failure> {
    let remedy = "restore to a disk with more room, free some there, or restore a part \
                  (`--only db`, `--only assets`, `--path PATH`)";
    if let Some(max) = max_file.filter(|max| largest > *max) {
        let text = format!(
            "the file system at {place} holds files of at most {}, and the dump has {}",
            ByteSize(max),
            ByteSize(largest)
        );
        return Err(Failure::new(ErrorCode::FsFileTooLarge, text));
    }
    if total > free {
        let text = format!(
            "{} are to be restored to {place}, and {} are free there; nothing was written",
            ByteSize(total),
            ByteSize(free)
        );
        return Err(Failure::new(ErrorCode::DiskLow, text).with_remedy(remedy));
    }
    Ok(())
}

/// Judges a dump against the last one by the size of the database's own stream.
///
/// A database that has nothing in it any more fails the run (`DUMP_INCOMPLETE`): stored, it would in
/// time replace every good copy. One that shrank to less than half is worth a warning. `None` where
/// there is nothing to say.
pub fn judge_shrinking(before: u64, now: u64, empty: bool) -> Option<Result<String, Failure>> {
    /// Below this, headers and empty tables make most of a dump.
    const WORTH_A_LOOK: u64 = 1 << 20;
    let sizes = || format!("{}, and {} at the last backup", ByteSize(now), ByteSize(before));
    if empty && before / 4 > now {
        let message = format!("the database holds no tables any more: its dump has {}", sizes());
        return Some(Err(Failure::new(ErrorCode::DumpIncomplete, message).with_remedy(
            "look whether `database.name` is the right one and what became of its tables; if it was \
             emptied on purpose, back it up under a new project name",
        )));
    }
    (before >= WORTH_A_LOOK && now < before / 2)
        .then(|| Ok(format!("the dump is less than half of the last one: {}", sizes())))
}

/// How `run --all` ended: 0 all succeeded, 5 some did, 1 none did, also where there was none to run:
/// nothing backed up is no success.
pub const fn exit_status_of_all(succeeded: usize, failed: usize) -> u8 {
    match (succeeded, failed) {
        (0, _) => 1,
        (_, 0) => 0,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1 << 30;

    #[test]
    fn space_is_checked_against_the_reserve_the_estimate_and_the_file_system() {
        let ok = Space {
            free: 10 * GB,
            min_free: 5 * GB,
            max_file: None,
            largest: Some(5 * GB),
            total: Some(5 * GB),
        };
        assert_eq!(check_space(ok, "/x"), Ok(()));
        assert_eq!(check_space(Space { largest: None, total: None, ..ok }, "/x"), Ok(()));
        let code = |s| check_space(s, "/x").map_err(|f| f.code);
        assert_eq!(code(Space { free: 4 * GB, ..ok }), Err(ErrorCode::DiskLow));
        assert_eq!(code(Space { total: Some(6 * GB), ..ok }), Err(ErrorCode::DiskLow));
        let fat = Space { max_file: Some(4 * GB - 1), ..ok };
        assert_eq!(code(fat), Err(ErrorCode::FsFileTooLarge));
        assert_eq!(code(Space { largest: Some(3 * GB), ..fat }), Ok(()));
    }

    #[test]
    fn a_restore_that_finds_no_room_is_refused() {
        let code = |free, max, total, largest| {
            check_restore_space(free, max, total, largest, "/x").map_err(|f| f.code)
        };
        assert_eq!(code(GB, None, GB, GB), Ok(()));
        assert_eq!(code(GB, None, GB + 1, 0), Err(ErrorCode::DiskLow));
        assert_eq!(code(9 * GB, Some(4 * GB - 1), 5 * GB, 4 * GB), Err(ErrorCode::FsFileTooLarge));
    }

    #[test]
    fn a_dump_may_grow_by_a_fifth_and_stands_twice_while_it_is_encrypted() {
        assert_eq!(expected_dump(100, false), (120, 120));
        assert_eq!(expected_dump(100, true), (120, 240));
        assert_eq!(expected_dump(u64::MAX, true), (u64::MAX, u64::MAX));
    }

    #[test]
    fn a_database_that_lost_everything_fails_and_one_that_shrank_is_told() {
        let code = |r: Option<Result<String, Failure>>| r.map(|r| r.map_err(|f| f.code).is_err());
        assert_eq!(code(judge_shrinking(40 << 20, 868, true)), Some(true));
        assert_eq!(code(judge_shrinking(868, 868, true)), None, "it has always been empty");
        assert_eq!(code(judge_shrinking(40 << 20, 10 << 20, false)), Some(false));
        assert_eq!(code(judge_shrinking(40 << 20, 30 << 20, false)), None);
        assert_eq!(code(judge_shrinking(4096, 1024, false)), None);
    }

    #[test]
    fn all_is_partial_only_when_some_succeeded() {
        assert_eq!(exit_status_of_all(2, 0), 0);
        assert_eq!(exit_status_of_all(1, 1), 5);
        assert_eq!(exit_status_of_all(0, 2), 1);
        assert_eq!(exit_status_of_all(0, 0), 1);
    }
}
