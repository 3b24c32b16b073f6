//! Stores, proves and restores snapshots with restic.
