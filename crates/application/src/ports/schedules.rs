//! What is remembered of schedules between processes.

use async_trait::async_trait;
use backupctl_domain::schedule::memory::{MachineMemory, ScheduleMemory};
use backupctl_domain::{Failure, ProjectName};

/// A change of what is remembered.
pub type Change<T> = Box<dyn FnOnce(&mut T) + Send>;

/// Remembers how schedules stand, on this machine and whether or not the audit answers.
///
/// Promises: what an `update_…` returned is on disk; two processes that change at once both have
/// their way, one after the other; what was never written is the empty memory.
#[async_trait]
pub trait ScheduleStore: Send + Sync {
    /// What is remembered of the project's schedule.
    async fn project(&self, project: &ProjectName) -> Result<ScheduleMemory, Failure>;
    /// Changes that; returns what it has become. Nothing is written where nothing changes.
    async fn update_project(
        &self,
        project: &ProjectName,
        change: Change<ScheduleMemory>,
    ) -> Result<ScheduleMemory, Failure>;
    /// What is remembered of the machine.
    async fn machine(&self) -> Result<MachineMemory, Failure>;
    /// Changes that; returns what it has become.
    async fn update_machine(&self, change: Change<MachineMemory>)
    -> Result<MachineMemory, Failure>;
}
