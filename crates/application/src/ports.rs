//! What the use cases need from outside: one trait a port, each with what an adapter must promise.
//!
//! Every port returns [`Failure`], which says its own error code; an adapter erases its errors into
//! it. Messages and details of a failure never hold a secret.

mod audit;
mod children;
mod clock;
mod config;
mod daemon;
mod disk;
mod dumper;
mod encryptor;
mod fallback;
mod files;
mod heartbeat;
mod hooks;
mod keys;
mod launcher;
mod loader;
mod lock;
mod notifier;
mod processes;
mod schedules;
mod services;
mod storage;

pub use backupctl_domain::Failure;

pub use audit::{AuditLog, AuditState, FailureCount, RunQuery};
pub use children::ChildJournal;
pub use clock::Clock;
pub use config::{
    ConfigIssue, ConfigLoader, GlobalSettings, LoadedConfig, LogSettings, ProjectEntry,
};
pub use daemon::{Asked, DaemonControl, DaemonEvent, Readiness};
pub use disk::{Disk, FileSystem};
pub use dumper::{DatabaseDumper, DumpPreview, DumpRequest, DumpedFile, ToolInfo, VerifyRequest};
pub use encryptor::{DumpEncryptor, EncryptedFile};
pub use fallback::{FallbackEntry, FallbackWriter, ReplayReport, ReplaySink, Waiting};
pub use files::{CleanupReport, LocalCleanup, ScratchDir, UnpackedFile, Unpacker};
pub use heartbeat::{Heartbeat, HeartbeatMonitor};
pub use hooks::{HookCall, HookExecutor, HookKind, HookOutput};
pub use keys::KeyManager;
pub use launcher::{Launch, LaunchObserver, Launched, Launcher};
pub use loader::{DatabaseLoader, LoadReport, TargetState};
pub use lock::{Acquired, BackupLock, LockGuard, LockHolder, LockState};
pub use notifier::Notifier;
pub use processes::{Ended, Processes};
pub use schedules::{Change, ScheduleStore};
pub use services::{
    Alert, AlertTarget, FileState, InstalledUnit, Need, Needs, NeedsTool, PathAccess,
    PlannedProject, ReadKind, Reads, ServiceHost, ServiceManager, ServiceUnit, ServiceUnits,
    UnitFile, UnitFiles, UnitMode, UnitOptions, UnitPlan, UnitState, UnitUser, Writes,
};
pub use storage::{
    CacheKeeper, PruneReport, Remark, RemoteStorage, RepositoryAdmin, RepositoryCache,
    RepositoryInfo, RestoreReport, RestoreRequest, Snapshot, StoreRequest, StoredSnapshot,
    VerifyReport,
};
