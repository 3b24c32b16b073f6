//! restic repositories without the wait for their making.

use std::fs;
use std::path::{Path, PathBuf};

use super::child::{Program, find};
use super::template;
use crate::WorkDir;
use crate::fakes::digest;

/// The parts of `fixtures/quick-repository`, see the README there.
const QUICK_CONFIG: &[u8] = include_bytes!("../../fixtures/quick-repository/config");
const QUICK_KEY: &str = "f9289ccc4c1a7a91c31a2a53a2d317ed38331dee78aabf97d24535feeb4e30a4";
const QUICK_KEY_FILE: &[u8] = include_bytes!(
    "../../fixtures/quick-repository/keys/\
     f9289ccc4c1a7a91c31a2a53a2d317ed38331dee78aabf97d24535feeb4e30a4"
);

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
    /// The password with which every restic opens the repository in milliseconds; with any other it
    /// takes half a second, since restic makes its keys slow to guess.
    pub const QUICK_PASSWORD: &str = "correct horse";

    /// A new repository with that password, in a folder of its own.
    pub fn fresh(password: &str) -> Self {
        let work = WorkDir::new();
        let path = work.dir("repository");
        Self::place(&path, password);
        Self { path, password: password.to_owned(), work }
    }

    /// A new repository with that password at that path, e.g. below `Sshd::root`.
    pub fn fresh_at(path: &Path, password: &str) -> Self {
        fs::create_dir_all(path).expect("the repository's folder can be made");
        Self::place(path, password);
        Self { path: path.to_owned(), password: password.to_owned(), work: WorkDir::new() }
    }

    fn place(path: &Path, password: &str) {
        if password == Self::QUICK_PASSWORD {
            place_quick(path).expect("files can be written in a new folder");
            return;
        }
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

fn place_quick(path: &Path) -> std::io::Result<()> {
    for folder in ["data", "index", "keys", "locks", "snapshots"] {
        fs::create_dir_all(path.join(folder))?;
    }
    fs::write(path.join("config"), QUICK_CONFIG)?;
    fs::write(path.join("keys").join(QUICK_KEY), QUICK_KEY_FILE)
}

fn binary() -> PathBuf {
    find("restic", &[], "restic")
}
