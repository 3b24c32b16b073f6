//! The work of stages 2 to 9: each is one call of a port, prepared and taken note of.

use std::path::PathBuf;

use backupctl_domain::manifest::Completeness;
use backupctl_domain::plan::{self, Space};
use backupctl_domain::sync::{SyncPart, sync_parts};
use backupctl_domain::{
    AssetRecord, AssetState, BackupRun, DumpName, ErrorCode, Failure, RunStatus, SnapshotId, Stage,
    human,
};
use tracing::warn;

use super::pipeline::{Part, Shared};
use crate::context::RunEvent;
use crate::ports::{
    DumpRequest, HookCall, HookKind, RemoteStorage, RunQuery, StoreRequest, VerifyRequest,
};
use crate::use_cases::exclusive::freed_stale_lock;
use crate::use_cases::prune::{kept_text, remove_old_dumps, thin_out};

/// How many earlier runs are looked at for a parent snapshot and the last dump's size.
const HISTORY: u32 = 10;

impl Shared {
    /// Reads what earlier runs have left: estimates and parents. Without an audit there is none.
    pub(super) async fn load_history(&self) {
        let query = RunQuery {
            project: Some(self.project.name.clone()),
            limit: Some(HISTORY),
            ..RunQuery::default()
        };
        match self.world.audit.find_runs(&query).await {
            Ok(runs) => {
                self.with(|a| {
                    a.history = runs.into_iter().filter(|r| r.run_id != self.run_id).collect();
                });
            }
            Err(failure) => warn!(
                run.id = %self.run_id, error.code = %failure.code,
                "earlier runs are not known: {}", failure.message
            ),
        }
    }

    pub(super) async fn pre_hook(&self) -> Result<Option<String>, Failure> {
        self.hook(HookKind::PreBackup, self.project.hooks.pre_backup.as_deref()).await
    }

    pub(super) async fn post_hook(&self) -> Result<Option<String>, Failure> {
        self.hook(HookKind::PostBackup, self.project.hooks.post_backup.as_deref()).await
    }

    async fn hook(&self, kind: HookKind, command: Option<&str>) -> Result<Option<String>, Failure> {
        let Some(command) = command else { return Ok(None) };
        let stage = if kind == HookKind::PreBackup { Stage::PreHook } else { Stage::PostHook };
        let call = self.hook_call(kind, command, stage, None);
        let output = self.world.hooks.execute(&call, &self.context(stage)).await?;
        let tail = output.tail.trim_end();
        Ok((!tail.is_empty()).then(|| tail.to_owned()))
    }

    /// A hook with the environment that the configuration reference promises.
    pub(super) fn hook_call(
        &self,
        kind: HookKind,
        command: &str,
        stage: Stage,
        error: Option<ErrorCode>,
    ) -> HookCall {
        let status = match kind {
            HookKind::PreBackup => "started",
            _ if error.is_some() => "failed",
            _ => "success",
        };
        let dump = self.with(|a| a.dump.clone());
        let dump = dump.map(|d| d.to_string_lossy().into_owned()).unwrap_or_default();
        let code = error.map(|c| c.as_str().to_owned()).unwrap_or_default();
        let env = [
            ("BACKUPCTL_PROJECT", self.project.name.to_string()),
            ("BACKUPCTL_RUN_ID", self.run_id.to_string()),
            ("BACKUPCTL_STATUS", status.to_owned()),
            ("BACKUPCTL_STAGE", stage.name().to_owned()),
            ("BACKUPCTL_DUMP_FILE", dump),
            ("BACKUPCTL_ERROR_CODE", code),
        ];
        let hooks = &self.project.hooks;
        let named = hooks.env.iter();
        let named = named.filter_map(|(k, v)| Some((k.clone(), v.expose().ok()?.to_owned())));
        HookCall {
            kind,
            command: command.to_owned(),
            timeout: hooks.timeout,
            env: env.map(|(k, v)| (k.to_owned(), v)).into_iter().chain(named).collect(),
        }
    }

