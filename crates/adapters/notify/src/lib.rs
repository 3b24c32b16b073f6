//! Delivers notices and heartbeats over HTTP.
