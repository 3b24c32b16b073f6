//! The daemon's HTTP interface, and metrics in the text format of Prometheus.
//!
//! Plain HTTP for this machine: whoever wants it farther away puts a proxy with TLS before it. It
//! shows what `status`, `logs` and `schedule` show, in the same JSON, and starts nothing by itself:
//! runs are the daemon's business, which is asked through [`DaemonControl`].
//!
//! [`DaemonControl`]: backupctl_application::ports::DaemonControl

mod api;
mod auth;
mod error;
mod openapi;
mod render;
mod routes;
mod server;
mod textfile;

pub use openapi::openapi;
pub use render::render;
pub use server::serve;
pub use textfile::write_textfile;