    pub(super) async fn dump(&self) -> Result<Option<String>, Failure> {
        let Some(dumper) = self.world.registries.dumper(&self.project)? else { return Ok(None) };
        let settings = &self.world.settings;
        let dir = settings.project_dir(&self.project.name);
        self.world.disk.ensure_dir(&dir, false).await?;
        let disk = self.world.disk.file_system(&dir).await?;
        let last = self.with(|a| {
            let last = a.history.iter().find(|r| r.status == RunStatus::Success);
            last.and_then(|r| r.dump.clone())
        });
        let (previous, before) =
            (last.as_ref().map(|d| d.bytes), last.as_ref().map(|d| d.raw_bytes));
        let expected = previous.map(|p| plan::expected_dump(p, self.project.encryption.is_some()));
        let space = Space {
            free: disk.free_bytes,
            min_free: settings.min_free_bytes,
            max_file: disk.max_file_bytes,
            largest: expected.map(|(file, _)| file),
            total: expected.map(|(_, total)| total),
        };
        plan::check_space(space, &dir.to_string_lossy())?;
        let time = self.started_at.to_zoned(settings.timezone.clone()).datetime();
        let request = DumpRequest {
            dir,
            name: DumpName {
                project: self.project.name.clone(),
                time,
                run: self.run_id.short(),
                ext: String::new(),
            },
            compression: self.project.compression,
            timeout: self.project.database.as_ref().and_then(|d| d.dump_timeout),
            max_bytes: self.writable(disk.free_bytes),
        };
        let dumped = dumper.dump(&request, &self.context(Stage::Dump)).await?;
        let message = format!(
            "{}, {} before compression",
            human::ByteSize(dumped.info.bytes),
            human::ByteSize(dumped.info.raw_bytes)
        );
        self.with(|a| {
            a.dump = Some(dumped.path.clone());
            a.run.dump = Some(dumped.info.clone());
        });
        let empty = dumped.completeness == Completeness::NothingInDatabase;
        let shrunk = before.and_then(|b| plan::judge_shrinking(b, dumped.info.raw_bytes, empty));
        for warning in dumped.warnings.iter().chain(&shrunk.transpose()?) {
            self.warn_people(warning).await;
        }
        Ok(Some(message))
    }

    /// How much of what is free may be written: the reserve is kept while writing too. Without one
    /// the disk itself is the limit.
    fn writable(&self, free: u64) -> Option<u64> {
        let reserve = self.world.settings.min_free_bytes;
        (reserve > 0).then(|| free.saturating_sub(reserve))
    }

    pub(super) async fn verify(&self) -> Result<Option<String>, Failure> {
        let Some(dumper) = self.world.registries.dumper(&self.project)? else { return Ok(None) };
        let (Some(path), Some(info)) = self.with(|a| (a.dump.clone(), a.run.dump.clone())) else {
            return Err(Failure::internal("there is no dump to verify"));
        };
        let timeout = self.project.database.as_ref().and_then(|d| d.dump_timeout);
        let free = self.world.disk.file_system(&path).await?.free_bytes;
        let request = VerifyRequest { path, info, timeout, max_bytes: self.writable(free) };
        dumper.verify(&request, &self.context(Stage::Verify)).await?;
        Ok(Some("whole file read back and proven".to_owned()))
    }

    /// Removes a dump that was proven bad: left there it would pass for the newest good one.
    pub(super) async fn discard_condemned_dump(&self, code: ErrorCode) {
        if !plan::condemns_dump(code) {
            return;
        }
        let Some(path) = self.with(|a| a.dump.take()) else { return };
        if let Err(failure) = self.world.cleanup.remove_file(&path).await {
            warn!(run.id = %self.run_id, "the bad dump stays: {}", failure.full_message());
        }
    }

    /// Removes a plain dump that could not be encrypted.
    pub(super) async fn discard_plain_dump(&self) {
        let Some(path) = self.with(|a| a.dump.take()) else { return };
        match self.world.cleanup.remove_file(&path).await {
            Ok(()) => self.with(|a| a.run.dump = None),
            Err(failure) => self.note_warning(&format!(
                "the unencrypted dump {} stays: {}",
                path.display(),
                failure.message
            )),
        }
    }

