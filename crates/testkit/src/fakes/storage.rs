//! A repository in memory that behaves like restic where the application can see it.

mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backupctl_application::context::StageContext;
use backupctl_application::ports::{
    CacheKeeper, Clock, PruneReport, RemoteStorage, RepositoryAdmin, RepositoryCache,
    RepositoryInfo, RestoreReport, RestoreRequest, Snapshot, StoreRequest, StoredSnapshot,
    ToolInfo, VerifyReport,
};
use backupctl_domain::retention::{ArchiveCopy, KeepPolicy, Proof, expired_archives};
use backupctl_domain::sync::SyncPart;
use backupctl_domain::tag::Tag;
use backupctl_domain::{ArchiveInfo, ErrorCode, Failure, ProjectName, SnapshotId, SnapshotInfo};
use jiff::tz::TimeZone;

use self::tree::Tree;
use super::faults::injectable;
use super::{Core, Journal, digest, locked};

/// A lock that somebody has left in, or holds on, the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepositoryLock {
    /// Left by a backup whose process is gone: storing works, retention does not, until
    /// `unlock_stale`.
    Stale,
    /// Held exclusively by a living process: nothing that writes works, and it stays.
    Live,
}

struct Stored {
    snapshot: Snapshot,
    dump: Option<(PathBuf, u64)>,
    tree: Tree,
}

struct State {
    initialized: bool,
    auto_init: bool,
    lock: Option<RepositoryLock>,
    snapshots: Vec<Stored>,
    made: u64,
    unread: Vec<String>,
    dump_size: Option<u64>,
    lose_next: bool,
    requests: Vec<StoreRequest>,
    cache: RepositoryCache,
}

/// What a [`FakeRepository`] is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Repository,
    Archives,
}

/// A repository, or a folder of archives, that several projects may share. Operations: `store`, `prove`, `prune`, `snapshots`,
/// `restore`, `unlock_stale`, `check_tool`, `check`, `init`, `forget`,
/// `check_access`, `cache`, `clear_cache`.
pub struct FakeRepository {
    core: Core,
    kind: Kind,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

injectable!(FakeRepository);

impl FakeRepository {
    /// An empty repository, initialised, whose snapshots are as old as that clock says.
    pub fn new(journal: &Arc<Journal>, clock: Arc<dyn Clock>) -> Self {
        Self::of_kind(Kind::Repository, journal, clock)
    }

    /// An empty folder of archives, whose names are in UTC.
    pub fn archives(journal: &Arc<Journal>, clock: Arc<dyn Clock>) -> Self {
        Self::of_kind(Kind::Archives, journal, clock)
    }

    fn of_kind(kind: Kind, journal: &Arc<Journal>, clock: Arc<dyn Clock>) -> Self {
        let operations = &[
            "store",
            "prove",
            "prune",
            "snapshots",
            "restore",
            "verify",
            "unlock_stale",
            "check_tool",
            "check",
            "init",
            "forget",
            "check_access",
            "cache",
            "clear_cache",
        ];
        Self {
            core: Core::new(journal, operations),
            kind,
            clock,
            state: Mutex::new(State {
                initialized: true,
                auto_init: false,
                lock: None,
                snapshots: Vec::new(),
                made: 0,
                unread: Vec::new(),
                dump_size: None,
                lose_next: false,
                requests: Vec::new(),
                cache: RepositoryCache {
                    path: PathBuf::from("/fake/cache"),
                    files: 3,
                    bytes: 4096,
                },
            }),
        }
    }

    /// The repository as one project sees it.
    pub fn of(self: &Arc<Self>, project: &ProjectName) -> Arc<FakeStorage> {
        Arc::new(FakeStorage { repository: Arc::clone(self), project: project.clone() })
    }

    /// Whether there is a repository at the location at all.
    pub fn set_initialized(&self, initialized: bool) {
        locked(&self.state).initialized = initialized;
    }

    /// Says of itself that the first run creates it.
    pub fn set_auto_init(&self, auto_init: bool) {
        locked(&self.state).auto_init = auto_init;
    }

    /// Whether there is one now.
    pub fn is_initialized(&self) -> bool {
        locked(&self.state).initialized
    }

