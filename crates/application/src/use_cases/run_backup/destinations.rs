//! Stages 6 and 7, at each destination: everything is stored and proven, then what is too old goes.
//!
//! Each destination has its own attempts and its own end: what fails at one keeps no other from its
//! copy. The run is a success only if all went well at those that are required.

use std::path::PathBuf;

use backupctl_domain::sync::{SyncPart, sync_parts};
use backupctl_domain::{
    AssetRecord, AssetState, BackupRun, Destination, DestinationRecord, ErrorCode, Failure,
    RunError, RunStatus, SnapshotId, Stage, decisive_failure,
};

use super::pipeline::{Part, Shared};
use crate::ports::{RemoteStorage, StoreRequest};
use crate::use_cases::exclusive::freed_stale_lock;
use crate::use_cases::prune::thin_out;

impl Shared {
    /// Goes through the destinations; the stage has failed where it has at one that is required.
    pub(super) async fn run_at_destinations(&self, stage: Stage) -> Result<(), RunError> {
        if stage == Stage::Sync {
            self.begin_destinations();
        }
        let several = self.project.has_several_destinations();
        let named = |at: &Destination, text: String| {
            if several { format!("{}: {text}", at.name) } else { text }
        };
        let (mut messages, mut failures, mut most) = (Vec::new(), Vec::new(), 0);
        for (place, at) in self.project.destinations.iter().enumerate() {
            if stage == Stage::Prune && !self.record_of(place, |record| record.stored) {
                messages
                    .push(named(at, "nothing removed: the backup is not stored here".to_owned()));
                continue;
            }
            let (result, retries) = match self.tried(stage, place).await {
                Ok((message, retries)) => (Ok(message), retries),
                Err((failure, retries)) => (Err(failure), retries),
            };
            most = most.max(retries);
            if stage == Stage::Sync {
                self.record_of(place, |record| {
                    record.attempts = retries + 1;
                    record.stored = result.is_ok();
                });
            }
            let mut failure = match result {
                Ok(message) => {
                    messages.extend(message.map(|text| named(at, text)));
                    continue;
                }
                Err(failure) => failure,
            };
            let error = self.error_of(stage, retries, &failure);
            self.record_of(place, |record| record.error = Some(error));
            failure.message = named(at, failure.message);
            if failure.code == ErrorCode::Interrupted {
                return Err(self.fail_at(stage, retries, failure, at));
            }
            messages.push(failure.message.clone());
            failures.push((place, failure, retries));
        }
        let decisive = if stage == Stage::Sync {
            decisive_failure(&self.with(|a| a.run.destinations.clone()))
        } else {
            let mut places = failures.iter().map(|(place, ..)| *place);
            places.find(|place| self.project.destinations[*place].required)
        };
        let decisive = failures.iter().position(|(place, ..)| Some(*place) == decisive);
        let decisive = decisive.map(|at| failures.remove(at));
        for (place, failure, _) in failures {
            let what = if stage == Stage::Sync { "not stored" } else { "not pruned" };
            let optional = !self.project.destinations[place].required;
            let kind = if optional { "an optional destination" } else { "another destination" };
            let Failure { code, message, remedy, .. } = failure;
            let text = format!("{what} at {kind}: {message} ({code}; fix: {remedy})");
            // The notice of a failed run goes out anyway.
            if decisive.is_some() {
                self.note_warning(&text);
            } else {
                self.warn_people(&text).await;
            }
        }
        if let Some((place, mut failure, retries)) = decisive {
            failure.message.push_str(&self.stored_elsewhere(stage));
            return Err(self.fail_at(stage, retries, failure, &self.project.destinations[place]));
        }
        let message = Some(messages.join("; ")).filter(|text| !text.is_empty());
        self.finish_stage(stage, self.world.clock.now(), most + 1, Ok(message));
        Ok(())
    }

    /// A stage has failed at a destination.
    fn fail_at(&self, stage: Stage, retries: u32, failure: Failure, at: &Destination) -> RunError {
        let snapshot = self.with(|a| a.run.snapshot_at(&at.name).cloned());
        self.fail_with(stage, retries, failure, snapshot.as_ref())
    }

    /// Lists the destinations in the record, none of which has anything yet.
    fn begin_destinations(&self) {
        let record = |at: &Destination| DestinationRecord {
            name: at.name.clone(),
            kind: at.kind().to_owned(),
            required: at.required,
            location: self.redactor.redact(&at.location()),
            stored: false,
            attempts: 0,
            error: None,
            removed: None,
            kept: None,
            bytes: None,
        };
        let records: Vec<DestinationRecord> =
            self.project.destinations.iter().map(record).collect();
        self.with(|a| {
            a.parts = records.iter().map(|_| None).collect();
            a.run.destinations = records;
        });
    }