    pub(super) async fn encrypt(&self) -> Result<Option<String>, Failure> {
        let Some(encryptor) = self.world.registries.encryptor(&self.project)? else {
            return Ok(None);
        };
        let Some(plain) = self.with(|a| a.dump.clone()) else {
            return Err(Failure::internal("there is no dump to encrypt"));
        };
        let done = self.with(|a| a.encrypted.clone());
        let file = if let Some(file) = done {
            file
        } else {
            let disk = self.world.disk.file_system(&plain).await?;
            let size = self.world.disk.file_size(&plain).await.unwrap_or_default();
            let space = Space {
                free: disk.free_bytes,
                min_free: self.world.settings.min_free_bytes,
                max_file: disk.max_file_bytes,
                largest: Some(size),
                total: Some(size),
            };
            plan::check_space(space, &plain.to_string_lossy())?;
            let file = encryptor.encrypt(&plain, &self.context(Stage::Encrypt)).await?;
            self.with(|a| a.encrypted = Some(file.clone()));
            file
        };
        self.world.cleanup.remove_file(&plain).await?;
        self.with(|a| {
            a.dump = Some(file.path.clone());
            a.encrypted = None;
            if let Some(dump) = &mut a.run.dump {
                dump.file = file.path.to_string_lossy().into_owned();
                dump.bytes = file.bytes;
                dump.checksum.clone_from(&file.checksum);
            }
        });
        Ok(None)
    }

    pub(super) async fn sync(&self) -> Result<Option<String>, Failure> {
        let (storage, _) = (self.world.registries.storage)(&self.project)?;
        if self.with(|a| a.parts.is_none()) {
            let assets = self.existing_assets().await;
            let dump = match self.with(|a| (a.dump.clone(), a.run.dump.clone())) {
                (Some(path), Some(info)) => Some((path, info.bytes)),
                _ => None,
            };
            let mode = self.project.restic.snapshot_mode;
            let parts = sync_parts(&self.project.name, mode, dump, &assets)?;
            let parts =
                parts.into_iter().map(|content| Part { content, stored: None, proven: false });
            self.with(|a| a.parts = Some(parts.collect()));
        }
        let count = self.with(|a| a.parts.as_ref().map_or(0, Vec::len));
        for index in 0..count {
            self.sync_part(storage.as_ref(), index).await?;
        }
        let snapshots = self.with(|a| a.run.snapshots.clone());
        let ids: Vec<&str> = snapshots.iter().map(|s| s.id.short()).collect();
        let reused: u64 = snapshots.iter().map(|s| s.files_unmodified).sum();
        Ok(Some(format!("{} proven, {reused} files unmodified", ids.join(", "))))
    }

    /// Stores and proves one part; what an earlier attempt has done of it stands.
    async fn sync_part(&self, storage: &dyn RemoteStorage, index: usize) -> Result<(), Failure> {
        let Some(Part { content: part, stored, proven }) =
            self.with(|a| a.parts.as_ref().and_then(|p| p.get(index)).cloned())
        else {
            return Err(Failure::internal("a part of the snapshot is gone"));
        };
        let ctx = self.context(Stage::Sync);
        let stored = if let Some(stored) = stored {
            stored
        } else {
            let request = StoreRequest {
                parent: self.parent_of(&part),
                exclude: self.project.assets.exclude.clone(),
                part: part.clone(),
            };
            let stored = match storage.store(&request, &ctx).await {
                Err(f) if freed_stale_lock(storage, &f, &ctx).await => {
                    storage.store(&request, &ctx).await?
                }
                other => other?,
            };
            self.with(|a| {
                a.run.snapshots.push(stored.info.clone());
                if let Some(p) = a.parts.as_mut().and_then(|p| p.get_mut(index)) {
                    p.stored = Some(stored.clone());
                }
            });
            self.judge_unread(&stored.info.id, &stored.unread).await?;
            stored
        };
        if !proven {
            storage.prove(&stored, &part, &ctx).await?;
            self.with(|a| {
                if let Some(p) = a.parts.as_mut().and_then(|p| p.get_mut(index)) {
                    p.proven = true;
                }
            });
        }
        Ok(())
    }

    async fn judge_unread(&self, snapshot: &SnapshotId, unread: &[String]) -> Result<(), Failure> {
        if unread.is_empty() {
            return Ok(());
        }
        let paths = backupctl_domain::manifest::listed(unread, 5);
        let message = format!(
            "{} could not be read: {paths} (snapshot {} is stored without)",
            if unread.len() == 1 { "a source" } else { "some sources" },
            snapshot.short()
        );
        if self.project.restic.allow_incomplete {
            self.warn_people(&message).await;
            return Ok(());
        }
        Err(Failure::new(ErrorCode::SourceIncomplete, message))
    }