    /// Sets or takes away a lock.
    pub fn set_lock(&self, lock: Option<RepositoryLock>) {
        locked(&self.state).lock = lock;
    }

    /// Every store from now on could not read these.
    pub fn set_unread(&self, paths: &[&str]) {
        locked(&self.state).unread = paths.iter().map(|p| (*p).to_owned()).collect();
    }

    /// Every store from now on keeps the dump with this size, so that its proof fails.
    pub fn set_dump_size(&self, bytes: Option<u64>) {
        locked(&self.state).dump_size = bytes;
    }

    /// The next stored snapshot is gone before it can be proven.
    pub fn lose_next_snapshot(&self) {
        locked(&self.state).lose_next = true;
    }

    /// A snapshot is one of these paths, as another version or under another name would have made it.
    pub fn set_paths(&self, id: &SnapshotId, paths: &[&str]) {
        let mut state = locked(&self.state);
        for stored in state.snapshots.iter_mut().filter(|s| s.snapshot.id == *id) {
            stored.snapshot.paths = paths.iter().map(PathBuf::from).collect();
        }
    }

    /// An archive is found to be damaged from now on.
    pub fn damage(&self, id: &SnapshotId) {
        for stored in locked(&self.state).snapshots.iter_mut().filter(|s| s.snapshot.id == *id) {
            stored.snapshot.proof = Some(Proof::Damaged);
        }
    }

    /// Every snapshot, oldest first.
    pub fn all(&self) -> Vec<Snapshot> {
        locked(&self.state).snapshots.iter().map(|s| s.snapshot.clone()).collect()
    }

    /// Everything that was asked to be stored, also what then failed.
    pub fn requests(&self) -> Vec<StoreRequest> {
        locked(&self.state).requests.clone()
    }
}

impl State {
    fn open(&self) -> Result<(), Failure> {
        if self.initialized {
            return Ok(());
        }
        Err(Failure::new(ErrorCode::RepoNotInitialized, "there is no repository at /fake/repo"))
    }

    fn writable(&self, exclusive: bool) -> Result<(), Failure> {
        self.open()?;
        match self.lock {
            Some(RepositoryLock::Live) => {
                Err(Failure::new(ErrorCode::RepoLocked, "pid 4711 holds the repository's lock"))
            }
            Some(RepositoryLock::Stale) if exclusive => {
                Err(Failure::new(ErrorCode::RepoLocked, "the repository is locked by pid 4711"))
            }
            _ => Ok(()),
        }
    }

    fn find(&self, id: &SnapshotId) -> Option<&Stored> {
        self.snapshots.iter().find(|s| s.snapshot.id.matches(id))
    }

    fn size(&self) -> u64 {
        let mut blobs = BTreeMap::new();
        for stored in &self.snapshots {
            blobs.extend(stored.tree.blobs());
        }
        blobs.values().sum()
    }
}

/// A [`RemoteStorage`] and [`RepositoryAdmin`]: one project's view of a [`FakeRepository`].
///
/// Real files are kept with their content, so that they can be restored; an asset that is not on
/// disk counts as one file. Nothing is read again that the parent holds with the same size and time.
pub struct FakeStorage {
    repository: Arc<FakeRepository>,
    project: ProjectName,
}

impl FakeStorage {
    fn mine(&self, snapshot: &Snapshot) -> bool {
        snapshot.tags.contains(&Tag::Project(self.project.clone()).to_string())
    }

    fn info(&self) -> RepositoryInfo {
        match self.repository.kind {
            Kind::Repository => RepositoryInfo {
                id: Some(digest(b"the fake repository")),
                location: "/fake/repo".to_owned(),
                detail: "restic 0.14.0".to_owned(),
                remark: None,
            },
            Kind::Archives => RepositoryInfo {
                id: None,
                location: "/fake/stick".to_owned(),
                detail: "some archives".to_owned(),
                remark: None,
            },
        }
    }

    async fn call(&self, op: &str, event: String, ctx: &StageContext) -> Result<(), Failure> {
        let event = match self.repository.kind {
            Kind::Repository => event,
            Kind::Archives => format!("{event} (archive)"),
        };
        self.repository.core.call(op, event, Some(&ctx.cancel)).await
    }

