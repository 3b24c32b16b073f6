//! A world whose project goes to a stick, and what the stick's user does with standard tools.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret;
use backupctl_testkit::services::Stick;
use serde_json::{Value, json};

use super::{Output, Running, World, command};

/// The stick goes first: its holder is a process that mentions the world.
pub(crate) struct OnStick {
    pub(crate) stick: Stick,
    pub(crate) w: World,
}

impl OnStick {
    /// The set-up of the first of the seeds: tar, compress, age, a stick, 14 days.
    pub(crate) fn new(size: &str) -> Self {
        let mut w = World::with_sqlite();
        let identity = age::x25519::Identity::generate();
        let key = w.work.file("etc/identity", identity.to_string().expose_secret());
        fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let recipients = format!("# backups\n{}\n", identity.to_public());
        let recipients = w.work.file("etc/recipients.txt", recipients);
        let folder = w.work.join("mnt/usb");
        let project = w.project();
        project.as_object_mut().unwrap().remove("restic");
        project["archive"] = json!({"path": folder.join("backups")});
        project["retention"] = json!({"local_days": 14});
        project["encryption"] = json!({
            "enabled": true, "type": "age", "recipients_file": recipients, "identity_file": key,
        });
        // Whoever enters a namespace is in another folder.
        let config = w.work.join("etc/backupctl.yml").display().to_string();
        w.env.insert("BACKUPCTL_CONFIG".into(), config);
        let stick = Stick::plug_in(&folder, size);
        Self { stick, w }
    }

    /// Starts the program where the stick is seen, with `before` in front of it.
    pub(crate) fn start(&self, before: &[&str], args: &[&str]) -> Running {
        let prefix = self.stick.prefix();
        let words: Vec<&str> =
            prefix.iter().map(String::as_str).chain(before.iter().copied()).collect();
        Running::start(self.w.prefixed(&words, args))
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.w.finish(self.start(&[], args))
    }

    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let output = self.run(args);
        output.expect(0);
        output.json()
    }

    #[track_caller]
    pub(crate) fn backup(&self) -> Value {
        let record = self.json(&["run", "shop", "--json"]);
        assert_eq!(record["status"], "success", "{record:#}");
        record
    }

    /// The names of all that is in the folder of archives, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        self.stick.names("backups")
    }

    /// A file in the folder of archives, as the test sees it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.stick.on_it("backups").join(name)
    }

    /// Opens an archive as its user would without backupctl, into a new folder of that name.
    #[track_caller]
    pub(crate) fn open_by_hand(&self, archive: &str, target: &str) -> PathBuf {
        let target = self.w.work.dir(target);
        let script = "set -e -o pipefail; cat $1 | age -d -i \"$2\" | zstd -d -q | \
                      tar -x -p --xattrs --xattrs-include='*' -C \"$3\"";
        let mut bash = command("bash");
        let glob = self.file(archive);
        bash.args(["-c", script, "bash"]).arg(glob).arg(self.w.work.join("etc/identity"));
        let output = bash.arg(&target).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{}: {said}", output.status);
        target
    }

    /// Changes one byte of a file in the folder of archives.
    pub(crate) fn flip(&self, name: &str, at: usize) {
        let file = self.file(name);
        let mut bytes = fs::read(&file).unwrap();
        bytes[at] ^= 1;
        fs::write(&file, bytes).unwrap();
    }
}

/// All of a tree that a restore must bring back, a line an entry: kind, mode, owner, size, time,
/// link, number of names, extended attributes; and the contents.
pub(crate) fn faithful(root: &Path) -> Vec<(PathBuf, String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let meta = path.symlink_metadata().unwrap();
        let kind = meta.file_type();
        assert!(!kind.is_socket() && !kind.is_fifo(), "{}", path.display());
        let link = fs::read_link(&path).unwrap_or_default();
        let size = if kind.is_file() { meta.len() } else { 0 };
        let names = if kind.is_dir() { 0 } else { meta.nlink() };
        // The time of a symbolic link is nobody's concern.
        let time = if kind.is_symlink() { 0 } else { meta.mtime() };
        let line = format!(
            "{kind:?} {:o} {}:{} {size} {time}.{:09} {} x{names} {}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            if kind.is_symlink() { 0 } else { meta.mtime_nsec() },
            link.display(),
            attributes(&path)
        );
        let content = if kind.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        if kind.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        all.push((path.strip_prefix(root).unwrap().to_owned(), line, content));
    }
    all.sort();
    all
}

/// The extended attributes of a path, a link's own.
fn attributes(path: &Path) -> String {
    let mut names = vec![0_u8; 4096];
    let Ok(len) = rustix::fs::llistxattr(path, &mut names) else { return String::new() };
    let names = String::from_utf8_lossy(&names[..len]).into_owned();
    let mut all = Vec::new();
    for name in names.split('\0').filter(|name| !name.is_empty()) {
        let mut value = vec![0_u8; 4096];
        let len = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
        all.push(format!("{name}={:?}", &value[..len]));
    }
    all.sort();
    all.join(",")
}
