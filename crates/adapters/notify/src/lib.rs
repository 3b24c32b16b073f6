//! Delivers notices and heartbeats over HTTP.
//!
//! Addresses of webhooks and monitors are secrets: whoever knows one may post to it. So messages
//! name the host alone, never a path or query, and no redirect is followed.

mod healthchecks;
mod http;
mod uptime_kuma;
mod webhook;

pub use healthchecks::Healthchecks;
pub use uptime_kuma::UptimeKuma;
pub use webhook::Webhook;