    /// What a policy forgets of snapshots in the order of storing: of archives by the rule for archives,
    /// else each set of tags by itself, as `restic forget --group-by tags` does it, in UTC.
    fn forgotten(&self, mine: &[Snapshot], keep: &KeepPolicy) -> Result<Vec<SnapshotId>, Failure> {
        if keep.is_empty() {
            let message = "the retention would keep nothing";
            return Err(Failure::new(ErrorCode::InvalidConfig, message));
        }
        let now = self.repository.clock.now().to_zoned(TimeZone::UTC).datetime();
        let mut groups: BTreeMap<BTreeSet<&str>, Vec<&Snapshot>> = BTreeMap::new();
        for snapshot in mine {
            let tags = snapshot.tags.iter().map(String::as_str).collect();
            groups.entry(tags).or_default().push(snapshot);
        }
        let mut gone = Vec::new();
        for group in groups.values() {
            let copy = |s: &&Snapshot| ArchiveCopy {
                time: s.time.to_zoned(TimeZone::UTC).datetime(),
                proof: s.proof.unwrap_or(Proof::Unproven),
                is_last: false,
            };
            let copies: Vec<ArchiveCopy> = group.iter().map(copy).collect();
            gone.extend(
                expired_archives(&copies, now, keep).into_iter().map(|i| group[i].id.clone()),
            );
        }
        Ok(gone)
    }

    fn no_snapshot(id: &SnapshotId) -> Failure {
        let message = format!("there is no snapshot {}", id.short());
        Failure::new(ErrorCode::SnapshotNotFound, message)
    }
}

#[async_trait]
impl RemoteStorage for FakeStorage {
    async fn store(
        &self,
        request: &StoreRequest,
        ctx: &StageContext,
    ) -> Result<StoredSnapshot, Failure> {
        let tags = request.part.tag_texts();
        locked(&self.repository.state).requests.push(request.clone());
        self.call("store", format!("store {}", tags.join(",")), ctx).await?;
        let mut state = locked(&self.repository.state);
        state.writable(false)?;
        // An archive has the dump at its top.
        let listed = |dump: &Path| match self.repository.kind {
            Kind::Repository => dump.to_owned(),
            Kind::Archives => Path::new("/").join(dump.file_name().unwrap_or_default()),
        };
        let dump = request.part.dump.iter().map(|(path, _)| listed(path));
        let paths: Vec<PathBuf> = dump.chain(request.part.assets.iter().cloned()).collect();
        let mut tree = Tree::read(&request.part.assets, &request.exclude);
        if let Some((path, bytes)) = &request.part.dump {
            tree.add_dump(path, listed(path), state.dump_size.unwrap_or(*bytes));
        }
        let parent = request.parent.as_ref().and_then(|id| state.find(id)).map(|s| &s.tree);
        let counts = tree.compare(parent);
        state.made += 1;
        let id = SnapshotId::new(digest(format!("snapshot {}", state.made).as_bytes()))
            .expect("a digest is a snapshot id");
        let file = (self.repository.kind == Kind::Archives).then(|| {
            PathBuf::from(format!("/fake/stick/{}_{}.tar.zst.age", self.project, state.made))
        });
        let stored = Stored {
            snapshot: Snapshot {
                id: id.clone(),
                time: self.repository.clock.now(),
                tags: tags.clone(),
                paths,
                host: "testhost".to_owned(),
                bytes: Some(tree.bytes()),
                archive: file.clone(),
                proof: file.is_some().then_some(Proof::Unproven),
            },
            dump: request
                .part
                .dump
                .as_ref()
                .map(|(path, bytes)| (path.clone(), state.dump_size.unwrap_or(*bytes))),
            tree,
        };
        ctx.progress(stored.tree.bytes(), Some(stored.tree.bytes()));
        let files_total = stored.tree.len();
        let archive = file.map(|file| ArchiveInfo {
            file: file.to_string_lossy().into_owned(),
            bytes: stored.tree.bytes(),
            parts: 1,
            checksum: format!("blake3:{}", digest(file.as_os_str().as_encoded_bytes())),
        });
        if !std::mem::take(&mut state.lose_next) {
            state.snapshots.push(stored);
        }
        Ok(StoredSnapshot {
            info: SnapshotInfo {
                id,
                tags,
                bytes_added: counts.bytes_added,
                files_new: counts.new,
                files_changed: counts.changed,
                files_unmodified: counts.unmodified,
                destination: None,
                archive,
            },
            unread: state.unread.clone(),
            files_total,
            notes: Vec::new(),
        })
    }

