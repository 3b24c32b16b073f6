//! The repository of one project: store, prove, thin out, list, restore.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use backupctl_adapter_process::{failure_from_io, with_link_targets};
use backupctl_application::context::StageContext;
use backupctl_application::ports::{
    PruneReport, RemoteStorage, RepositoryAdmin, RestoreReport, RestoreRequest, Snapshot,
    StoreRequest, StoredSnapshot, VerifyReport,
};
use backupctl_domain::retention::KeepPolicy;
use backupctl_domain::sync::SyncPart;
use backupctl_domain::{ErrorCode, Failure, SnapshotId, SnapshotInfo};
use tokio::task::spawn_blocking;

use crate::Restic;
use crate::command::args;
use crate::failure::{Op, not_deleted};
use crate::parse::{self, backup, forget, ls, snapshots};
use crate::walk;

/// How much of a snapshot is read at once.
const READ: usize = 256 * 1024;

#[async_trait]
impl RemoteStorage for Restic {
    async fn store(
        &self,
        request: &StoreRequest,
        ctx: &StageContext,
    ) -> Result<StoredSnapshot, Failure> {
        self.still_the_same(ctx).await?;
        let stored = match self.store_by_parent(request, ctx).await {
            Err(failure)
                if failure.code == ErrorCode::RepoNotInitialized && self.creates_by_itself() =>
            {
                tracing::info!(repository = self.location(), "repository is created");
                self.create(ctx).await?;
                self.store_once(request, None, ctx).await?
            }
            done => done?,
        };
        self.learn_whose(ctx).await;
        Ok(stored)
    }

    async fn prove(
        &self,
        stored: &StoredSnapshot,
        part: &SyncPart,
        ctx: &StageContext,
    ) -> Result<(), Failure> {
        let id = &stored.info.id;
        let sources = sources(part);
        // Only the named entries are listed, not what is below them.
        let mut args = args!["ls", "--json", "--no-lock", id.as_str()];
        args.extend(sources.iter().map(OsString::from));
        let mut listing = ls::Listing::of(sources.iter().map(PathBuf::as_path));
        let listed = self.exec(Op::Ls, args, ctx, move |stdout| {
            parse::lines(stdout, |line| listing.line(line))?;
            Ok(listing)
        });
        let listing = match listed.await {
            Ok(ran) => ran.value,
            Err(failure) if failure.code == ErrorCode::SnapshotNotFound => {
                return Err(self.unproven(id, &format!("it is not there: {}", failure.message)));
            }
            Err(failure) => return Err(failure),
        };
        let whole = listing.id.clone().filter(|found| found.matches(id));
        let whole = whole.ok_or_else(|| self.unproven(id, "restic does not list it"))?;
        for tag in part.tag_texts() {
            if !listing.tags.contains(&tag) {
                return Err(self.unproven(id, &format!("it lacks the tag {tag}")));
            }
        }
        if let Some((path, bytes)) = &part.dump {
            match listing.node(path) {
                Some(node) if node.is_file && node.size == *bytes => {}
                Some(node) if node.is_file => {
                    let found = node.size;
                    let text =
                        format!("{} has {found} bytes in it instead of {bytes}", path.display());
                    return Err(self.unproven(id, &text));
                }
                Some(_) => {
                    return Err(self.unproven(id, &format!("{} is no file in it", path.display())));
                }
                None => {
                    return Err(self.unproven(id, &format!("{} is not in it", path.display())));
                }
            }
        }
        // What could not be read was reported when it was stored; the rest must be there.
        let known_missing =
            |path: &Path| stored.unread.iter().any(|unread| Path::new(unread) == path);
        let assets = sources.iter().skip(usize::from(part.dump.is_some()));
        for path in assets.filter(|path| !known_missing(path)) {
            if !listing.has(path) {
                return Err(self.unproven(id, &format!("{} is not in it", path.display())));
            }
        }
        self.memory.remember_last(&part.tag_texts(), &whole);
        Ok(())
    }

