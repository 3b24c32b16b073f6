//! Locks, cleanup, fallback file, hooks, disks and the clock of this machine.