    /// The newest snapshot of an earlier run with the same tags.
    fn parent_of(&self, part: &SyncPart) -> Option<SnapshotId> {
        let tags = part.tag_texts();
        self.with(|a| {
            let snapshots = a.history.iter().flat_map(|r: &BackupRun| r.snapshots.iter());
            snapshots.filter(|s| s.tags == tags).map(|s| s.id.clone()).next()
        })
    }

    /// The asset paths that are there; the others, and suspiciously empty ones, are told.
    async fn existing_assets(&self) -> Vec<PathBuf> {
        let mut existing = Vec::new();
        let before: Vec<Vec<AssetRecord>> = self.with(|a| {
            let good = a.history.iter().filter(|r| r.status == RunStatus::Success);
            good.map(|r| r.assets.clone()).collect()
        });
        for path in &self.project.assets.paths {
            let shown = path.to_string_lossy().into_owned();
            let state = match self.world.disk.is_empty_dir(path).await {
                None => AssetState::Missing,
                Some(true) => AssetState::Empty,
                Some(false) => AssetState::Present,
            };
            self.with(|a| a.run.assets.push(AssetRecord { path: shown.clone(), state }));
            let present = |assets: &Vec<AssetRecord>| {
                assets.iter().any(|a| a.path == shown && a.state == AssetState::Present)
            };
            // What was there at the last backup and is not now may be an unmounted disk: nothing old
            // is removed on that account today.
            if state != AssetState::Present && before.first().is_some_and(present) {
                self.with(|a| a.assets_lost.push(shown.clone()));
            }
            if state == AssetState::Missing {
                self.warn_people(&format!("Asset path not found: {shown}")).await;
                continue;
            }
            if state == AssetState::Empty && before.iter().any(present) {
                self.warn_people(&format!(
                    "Asset path is empty and has had files: {shown} (is its disk mounted?)"
                ))
                .await;
            }
            existing.push(path.clone());
        }
        existing
    }

    pub(super) async fn prune(&self) -> Result<Option<String>, Failure> {
        let lost = self.with(|a| a.assets_lost.join(", "));
        if !lost.is_empty() {
            let message = format!("nothing removed: {lost} was there at the last backup");
            self.note_warning(&format!("old snapshots are kept this time: {lost} has vanished"));
            return Ok(Some(message));
        }
        let (storage, _) = (self.world.registries.storage)(&self.project)?;
        let ctx = self.context(Stage::Prune);
        let keep = &self.project.retention.keep;
        let report = thin_out(storage.as_ref(), keep, &ctx).await?;
        // Retention that removes what was stored a moment ago is worse than none.
        let own = self.with(|a| a.run.snapshots.iter().map(|s| s.id.clone()).collect::<Vec<_>>());
        if let Some(lost) = own.iter().find(|id| report.removed.iter().any(|r| r.matches(id))) {
            return Err(Failure::internal(format!(
                "retention removed the new snapshot {}",
                lost.short()
            )));
        }
        self.with(|a| a.run.repository_bytes = report.repository_bytes);
        Ok(Some(format!("{} removed, {} kept", report.removed.len(), report.kept)))
    }

    pub(super) async fn cleanup(&self) -> Result<Option<String>, Failure> {
        let report = remove_old_dumps(&self.world, &self.project).await?;
        let kept = match report.kept.len() {
            0 => String::new(),
            _ => format!("; {}", kept_text(&report)),
        };
        Ok(Some(format!(
            "{} old dumps removed, {} freed{kept}",
            report.removed.len(),
            human::ByteSize(report.freed_bytes)
        )))
    }

    /// Step 1's second half: a monitor that knows of beginnings is told of one.
    pub(super) async fn beat_start(&self) {
        let Ok(Some(monitor)) = self.world.registries.monitor(&self.project) else { return };
        if let Err(failure) = monitor.send(&crate::ports::Heartbeat::Start).await {
            let message = format!("heartbeat start not delivered: {}", failure.message);
            warn!(run.id = %self.run_id, error.code = %failure.code, "{message}");
            self.observer.event(&RunEvent::Warning { message });
        }
    }
}