    async fn prune(&self, keep: &KeepPolicy, ctx: &StageContext) -> Result<PruneReport, Failure> {
        // How old in days is a rule of archives, and restic knows none of its kind.
        let keep = &KeepPolicy { days: None, ..keep.clone() };
        if keep.is_empty() {
            return Err(Failure::new(
                ErrorCode::InvalidConfig,
                "the retention policy keeps nothing, so nothing is removed",
            )
            .with_remedy("set at least one of retention.keep_* to more than 0"));
        }
        let mut args = args!["forget", "--prune", "--json", "--group-by", "tags"];
        args.extend(args!["--tag", self.project_tag()]);
        args.extend(keep_args(keep));
        let due = self.memory.read().is_some_and(|known| known.prune_due);
        let forgotten = self.forget(args, ctx).await;
        if forgotten.is_err() && !due {
            self.memory.update(|known| known.prune_due = true);
        }
        let (removed, kept, remaining) = forgotten?;
        if due {
            // Finding nothing to forget, restic prunes nothing, and what an earlier try had forgotten
            // would stay; and a damaged repository would pass for a well one.
            if removed.is_empty() {
                self.exec(Op::Prune, args!["prune"], ctx, |out| parse::lines(out, |_| {})).await?;
            }
            self.memory.update(|known| known.prune_due = false);
        }
        let repository_bytes = self.repository_bytes(remaining).await;
        Ok(PruneReport { removed, kept, repository_bytes, warnings: Vec::new() })
    }

    async fn snapshots(&self, ctx: &StageContext) -> Result<Vec<Snapshot>, Failure> {
        self.list(&[self.project_tag()], false, ctx).await
    }

    async fn restore(
        &self,
        request: &RestoreRequest,
        ctx: &StageContext,
    ) -> Result<RestoreReport, Failure> {
        let target = request.target.clone();
        let io = |error, target: &Path| failure_from_io(error, target, "cannot restore to");
        let since = walk::mark(&target).map_err(|error| io(error, &target))?;
        match self.restore_once(request, ctx).await {
            Err(failure) if self.may_unlock(&failure, ctx).await => {
                self.restore_once(request, ctx).await?;
            }
            done => done?,
        }
        let dir = target.clone();
        let include = request.include.clone();
        let count = spawn_blocking(move || {
            let missing = include.into_iter().find(|path| !walk::came(&dir, path, since));
            walk::count(&dir, since).map(|count| (count, missing))
        });
        let (count, missing) = count
            .await
            .map_err(|error| {
                Failure::internal(format!("restored files were not counted: {error}"))
            })?
            .map_err(|error| io(error, &target))?;
        if count.files == 0 || missing.is_some() {
            let what = match missing {
                Some(path) => format!("does not hold {}", path.display()),
                None => "brought no file".to_owned(),
            };
            return Err(Failure::new(
                ErrorCode::SnapshotNotFound,
                format!("snapshot {} of {} {what}", request.snapshot.short(), self.location()),
            )
            .with_remedy(format!(
                "see which snapshots hold what: `backupctl snapshots {}`",
                self.settings.project
            )));
        }
        Ok(RestoreReport { files: count.files, bytes: count.bytes, notes: Vec::new() })
    }

    async fn verify(
        &self,
        snapshot: &SnapshotId,
        ctx: &StageContext,
    ) -> Result<VerifyReport, Failure> {
        // As one stream of tar, which restic checks against the hash of every piece that it reads; the
        // way a restore goes, without a place to put it.
        let args = args!["dump", "--no-lock", snapshot.as_str(), "/"];
        let progress = ctx.clone();
        let ran = self.exec(Op::Dump, args, ctx, move |stdout| {
            let (mut buffer, mut bytes) = (vec![0; READ], 0_u64);
            loop {
                match stdout.read(&mut buffer) {
                    Ok(0) => return Ok(bytes),
                    Ok(read) => bytes += read as u64,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
                progress.progress(bytes, None);
            }
        });
        let bytes = ran.await?.value;
        if bytes == 0 {
            let text =
                format!("snapshot {} in {} holds nothing", snapshot.short(), self.location());
            return Err(Failure::new(ErrorCode::RepoCorrupt, text));
        }
        let how = "every piece read and compared with its hash by restic".to_owned();
        Ok(VerifyReport { bytes, files: None, how })
    }

    async fn unlock_stale(&self, ctx: &StageContext) -> Result<bool, Failure> {
        // A local repository shows its locks without a password.
        if let Some(path) = self.local_path()
            && is_empty(&path.join("locks"))
        {
            return Ok(false);
        }
        let before = self.locks(ctx).await?;
        if before.is_empty() {
            return Ok(false);
        }
        self.exec(Op::Unlock, args!["unlock"], ctx, |stdout| parse::lines(stdout, |_| {})).await?;
        // `unlock` says that it removed locks whatever it did.
        let after = self.locks(ctx).await?;
        let removed = before.iter().filter(|lock| !after.contains(lock)).count();
        tracing::info!(repository = self.location(), removed, left = after.len(), "stale locks");
        Ok(removed > 0)
    }
}

impl Restic {
    /// Whether a failure is a lock, and a stale one that is now gone.
    pub(crate) async fn may_unlock(&self, failure: &Failure, ctx: &StageContext) -> bool {
        failure.code == ErrorCode::RepoLocked && self.unlock_stale(ctx).await.unwrap_or(false)
    }

