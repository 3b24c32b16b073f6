//! A database to load into that is a few bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backupctl_application::context::StageContext;
use backupctl_application::ports::{DatabaseLoader, LoadReport, TargetState, ToolInfo};
use backupctl_domain::{ErrorCode, Failure};

use super::faults::injectable;
use super::{Core, Journal, locked};

struct Target {
    state: TargetState,
    content: Vec<u8>,
    loaded: Vec<(PathBuf, bool)>,
}

/// A [`DatabaseLoader`]; an empty file is a broken dump to it. Operations: `check_tool`, `state`, `create`, `load`.
#[derive(Clone)]
pub struct FakeLoader {
    core: Arc<Core>,
    target: Arc<Mutex<Target>>,
}

injectable!(FakeLoader);

impl FakeLoader {
    /// An empty database.
    pub fn new(journal: &Arc<Journal>) -> Self {
        let operations = &["check_tool", "state", "create", "load"];
        let target = Target { state: TargetState::Empty, content: Vec::new(), loaded: Vec::new() };
        Self {
            core: Arc::new(Core::new(journal, operations)),
            target: Arc::new(Mutex::new(target)),
        }
    }

    /// Sets how the database stands.
    pub fn set_state(&self, state: TargetState) {
        locked(&self.target).state = state;
    }

    /// The bytes that were loaded last.
    pub fn content(&self) -> Vec<u8> {
        locked(&self.target).content.clone()
    }

    /// Every file that was loaded, and whether it was to replace what is there.
    pub fn loaded(&self) -> Vec<(PathBuf, bool)> {
        locked(&self.target).loaded.clone()
    }
}

#[async_trait]
impl DatabaseLoader for FakeLoader {
    async fn check_tool(&self) -> Result<ToolInfo, Failure> {
        self.core.call("check_tool", "check load tool", None).await?;
        Ok(ToolInfo { name: "pg_restore".to_owned(), version: "15.18".to_owned() })
    }

    async fn state(&self, ctx: &StageContext) -> Result<TargetState, Failure> {
        self.core.call("state", "look at the target database", Some(&ctx.cancel)).await?;
        Ok(locked(&self.target).state.clone())
    }

    async fn create(&self, ctx: &StageContext) -> Result<(), Failure> {
        self.core.call("create", "create the target database", Some(&ctx.cancel)).await?;
        let mut target = locked(&self.target);
        if target.state == TargetState::Missing {
            target.state = TargetState::Empty;
        }
        Ok(())
    }

    async fn load(
        &self,
        dump: &Path,
        replace: bool,
        ctx: &StageContext,
    ) -> Result<LoadReport, Failure> {
        self.core.call("load", "load the dump", Some(&ctx.cancel)).await?;
        let content = fs::read(dump).map_err(|e| {
            Failure::new(ErrorCode::DumpCorrupt, format!("{} cannot be read: {e}", dump.display()))
        })?;
        let shown = dump.display();
        if content.is_empty() {
            return Err(
                Failure::new(ErrorCode::DumpCorrupt, format!("{shown} holds nothing")).permanent()
            );
        }
        let mut target = locked(&self.target);
        match &target.state {
            TargetState::Missing => {
                return Err(Failure::new(ErrorCode::DbNotFound, "there is no such database"));
            }
            TargetState::Filled { .. } if !replace => {
                let message = "the database to load into is not empty";
                return Err(Failure::new(ErrorCode::PathNotWritable, message));
            }
            TargetState::Filled { .. } | TargetState::Empty => {}
        }
        target.content = content;
        target.loaded.push((dump.to_owned(), replace));
        target.state = TargetState::Filled { objects: vec!["table public.orders".to_owned()] };
        Ok(LoadReport { tables: 1, notes: Vec::new() })
    }
}
