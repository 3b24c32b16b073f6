//! What is remembered of schedules, in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backupctl_application::ports::{Change, ScheduleStore};
use backupctl_domain::schedule::memory::{MachineMemory, ScheduleMemory};
use backupctl_domain::{Failure, ProjectName};

use super::faults::injectable;
use super::{Core, Journal, locked};

/// A [`ScheduleStore`]. Operations: `project`, `update_project`, `machine`, `update_machine`.
pub struct FakeSchedules {
    core: Core,
    projects: Mutex<HashMap<ProjectName, ScheduleMemory>>,
    machine: Mutex<MachineMemory>,
}

injectable!(FakeSchedules);

impl FakeSchedules {
    /// Nothing is remembered.
    pub fn new(journal: &Arc<Journal>) -> Self {
        let operations = &["project", "update_project", "machine", "update_machine"];
        let core = Core::new(journal, operations);
        Self { core, projects: Mutex::default(), machine: Mutex::default() }
    }

    /// What is remembered of that project.
    pub fn of(&self, project: &ProjectName) -> ScheduleMemory {
        locked(&self.projects).get(project).cloned().unwrap_or_default()
    }

    /// Makes it so that this is remembered.
    pub fn seed(&self, project: &ProjectName, memory: ScheduleMemory) {
        locked(&self.projects).insert(project.clone(), memory);
    }

    /// What is remembered of the machine.
    pub fn of_machine(&self) -> MachineMemory {
        locked(&self.machine).clone()
    }
}

#[async_trait]
impl ScheduleStore for FakeSchedules {
    async fn project(&self, project: &ProjectName) -> Result<ScheduleMemory, Failure> {
        self.core.call("project", format!("schedules project {project}"), None).await?;
        Ok(self.of(project))
    }

    async fn update_project(
        &self,
        project: &ProjectName,
        change: Change<ScheduleMemory>,
    ) -> Result<ScheduleMemory, Failure> {
        let event = format!("schedules update_project {project}");
        self.core.call("update_project", event, None).await?;
        let mut projects = locked(&self.projects);
        let memory = projects.entry(project.clone()).or_default();
        change(memory);
        Ok(memory.clone())
    }

    async fn machine(&self) -> Result<MachineMemory, Failure> {
        self.core.call("machine", "schedules machine".to_owned(), None).await?;
        Ok(self.of_machine())
    }

    async fn update_machine(
        &self,
        change: Change<MachineMemory>,
    ) -> Result<MachineMemory, Failure> {
        self.core.call("update_machine", "schedules update_machine".to_owned(), None).await?;
        let mut machine = locked(&self.machine);
        change(&mut machine);
        Ok(machine.clone())
    }
}
