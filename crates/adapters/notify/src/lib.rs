//! Delivers notices to Slack, mailboxes and webhooks, and heartbeats to monitors.
//!
//! Addresses of webhooks and monitors are secrets: whoever knows one may post to it. So messages
//! name the host alone, never a path or query, and no redirect is followed. A channel formats a
//! notice; its words are the same everywhere.

mod email;
mod healthchecks;
mod http;
mod slack;
mod tries;
mod uptime_kuma;
mod webhook;

pub use email::Email;
pub use healthchecks::Healthchecks;
pub use slack::Slack;
pub use uptime_kuma::UptimeKuma;
pub use webhook::Webhook;