    async fn store_by_parent(
        &self,
        request: &StoreRequest,
        ctx: &StageContext,
    ) -> Result<StoredSnapshot, Failure> {
        let tags = request.part.tag_texts();
        let parent = match &request.parent {
            Some(parent) => Some(parent.clone()),
            None => match self.memory.last(&tags) {
                Some(parent) => Some(parent),
                None => self.newest(&tags, ctx).await?,
            },
        };
        match self.store_once(request, parent.as_ref(), ctx).await {
            // Somebody has removed the parent: any other of the same tags will do, or none. Or this
            // is another repository, which must not take the backups of the one before.
            Err(failure) if failure.code == ErrorCode::SnapshotNotFound && parent.is_some() => {
                self.identify(ctx).await?;
                let other = self.newest(&tags, ctx).await?.filter(|id| Some(id) != parent.as_ref());
                self.store_once(request, other.as_ref(), ctx).await
            }
            done => done,
        }
    }

    /// Refuses to store where a local repository was replaced by another one. Costs a process only
    /// where its configuration is not the one of before.
    async fn still_the_same(&self, ctx: &StageContext) -> Result<(), Failure> {
        let before = self.memory.read().and_then(|known| known.mark);
        match (before, self.mark()) {
            (Some(before), Some(now)) if before != now => self.identify(ctx).await,
            _ => Ok(()),
        }
    }

    /// Learns which repository was stored to, where nobody has told so far: a local one by its mark,
    /// any other by one process, once. Best effort: the snapshot is stored.
    async fn learn_whose(&self, ctx: &StageContext) {
        let known = self.memory.read().unwrap_or_default();
        if known.id.is_some() || known.mark.is_some() {
            return;
        }
        if let Some(mark) = self.mark() {
            self.memory.update(|known| known.mark = Some(mark));
        } else if let Err(failure) = self.identify(ctx).await {
            tracing::warn!(repository = self.location(), "its id is not known: {failure}");
        }
    }

    async fn store_once(
        &self,
        request: &StoreRequest,
        parent: Option<&SnapshotId>,
        ctx: &StageContext,
    ) -> Result<StoredSnapshot, Failure> {
        let args = self.backup_args(request, parent);
        let progress = ctx.clone();
        let backup = self.exec(Op::Backup, args, ctx, move |stdout| {
            let mut summary = None;
            parse::lines(stdout, |line| match backup::line(line) {
                backup::Line::Progress(done, total) => {
                    progress.progress(done, Some(total).filter(|total| *total > 0));
                }
                backup::Line::Summary(found) => summary = Some(found),
                backup::Line::Other => {}
            })?;
            Ok(summary)
        });
        let ran = backup.await?;
        let unproven = |text: &str| {
            Failure::new(
                ErrorCode::SnapshotUnproven,
                format!("restic backup to {}: {text}", self.location()),
            )
            .with_detail(ran.output.stderr.clone())
        };
        let summary = ran.value.ok_or_else(|| unproven("it ended without a summary"))?;
        if summary.dry_run {
            return Err(unproven("it was a dry run, its snapshot does not exist"));
        }
        let id = SnapshotId::new(summary.snapshot_id.as_str())
            .ok_or_else(|| unproven("it named no snapshot"))?;
        let unread = backup::unread(&ran.output.stderr, ran.output.code == Some(3));
        let added = summary.data_added_packed.unwrap_or(summary.data_added);
        self.memory.update(|known| {
            known.fresh = false;
            known.bytes = known.bytes.map(|bytes| bytes.saturating_add(added));
        });
        Ok(StoredSnapshot {
            info: SnapshotInfo {
                id: self.whole_id(&id).unwrap_or(id),
                tags: request.part.tag_texts(),
                bytes_added: summary.data_added,
                files_new: summary.files_new,
                files_changed: summary.files_changed,
                files_unmodified: summary.files_unmodified,
                destination: None,
                archive: None,
            },
            unread,
            files_total: summary.total_files_processed,
            notes: Vec::new(),
        })
    }

