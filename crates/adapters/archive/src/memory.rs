//! What is remembered of archives between runs: one small file a folder and project.
//!
//! It says what each archive's bytes were, so that one is told from a damaged one without the key; and
//! where the disk was mounted, so that the folder under a mount point is not taken for the disk. Losing
//! it costs knowledge, never data; writing it is best effort and never fails a run.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use backupctl_adapter_process::{failure_from_io, make_private, while_locked, write_state};
use backupctl_domain::retention::Proof;
use backupctl_domain::{Failure, ProjectName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::folder::Found;

/// Archives that are remembered at most. Those on a disk that lies in a drawer are among them.
const MOST: usize = 2000;

/// What is known of one folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Remembered {
    /// The folder, for people who look at the file.
    pub(crate) path: String,
    pub(crate) project: String,
    /// Where its file system was mounted when it was last written to.
    pub(crate) mount_point: Option<PathBuf>,
    /// What was mounted there.
    pub(crate) device: Option<String>,
    /// The size of the last archive.
    pub(crate) last_bytes: Option<u64>,
    /// Its name.
    pub(crate) last_name: Option<String>,
    /// The archives by their names.
    pub(crate) archives: BTreeMap<String, Known>,
}

/// What is known of one archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) bytes: u64,
    pub(crate) parts: u32,
    /// `blake3:…` of its bytes from the first part to the last.
    pub(crate) checksum: String,
    #[serde(with = "proof_text")]
    pub(crate) proof: Proof,
    /// When it was last read back and found good.
    #[serde(default)]
    pub(crate) proven_at: Option<Timestamp>,
    pub(crate) run: String,
    pub(crate) host: String,
    /// The dump's file name and size.
    #[serde(default)]
    pub(crate) dump: Option<(String, u64)>,
    #[serde(default)]
    pub(crate) assets: Vec<PathBuf>,
}

impl Known {
    /// How far it is known to be good, given what the folder holds now.
    pub(crate) fn proof_of(&self, found: &Found) -> Proof {
        if self.bytes == found.bytes && self.parts == found.parts() {
            self.proof
        } else {
            Proof::Damaged
        }
    }
}

/// The memory of one folder and project.
#[derive(Debug)]
pub(crate) struct Memory {
    dir: PathBuf,
    file: PathBuf,
    path: String,
    project: String,
}

impl Memory {
    pub(crate) fn new(state_dir: &Path, path: &Path, project: &ProjectName) -> Self {
        let dir = state_dir.join("archive");
        let mut hasher = blake3::Hasher::new();
        hasher.update(path.as_os_str().as_bytes());
        hasher.update(&[0]);
        hasher.update(project.as_str().as_bytes());
        let hash = hasher.finalize().to_hex();
        let file = dir.join(format!("{project}-{}.json", &hash[..16]));
        Self { dir, file, path: path.display().to_string(), project: project.as_str().to_owned() }
    }

    /// The folder of the file, made where it is missing.
    pub(crate) fn folder(&self) -> Result<PathBuf, Failure> {
        make_private(&self.dir)
            .map_err(|e| failure_from_io(e, &self.dir, "cannot make the folder"))?;
        Ok(self.dir.clone())
    }

    /// What is known; nothing where the file is missing or cannot be read.
    pub(crate) fn read(&self) -> Remembered {
        match fs::read(&self.file) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(
                    file = %self.file.display(), %error, "archive memory is no memory: begun anew"
                );
                Remembered::default()
            }),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(file = %self.file.display(), %error, "archive memory not readable");
                }
                Remembered::default()
            }
        }
    }

    /// What is known of this archive.
    pub(crate) fn known(&self, name: &str) -> Option<Known> {
        self.read().archives.remove(name)
    }

    /// Changes what is known, under a lock so that no other process's change is lost.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Remembered)) {
        let written = while_locked(&self.dir, || {
            let mut known = self.read();
            let before = known.clone();
            known.path.clone_from(&self.path);
            known.project.clone_from(&self.project);
            change(&mut known);
            while known.archives.len() > MOST {
                known.archives.pop_first();
            }
            if known == before {
                return Ok(());
            }
            write_state(&self.file, &serde_json::to_vec_pretty(&known)?)
        });
        if let Err(error) = written {
            tracing::warn!(file = %self.file.display(), %error, "archive memory not written");
        }
    }

    /// Remembers what reading an archive back has shown, if it is known at all.
    pub(crate) fn judge(&self, name: &str, proof: Proof, at: Timestamp) {
        self.update(|known| {
            if let Some(known) = known.archives.get_mut(name) {
                known.proof = proof;
                if proof == Proof::Proven {
                    known.proven_at = Some(at);
                }
            }
        });
    }
}

mod proof_text {
    use backupctl_domain::retention::Proof;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's `with` passes a reference")]
    pub(super) fn serialize<S: Serializer>(proof: &Proof, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(proof.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Proof, D::Error> {
        let text = String::deserialize(d)?;
        let all = [Proof::Proven, Proof::Unproven, Proof::Damaged];
        Ok(all.into_iter().find(|p| p.as_str() == text).unwrap_or(Proof::Unproven))
    }
}
