//! Where a project's backups go: one place, or several that each hold a copy of their own.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::project::Secret;
use crate::retention::KeepPolicy;

/// One place that gets a copy of every backup.
#[derive(Debug, Clone)]
pub struct Destination {
    /// What it is called: unique within its project.
    pub name: DestinationName,
    /// Whether a run is a success only if it is stored here; else a failure here is a warning.
    pub required: bool,
    /// What is kept here.
    pub keep: KeepPolicy,
    /// The place itself.
    pub target: Target,
}

impl Destination {
    /// `restic` or `archive`: what it is called where nobody gives it a name.
    pub const fn kind(&self) -> &'static str {
        self.target.kind()
    }

    /// What checks of it are called: `repository` or `archive`.
    pub const fn check_name(&self) -> &'static str {
        match &self.target {
            Target::Restic(_) => "repository",
            Target::Archive(_) => "archive",
        }
    }

    /// The repository, if it is one of restic's.
    pub const fn restic(&self) -> Option<&ResticTarget> {
        match &self.target {
            Target::Restic(restic) => Some(restic),
            Target::Archive(_) => None,
        }
    }

    /// The folder of archives, if it is one.
    pub const fn archive(&self) -> Option<&ArchiveTarget> {
        match &self.target {
            Target::Archive(archive) => Some(archive),
            Target::Restic(_) => None,
        }
    }

    /// How many snapshots a run makes here. An archive holds everything.
    pub const fn snapshot_mode(&self) -> SnapshotMode {
        match &self.target {
            Target::Restic(restic) => restic.snapshot_mode,
            Target::Archive(_) => SnapshotMode::Combined,
        }
    }

    /// Whether sources that could not be read are a warning instead of a failure.
    pub const fn allows_incomplete(&self) -> bool {
        match &self.target {
            Target::Restic(restic) => restic.allow_incomplete,
            Target::Archive(archive) => archive.allow_incomplete,
        }
    }

    /// Where it is, as people know it: the repository or the folder, without secrets of its own.
    pub fn location(&self) -> String {
        match &self.target {
            Target::Restic(restic) => restic.repository.clone(),
            Target::Archive(archive) => archive.path.display().to_string(),
        }
    }

    /// Its secrets, resolved or not.
    pub fn secrets(&self) -> Vec<&Secret> {
        match &self.target {
            Target::Restic(restic) => {
                std::iter::once(&restic.password).chain(restic.env.values()).collect()
            }
            Target::Archive(_) => Vec::new(),
        }
    }

    /// Its secrets with the keys that give them, to be changed in place.
    pub fn secrets_mut(&mut self) -> Vec<(String, &mut Secret)> {
        match &mut self.target {
            Target::Restic(restic) => {
                let password = ("restic.password".to_owned(), &mut restic.password);
                let env = restic.env.iter_mut();
                let env = env.map(|(name, secret)| (format!("restic.env.{name}"), secret));
                std::iter::once(password).chain(env).collect()
            }
            Target::Archive(_) => Vec::new(),
        }
    }
}

/// A destination's name: `[a-z0-9][a-z0-9-]*`, at most 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DestinationName(String);

impl DestinationName {
    /// Takes a name.
    ///
    /// # Errors
    ///
    /// What is wrong with the name, in words for the person who wrote it.
    pub fn new(name: impl Into<String>) -> Result<Self, String> {
        let name = name.into();
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 64 || name.starts_with('-') || !name.chars().all(good) {
            return Err(format!(
                "destination name {name:?} must be 1 to 64 lower-case letters, digits and dashes, \
                 and not start with a dash"
            ));
        }
        Ok(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DestinationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for DestinationName {
    type Error = String;
    fn try_from(s: String) -> Result<Self, String> {
        Self::new(s)
    }
}

impl From<DestinationName> for String {
    fn from(name: DestinationName) -> Self {
        name.0
    }
}

/// A place that backups go to.
#[derive(Debug, Clone)]
pub enum Target {
    /// A repository of restic.
    Restic(Box<ResticTarget>),
    /// A folder that gets one archive file a run.
    Archive(ArchiveTarget),
}

impl Target {
    /// `restic` or `archive`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Restic(_) => "restic",
            Self::Archive(_) => "archive",
        }
    }
}

/// A folder, usually on a disk that can be taken out, that gets one archive file a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveTarget {
    /// The folder.
    pub path: PathBuf,
    /// Whether it is refused on the root file system: then the disk is not mounted.
    pub require_mount: bool,
    /// The size in bytes at which an archive goes on in another file, for file systems that hold no
    /// larger ones; `None` for one file whatever its size.
    pub split_size: Option<u64>,
    /// Whether unreadable sources are a warning instead of a failure.
    pub allow_incomplete: bool,
}

/// How many snapshots a run makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotMode {
    /// One with everything in it.
    #[default]
    Combined,
    /// One for the dump, and one for each asset path.
    Separate,
}

/// A restic repository and how to reach it.
#[derive(Debug, Clone)]
pub struct ResticTarget {
    /// The location as restic takes it, e.g. `/srv/repo`, `sftp:user@host:path`, `s3:…`.
    pub repository: String,
    /// How ssh reaches it, for an sftp repository.
    pub ssh: Option<SshTarget>,
    /// The repository's password.
    pub password: Secret,
    /// One snapshot or several.
    pub snapshot_mode: SnapshotMode,
    /// Whether a missing repository is created by the run.
    pub auto_init: bool,
    /// Whether unreadable sources are a warning instead of a failure.
    pub allow_incomplete: bool,
    /// restic's cache; restic's own default if `None`.
    pub cache_dir: Option<PathBuf>,
    /// restic's extended options (`-o key=value`).
    pub options: BTreeMap<String, String>,
    /// Environment for this repository alone, e.g. cloud credentials.
    pub env: BTreeMap<String, Secret>,
    /// The upload limit in KiB per second.
    pub limit_upload_kib: Option<u64>,
    /// The program; `restic` from `PATH` if `None`.
    pub binary: Option<PathBuf>,
}

/// How strictly a host key is checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeyCheck {
    /// Only a host that is in the known-hosts file.
    #[default]
    Strict,
    /// A new host is written down at the first contact, a changed key refused.
    AcceptNew,
}

/// An ssh server.
#[derive(Debug, Clone)]
pub struct SshTarget {
    /// Host name or address.
    pub host: String,
    /// The user; ssh's own choice if `None`.
    pub user: Option<String>,
    /// TCP port.
    pub port: u16,
    /// The private key; ssh's own choice if `None`.
    pub key_path: Option<PathBuf>,
    /// The known-hosts file; ssh's own if `None`.
    pub known_hosts_path: Option<PathBuf>,
    /// How strictly the host key is checked.
    pub host_key_check: HostKeyCheck,
}