    fn backup_args(&self, request: &StoreRequest, parent: Option<&SnapshotId>) -> Vec<OsString> {
        let mut args = args!["backup", "--json", "--host", &self.settings.host];
        for tag in request.part.tag_texts() {
            args.extend(args!["--tag", tag]);
        }
        if let Some(parent) = parent {
            args.extend(args!["--parent", parent.as_str()]);
        }
        for pattern in &request.exclude {
            args.push(format!("--exclude={pattern}").into());
        }
        // The patterns are meant for the assets: one like `*.zst` must not leave out the dump.
        if let Some((dump, _)) = &request.part.dump
            && !request.exclude.is_empty()
        {
            args.push(format!("--exclude=!{}", literal(dump)).into());
        }
        args.push("--".into());
        args.extend(sources(&request.part).into_iter().map(OsString::from));
        args
    }

    /// The newest snapshot with exactly these tags.
    async fn newest(
        &self,
        tags: &[String],
        ctx: &StageContext,
    ) -> Result<Option<SnapshotId>, Failure> {
        let fresh = self.memory.read().is_some_and(|known| known.fresh);
        if fresh || self.local_path().is_some_and(|path| is_empty(&path.join("snapshots"))) {
            return Ok(None);
        }
        let listed = self.list(tags, true, ctx).await?;
        let same = |snapshot: &Snapshot| {
            snapshot.tags.len() == tags.len() && tags.iter().all(|tag| snapshot.tags.contains(tag))
        };
        Ok(listed.into_iter().find(same).map(|snapshot| snapshot.id))
    }

    /// The snapshots with all of these tags, newest first; only the latest of each host and set of
    /// paths if `latest`.
    pub(crate) async fn list(
        &self,
        tags: &[String],
        latest: bool,
        ctx: &StageContext,
    ) -> Result<Vec<Snapshot>, Failure> {
        let mut args = args!["snapshots", "--json", "--no-lock", "--tag", tags.join(",")];
        if latest {
            args.extend(args!["--latest", "1"]);
        }
        let ran = self.exec(Op::Snapshots, args, ctx, |stdout| snapshots::read(stdout)).await?;
        ran.value.ok_or_else(|| {
            Failure::internal(format!("restic {} printed no list of snapshots", ran.version))
                .with_detail(ran.output.stderr)
        })
    }

    /// Runs a `forget`; where its word cannot be taken, what it removed is looked for again.
    pub(crate) async fn forget(
        &self,
        args: Vec<OsString>,
        ctx: &StageContext,
    ) -> Result<(Vec<SnapshotId>, u64, Option<u64>), Failure> {
        let ran = self.exec(Op::Forget, args, ctx, |stdout| forget::read(stdout)).await?;
        let forget::Forgotten { removed, kept, remaining } = ran.value;
        if ran.version.forget_may_lie() && !removed.is_empty() {
            let left = self.list(&[self.project_tag()], false, ctx).await?;
            let still = left.iter().filter(|s| removed.iter().any(|id| id.matches(&s.id))).count();
            if still > 0 {
                let text = format!("{still} of {} are still there", removed.len());
                return Err(not_deleted(self.location(), &text).with_detail(ran.output.stderr));
            }
        }
        Ok((removed, kept, remaining))
    }

