//! Error codes, what they mean for a run, and the failure that carries one (spec: errors.md).

mod catalog;
mod reference;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use catalog::Explanation;
pub use reference::reference_markdown;

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It may get better by itself: a retryable stage tries again.
    Transient,
    /// It stays as it is until somebody acts: fails at once.
    Permanent,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $class:ident, $exit:literal;)*) => {
        /// Every failure that a user can meet, by its stable name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorCode { $($(#[$doc])* $variant,)* }

        impl ErrorCode {
            /// Every code, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable name, e.g. `REPO_LOCKED`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Whether a retry can help, where the adapter does not know better.
            pub const fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class,)* }
            }

            /// The exit status of a command that ends with this error. `INTERRUPTED` says 130 (SIGINT);
            /// who knows that it was SIGTERM ends with 143 instead.
            pub const fn exit_status(self) -> u8 {
                match self { $(Self::$variant => $exit,)* }
            }
        }
    };
}

codes! {
    /// The configuration cannot be used as it is.
    InvalidConfig = "INVALID_CONFIG", Permanent, 3;
    /// No project of that name is configured.
    UnknownProject = "UNKNOWN_PROJECT", Permanent, 3;
    /// Another run of the project holds its lock.
    BackupInProgress = "BACKUP_IN_PROGRESS", Permanent, 2;
    /// A program that the work needs is not installed.
    ToolMissing = "TOOL_MISSING", Permanent, 1;
    /// A program is older than the oldest that works.
    ToolTooOld = "TOOL_TOO_OLD", Permanent, 1;
    /// The dump tool is older than the database server.
    DbVersionMismatch = "DB_VERSION_MISMATCH", Permanent, 1;
    /// The repository is reached by ssh and no ssh host is configured.
    SshNotConfigured = "SSH_NOT_CONFIGURED", Permanent, 4;
    /// The ssh server refused the key.
    SshPermissionDenied = "SSH_PERMISSION_DENIED", Permanent, 4;
    /// The ssh server's host key is not known, or another one than before.
    SshHostKeyUnknown = "SSH_HOST_KEY_UNKNOWN", Permanent, 4;
    /// The ssh key file is missing or readable by others.
    SshKeyPermissions = "SSH_KEY_PERMISSIONS", Permanent, 4;
    /// Nothing listens at the ssh address, or its name does not resolve.
    SshConnectionRefused = "SSH_CONNECTION_REFUSED", Transient, 4;
    /// The ssh server did not answer in time.
    SshTimeout = "SSH_TIMEOUT", Transient, 4;
    /// The ssh connection was lost.
    SshDisconnected = "SSH_DISCONNECTED", Transient, 4;
    /// Nothing listens at the database's address.
    DbConnectionRefused = "DB_CONNECTION_REFUSED", Transient, 4;
    /// The database did not answer in time.
    DbTimeout = "DB_TIMEOUT", Transient, 4;
    /// The database connection was lost.
    DbDisconnected = "DB_DISCONNECTED", Transient, 4;
    /// The database refused user or password.
    DbAuthFailed = "DB_AUTH_FAILED", Permanent, 4;
    /// There is no such database.
    DbNotFound = "DB_NOT_FOUND", Permanent, 4;
    /// The database user may not read all that is to be dumped.
    DbPermissionDenied = "DB_PERMISSION_DENIED", Permanent, 1;
    /// The dump lacks something that the database shows.
    DumpIncomplete = "DUMP_INCOMPLETE", Permanent, 1;
    /// The dump tool wrote nothing.
    DumpEmpty = "DUMP_EMPTY", Transient, 1;
    /// The dump ends before its end.
    DumpTruncated = "DUMP_TRUNCATED", Transient, 1;
    /// The dump cannot be read.
    DumpCorrupt = "DUMP_CORRUPT", Transient, 1;
    /// The file is not the one that was written.
    ChecksumMismatch = "CHECKSUM_MISMATCH", Transient, 1;
    /// The disk is full.
    DiskFull = "DISK_FULL", Permanent, 1;
    /// Less space is free than the work is going to need.
    DiskLow = "DISK_LOW", Permanent, 1;
    /// The file system cannot hold a file of that size.
    FsFileTooLarge = "FS_FILE_TOO_LARGE", Permanent, 1;
    /// The disk that should be there is not mounted.
    NotMounted = "NOT_MOUNTED", Permanent, 1;
    /// A folder or file cannot be written.
    PathNotWritable = "PATH_NOT_WRITABLE", Permanent, 1;
    /// An encryption key or identity is missing.
    EncryptionKeyMissing = "ENCRYPTION_KEY_MISSING", Permanent, 1;
    /// An encryption key has expired or was revoked.
    EncryptionKeyExpired = "ENCRYPTION_KEY_EXPIRED", Permanent, 1;
    /// An identity file is readable by others.
    EncryptionKeyPermissions = "ENCRYPTION_KEY_PERMISSIONS", Permanent, 1;
    /// The file could not be decrypted.
    DecryptionFailed = "DECRYPTION_FAILED", Permanent, 1;
    /// There is no restic repository at the location.
    RepoNotInitialized = "REPO_NOT_INITIALIZED", Permanent, 4;
    /// The repository's password is another one.
    RepoWrongPassword = "REPO_WRONG_PASSWORD", Permanent, 4;
    /// The repository's location does not answer.
    RepoUnreachable = "REPO_UNREACHABLE", Transient, 4;
    /// Another process holds the repository's lock.
    RepoLocked = "REPO_LOCKED", Transient, 1;
    /// The repository is damaged.
    RepoCorrupt = "REPO_CORRUPT", Permanent, 1;
    /// Some source could not be read.
    SourceIncomplete = "SOURCE_INCOMPLETE", Permanent, 1;
    /// There is neither a database nor an existing asset path.
    NothingToBackUp = "NOTHING_TO_BACK_UP", Permanent, 1;
    /// The snapshot could not be shown to hold what was written.
    SnapshotUnproven = "SNAPSHOT_UNPROVEN", Permanent, 1;
    /// There is no such snapshot.
    SnapshotNotFound = "SNAPSHOT_NOT_FOUND", Permanent, 1;
    /// A hook ended with a status other than 0.
    HookFailed = "HOOK_FAILED", Permanent, 1;
    /// A hook did not end in time.
    HookTimeout = "HOOK_TIMEOUT", Permanent, 1;
    /// The dump did not end in time.
    DumpTimeout = "DUMP_TIMEOUT", Permanent, 1;
    /// The audit database does not answer.
    AuditUnavailable = "AUDIT_UNAVAILABLE", Permanent, 4;
    /// A notification could not be delivered.
    NotifyFailed = "NOTIFY_FAILED", Transient, 1;
    /// The heartbeat could not be delivered.
    HeartbeatFailed = "HEARTBEAT_FAILED", Transient, 1;
    /// A run that the schedule promised was not made at its time.
    RunMissed = "RUN_MISSED", Permanent, 1;
    /// The command needs the daemon, and none is running.
    DaemonNotRunning = "DAEMON_NOT_RUNNING", Permanent, 1;
    /// The run was ended by a signal, or its process died.
    Interrupted = "INTERRUPTED", Permanent, 130;
    /// A bug of backupctl.
    Internal = "INTERNAL", Permanent, 1;
}

