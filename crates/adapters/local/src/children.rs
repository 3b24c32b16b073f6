//! Ends the programs that a killed backupctl has left running.

use std::path::PathBuf;

use async_trait::async_trait;
use backupctl_adapter_process::{end_orphans, journal_in};
use backupctl_application::ports::ChildJournal;
use backupctl_domain::{Failure, ProjectName};

use crate::blocking::blocking;

/// The [`ChildJournal`] of the projects under one base folder.
#[derive(Debug, Clone)]
pub struct Children {
    base_dir: PathBuf,
}

impl Children {
    /// The journals under `base_dir`: `{base_dir}/{project}/.children`.
    pub fn new(base_dir: impl Into<PathBuf>) -> Self {
        Self { base_dir: base_dir.into() }
    }
}

#[async_trait]
impl ChildJournal for Children {
    async fn end_orphans(&self, project: &ProjectName) -> Result<usize, Failure> {
        let journal = journal_in(&self.base_dir.join(project.as_str()));
        blocking(move || Ok(end_orphans(&journal))).await
    }
}
