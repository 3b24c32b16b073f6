//! Files of a snapshot, back on disk, decrypted and decompressed where asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use backupctl_domain::project::EncryptionType;
use backupctl_domain::retention::Proof;
use backupctl_domain::tag::Tag;
use backupctl_domain::{
    DestinationName, DumpInfo, DumpName, ErrorCode, Failure, Project, SnapshotId, Stage, plan,
};
use tracing::info;

use super::places::{Held, ask, unasked};
use super::snapshots::pick;
use crate::World;
use crate::context::{Cancel, StageContext};
use crate::ports::{RestoreRequest, RunQuery, Snapshot};
use crate::registry::Storage;

/// Which part of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// The database's dump.
    Db,
    /// The asset paths.
    Assets,
}

/// What to restore, and where to.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// A snapshot's id or its beginning, or the name of an archive file; the newest if `None`.
    pub snapshot: Option<String>,
    /// The destination to restore from; whichever has the snapshot if `None`.
    pub destination: Option<String>,
    /// The folder to restore into; made where it is missing.
    pub target: PathBuf,
    /// Only one part; both if `None`.
    pub only: Option<Only>,
    /// Only these files and folders, by their whole paths; all if empty.
    pub paths: Vec<PathBuf>,
    /// Whether the dump is decrypted and decompressed.
    pub decompress: bool,
    /// Whether a target that is not empty is written to.
    pub force: bool,
}

/// What a restore has brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreOutcome {
    /// The snapshots restored from.
    pub snapshots: Vec<SnapshotId>,
    /// The destination that they are at; `None` before anything came.
    pub destination: Option<DestinationName>,
    /// Files restored.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The dump, as it stands at the end.
    pub dump: Option<PathBuf>,
    /// Whether the dump's checksum was compared with its run's record, and matched.
    pub checksum_proven: bool,
    /// What should be known.
    pub notes: Vec<String>,
}

/// How far a restored dump is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// Not at all.
    AsStored,
    /// Decrypted.
    Decrypted,
    /// Decrypted and decompressed.
    Decompressed,
}

/// A restore of which is known where it comes from.
pub(super) struct Prepared {
    storage: Arc<Storage>,
    destination: DestinationName,
    /// The destinations that could not be asked, and the newer copies that are passed over.
    notes: Vec<String>,
    /// The snapshots, each of which has something that is wanted.
    pub(super) chosen: Vec<Snapshot>,
}

/// Restores.
pub struct Restore<'a> {
    world: &'a World,
    project: &'a Project,
    ctx: StageContext,
}

impl<'a> Restore<'a> {
    /// A use case for one project, its secrets resolved.
    pub fn new(world: &'a World, project: &'a Project, ctx: StageContext) -> Self {
        Self { world, project, ctx }
    }

    /// A context for a restore outside a run.
    pub fn context(project: &Project, cancel: Cancel) -> StageContext {
        StageContext::new(Stage::Sync, cancel, Arc::new(project.redactor()))
    }

    /// Restores. The dump stands at the top of the target; assets keep their whole paths below it.
    ///
    /// `PATH_NOT_WRITABLE` for a filled target without `force`; `SNAPSHOT_NOT_FOUND` where no
    /// snapshot, or nothing of the wanted part, is there; `CHECKSUM_MISMATCH` for a dump that is not
    /// the one that was recorded; `DISK_LOW` where what is to come is known to find no room.
    pub async fn execute(&self, options: &RestoreOptions) -> Result<RestoreOutcome, Failure> {
        self.check_target(options).await?;
        let prepared = self.prepare(options).await?;
        let dump_is_wanted = options.only != Some(Only::Assets) && options.paths.is_empty();
        let opened = if options.decompress && dump_is_wanted {
            self.check_identity(&prepared.chosen).await?;
            Opened::Decompressed
        } else {
            Opened::AsStored
        };
        self.bring(prepared, options, opened).await
    }

