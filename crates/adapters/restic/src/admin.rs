//! The repository itself: is it there, is it the same one, make it, forget one snapshot.
//!
//! An unmounted disk looks like a repository that was never made, and a repository made in the
//! empty mount point would take every backup until the disk comes back. So a location that held a
//! repository is never initialised again, and another repository there is refused.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use backupctl_application::context::{Cancel, StageContext};
use backupctl_application::ports::{
    CacheKeeper, RemoteStorage, RepositoryAdmin, RepositoryCache, RepositoryInfo, ToolInfo,
};
use backupctl_domain::{ErrorCode, Failure, ProjectName, Redactor, SnapshotId, Stage};

use crate::command::args;
use crate::failure::Op;
use crate::parse::text;
use crate::{Restic, Version, cache, memory, ssh, version};

/// How much of a short answer is read.
const ANSWER_LIMIT: u64 = 64 * 1024;

#[async_trait]
impl RepositoryAdmin for Restic {
    async fn check_tool(&self) -> Result<Option<ToolInfo>, Failure> {
        let redactor = Arc::new(Redactor::default());
        let ctx = StageContext::new(Stage::Sync, Cancel::new(), redactor);
        let version = self.version(&ctx).await?;
        Ok(Some(ToolInfo { name: "restic".to_owned(), version: version.to_string() }))
    }

    async fn check(&self, ctx: &StageContext) -> Result<RepositoryInfo, Failure> {
        // A look leaves nothing behind: no lock there, no cache and no memory here.
        let args = args!["cat", "config", "--no-lock", "--no-cache"];
        let ran = self.exec(Op::CatConfig, args, ctx, answer).await?;
        let id = text::config_id(&ran.value).ok_or_else(|| {
            Failure::new(
                ErrorCode::RepoCorrupt,
                format!("the configuration of repository {} names no id", self.location()),
            )
        })?;
        self.same_as_before(&id)?;
        Ok(self.info(id, ran.version))
    }

    async fn init(&self, ctx: &StageContext) -> Result<(RepositoryInfo, bool), Failure> {
        match self.check(ctx).await {
            Ok(info) => {
                self.remember_it(&info, ctx).await?;
                Ok((info, false))
            }
            Err(failure)
                if failure.code == ErrorCode::RepoNotInitialized && !self.held_one_before() =>
            {
                self.create(ctx).await?;
                let info = self.check(ctx).await?;
                // 0.14 tells only the beginning of the id when it makes one.
                self.remember_it(&info, ctx).await?;
                Ok((info, true))
            }
            Err(failure) => Err(failure),
        }
    }

    async fn forget(&self, snapshot: &SnapshotId, ctx: &StageContext) -> Result<(), Failure> {
        // restic passes over an unknown id with status 0, and would take another project's.
        let mine = self.snapshots(ctx).await?;
        let Some(found) = mine.into_iter().find(|listed| listed.id.matches(snapshot)) else {
            let project = self.project();
            return Err(Failure::new(
                ErrorCode::SnapshotNotFound,
                format!("project {project} has no snapshot {snapshot} in {}", self.location()),
            )
            .with_remedy(format!("list them with `backupctl snapshots {project}`")));
        };
        let args = args!["forget", "--prune", found.id.as_str()];
        let done = match Self::forget(self, args.clone(), ctx).await {
            Err(failure) if self.may_unlock(&failure, ctx).await => {
                Self::forget(self, args, ctx).await
            }
            done => done,
        };
        done?;
        let left = self.snapshots(ctx).await?;
        if left.iter().any(|listed| listed.id == found.id) {
            return Err(crate::failure::not_deleted(self.location(), "it is still there"));
        }
        Ok(())
    }

    async fn check_access(&self) -> Result<Option<String>, Failure> {
        let Some(ssh) = &self.ssh else { return Ok(None) };
        let version = ssh.check_program().await?;
        ssh::check_key(self.target())?;
        let key = self.target().ssh.as_ref().and_then(|ssh| ssh.key_path.as_deref());
        let key = key.map_or_else(String::new, |key| format!(", key {}", key.display()));
        Ok(Some(format!("{version}{key}")))
    }

    fn creates_by_itself(&self) -> bool {
        self.target().auto_init && !self.held_one_before()
    }

    fn project(&self) -> &ProjectName {
        &self.settings.project
    }
}

#[async_trait]
impl CacheKeeper for Restic {
    async fn cache(&self, ctx: &StageContext) -> Result<RepositoryCache, Failure> {
        let folder = self.cache_folder(ctx).await?;
        blocking(move || cache::measure(&folder)).await
    }

    async fn clear_cache(&self, ctx: &StageContext) -> Result<RepositoryCache, Failure> {
        let folder = self.cache_folder(ctx).await?;
        blocking(move || cache::remove(&folder)).await
    }
}

