//! A repository in memory that behaves like restic where the application can see it.

mod keep;
mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backupctl_application::context::StageContext;
use backupctl_application::ports::{
    Clock, PruneReport, RemoteStorage, RepositoryAdmin, RepositoryCache, RepositoryInfo,
    RestoreReport, RestoreRequest, Snapshot, StoreRequest, StoredSnapshot,
};
use backupctl_domain::retention::KeepPolicy;
use backupctl_domain::sync::SyncPart;
use backupctl_domain::tag::Tag;
use backupctl_domain::{ErrorCode, Failure, ProjectName, SnapshotId, SnapshotInfo};

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

/// A repository that several projects may share. Operations: `store`, `prove`, `prune`, `snapshots`,
/// `restore`, `unlock_stale`, `check_tool`, `check`, `init`, `forget`,
/// `check_access`, `cache`, `clear_cache`.
pub struct FakeRepository {
    core: Core,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

injectable!(FakeRepository);

impl FakeRepository {
    /// An empty repository, initialised, whose snapshots are as old as that clock says.
    pub fn new(journal: &Arc<Journal>, clock: Arc<dyn Clock>) -> Self {
        let operations = &[
            "store",
            "prove",
            "prune",
            "snapshots",
            "restore",
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

    fn info() -> RepositoryInfo {
        RepositoryInfo {
            id: digest(b"the fake repository"),
            tool: "restic 0.14.0".to_owned(),
            location: "/fake/repo".to_owned(),
        }
    }

    async fn call(&self, op: &str, event: String, ctx: &StageContext) -> Result<(), Failure> {
        self.repository.core.call(op, event, Some(&ctx.cancel)).await
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
        let paths: Vec<PathBuf> = request.part.paths().into_iter().map(Path::to_owned).collect();
        let mut tree = Tree::read(&request.part.assets, &request.exclude);
        if let Some((path, bytes)) = &request.part.dump {
            tree.add_dump(path, state.dump_size.unwrap_or(*bytes));
        }
        let parent = request.parent.as_ref().and_then(|id| state.find(id)).map(|s| &s.tree);
        let counts = tree.compare(parent);
        state.made += 1;
        let id = SnapshotId::new(digest(format!("snapshot {}", state.made).as_bytes()))
            .expect("a digest is a snapshot id");
        let stored = Stored {
            snapshot: Snapshot {
                id: id.clone(),
                time: self.repository.clock.now(),
                tags: tags.clone(),
                paths,
                host: "testhost".to_owned(),
                bytes: Some(tree.bytes()),
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
            },
            unread: state.unread.clone(),
            files_total,
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
        let state = locked(&self.repository.state);
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
        Ok(())
    }

    async fn prune(&self, keep: &KeepPolicy, ctx: &StageContext) -> Result<PruneReport, Failure> {
        self.call("prune", "prune".to_owned(), ctx).await?;
        let mut state = locked(&self.repository.state);
        state.writable(true)?;
        let mine: Vec<Snapshot> =
            state.snapshots.iter().map(|s| s.snapshot.clone()).filter(|s| self.mine(s)).collect();
        let removed = keep::forgotten(&mine, keep)?;
        state.snapshots.retain(|s| !removed.contains(&s.snapshot.id));
        let kept = (mine.len() - removed.len()) as u64;
        Ok(PruneReport { removed, kept, repository_bytes: Some(state.size()) })
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

    async fn check_tool(&self) -> Result<String, Failure> {
        self.repository.core.call("check_tool", "check storage tool", None).await?;
        Ok("0.14.0".to_owned())
    }

    async fn check(&self, ctx: &StageContext) -> Result<RepositoryInfo, Failure> {
        self.call("check", "check repository".to_owned(), ctx).await?;
        locked(&self.repository.state).open()?;
        Ok(Self::info())
    }

    async fn init(&self, ctx: &StageContext) -> Result<(RepositoryInfo, bool), Failure> {
        self.call("init", "init repository".to_owned(), ctx).await?;
        let was = std::mem::replace(&mut locked(&self.repository.state).initialized, true);
        Ok((Self::info(), !was))
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

    fn project(&self) -> &ProjectName {
        &self.project
    }
}