    /// Finds what is to be restored. Writes nothing.
    pub(super) async fn prepare(&self, options: &RestoreOptions) -> Result<Prepared, Failure> {
        let from = options.destination.as_deref();
        let (held, silent) = ask(self.world, self.project, from, &self.ctx).await?;
        let damaged: Vec<(&DestinationName, Snapshot)> = held
            .iter()
            .flat_map(|of| of.snapshots.iter().map(|s| (&of.at.name, s)))
            .filter(|(_, s)| s.proof == Some(Proof::Damaged))
            .map(|(name, s)| (name, s.clone()))
            .collect();
        let chosen = self.choose_destination(held, options).and_then(|of| {
            let chosen = if options.paths.is_empty() {
                self.choose(&of.snapshots, options)?
            } else {
                self.choose_by_paths(&of.snapshots, options)?
            };
            let chosen: Vec<Snapshot> = chosen.into_iter().cloned().collect();
            Ok((of.storage, of.at.name.clone(), chosen))
        });
        // What is not found may be where nobody could look.
        let (storage, destination, chosen) = chosen.map_err(|mut failure: Failure| {
            failure.message.push_str(&unasked(&silent));
            failure
        })?;
        let silent = silent.iter().map(|(at, failure)| {
            format!("{} could not be asked: {}: {}", at.name, failure.code, failure.message)
        });
        let newest = chosen.iter().map(|s| s.time).max();
        let passed_over = damaged.iter().filter(|(_, s)| {
            options.snapshot.is_none() && newest.is_some_and(|newest| s.time > newest)
        });
        let passed_over = passed_over.map(|(name, s)| {
            format!(
                "passed over, for it is damaged: the newer {} of {} at {name}",
                s.id.short(),
                s.time.to_zoned(self.world.settings.timezone.clone()).strftime("%F %T")
            )
        });
        let notes = silent.chain(passed_over).collect();
        Ok(Prepared { storage, destination, notes, chosen })
    }