impl ErrorCode {
    /// What the code means, its usual causes and its general remedy.
    pub const fn explanation(self) -> Explanation {
        catalog::explanation(self)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ErrorCode {
    type Err = String;

    /// Reads a code's name, in any case; the error names what was given.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|c| c.as_str().eq_ignore_ascii_case(text.trim()))
            .ok_or_else(|| format!("unknown error code {text:?}"))
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What went wrong, with the facts and the way out. The one error type that ports return.
///
/// `message` is a lower-case fragment with the facts (host, path, tool, exit status), already
/// without secrets; `remedy` an imperative that names the command or key to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The stable code.
    pub code: ErrorCode,
    /// The facts, in one line.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// The last lines of the tool's own words, without secrets; empty where there are none.
    pub detail: String,
    transient: bool,
}

impl Failure {
    /// Makes a failure of this code, with the code's general remedy and class.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            remedy: code.explanation().remedy.to_owned(),
            detail: String::new(),
            transient: matches!(code.class(), Class::Transient),
        }
    }

    /// Makes an `INTERNAL` failure: a state that only a bug can bring about.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }

    /// The same failure with a remedy for this very case.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// The same failure with the tool's last words (secrets already taken out).
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The same failure, never retried although its code usually is.
    #[must_use]
    pub fn permanent(mut self) -> Self {
        self.transient = false;
        self
    }

    /// Whether trying again can help.
    pub const fn is_transient(&self) -> bool {
        self.transient
    }

    /// The message followed by the tool's own words, in one line: records, texts and log lines
    /// have room for both, and each takes one line.
    pub fn full_message(&self) -> String {
        let detail: Vec<&str> =
            self.detail.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if detail.is_empty() {
            self.message.clone()
        } else {
            format!("{}: {}", self.message, detail.join("; "))
        }
    }
}
