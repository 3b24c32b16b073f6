//! Whether a project's last success is as new as its schedule promises.
