//! Files of a snapshot, back on disk, decrypted and decompressed where asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use backupctl_domain::project::EncryptionType;
use backupctl_domain::tag::Tag;
use backupctl_domain::{DumpName, ErrorCode, Failure, Project, SnapshotId, Stage};
use tracing::info;

use crate::World;
use crate::context::{Cancel, StageContext};
use crate::ports::{RestoreRequest, RunQuery, Snapshot};

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
    /// A snapshot's id or its beginning; the newest if `None`.
    pub snapshot: Option<String>,
    /// The folder to restore into; made where it is missing.
    pub target: PathBuf,
    /// Only one part; both if `None`.
    pub only: Option<Only>,
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
    /// the one that was recorded.
    pub async fn execute(&self, options: &RestoreOptions) -> Result<RestoreOutcome, Failure> {
        self.check_target(options).await?;
        let (storage, _) = (self.world.registries.storage)(self.project)?;
        let all = storage.snapshots(&self.ctx).await?;
        let chosen = self.choose(&all, options)?;
        if options.decompress && options.only != Some(Only::Assets) {
            self.check_identity(&chosen).await?;
        }
        self.world.disk.ensure_dir(&options.target, true).await?;

        let mut outcome = RestoreOutcome::default();
        for snapshot in chosen {
            let dump = snapshot.paths.iter().find(|p| self.is_dump(p)).cloned();
            let assets: Vec<PathBuf> =
                snapshot.paths.iter().filter(|p| Some(*p) != dump.as_ref()).cloned().collect();
            let include = match options.only {
                None => Vec::new(),
                Some(Only::Db) => dump.clone().into_iter().collect(),
                Some(Only::Assets) => assets,
            };
            let request = RestoreRequest {
                snapshot: snapshot.id.clone(),
                target: options.target.clone(),
                include,
            };
            let restored = storage.restore(&request, &self.ctx).await;
            let report = restored.map_err(|mut failure| {
                let target = options.target.display();
                failure.message =
                    format!("{} (what is in {target} is incomplete)", failure.message);
                failure
            })?;
            info!(snapshot = %snapshot.id, files = report.files, "restored");
            outcome.snapshots.push(snapshot.id.clone());
            outcome.files += report.files;
            outcome.bytes += report.bytes;
            if let Some(dump) = dump.filter(|_| options.only != Some(Only::Assets)) {
                self.settle_dump(&dump, options, &mut outcome).await?;
            }
        }
        Ok(outcome)
    }

    /// What decrypts is looked for before anything is fetched: that may take a night.
    async fn check_identity(&self, chosen: &[&Snapshot]) -> Result<(), Failure> {
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

    async fn check_target(&self, options: &RestoreOptions) -> Result<(), Failure> {
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
        let name = &self.project.name;
        path.file_name().and_then(|n| n.to_str()).is_some_and(|n| {
            DumpName::parse(name, n).is_some() || DumpName::is_of_older_tool(name, n)
        })
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
            let wanted: Vec<&Snapshot> =
                all.iter().filter(|s| s.id.as_str().starts_with(id.as_str())).collect();
            let [snapshot] = wanted[..] else {
                return Err(not_found(match wanted.len() {
                    0 => format!("project {} has no snapshot {id}", self.project.name),
                    n => format!("{n} snapshots of project {} begin with {id}", self.project.name),
                }));
            };
            if !self.offers(snapshot, options.only) {
                return Err(not_found(format!(
                    "snapshot {} holds no {}",
                    snapshot.id.short(),
                    part_name(options.only)
                )));
            }
            return Ok(vec![snapshot]);
        }
        // Newest first, so the first with each kind of tag is that kind's newest.
        let Some(newest) = all.iter().find(|s| self.offers(s, options.only)) else {
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
            Some(Only::Db) => dumps > 0,
            Some(Only::Assets) => snapshot.paths.len() > dumps,
        }
    }

    /// Brings the dump to the top of the target, proves it, and opens it where asked for.
    async fn settle_dump(
        &self,
        path: &Path,
        options: &RestoreOptions,
        outcome: &mut RestoreOutcome,
    ) -> Result<(), Failure> {
        let restored = options.target.join(path.strip_prefix("/").unwrap_or(path));
        let name = path.file_name().unwrap_or_default();
        let mut file = options.target.join(name);
        self.world.cleanup.move_up(&restored, &file, &options.target).await?;
        outcome.checksum_proven = self.prove_checksum(&file, outcome).await?;
        if options.decompress {
            file = self.open(file, outcome).await?;
        }
        outcome.dump = Some(file);
        Ok(())
    }

    /// Compares with the checksum that the run recorded; false where no record is to be had.
    async fn prove_checksum(
        &self,
        file: &Path,
        outcome: &mut RestoreOutcome,
    ) -> Result<bool, Failure> {
        let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let Some(dump) = DumpName::parse(&self.project.name, name) else {
            outcome.notes.push("checksum not compared: the dump names no run".to_owned());
            return Ok(false);
        };
        let query = RunQuery {
            project: Some(self.project.name.clone()),
            id_prefix: Some(dump.run.clone()),
            ..RunQuery::default()
        };
        let runs = match self.world.audit.find_runs(&query).await {
            Ok(runs) => runs,
            Err(failure) => {
                outcome.notes.push(format!("checksum not compared: {}", failure.message));
                return Ok(false);
            }
        };
        let recorded = runs.iter().filter_map(|r| r.dump.as_ref()).find(|d| d.file.ends_with(name));
        let Some(recorded) = recorded else {
            outcome.notes.push("checksum not compared: no record of that run".to_owned());
            return Ok(false);
        };
        let found = self.world.unpacker.checksum(file, &self.ctx).await?;
        if found != recorded.checksum {
            return Err(Failure::new(
                ErrorCode::ChecksumMismatch,
                format!(
                    "{name} is not the file that was backed up: {found}, not {}",
                    recorded.checksum
                ),
            )
            .permanent());
        }
        Ok(true)
    }

    /// Decrypts and decompresses; what each step was made from is removed once it has succeeded.
    async fn open(&self, file: PathBuf, outcome: &mut RestoreOutcome) -> Result<PathBuf, Failure> {
        let mut file = file;
        let ext = file.extension().and_then(|e| e.to_str()).unwrap_or_default().to_owned();
        let kind =
            [EncryptionType::Age, EncryptionType::Gpg].into_iter().find(|k| k.extension() == ext);
        if let Some(kind) = kind {
            let encryptor = match &self.project.encryption {
                Some(encryption) if encryption.kind == kind => {
                    self.world.registries.encryptors.make(kind, self.project, encryption)?
                }
                _ => return Err(no_identity(kind)),
            };
            let plain = file.with_extension("");
            encryptor.decrypt(&file, &plain, &self.ctx).await?;
            self.world.cleanup.remove_file(&file).await?;
            file = plain;
        }
        if let Some(unpacked) = self.world.unpacker.unpack(&file, &self.ctx).await? {
            self.world.cleanup.remove_file(&file).await?;
            outcome.bytes = outcome.bytes.max(unpacked.bytes);
            file = unpacked.path;
        }
        Ok(file)
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
        "set `encryption.type` and `encryption.identity_file` of the project, or restore without \
         --decompress and decrypt by hand",
    )
}

fn kind(snapshot: &Snapshot) -> Option<Tag> {
    let tags = snapshot.tags.iter().filter_map(|t| Tag::parse(t));
    tags.into_iter().find(|t| !matches!(t, Tag::Project(_)))
}

const fn part_name(only: Option<Only>) -> &'static str {
    match only {
        None => "files",
        Some(Only::Db) => "database dump",
        Some(Only::Assets) => "assets",
    }
}