    /// The destination to restore from: the one that has the snapshot that is named; else the one with
    /// the newest that has what is wanted, the first in the configuration's order of several.
    fn choose_destination<'p>(
        &self,
        mut held: Vec<Held<'p>>,
        options: &RestoreOptions,
    ) -> Result<Held<'p>, Failure> {
        let wanted = |of: &Held<'_>| {
            let offering = of.snapshots.iter().find(|s| {
                self.offers(s, options.only)
                    && options.paths.iter().all(|path| covers(s, path))
                    && s.proof != Some(Proof::Damaged)
            });
            offering.map(|s| s.time)
        };
        let place = match &options.snapshot {
            Some(id) => {
                let all: Vec<Snapshot> = held.iter().flat_map(|of| of.snapshots.clone()).collect();
                let found = pick(&all, &self.project.name, id)?;
                let has = |of: &Held<'_>, damaged: bool| {
                    let same = |s: &&Snapshot| s.id == found.id;
                    let whole = |s: &Snapshot| s.proof != Some(Proof::Damaged);
                    of.snapshots.iter().find(same).is_some_and(|s| damaged || whole(s))
                };
                let whole = held.iter().position(|of| has(of, false));
                whole.or_else(|| held.iter().position(|of| has(of, true)))
            }
            // Of equals `max_by_key` takes the last.
            None => (0..held.len()).rev().max_by_key(|i| wanted(&held[*i])),
        };
        let place = place.filter(|place| *place < held.len());
        let place = place.ok_or_else(|| Failure::internal("no destination was asked"))?;
        Ok(held.swap_remove(place))
    }

    /// Brings it to the target, which is empty or may be written to.
    pub(super) async fn bring(
        &self,
        prepared: Prepared,
        options: &RestoreOptions,
        opened: Opened,
    ) -> Result<RestoreOutcome, Failure> {
        let mut outcome = RestoreOutcome {
            destination: Some(prepared.destination.clone()),
            notes: prepared.notes.clone(),
            ..RestoreOutcome::default()
        };
        let mut dumps = Vec::new();
        for snapshot in &prepared.chosen {
            dumps.push(self.dump_of(snapshot, options, &mut outcome).await);
        }
        self.check_space(&prepared.chosen, &dumps, options, opened).await?;
        let disk = &self.world.disk;
        let made = disk.is_empty_dir(&options.target).await.is_none();
        disk.ensure_dir(&options.target, true).await?;

        for (snapshot, wanted) in prepared.chosen.iter().zip(dumps) {
            let dump = snapshot.paths.iter().find(|p| self.is_dump(p));
            let assets = snapshot.paths.iter().filter(|p| Some(*p) != dump).cloned();
            let include = match options.only {
                _ if !options.paths.is_empty() => {
                    options.paths.iter().filter(|p| covers(snapshot, p)).cloned().collect()
                }
                None => Vec::new(),
                Some(Only::Db) => dump.cloned().into_iter().collect(),
                Some(Only::Assets) => assets.collect(),
            };
            let request = RestoreRequest {
                snapshot: snapshot.id.clone(),
                target: options.target.clone(),
                include,
            };
            let restored = prepared.storage.remote.restore(&request, &self.ctx).await;
            let report = match restored {
                Ok(report) => report,
                Err(failure) => {
                    return Err(self.incomplete(failure, snapshot, options, made).await);
                }
            };
            info!(snapshot = %snapshot.id, files = report.files, "restored");
            outcome.snapshots.push(snapshot.id.clone());
            outcome.files += report.files;
            outcome.bytes += report.bytes;
            outcome.notes.extend(report.notes);
            if let Some(dump) = wanted {
                self.settle_dump(&dump, options, opened, &mut outcome).await?;
            }
        }
        Ok(outcome)
    }

    /// Where nothing has come yet, the folder that was made for it goes again.
    async fn incomplete(
        &self,
        mut failure: Failure,
        snapshot: &Snapshot,
        options: &RestoreOptions,
        made: bool,
    ) -> Failure {
        if failure.code == ErrorCode::SnapshotNotFound && !options.paths.is_empty() {
            failure.remedy = self.listing(snapshot);
        }
        let (disk, target) = (&self.world.disk, &options.target);
        if made && disk.remove_empty_dir(target).await {
            return failure;
        }
        if disk.is_empty_dir(target).await == Some(false) {
            failure.message =
                format!("{} (what is in {} is incomplete)", failure.message, target.display());
        }
        failure
    }

    fn listing(&self, snapshot: &Snapshot) -> String {
        if let Some(archive) = &snapshot.archive {
            return format!(
                "list what it holds with `tar --list` (decrypted and decompressed: {}), and name whole \
                 paths from `/` on",
                archive.display()
            );
        }
        format!(
            "list what it holds with `backupctl restic {} ls {}`, and name whole paths as they \
             stand there",
            self.project.name,
            snapshot.id.short()
        )
    }

    /// The dump that is wanted of a snapshot, with what its run has recorded of it.
    async fn dump_of(
        &self,
        snapshot: &Snapshot,
        options: &RestoreOptions,
        outcome: &mut RestoreOutcome,
    ) -> Option<WantedDump> {
        if options.only == Some(Only::Assets) || !options.paths.is_empty() {
            return None;
        }
        let path = snapshot.paths.iter().find(|p| self.is_dump(p))?.clone();
        let recorded = match self.recorded(&path).await {
            Ok(recorded) => Some(recorded),
            Err(why) => {
                outcome.notes.push(format!("checksum not compared: {why}"));
                None
            }
        };
        Some(WantedDump { path, recorded })
    }

    /// What a dump's run has recorded of it, or why that cannot be had.
    async fn recorded(&self, path: &Path) -> Result<DumpInfo, String> {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let dump = DumpName::parse(&self.project.name, name).ok_or("the dump names no run")?;
        let query = RunQuery {
            project: Some(self.project.name.clone()),
            id_prefix: Some(dump.run.clone()),
            ..RunQuery::default()
        };
        let runs = self.world.audit.find_runs(&query).await.map_err(|failure| failure.message)?;
        let mut recorded = runs.into_iter().filter_map(|r| r.dump);
        recorded.find(|d| d.file.ends_with(name)).ok_or_else(|| "no record of that run".to_owned())
    }

    /// Refuses what is known to find no room; what nobody knows the size of is let through.
    async fn check_space(
        &self,
        chosen: &[Snapshot],
        dumps: &[Option<WantedDump>],
        options: &RestoreOptions,
        opened: Opened,
    ) -> Result<(), Failure> {
        let whole = options.only.is_none() && options.paths.is_empty();
        let (mut total, mut largest) = (0_u64, 0_u64);
        for (snapshot, dump) in chosen.iter().zip(dumps) {
            let info = dump.as_ref().and_then(|d| d.recorded.as_ref());
            let stored = info.map_or(0, |d| d.bytes);
            let all = snapshot.bytes.filter(|_| whole).unwrap_or_default().max(stored);
            let beside = info.map_or(0, |d| beside(d, opened));
            total = total.saturating_add(all).saturating_add(beside);
            largest = largest.max(stored).max(beside);
        }
        // What is forced into a filled folder may take the place of what is there.
        if total == 0 || options.force {
            return Ok(());
        }
        let system = self.world.disk.file_system(&options.target).await?;
        plan::check_restore_space(
            system.free_bytes,
            system.max_file_bytes,
            total,
            largest,
            &options.target.display().to_string(),
        )
    }

    /// What decrypts is looked for before anything is fetched: that may take a night.
    pub(super) async fn check_identity(&self, chosen: &[Snapshot]) -> Result<(), Failure> {
        let paths = chosen.iter().flat_map(|s| &s.paths).filter(|p| self.is_dump(p));
        for ext in paths.filter_map(|p| p.extension()) {
            let kind = [EncryptionType::Age, EncryptionType::Gpg]
                .into_iter()
                .find(|k| ext == k.extension());
            let Some(kind) = kind else { continue };
            match self.project.encryption.as_ref().filter(|e| e.kind == kind) {
                Some(e) if kind == EncryptionType::Gpg || e.identity_file.is_some() => {
                    let encryptors = &self.world.registries.encryptors;
                    encryptors.make(kind, self.project, e)?.check_keys().await?;
                }
                _ => return Err(no_identity(kind)),
            }
        }
        Ok(())
    }

    pub(super) async fn check_target(&self, options: &RestoreOptions) -> Result<(), Failure> {
        match self.world.disk.is_empty_dir(&options.target).await {
            None | Some(true) => Ok(()),
            Some(false) if options.force => Ok(()),
            Some(false) => Err(Failure::new(
                ErrorCode::PathNotWritable,
                format!("the target {} is not empty", options.target.display()),
            )
            .with_remedy("name an empty or new folder, or add --force to write into this one")),
        }
    }

    fn is_dump(&self, path: &Path) -> bool {
        DumpName::is_dump_of(&self.project.name, path)
    }

    /// The snapshots to restore from: the one named, or the newest with the wanted part.
    fn choose<'s>(
        &self,
        all: &'s [Snapshot],
        options: &RestoreOptions,
    ) -> Result<Vec<&'s Snapshot>, Failure> {
        let not_found = |what: String| {
            Failure::new(ErrorCode::SnapshotNotFound, what).with_remedy(format!(
                "list what there is with `backupctl snapshots {}`",
                self.project.name
            ))
        };
        if let Some(id) = &options.snapshot {
            let snapshot = pick(all, &self.project.name, id)?;
            if !self.offers(snapshot, options.only) {
                return Err(not_found(format!(
                    "snapshot {} does not hold {}",
                    snapshot.id.short(),
                    part_name(options.only)
                )));
            }
            return Ok(vec![snapshot]);
        }
        // Newest first, so the first with each kind of tag is that kind's newest.
        let good = |s: &&Snapshot| s.proof != Some(Proof::Damaged);
        let offering = || all.iter().filter(|s| self.offers(s, options.only));
        let Some(newest) = offering().find(good).or_else(|| offering().next()) else {
            return Err(not_found(match options.only {
                None => format!("project {} has no snapshots", self.project.name),
                only => format!("no snapshot of {} holds {}", self.project.name, part_name(only)),
            }));
        };
        if kind(newest).is_none_or(|k| k == Tag::Combined) {
            return Ok(vec![newest]);
        }
        let mut seen = Vec::new();
        let mut chosen = Vec::new();
        for snapshot in all {
            let Some(tag) = kind(snapshot) else { continue };
            let wanted = match (&tag, options.only) {
                (Tag::Combined, _)
                | (Tag::Db, Some(Only::Assets))
                | (Tag::Assets(_), Some(Only::Db)) => false,
                // A path that is not configured any more has its last snapshot for ever.
                (Tag::Assets(path), _) => {
                    self.project.assets.paths.iter().any(|p| p == Path::new(path))
                }
                _ => true,
            };
            if wanted && !seen.contains(&tag) {
                seen.push(tag);
                chosen.push(snapshot);
            }
        }
        if chosen.is_empty() { Ok(vec![newest]) } else { Ok(chosen) }
    }

    fn offers(&self, snapshot: &Snapshot, only: Option<Only>) -> bool {
        let dumps = snapshot.paths.iter().filter(|p| self.is_dump(p)).count();
        match only {
            None => true,
            // An archive that cannot be opened here does not say what it holds.
            Some(_) if snapshot.paths.is_empty() => true,
            Some(Only::Db) => dumps > 0,
            Some(Only::Assets) => snapshot.paths.len() > dumps,
        }
    }

    /// Brings the dump to the top of the target, proves it, and opens it where asked for.
    async fn settle_dump(
        &self,
        dump: &WantedDump,
        options: &RestoreOptions,
        opened: Opened,
        outcome: &mut RestoreOutcome,
    ) -> Result<(), Failure> {
        let path = &dump.path;
        let restored = options.target.join(path.strip_prefix("/").unwrap_or(path));
        let name = path.file_name().unwrap_or_default();
        let mut file = options.target.join(name);
        self.world.cleanup.move_up(&restored, &file, &options.target).await?;
        if let Some(recorded) = &dump.recorded {
            self.prove_checksum(&file, recorded).await?;
            outcome.checksum_proven = true;
        }
        if opened != Opened::AsStored {
            file = self.decrypt(file).await?;
        }
        if opened == Opened::Decompressed {
            file = self.decompress(file, outcome).await?;
        }
        outcome.dump = Some(file);
        Ok(())
    }

    /// Compares with the checksum that the run recorded.
    async fn prove_checksum(&self, file: &Path, recorded: &DumpInfo) -> Result<(), Failure> {
        let found = self.world.unpacker.checksum(file, &self.ctx).await?;
        if found == recorded.checksum {
            return Ok(());
        }
        let name = file.file_name().unwrap_or_default().display();
        Err(Failure::new(
            ErrorCode::ChecksumMismatch,
            format!(
                "{name} is not the file that was backed up: {found}, not {}",
                recorded.checksum
            ),
        )
        .permanent())
    }

    /// Decrypts an encrypted file, and removes that once the whole has authenticated.
    async fn decrypt(&self, file: PathBuf) -> Result<PathBuf, Failure> {
        let ext = file.extension().and_then(|e| e.to_str()).unwrap_or_default().to_owned();
        let kind =
            [EncryptionType::Age, EncryptionType::Gpg].into_iter().find(|k| k.extension() == ext);
        let Some(kind) = kind else { return Ok(file) };
        let encryptor = match &self.project.encryption {
            Some(encryption) if encryption.kind == kind => {
                self.world.registries.encryptors.make(kind, self.project, encryption)?
            }
            _ => return Err(no_identity(kind)),
        };
        let plain = file.with_extension("");
        encryptor.decrypt(&file, &plain, &self.ctx).await?;
        self.world.cleanup.remove_file(&file).await?;
        Ok(plain)
    }

    /// Decompresses a compressed file, and removes that.
    async fn decompress(
        &self,
        file: PathBuf,
        outcome: &mut RestoreOutcome,
    ) -> Result<PathBuf, Failure> {
        let Some(unpacked) = self.world.unpacker.unpack(&file, &self.ctx).await? else {
            return Ok(file);
        };
        self.world.cleanup.remove_file(&file).await?;
        outcome.bytes = outcome.bytes.max(unpacked.bytes);
        Ok(unpacked.path)
    }

    /// The newest snapshot for each path that was asked for, or the one named. Where a path lies above
    /// what several snapshots of a run are made of, the newest of each of these.
    fn choose_by_paths<'s>(
        &self,
        all: &'s [Snapshot],
        options: &RestoreOptions,
    ) -> Result<Vec<&'s Snapshot>, Failure> {
        if options.snapshot.is_some() {
            let chosen = self.choose(all, &RestoreOptions { only: None, ..options.clone() })?;
            let missing = |path: &&PathBuf| !chosen.iter().any(|s| covers(s, path));
            return match (options.paths.iter().find(missing), chosen.first()) {
                (Some(path), Some(snapshot)) => {
                    Err(not_in(snapshot, path).with_remedy(self.listing(snapshot)))
                }
                _ => Ok(chosen),
            };
        }
        let mut chosen: Vec<&Snapshot> = Vec::new();
        for path in &options.paths {
            // Newest first. One that is about this very path, or what is around or below it.
            let good = |s: &&Snapshot| s.proof != Some(Proof::Damaged);
            let covering = || all.iter().filter(|s| covers(s, path));
            let Some(newest) = covering().find(good).or_else(|| covering().next()) else {
                let text = format!("no snapshot of {} holds {}", self.project.name, path.display());
                return Err(Failure::new(ErrorCode::SnapshotNotFound, text).with_remedy(format!(
                    "see what snapshots are made of with `backupctl snapshots {0}`, and list one \
                     with `backupctl restic {0} ls SNAPSHOT`",
                    self.project.name
                )));
            };
            for snapshot in std::iter::once(newest).chain(below(all, newest, path)) {
                if !chosen.iter().any(|s| s.id == snapshot.id) {
                    chosen.push(snapshot);
                }
            }
        }
        Ok(chosen)
    }
}

