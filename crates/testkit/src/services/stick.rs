//! A disk that can be plugged in, pulled out and filled: a file system of its own, mounted where only
//! the programs that are started with [`Stick::prefix`] see it.
//!
//! A process holds the mount namespace open; it needs root, or a kernel that lets users make
//! namespaces of their own. What is on the stick survives being pulled out and plugged in again.

use std::path::{Path, PathBuf};

use super::child::{Child, Program, find};
use crate::WorkDir;

/// A stick, plugged in.
#[derive(Debug)]
pub struct Stick {
    holder: Child,
    /// Where it is mounted.
    folder: PathBuf,
    /// Where its file system is mounted for good, so that pulling it out loses nothing.
    kept: PathBuf,
    nsenter: PathBuf,
    is_root: bool,
    _work: WorkDir,
}

impl Stick {
    /// A new stick of so many bytes, e.g. `20m`, mounted at `folder`, which is made.
    pub fn plug_in(folder: &Path, size: &str) -> Self {
        let work = WorkDir::new();
        let (kept, log) = (work.dir("kept"), work.join("log"));
        std::fs::create_dir_all(folder).expect("a folder to mount at");
        let is_root = rustix::process::geteuid().is_root();
        let script = format!(
            "mount -t tmpfs -o size={size},mode=0755 stick '{0}' && mount --bind '{0}' '{1}' && \
             echo plugged in && exec sleep infinity",
            kept.display(),
            folder.display()
        );
        let flags = if is_root { "-m" } else { "-rm" };
        let program = Program::new(find("unshare", &[], "util-linux"));
        let mut holder = program.args([flags, "sh", "-c", &script]).start(&log);
        let plugged =
            || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("plugged in"));
        holder.wait_ready(plugged).unwrap_or_else(|why| {
            panic!("a stick takes root, or a kernel that lets users make namespaces: {why}")
        });
        let nsenter = find("nsenter", &[], "util-linux");
        Self { holder, folder: folder.to_owned(), kept, nsenter, is_root, _work: work }
    }

    /// What a program is started by so that it sees the stick.
    pub fn prefix(&self) -> Vec<String> {
        let mut words = vec![self.nsenter.display().to_string(), "-m".to_owned()];
        words.extend(["-t".to_owned(), self.holder.pid().to_string()]);
        if !self.is_root {
            words.extend(["-U".to_owned(), "--preserve-credentials".to_owned()]);
        }
        words
    }

    /// The folder that it is mounted at, as those programs see it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Something on the stick, as the test sees it; also while the stick is pulled out.
    pub fn on_it(&self, rest: impl AsRef<Path>) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.pid()));
        let kept = self.kept.strip_prefix("/").expect("a whole path");
        root.join(kept).join(rest)
    }

    /// The names in a folder of the stick, sorted; none where there is no such folder.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.on_it(folder)).into_iter().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Pulls it out, whoever is writing to it.
    pub fn pull_out(&self) {
        self.inside(&["umount", "--lazy", &self.folder.display().to_string()]);
    }

    /// Plugs it in again, with all that is on it.
    pub fn plug_in_again(&self) {
        let (kept, folder) = (self.kept.display().to_string(), self.folder.display().to_string());
        self.inside(&["mount", "--bind", &kept, &folder]);
    }

    /// Locks it, as the switch at its side does; or unlocks it.
    pub fn set_read_only(&self, locked: bool) {
        let mode = if locked { "remount,bind,ro" } else { "remount,bind,rw" };
        self.inside(&["mount", "-o", mode, &self.folder.display().to_string()]);
    }

    fn inside(&self, words: &[&str]) {
        let mut all = self.prefix().into_iter().skip(1).collect::<Vec<_>>();
        all.extend(words.iter().map(|word| (*word).to_owned()));
        Program::new(&self.nsenter).args(all).run();
    }
}
