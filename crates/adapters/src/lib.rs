//! All adapters of backupctl behind features, with the default registries.
//!
//! To embed backupctl: load a configuration (or build a [`domain::Project`] by hand), make a
//! [`application::World`] with [`defaults::world`], and give it to a use case. The example `embed`
//! of this crate does so from beginning to end.

#[cfg(all(
    feature = "age",
    feature = "archive",
    feature = "audit-sql",
    feature = "dump",
    feature = "notify",
    feature = "restic"
))]
pub mod defaults;

#[cfg(feature = "age")]
pub use backupctl_adapter_age as age;
#[cfg(feature = "archive")]
pub use backupctl_adapter_archive as archive;
#[cfg(feature = "audit-sql")]
pub use backupctl_adapter_audit_sql as audit_sql;
#[cfg(feature = "config")]
pub use backupctl_adapter_config as config;
#[cfg(feature = "dump")]
pub use backupctl_adapter_dump as dump;
#[cfg(feature = "gpg")]
pub use backupctl_adapter_gpg as gpg;
#[cfg(feature = "http")]
pub use backupctl_adapter_http as http;
pub use backupctl_adapter_local as local;
#[cfg(feature = "notify")]
pub use backupctl_adapter_notify as notify;
pub use backupctl_adapter_process as process;
#[cfg(feature = "restic")]
pub use backupctl_adapter_restic as restic;
pub use backupctl_adapter_systemd as systemd;
pub use backupctl_application as application;
pub use backupctl_domain as domain;