/// A dump to restore.
struct WantedDump {
    path: PathBuf,
    recorded: Option<DumpInfo>,
}

/// Whether a snapshot was made of something at, around or below the path.
fn covers(snapshot: &Snapshot, path: &Path) -> bool {
    snapshot.paths.is_empty()
        || snapshot.paths.iter().any(|source| path.starts_with(source) || source.starts_with(path))
}

/// Beside the newest snapshot that covers `path`: the newest of every other part that lies below it. A
/// combined one holds all of them itself, and so does one of a folder around the path.
fn below<'s>(all: &'s [Snapshot], newest: &'s Snapshot, path: &Path) -> Vec<&'s Snapshot> {
    let part = |snapshot: &Snapshot| {
        let is_below = snapshot.paths.iter().any(|p| p.starts_with(path) && p != path);
        kind(snapshot).filter(|tag| *tag != Tag::Combined && is_below)
    };
    let Some(first) = part(newest) else { return Vec::new() };
    let mut seen = vec![first];
    let mut found: Vec<&Snapshot> = vec![newest];
    for snapshot in all {
        let Some(tag) = part(snapshot) else { continue };
        // An older one of what a newer one holds would put old files over new ones.
        let is_held = found.iter().any(|f| snapshot.paths.iter().any(|p| covers(f, p)));
        if !seen.contains(&tag) && !is_held {
            seen.push(tag);
            found.push(snapshot);
        }
    }
    found
}

