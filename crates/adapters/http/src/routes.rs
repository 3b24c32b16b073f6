//! What can be asked, one file a subject.

pub(crate) mod about;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod projects;
pub(crate) mod runs;