    /// Works on what is recorded of a destination.
    fn record_of<T: Default>(
        &self,
        place: usize,
        f: impl FnOnce(&mut DestinationRecord) -> T,
    ) -> T {
        self.with(|a| a.run.destinations.get_mut(place).map(f).unwrap_or_default())
    }

    /// Where the backup is all the same, for the text of a failed Sync.
    fn stored_elsewhere(&self, stage: Stage) -> String {
        let run = self.snapshot();
        let stored = run.destinations.iter().filter(|d| stage == Stage::Sync && d.stored);
        let stored: Vec<String> = stored
            .filter_map(|d| {
                Some(format!("{} has it as {}", d.name, run.snapshot_at(&d.name)?.short()))
            })
            .collect();
        if stored.is_empty() { String::new() } else { format!(" ({})", stored.join(", ")) }
    }

    /// Stores and proves everything at one destination.
    pub(super) async fn sync(&self, place: usize) -> Result<Option<String>, Failure> {
        let at = self.destination(place)?;
        let storage = self.world.registries.storage(&self.project, at)?;
        if self.with(|a| a.parts.get(place).is_none_or(Option::is_none)) {
            let assets = self.existing_assets().await;
            let dump = match self.with(|a| (a.dump.clone(), a.run.dump.clone())) {
                (Some(path), Some(info)) => Some((path, info.bytes)),
                _ => None,
            };
            let parts = sync_parts(&self.project.name, at.snapshot_mode(), dump, &assets)?;
            let part = |content| Part { content, stored: None, proven: false };
            let parts: Vec<Part> = parts.into_iter().map(part).collect();
            self.with(|a| {
                if let Some(of_place) = a.parts.get_mut(place) {
                    *of_place = Some(parts);
                }
            });
        }
        let count = self.with(|a| a.parts.get(place).and_then(Option::as_ref).map_or(0, Vec::len));
        let mut notes = Vec::new();
        for index in 0..count {
            notes.extend(self.sync_part(storage.remote.as_ref(), (place, index)).await?);
        }
        let snapshots = self.with(|a| a.run.snapshots.clone());
        let here: Vec<_> =
            snapshots.iter().filter(|s| s.destination.as_ref() == Some(&at.name)).collect();
        let ids: Vec<&str> = here.iter().map(|s| s.id.short()).collect();
        let what = if let Some(archive) = here.iter().find_map(|s| s.archive.as_ref()) {
            backupctl_domain::ByteSize(archive.bytes).to_string()
        } else {
            let reused: u64 = here.iter().map(|s| s.files_unmodified).sum();
            format!("{reused} files unmodified")
        };
        let notes =
            if notes.is_empty() { String::new() } else { format!("; {}", notes.join("; ")) };
        Ok(Some(format!("{} proven, {what}{notes}", ids.join(", "))))
    }

    fn destination(&self, place: usize) -> Result<&Destination, Failure> {
        let at = self.project.destinations.get(place);
        at.ok_or_else(|| Failure::internal("the project has no such destination"))
    }

    /// Stores and proves one part; what an earlier attempt has done of it stands. Returns what was left
    /// out by design.
    async fn sync_part(
        &self,
        storage: &dyn RemoteStorage,
        (place, index): (usize, usize),
    ) -> Result<Vec<String>, Failure> {
        let Some(Part { content: part, stored, proven }) = self.part((place, index), |p| p.clone())
        else {
            return Err(Failure::internal("a part of the snapshot is gone"));
        };
        let at = self.destination(place)?;
        let ctx = self.context(Stage::Sync);
        let stored = if let Some(stored) = stored {
            stored
        } else {
            let has_dump = part.dump.is_some();
            let request = StoreRequest {
                parent: self.parent_of(at, &part),
                exclude: self.project.assets.exclude.clone(),
                part: part.clone(),
                run: self.run_id,
                started_at: self.started_at,
                dump: self.with(|a| a.run.dump.clone()).filter(|_| has_dump),
            };
            let mut stored = match storage.store(&request, &ctx).await {
                Err(f)
                    if freed_stale_lock(storage, &f, &ctx).await
                        || self.freed_room(storage, at, &f).await =>
                {
                    storage.store(&request, &ctx).await?
                }
                other => other?,
            };
            stored.info.destination = Some(at.name.clone());
            self.with(|a| a.run.snapshots.push(stored.info.clone()));
            self.part((place, index), |p| p.stored = Some(stored.clone()));
            self.judge_unread(at, &stored.info.id, &stored.unread).await?;
            stored
        };
        if !proven {
            storage.prove(&stored, &part, &ctx).await?;
            self.part((place, index), |p| p.proven = true);
        }
        Ok(stored.notes)
    }