    async fn prove(
        &self,
        stored: &StoredSnapshot,
        part: &SyncPart,
        ctx: &StageContext,
    ) -> Result<(), Failure> {
        let id = &stored.info.id;
        self.call("prove", format!("prove {}", part.tag_texts().join(",")), ctx).await?;
        let mut state = locked(&self.repository.state);
        state.open()?;
        let unproven = |why: String| {
            let message = format!("snapshot {} {why}", id.short());
            Failure::new(ErrorCode::SnapshotUnproven, message)
        };
        let found =
            state.find(id).ok_or_else(|| unproven("is not in the repository".to_owned()))?;
        if let Some((path, bytes)) = &part.dump {
            match found.dump.as_ref().filter(|(stored, _)| stored == path) {
                Some((_, stored)) if stored == bytes => {}
                Some((_, stored)) => {
                    let path = path.display();
                    return Err(unproven(format!("holds {path} with {stored}, not {bytes} bytes")));
                }
                None => return Err(unproven(format!("does not hold {}", path.display()))),
            }
        }
        for asset in &part.assets {
            if !found.snapshot.paths.contains(asset) {
                return Err(unproven(format!("does not hold {}", asset.display())));
            }
        }
        let proven = |s: &mut Stored| s.snapshot.proof = s.snapshot.proof.map(|_| Proof::Proven);
        state.snapshots.iter_mut().filter(|s| s.snapshot.id.matches(id)).for_each(proven);
        Ok(())
    }

    async fn prune(&self, keep: &KeepPolicy, ctx: &StageContext) -> Result<PruneReport, Failure> {
        self.call("prune", "prune".to_owned(), ctx).await?;
        let mut state = locked(&self.repository.state);
        state.writable(true)?;
        let mine: Vec<Snapshot> =
            state.snapshots.iter().map(|s| s.snapshot.clone()).filter(|s| self.mine(s)).collect();
        let removed = self.forgotten(&mine, keep)?;
        state.snapshots.retain(|s| !removed.contains(&s.snapshot.id));
        let kept = (mine.len() - removed.len()) as u64;
        let repository_bytes = Some(state.size());
        Ok(PruneReport { removed, kept, repository_bytes, warnings: Vec::new() })
    }

    async fn snapshots(&self, ctx: &StageContext) -> Result<Vec<Snapshot>, Failure> {
        self.call("snapshots", "snapshots".to_owned(), ctx).await?;
        locked(&self.repository.state).open()?;
        let mut mine: Vec<Snapshot> =
            self.repository.all().into_iter().filter(|s| self.mine(s)).collect();
        // Of those of one moment the last stored is the newest.
        mine.reverse();
        mine.sort_by_key(|s| std::cmp::Reverse(s.time));
        Ok(mine)
    }

    async fn restore(
        &self,
        request: &RestoreRequest,
        ctx: &StageContext,
    ) -> Result<RestoreReport, Failure> {
        self.call("restore", format!("restore {}", request.snapshot.short()), ctx).await?;
        let state = locked(&self.repository.state);
        state.open()?;
        let stored =
            state.find(&request.snapshot).ok_or_else(|| Self::no_snapshot(&request.snapshot))?;
        let mut report = RestoreReport::default();
        for (path, content) in stored.tree.under(&request.include) {
            let target = request.target.join(path.strip_prefix("/").unwrap_or(path));
            let folder = target.parent().unwrap_or(&request.target);
            fs::create_dir_all(folder).and_then(|()| fs::write(&target, content)).map_err(|e| {
                let message = format!("{} cannot be written: {e}", target.display());
                Failure::new(ErrorCode::PathNotWritable, message)
            })?;
            report.files += 1;
            report.bytes += content.len() as u64;
        }
        let missing = request
            .include
            .iter()
            .find(|p| stored.tree.under(std::slice::from_ref(p)).next().is_none());
        if report.files == 0 || missing.is_some() {
            let what = missing.map_or_else(|| "any file".to_owned(), |p| p.display().to_string());
            let message = format!("snapshot {} does not hold {what}", request.snapshot.short());
            return Err(Failure::new(ErrorCode::SnapshotNotFound, message));
        }
        Ok(report)
    }

