//! Writes, compares and asks about the systemd units that start backupctl.
//!
//! The text of units is made from a plan alone ([`UnitFolder`]), so that what is installed can be held
//! against what would be written now; what runs is asked of systemd ([`Systemctl`]), and what a unit's
//! user may do of the machine ([`Machine`]).

mod alert;
mod calendar;
mod files;
mod machine;
mod parse;
mod render;
mod sandbox;
mod systemctl;
mod text;

pub use calendar::on_calendar;
pub use files::UnitFolder;
pub use machine::Machine;
pub use systemctl::Systemctl;
