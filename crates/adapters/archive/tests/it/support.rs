//! A folder of archives, sources to fill it, and a view of trees that sees everything.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::iter;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use age::secrecy::ExposeSecret;
use backupctl_adapter_archive::{Archive, ArchiveSettings};
use backupctl_adapter_stream::{Envelope, Sealing};
use backupctl_application::context::{Cancel, StageContext};
use backupctl_application::ports::{
    RemoteStorage, RestoreReport, RestoreRequest, StoreRequest, StoredSnapshot, VerifyReport,
};
use backupctl_domain::destination::ArchiveTarget;
use backupctl_domain::project::{Algorithm, Compression};
use backupctl_domain::sync::SyncPart;
use backupctl_domain::tag::Tag;
use backupctl_domain::{ErrorCode, Failure, ProjectName, Redactor, Stage};
use backupctl_testkit::builders::store_request;
use backupctl_testkit::fakes::{FakeClock, FakeDisk, Journal};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tempfile::TempDir;

pub(crate) const ZSTD: Option<Compression> =
    Some(Compression { algorithm: Algorithm::Zstd, level: 3 });
pub(crate) const GZIP: Option<Compression> =
    Some(Compression { algorithm: Algorithm::Gzip, level: 6 });

pub(crate) fn context() -> StageContext {
    StageContext::new(Stage::Sync, Cancel::new(), Arc::new(Redactor::default()))
}

/// A disk with a folder, a clock, sources, and what is remembered.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) disk: Arc<FakeDisk>,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) folder: PathBuf,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("stick/backups");
        fs::create_dir_all(&folder).unwrap();
        Self::at(dir, folder)
    }

    pub(crate) fn at(dir: TempDir, folder: PathBuf) -> Self {
        let journal = Arc::new(Journal::default());
        let disk = Arc::new(FakeDisk::new(&journal));
        disk.change_system(|system| {
            system.mount_point = dir.path().join("stick");
            system.is_root = false;
        });
        let clock = Arc::new(FakeClock::new(&journal));
        let world = Self { dir, disk, clock, folder };
        fs::create_dir_all(world.asset()).unwrap();
        fs::write(world.asset().join("hello.txt"), "hello").unwrap();
        world
    }

    pub(crate) fn archive(&self, change: impl FnOnce(&mut ArchiveSettings)) -> Arc<Archive> {
        let mut settings = ArchiveSettings {
            project: ProjectName::new("shop").unwrap(),
            destination: "stick".to_owned(),
            target: ArchiveTarget {
                path: self.folder.clone(),
                require_mount: true,
                split_size: None,
                allow_incomplete: false,
            },
            compression: ZSTD,
            exclude: Vec::new(),
            envelope: None,
            timezone: TimeZone::UTC,
            host: "testhost".to_owned(),
            version: "backupctl 0.1.0".to_owned(),
            state_dir: self.dir.path().join("state"),
            disk: self.disk.clone(),
            clock: self.clock.clone(),
        };
        change(&mut settings);
        Archive::new(settings).unwrap()
    }

    pub(crate) fn now(&self) -> Timestamp {
        use backupctl_application::ports::Clock;
        self.clock.now()
    }

    /// A folder with something in it.
    pub(crate) fn asset(&self) -> PathBuf {
        self.dir.path().join("srv/files")
    }

    /// A dump and these assets.
    pub(crate) fn part(&self, assets: &[PathBuf]) -> SyncPart {
        let dump = self.dir.path().join("shop_backup_1.dump");
        fs::write(&dump, "the dump").unwrap();
        let project = Tag::Project(ProjectName::new("shop").unwrap());
        SyncPart {
            tags: vec![Tag::Combined, project],
            dump: Some((dump, 8)),
            assets: assets.to_vec(),
        }
    }

    pub(crate) async fn store(
        &self,
        archive: &Archive,
        part: &SyncPart,
    ) -> Result<StoredSnapshot, Failure> {
        self.store_at(archive, part, self.now()).await
    }

    pub(crate) async fn store_at(
        &self,
        archive: &Archive,
        part: &SyncPart,
        started_at: Timestamp,
    ) -> Result<StoredSnapshot, Failure> {
        let request = StoreRequest { started_at, ..store_request(part.clone()) };
        archive.store(&request, &context()).await
    }

    pub(crate) async fn prove(
        &self,
        archive: &Archive,
        stored: &StoredSnapshot,
        part: &SyncPart,
    ) -> Result<(), Failure> {
        archive.prove(stored, part, &context()).await
    }

    pub(crate) async fn verify(
        &self,
        archive: &Archive,
        stored: &StoredSnapshot,
    ) -> Result<VerifyReport, Failure> {
        archive.verify(&stored.info.id, &context()).await
    }

    /// Restores to a new folder of that name.
    pub(crate) async fn restore(
        &self,
        archive: &Archive,
        stored: &StoredSnapshot,
        include: &[&Path],
        name: &str,
    ) -> (PathBuf, Result<RestoreReport, Failure>) {
        let target = self.dir.path().join(name);
        let _ = fs::create_dir(&target);
        let include = include.iter().map(|p| (*p).to_owned()).collect();
        let request =
            RestoreRequest { snapshot: stored.info.id.clone(), target: target.clone(), include };
        (target, archive.restore(&request, &context()).await)
    }

    /// The state of this machine is lost.
    pub(crate) fn forget_everything(&self) {
        fs::remove_dir_all(self.dir.path().join("state")).unwrap();
    }

    /// The names in the folder of archives, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        names(&self.folder)
    }
}

pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The only file of a stored archive.
pub(crate) fn file_of(stored: &StoredSnapshot) -> PathBuf {
    PathBuf::from(&stored.info.archive.as_ref().unwrap().file)
}

/// An age key, and the encryption by it.
pub(crate) struct Key {
    dir: TempDir,
    identity: age::x25519::Identity,
}

impl Key {
    pub(crate) fn new() -> Self {
        let identity = age::x25519::Identity::generate();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("key"), identity.to_string().expose_secret()).unwrap();
        Self { dir, identity }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("key")
    }

    pub(crate) fn envelope(&self) -> Arc<dyn Envelope> {
        Arc::new(Age {
            recipient: self.identity.to_public(),
            identity: Some(self.identity.clone()),
        })
    }

    pub(crate) fn sealing_only(&self) -> Arc<dyn Envelope> {
        Arc::new(Age { recipient: self.identity.to_public(), identity: None })
    }
}

struct Age {
    recipient: age::x25519::Recipient,
    identity: Option<age::x25519::Identity>,
}

struct Seal<'w>(age::stream::StreamWriter<Box<dyn Write + Send + 'w>>);

impl Write for Seal<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Sealing for Seal<'_> {
    fn finish(self: Box<Self>) -> io::Result<()> {
        self.0.finish()?.flush()
    }
}

impl Envelope for Age {
    fn check(&self) -> Result<(), Failure> {
        Ok(())
    }

    fn can_open(&self) -> bool {
        self.identity.is_some()
    }

    fn seal<'w>(
        &self,
        out: Box<dyn Write + Send + 'w>,
    ) -> Result<Box<dyn Sealing + Send + 'w>, Failure> {
        let recipient: &dyn age::Recipient = &self.recipient;
        let encryptor = age::Encryptor::with_recipients(iter::once(recipient)).unwrap();
        Ok(Box::new(Seal(encryptor.wrap_output(out).unwrap())))
    }

    fn open<'r>(
        &self,
        source: Box<dyn Read + Send + 'r>,
        path: &Path,
    ) -> Result<Box<dyn Read + 'r>, Failure> {
        let Some(identity) = &self.identity else {
            return Err(Failure::new(ErrorCode::EncryptionKeyMissing, "no identity"));
        };
        let failed = |e: age::DecryptError| {
            let message = format!("{}: {e}", path.display());
            Failure::new(ErrorCode::DecryptionFailed, message)
        };
        let decryptor = age::Decryptor::new(source).map_err(failed)?;
        let identity: &dyn age::Identity = identity;
        Ok(Box::new(decryptor.decrypt(iter::once(identity)).map_err(failed)?))
    }

    fn read_failure(&self, error: &io::Error, path: &Path) -> Failure {
        Failure::new(ErrorCode::DecryptionFailed, format!("{}: {error}", path.display()))
    }
}

/// Everything about one entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) what: String,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) modified: (i64, i64),
    pub(crate) links: u64,
    pub(crate) xattrs: Vec<String>,
    /// Whether it takes less room than its size.
    pub(crate) sparse: bool,
}

/// A tree as a map from the path below it.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut all = BTreeMap::new();
    collect(root, root, &mut all);
    all
}

fn collect(root: &Path, dir: &Path, all: &mut BTreeMap<PathBuf, Seen>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        all.insert(path.strip_prefix(root).unwrap().to_owned(), seen(&path));
        if path.symlink_metadata().unwrap().is_dir() {
            collect(root, &path, all);
        }
    }
}

pub(crate) fn seen(path: &Path) -> Seen {
    let data = path.symlink_metadata().unwrap();
    let kind = data.file_type();
    let what = if kind.is_file() {
        let content = fs::read(path).unwrap();
        format!("file {} {}", content.len(), blake3::hash(&content).to_hex())
    } else if kind.is_symlink() {
        format!("link {}", fs::read_link(path).unwrap().display())
    } else if kind.is_char_device() || kind.is_block_device() {
        format!("device {}", data.rdev())
    } else if kind.is_dir() {
        "folder".to_owned()
    } else {
        "other".to_owned()
    };
    Seen {
        what,
        mode: data.permissions().mode(),
        owner: (data.uid(), data.gid()),
        modified: (data.mtime(), data.mtime_nsec()),
        links: if kind.is_dir() { 0 } else { data.nlink() },
        xattrs: xattrs(path),
        sparse: kind.is_file() && data.blocks() * 512 + 4096 < data.len(),
    }
}

fn xattrs(path: &Path) -> Vec<String> {
    let out = Command::new("getfattr")
        .args(["-h", "-d", "-m", "-", "-e", "hex", "--absolute-names"])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let mut lines: Vec<String> =
        text.lines().filter(|l| l.contains('=')).map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Whether this is root; says why a test does nothing where it is not.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: only root may do this");
    }
    root
}

/// Runs a line of shell; ends the test where it fails.
#[track_caller]
pub(crate) fn sh(line: &str) -> String {
    let out = Command::new("bash").args(["-o", "pipefail", "-c", line]).output().unwrap();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{line}\n{errors}");
    assert!(errors.is_empty(), "{line} complains: {errors}");
    String::from_utf8(out.stdout).unwrap()
}