impl Restic {
    /// Creates the repository, unless the location held one before.
    pub(crate) async fn create(&self, ctx: &StageContext) -> Result<(), Failure> {
        if self.held_one_before() {
            return Err(self.missing(Failure::new(
                ErrorCode::RepoNotInitialized,
                format!("there is no repository at {}", self.location()),
            )));
        }
        let ran = self.exec(Op::Init, args!["init", "--json"], ctx, answer).await?;
        let id = text::created_id(&String::from_utf8_lossy(&ran.value));
        let mark = self.mark();
        self.memory.update(|known| {
            known.id = id;
            known.mark = mark;
            known.fresh = true;
            known.bytes = Some(0);
        });
        Ok(())
    }

    /// A missing repository, told more of where one was there before, or the next run creates it.
    pub(crate) fn missing(&self, failure: Failure) -> Failure {
        if self.creates_by_itself() {
            return failure.with_remedy(format!(
                "the first run creates it: `backupctl run {}`; if there should be one already, \
                 correct restic.repository",
                self.settings.project
            ));
        }
        if !self.held_one_before() {
            return failure;
        }
        let message = format!("{}; one was there before", failure.message);
        let detail = failure.detail.clone();
        Failure::new(failure.code, message).with_detail(detail).with_remedy(format!(
            "mount the disk or correct restic.repository; if the repository is really gone and a \
             new one is wanted, remove {} and run `backupctl init`",
            self.memory.file().display()
        ))
    }

    pub(crate) fn held_one_before(&self) -> bool {
        self.memory.read().is_some()
    }

    /// Asks the repository whose it is, refuses another one than before, and remembers it.
    pub(crate) async fn identify(&self, ctx: &StageContext) -> Result<(), Failure> {
        let info = self.check(ctx).await?;
        self.remember_it(&info, ctx).await
    }

    /// What a local repository is told apart by at the cost of one small file: its configuration,
    /// which no two have alike.
    pub(crate) fn mark(&self) -> Option<String> {
        let config = std::fs::File::open(self.local_path()?.join("config")).ok()?;
        let mut bytes = Vec::new();
        config.take(ANSWER_LIMIT).read_to_end(&mut bytes).ok()?;
        Some(memory::hash(&bytes))
    }

    async fn remember_it(&self, info: &RepositoryInfo, ctx: &StageContext) -> Result<(), Failure> {
        version::remember(self.target(), &self.settings.state_dir, self.version(ctx).await?);
        let mark = self.mark();
        self.memory.update(|known| {
            known.id.clone_from(&info.id);
            known.mark = mark;
        });
        Ok(())
    }

    fn same_as_before(&self, id: &str) -> Result<(), Failure> {
        let Some(known) = self.memory.read() else { return Ok(()) };
        let instead = match &known.id {
            Some(known) if id.starts_with(known) => return Ok(()),
            Some(known) => format!(" instead of {}", short(known)),
            // Nobody has told its id so far: then its mark decides.
            None if known.mark.is_none() || known.mark == self.mark() => return Ok(()),
            None => String::new(),
        };
        let (location, id) = (self.location(), short(id));
        Err(Failure::new(
            ErrorCode::RepoNotInitialized,
            format!("another repository than before is at {location}: {id}{instead}"),
        )
        .with_remedy(format!(
            "mount the right disk or correct restic.repository; to accept this one, remove {} \
             and run `backupctl init`",
            self.memory.file().display()
        )))
    }

    fn info(&self, id: String, version: Version) -> RepositoryInfo {
        RepositoryInfo {
            id: Some(id),
            location: self.location().to_owned(),
            detail: format!("restic {version}"),
            remark: None,
        }
    }
}

impl Restic {
    /// The folder that restic caches this repository in: named by its id, below the base folder.
    async fn cache_folder(&self, ctx: &StageContext) -> Result<PathBuf, Failure> {
        let Some(base) = &self.cache_dir else {
            return Err(Failure::new(
                ErrorCode::InvalidConfig,
                "nothing tells where restic keeps its cache: there is no home folder",
            )
            .with_remedy("set `restic.cache_dir` of the project"));
        };
        let known = self.memory.read().and_then(|known| known.id).filter(|id| cache::is_id(id));
        let id = match known {
            Some(id) => id,
            None => self.check(ctx).await?.id.unwrap_or_default(),
        };
        if cache::is_id(&id) { Ok(base.join(id)) } else { Err(cache::no_id(&id)) }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(Failure::internal(format!("the cache was not looked at: {e}"))))
}

fn short(id: &str) -> &str {
    id.get(..10).unwrap_or(id)
}

fn answer(stdout: &mut (dyn Read + Send)) -> std::io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    stdout.take(ANSWER_LIMIT).read_to_end(&mut answer)?;
    Ok(answer)
}
