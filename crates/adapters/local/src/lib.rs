//! Locks, cleanup, fallback file, hooks, disks and the clock of this machine.
//!
//! The ports that need nothing but a file system, a shell and the system's clock.

mod blocking;
mod children;
mod cleanup;
mod clock;
mod disk;
mod fallback;
mod hooks;
mod kernel_lock;
mod lock;
mod mounts;
mod processes;
mod schedules;
mod scratch;
mod units;
mod wall_clock;

pub use children::Children;
pub use cleanup::ProjectFiles;
pub use clock::SystemClock;
pub use disk::SystemDisk;
pub use fallback::FallbackFile;
pub use hooks::ShellHooks;
pub use lock::FileLock;
pub use processes::LockHolders;
pub use schedules::ScheduleFiles;
pub use units::SystemdUnits;
