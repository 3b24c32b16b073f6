//! What each code means, where it usually comes from and what to do: the text behind
//! `backupctl explain`, the error reference and the `Fix:` line of a notification.
//!
//! The texts live in one file a theme; this one says which text is which code's.

mod database;
mod disk;
mod dump;
mod encryption;
mod repository;
mod run;
mod setup;
mod ssh;

use super::ErrorCode;

/// The long form of an error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// What has happened, in a sentence or two.
    pub meaning: &'static str,
    /// The usual causes, most frequent first: fragments without a final full stop.
    pub causes: &'static [&'static str],
    /// What to do, as one imperative line that names a command or key.
    pub remedy: &'static str,
}

/// The text of a code. No wildcard: a code without a text does not compile.
pub(super) const fn explanation(code: ErrorCode) -> Explanation {
    match code {
        ErrorCode::InvalidConfig => setup::INVALID_CONFIG,
        ErrorCode::UnknownProject => setup::UNKNOWN_PROJECT,
        ErrorCode::BackupInProgress => setup::BACKUP_IN_PROGRESS,
        ErrorCode::ToolMissing => setup::TOOL_MISSING,
        ErrorCode::ToolTooOld => setup::TOOL_TOO_OLD,
        ErrorCode::SshNotConfigured => ssh::NOT_CONFIGURED,
        ErrorCode::SshPermissionDenied => ssh::PERMISSION_DENIED,
        ErrorCode::SshHostKeyUnknown => ssh::HOST_KEY_UNKNOWN,
        ErrorCode::SshKeyPermissions => ssh::KEY_PERMISSIONS,
        ErrorCode::SshConnectionRefused => ssh::CONNECTION_REFUSED,
        ErrorCode::SshTimeout => ssh::TIMEOUT,
        ErrorCode::SshDisconnected => ssh::DISCONNECTED,
        ErrorCode::DbVersionMismatch => database::VERSION_MISMATCH,
        ErrorCode::DbConnectionRefused => database::CONNECTION_REFUSED,
        ErrorCode::DbTimeout => database::TIMEOUT,
        ErrorCode::DbDisconnected => database::DISCONNECTED,
        ErrorCode::DbAuthFailed => database::AUTH_FAILED,
        ErrorCode::DbNotFound => database::NOT_FOUND,
        ErrorCode::DbPermissionDenied => database::PERMISSION_DENIED,
        ErrorCode::DumpIncomplete => dump::INCOMPLETE,
        ErrorCode::DumpEmpty => dump::EMPTY,
        ErrorCode::DumpTruncated => dump::TRUNCATED,
        ErrorCode::DumpCorrupt => dump::CORRUPT,
        ErrorCode::ChecksumMismatch => dump::CHECKSUM_MISMATCH,
        ErrorCode::DumpTimeout => dump::TIMEOUT,
        ErrorCode::DiskFull => disk::FULL,
        ErrorCode::DiskLow => disk::LOW,
        ErrorCode::FsFileTooLarge => disk::FILE_TOO_LARGE,
        ErrorCode::NotMounted => disk::NOT_MOUNTED,
        ErrorCode::PathNotWritable => disk::NOT_WRITABLE,
        ErrorCode::EncryptionKeyMissing => encryption::KEY_MISSING,
        ErrorCode::EncryptionKeyExpired => encryption::KEY_EXPIRED,
        ErrorCode::EncryptionKeyPermissions => encryption::KEY_PERMISSIONS,
        ErrorCode::DecryptionFailed => encryption::DECRYPTION_FAILED,
        ErrorCode::RepoNotInitialized => repository::NOT_INITIALIZED,
        ErrorCode::RepoWrongPassword => repository::WRONG_PASSWORD,
        ErrorCode::RepoUnreachable => repository::UNREACHABLE,
        ErrorCode::RepoLocked => repository::LOCKED,
        ErrorCode::RepoCorrupt => repository::CORRUPT,
        ErrorCode::SourceIncomplete => repository::SOURCE_INCOMPLETE,
        ErrorCode::NothingToBackUp => repository::NOTHING_TO_BACK_UP,
        ErrorCode::SnapshotUnproven => repository::SNAPSHOT_UNPROVEN,
        ErrorCode::SnapshotNotFound => repository::SNAPSHOT_NOT_FOUND,
        ErrorCode::HookFailed => run::HOOK_FAILED,
        ErrorCode::HookTimeout => run::HOOK_TIMEOUT,
        ErrorCode::AuditUnavailable => run::AUDIT_UNAVAILABLE,
        ErrorCode::NotifyFailed => run::NOTIFY_FAILED,
        ErrorCode::HeartbeatFailed => run::HEARTBEAT_FAILED,
        ErrorCode::RunMissed => run::RUN_MISSED,
        ErrorCode::DaemonNotRunning => run::DAEMON_NOT_RUNNING,
        ErrorCode::Interrupted => run::INTERRUPTED,
        ErrorCode::Internal => run::INTERNAL,
    }
}