    /// Whether a disk that is too full for an archive has room again: retention has its turn behind a
    /// backup, which would never come again where what is too old takes the room of the new.
    async fn freed_room(
        &self,
        storage: &dyn RemoteStorage,
        at: &Destination,
        failure: &Failure,
    ) -> bool {
        let full = matches!(failure.code, ErrorCode::DiskLow | ErrorCode::DiskFull);
        if !full || at.archive().is_none() || !self.with(|a| a.assets_lost.is_empty()) {
            return false;
        }
        match thin_out(storage, &at.keep, &self.context(Stage::Prune)).await {
            Ok(report) if !report.removed.is_empty() => {
                let removed = report.removed.len();
                self.note_warning(&format!(
                    "{}: {removed} archives that retention no longer keeps were removed before the \
                     backup, for there was no room ({})",
                    at.name, failure.message
                ));
                true
            }
            Ok(_) => false,
            Err(failure) => {
                self.note_warning(&format!("{}: no room made: {}", at.name, failure.message));
                false
            }
        }
    }

    /// Works on what is known of a part of a destination.
    fn part<T>(&self, (place, index): (usize, usize), f: impl FnOnce(&mut Part) -> T) -> Option<T> {
        self.with(|a| a.parts.get_mut(place)?.as_mut()?.get_mut(index).map(f))
    }

    async fn judge_unread(
        &self,
        at: &Destination,
        snapshot: &SnapshotId,
        unread: &[String],
    ) -> Result<(), Failure> {
        if unread.is_empty() {
            return Ok(());
        }
        let paths = backupctl_domain::manifest::listed(unread, 5);
        let one = unread.len() == 1;
        let message = format!(
            "{} could not be read: {paths} (snapshot {} is stored without {} or with only a part of {})",
            if one { "a source" } else { "some sources" },
            snapshot.short(),
            if one { "it" } else { "them" },
            if one { "it" } else { "them" },
        );
        if at.allows_incomplete() {
            self.warn_people(&message).await;
            return Ok(());
        }
        // The catalog names the keys of both kinds.
        let kind = at.kind();
        Err(Failure::new(ErrorCode::SourceIncomplete, message).with_remedy(format!(
            "give backupctl read access to the paths in the message, list them in `assets.exclude`, or \
             accept gaps with `{kind}.allow_incomplete: true`"
        )))
    }

    /// The newest snapshot of an earlier run with the same tags at the same destination.
    fn parent_of(&self, at: &Destination, part: &SyncPart) -> Option<SnapshotId> {
        let tags = part.tag_texts();
        self.with(|a| {
            let snapshots = a.history.iter().flat_map(|r: &BackupRun| r.snapshots.iter());
            // Records of versions that knew one destination name none.
            let here = |s: &&backupctl_domain::SnapshotInfo| {
                s.tags == tags && s.destination.as_ref().is_none_or(|name| *name == at.name)
            };
            snapshots.filter(here).map(|s| s.id.clone()).next()
        })
    }

    /// The asset paths that are there; the others, and suspiciously empty ones, are told.
    async fn existing_assets(&self) -> Vec<PathBuf> {
        if let Some(known) = self.with(|a| a.assets.clone()) {
            return known;
        }
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
        self.with(|a| a.assets = Some(existing.clone()));
        existing
    }

    pub(super) async fn prune(&self, place: usize) -> Result<Option<String>, Failure> {
        let at = self.destination(place)?;
        let lost = self.with(|a| a.assets_lost.join(", "));
        if !lost.is_empty() {
            let message = format!("nothing removed: {lost} was there at the last backup");
            let warning = format!("old snapshots are kept this time: {lost} has vanished");
            if !self.with(|a| a.run.warnings.contains(&warning)) {
                self.note_warning(&warning);
            }
            return Ok(Some(message));
        }
        let storage = self.world.registries.storage(&self.project, at)?;
        let ctx = self.context(Stage::Prune);
        let report = thin_out(storage.remote.as_ref(), &at.keep, &ctx).await?;
        // Retention that removes what was stored a moment ago is worse than none.
        let own = self.with(|a| a.run.snapshots.clone());
        let own = own.iter().filter(|s| s.destination.as_ref() == Some(&at.name));
        let removed = |id: &SnapshotId| report.removed.iter().any(|r| r.matches(id));
        if let Some(lost) = own.map(|s| &s.id).find(|id| removed(id)) {
            return Err(Failure::internal(format!(
                "retention removed the new snapshot {}",
                lost.short()
            )));
        }
        self.record_of(place, |record| {
            record.removed = Some(report.removed.len() as u64);
            record.kept = Some(report.kept);
            record.bytes = report.repository_bytes;
        });
        self.with(|a| a.run.repository_bytes = a.run.repository_bytes.or(report.repository_bytes));
        for warning in &report.warnings {
            self.warn_people(warning).await;
        }
        Ok(Some(format!("{} removed, {} kept", report.removed.len(), report.kept)))
    }
}
