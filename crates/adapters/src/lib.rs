//! All adapters of backupctl behind features, with the default registries.