    async fn restore_once(
        &self,
        request: &RestoreRequest,
        ctx: &StageContext,
    ) -> Result<(), Failure> {
        let mut args = args!["restore", request.snapshot.as_str(), "--target", &request.target];
        for path in &request.include {
            args.push(format!("--include={}", literal(path)).into());
        }
        // A repository on a read-only medium can still be restored from.
        let writable =
            |path: PathBuf| rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).is_ok();
        if self.local_path().is_some_and(|path| !writable(path.join("locks"))) {
            args.push("--no-lock".into());
        }
        self.exec(Op::Restore, args, ctx, |stdout| parse::lines(stdout, |_| {})).await?;
        Ok(())
    }

    async fn locks(&self, ctx: &StageContext) -> Result<Vec<String>, Failure> {
        let ran = self.exec(Op::ListLocks, args!["list", "locks", "--no-lock"], ctx, |stdout| {
            let mut ids = Vec::new();
            parse::lines(stdout, |line| ids.push(String::from_utf8_lossy(line).trim().to_owned()))?;
            ids.retain(|id| !id.is_empty());
            Ok(ids)
        });
        Ok(ran.await?.value)
    }

    /// The whole id of a snapshot that 0.14 names by 8 characters, where that costs no process.
    fn whole_id(&self, id: &SnapshotId) -> Option<SnapshotId> {
        let entries = fs::read_dir(self.local_path()?.join("snapshots")).ok()?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut matching = names.filter_map(SnapshotId::new).filter(|found| found.matches(id));
        let whole = matching.next()?;
        matching.next().is_none().then_some(whole)
    }

    /// The repository's size: measured where it is local, else what prune told or what is
    /// remembered from it.
    async fn repository_bytes(&self, remaining: Option<u64>) -> Option<u64> {
        let measured = match self.local_path().map(Path::to_owned) {
            Some(path) => spawn_blocking(move || walk::count(&path, None)).await.ok()?.ok(),
            None => None,
        };
        let known = measured.map(|count| count.bytes).or(remaining);
        if let Some(bytes) = known {
            self.memory.update(|memory| memory.bytes = Some(bytes));
        }
        known.or_else(|| self.memory.read()?.bytes)
    }

    fn unproven(&self, id: &SnapshotId, what: &str) -> Failure {
        let text = format!("snapshot {} in {} is not proven: {what}", id.short(), self.location());
        Failure::new(ErrorCode::SnapshotUnproven, text)
    }
}

/// The paths that restic is given: the part's, and behind an asset that is a symbolic link also
/// what it points to, for restic stores such a link and nothing more.
fn sources(part: &SyncPart) -> Vec<PathBuf> {
    let dump = part.dump.iter().map(|(path, _)| path.clone());
    dump.chain(with_link_targets(&part.assets)).collect()
}

fn keep_args(keep: &KeepPolicy) -> Vec<OsString> {
    let counted = [
        ("last", keep.last),
        ("hourly", keep.hourly),
        ("daily", keep.daily),
        ("weekly", keep.weekly),
        ("monthly", keep.monthly),
        ("yearly", keep.yearly),
    ];
    let counted = counted.into_iter().filter(|(_, count)| *count > 0);
    let counted = counted.map(|(unit, count)| format!("--keep-{unit}={count}").into());
    let within = keep.within.iter().map(|within| format!("--keep-within={within}").into());
    counted.chain(within).collect()
}

/// A path as a pattern of restic that matches itself alone.
fn literal(path: &Path) -> String {
    let mut out = String::new();
    for c in path.to_string_lossy().chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_becomes_its_options() {
        let keep = KeepPolicy {
            daily: 7,
            weekly: 4,
            within: Some("1y6m".to_owned()),
            ..KeepPolicy::default()
        };
        assert_eq!(keep_args(&keep), ["--keep-daily=7", "--keep-weekly=4", "--keep-within=1y6m"]);
    }

    #[test]
    fn a_path_as_a_pattern_matches_itself_alone() {
        assert_eq!(literal(Path::new("/a/[x]*?\\")), "/a/\\[x\\]\\*\\?\\\\");
    }

    #[test]
    fn what_an_asset_links_to_is_stored_too() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (real, link) = (root.join("releases/1"), root.join("current"));
        fs::create_dir_all(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let part = SyncPart { tags: vec![], dump: None, assets: vec![link.clone()] };
        assert_eq!(sources(&part), [link, real]);
    }
}
