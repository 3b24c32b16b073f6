//! Locks, cleanup, fallback file, hooks, disks and the clock of this machine.
//!
//! The ports that need nothing but a file system, a shell and the system's clock.

mod blocking;
mod children;
mod cleanup;
mod clock;
mod daemon_lock;
mod disk;
mod fallback;
mod hooks;
mod kernel_lock;
mod launcher;
mod lock;
mod mounts;
mod processes;
mod schedules;
mod scratch;
mod service_manager;
mod units;
mod wall_clock;

pub use children::Children;
pub use cleanup::ProjectFiles;
pub use clock::SystemClock;
pub use daemon_lock::lock_daemon;
pub use disk::SystemDisk;
pub use fallback::FallbackFile;
pub use hooks::ShellHooks;
pub use launcher::ProcessLauncher;
pub use lock::FileLock;
pub use processes::LockHolders;
pub use schedules::ScheduleFiles;
pub use service_manager::ServiceManager;
pub use units::SystemdUnits;
