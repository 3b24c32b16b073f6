//! Stores, proves and restores snapshots with restic.
//!
//! restic is a program, so this crate is about its command line: [`version`] knows what which
//! version can do, [`command`] builds calls, [`parse`] reads what comes back, [`failure`] turns the
//! rest into codes with remedies. [`storage`] and [`admin`] are the ports on top, and [`memory`]
//! keeps the few facts between runs that save a restic process or protect a repository.

mod admin;
mod cache;
mod command;
mod failure;
mod location;
mod memory;
mod parse;
mod ssh;
mod storage;
mod version;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use backupctl_domain::destination::ResticTarget;
use backupctl_domain::{Failure, ProjectName};
use tokio::sync::OnceCell;

pub use command::Invocation;
pub use version::Version;

use location::Location;
use memory::Memory;
use ssh::SshCommand;

/// What a [`Restic`] is made of.
#[derive(Debug, Clone)]
pub struct ResticSettings {
    /// The repository, with its secrets resolved.
    pub target: ResticTarget,
    /// The project whose snapshots these are.
    pub project: ProjectName,
    /// The host name written into snapshots, for people who look at them. Nothing depends on it: a
    /// parent is named by its id and retention groups by tags, since a container's name changes.
    pub host: String,
    /// Where to keep what is remembered between runs; made when first needed.
    pub state_dir: PathBuf,
    /// Where started processes are noted, so that a later run can end what a crash has left.
    pub journal: Option<PathBuf>,
    /// Where restic keeps its caches, one folder per repository, where the project names no place of
    /// its own. `None` leaves the place to restic, and what is cached cannot be measured.
    pub base_cache_dir: Option<PathBuf>,
}

/// One project's repository, reached by restic.
#[derive(Debug)]
pub struct Restic {
    settings: ResticSettings,
    location: Location,
    ssh: Option<SshCommand>,
    memory: Memory,
    cache_dir: Option<PathBuf>,
    version: OnceCell<Version>,
}

impl Restic {
    /// Takes the settings. Starts nothing and looks at nothing.
    ///
    /// # Errors
    /// Settings that cannot work whatever the world is like: an unresolved secret, an ssh repository
    /// without a host (`SSH_NOT_CONFIGURED`), a path that cannot be handed to ssh.
    pub fn new(settings: ResticSettings) -> Result<Arc<Self>, Failure> {
        let target = &settings.target;
        target.password.expose()?;
        for value in target.env.values() {
            value.expose()?;
        }
        let location = Location::parse(&target.repository);
        let ssh = ssh::command(&location, target)?;
        let memory = Memory::new(&settings.state_dir, &location);
        let cache_dir = target.cache_dir.clone().or_else(|| settings.base_cache_dir.clone());
        let version = OnceCell::new();
        Ok(Arc::new(Self { settings, location, ssh, memory, cache_dir, version }))
    }

    /// The repository's location without secrets, for texts.
    pub fn location(&self) -> &str {
        self.location.shown()
    }

    fn target(&self) -> &ResticTarget {
        &self.settings.target
    }

    fn local_path(&self) -> Option<&Path> {
        self.location.local()
    }

    fn project_tag(&self) -> String {
        format!("project:{}", self.settings.project)
    }
}
