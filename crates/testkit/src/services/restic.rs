//! restic repositories without the wait for their making.

use std::path::{Path, PathBuf};

use super::child::{Program, find};
use super::template;
use crate::WorkDir;
use crate::fakes::digest;

/// An initialised, empty restic repository of its own, gone on drop.
///
/// All with one password are copies of one repository: they have the same id.
#[derive(Debug)]
pub struct Repository {
    path: PathBuf,
    password: String,
    work: WorkDir,
}

impl Repository {
    /// A new repository with that password, in a folder of its own.
    pub fn fresh(password: &str) -> Self {
        let work = WorkDir::new();
        let path = work.dir("repository");
        Self::place(&path, password);
        Self { path, password: password.to_owned(), work }
    }

    /// A new repository with that password at that path, e.g. below `Sshd::root`.
    pub fn fresh_at(path: &Path, password: &str) -> Self {
        std::fs::create_dir_all(path).expect("the repository's folder can be made");
        Self::place(path, password);
        Self { path: path.to_owned(), password: password.to_owned(), work: WorkDir::new() }
    }

    fn place(path: &Path, password: &str) {
        let version = Program::new(binary()).args(["version"]).run();
        let version = version.split_whitespace().nth(1).unwrap_or("unknown").to_owned();
        let key = format!("repository-1-{version}-{}", &digest(password.as_bytes())[..16]);
        let archive = template::archive(&key, None, |folder| {
            Program::new(binary())
                .args(["init", "--no-cache", "--repo"])
                .args([folder])
                .env("RESTIC_PASSWORD", password)
                .run();
        });
        template::unpack(&archive, path, None);
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// A cache folder for this repository alone.
    pub fn cache_dir(&self) -> PathBuf {
        self.work.dir("cache")
    }

    /// Runs restic on it and returns its stdout; a failure ends the test.
    pub fn restic(&self, args: &[&str]) -> String {
        self.try_restic(args).unwrap_or_else(|e| panic!("restic {args:?} failed: {e}"))
    }

    /// Runs restic on it: its stdout, or exit status and stderr of a restic that failed.
    ///
    /// # Errors
    ///
    /// What restic said when it failed.
    pub fn try_restic(&self, args: &[&str]) -> Result<String, String> {
        Program::new(binary())
            .args(["--repo".as_ref(), self.path.as_os_str()])
            .args(["--cache-dir".as_ref(), self.cache_dir().as_os_str()])
            .args(args)
            .env("RESTIC_PASSWORD", &self.password)
            .try_run()
    }
}

fn binary() -> PathBuf {
    find("restic", &[], "restic")
}