fn not_in(snapshot: &Snapshot, path: &Path) -> Failure {
    Failure::new(
        ErrorCode::SnapshotNotFound,
        format!("snapshot {} does not hold {}", snapshot.id.short(), path.display()),
    )
}

/// Bytes that stand on disk beside the stored dump while it is opened.
fn beside(dump: &DumpInfo, opened: Opened) -> u64 {
    let encrypted = [EncryptionType::Age, EncryptionType::Gpg]
        .iter()
        .any(|k| Path::new(&dump.file).extension().is_some_and(|e| e == k.extension()));
    match opened {
        Opened::Decrypted if encrypted => dump.bytes,
        Opened::AsStored | Opened::Decrypted => 0,
        Opened::Decompressed if encrypted => dump.bytes.max(dump.raw_bytes),
        Opened::Decompressed => dump.raw_bytes,
    }
}

fn no_identity(kind: EncryptionType) -> Failure {
    let name = kind.extension();
    Failure::new(
        ErrorCode::EncryptionKeyMissing,
        format!(
            "the dump is encrypted with {name}, and the project names nothing to decrypt it by"
        ),
    )
    .with_remedy(
        "set `encryption.type` and `encryption.identity_file` of the project, or decrypt by hand by the \
         commands of `--guide`: from a restic repository the dump comes back without --decompress; of \
         an archive the file itself is encrypted, and opened first",
    )
}

fn kind(snapshot: &Snapshot) -> Option<Tag> {
    let tags = snapshot.tags.iter().filter_map(|t| Tag::parse(t));
    tags.into_iter().find(|t| !matches!(t, Tag::Project(_)))
}

const fn part_name(only: Option<Only>) -> &'static str {
    match only {
        None => "files",
        Some(Only::Db) => "a database dump",
        Some(Only::Assets) => "assets",
    }
}