    async fn verify(
        &self,
        snapshot: &SnapshotId,
        ctx: &StageContext,
    ) -> Result<VerifyReport, Failure> {
        self.call("verify", format!("verify {}", snapshot.short()), ctx).await?;
        let state = locked(&self.repository.state);
        state.open()?;
        let stored = state.find(snapshot).ok_or_else(|| Self::no_snapshot(snapshot))?;
        if stored.snapshot.proof == Some(Proof::Damaged) {
            let file = stored.snapshot.archive.clone().unwrap_or_default();
            let message = format!("{} is not what was written", file.display());
            return Err(Failure::new(ErrorCode::ChecksumMismatch, message).permanent());
        }
        let how = "read back".to_owned();
        Ok(VerifyReport { bytes: stored.tree.bytes(), files: Some(stored.tree.len()), how })
    }

    async fn unlock_stale(&self, ctx: &StageContext) -> Result<bool, Failure> {
        self.call("unlock_stale", "unlock_stale".to_owned(), ctx).await?;
        let lock = &mut locked(&self.repository.state).lock;
        Ok(lock.take_if(|lock| *lock == RepositoryLock::Stale).is_some())
    }
}

#[async_trait]
impl RepositoryAdmin for FakeStorage {
    fn creates_by_itself(&self) -> bool {
        locked(&self.repository.state).auto_init
    }

    async fn check_tool(&self) -> Result<Option<ToolInfo>, Failure> {
        self.repository.core.call("check_tool", "check storage tool", None).await?;
        let restic = || ToolInfo { name: "restic".to_owned(), version: "0.14.0".to_owned() };
        Ok((self.repository.kind == Kind::Repository).then(restic))
    }

    async fn check(&self, ctx: &StageContext) -> Result<RepositoryInfo, Failure> {
        self.call("check", "check repository".to_owned(), ctx).await?;
        locked(&self.repository.state).open()?;
        Ok(self.info())
    }

    async fn init(&self, ctx: &StageContext) -> Result<(RepositoryInfo, bool), Failure> {
        self.call("init", "init repository".to_owned(), ctx).await?;
        let was = std::mem::replace(&mut locked(&self.repository.state).initialized, true);
        Ok((self.info(), !was))
    }

    async fn forget(&self, snapshot: &SnapshotId, ctx: &StageContext) -> Result<(), Failure> {
        self.call("forget", format!("forget {}", snapshot.short()), ctx).await?;
        let mut state = locked(&self.repository.state);
        state.writable(true)?;
        let before = state.snapshots.len();
        state.snapshots.retain(|s| !(self.mine(&s.snapshot) && s.snapshot.id.matches(snapshot)));
        if state.snapshots.len() == before {
            return Err(Self::no_snapshot(snapshot));
        }
        Ok(())
    }

    async fn check_access(&self) -> Result<Option<String>, Failure> {
        self.repository.core.call("check_access", "check access", None).await?;
        Ok(None)
    }

    fn project(&self) -> &ProjectName {
        &self.project
    }
}

#[async_trait]
impl CacheKeeper for FakeStorage {
    async fn cache(&self, ctx: &StageContext) -> Result<RepositoryCache, Failure> {
        self.call("cache", "measure cache".to_owned(), ctx).await?;
        Ok(locked(&self.repository.state).cache.clone())
    }

    async fn clear_cache(&self, ctx: &StageContext) -> Result<RepositoryCache, Failure> {
        self.call("clear_cache", "clear cache".to_owned(), ctx).await?;
        let cache = &mut locked(&self.repository.state).cache;
        let empty = RepositoryCache { path: cache.path.clone(), ..RepositoryCache::default() };
        Ok(std::mem::replace(cache, empty))
    }
}
