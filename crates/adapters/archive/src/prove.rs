//! Reads an archive back from the disk and holds it against what was written.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use backupctl_adapter_stream::Watch;
use backupctl_application::ports::{StoredSnapshot, VerifyReport};
use backupctl_domain::manifest::listed;
use backupctl_domain::retention::Proof;
use backupctl_domain::sync::SyncPart;
use backupctl_domain::{ErrorCode, Failure, SnapshotId};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::Inner;
use crate::damage::{damaged, is_damage};
use crate::folder::{Folder, Found};
use crate::inspect::{Contents, Look, inspect};
use crate::intake::{Raw, raw};
use crate::manifest::Head;
use crate::memory::Known;

/// Two clocks that tell the time of two places are never further apart; an archive whose second was
/// taken has been named later.
const OTHER_ZONE: Duration = Duration::from_hours(16);

/// What reading an archive back has shown.
pub(crate) struct Checked {
    raw: Raw,
    /// What is in it, where it could be opened.
    contents: Option<Contents>,
    /// Whether its bytes were compared with a checksum.
    compared: bool,
}

impl Inner {
    /// Proves that the stored archive is whole and holds the part.
    pub(crate) fn prove(
        &self,
        stored: &StoredSnapshot,
        part: &SyncPart,
        watch: &Watch,
    ) -> Result<(), Failure> {
        watch.check()?;
        let unproven = |what: &str| {
            let archive = stored.info.archive.as_ref().map_or("the archive", |a| a.file.as_str());
            Failure::new(ErrorCode::SnapshotUnproven, format!("{archive} {what}"))
        };
        let Some((folder, found)) = self.find(&stored.info.id)? else {
            return Err(unproven("is not there any more"));
        };
        let name = found.name.to_string();
        let known = self.memory.known(&name);
        let recorded = known.as_ref().filter(|known| known.bytes == found.bytes);
        let info = stored.info.archive.as_ref();
        let info = info.filter(|info| Path::new(&info.file).ends_with(&name));
        let checksum = info
            .map(|info| info.checksum.clone())
            .or_else(|| recorded.map(|known| known.checksum.clone()));
        let checked = self.check(&folder, &found, checksum.as_deref(), &part.assets, watch)?;
        if checked.contents.is_none() && known.is_none() && checked.compared {
            // Nothing could be remembered and nothing opened; the bytes are still those that were written.
            return Ok(());
        }
        let dump = match (&checked.contents, &known) {
            (Some(contents), _) => {
                let opening = contents.opening.as_ref().and_then(|o| o.dump.clone());
                opening.zip(contents.dump)
            }
            (None, Some(known)) => known.dump.clone(),
            (None, None) => return Err(unproven("can be neither opened nor compared")),
        };
        if let Some((path, bytes)) = &part.dump {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            match dump {
                Some((held, size)) if held == name && size == *bytes => {}
                Some((held, size)) if held == name => {
                    let what = format!("holds {size} bytes of the dump {name}, not {bytes}");
                    return Err(unproven(&what));
                }
                _ => return Err(unproven(&format!("does not hold the dump {name}"))),
            }
        }
        let missing = part.assets.iter().find(|asset| match (&checked.contents, &known) {
            (Some(contents), _) => !holds(contents, asset, &part.assets),
            (None, Some(known)) => !known.assets.contains(asset),
            (None, None) => true,
        });
        if let Some(asset) = missing {
            return Err(unproven(&format!("does not hold {}", asset.display())));
        }
        self.memory.judge(&name, Proof::Proven, self.settings.clock.now());
        Ok(())
    }

    /// Reads an archive back, by whatever there is to compare it with.
    pub(crate) fn verify(&self, id: &SnapshotId, watch: &Watch) -> Result<VerifyReport, Failure> {
        watch.check()?;
        let Some((folder, found)) = self.find(id)? else { return Err(self.not_found(id)) };
        let checked = self.verify_found(&folder, &found, watch)?;
        let how = match (&checked.contents, checked.compared) {
            (Some(_), true) => {
                "every file was compared with the manifest, and the whole with the checksum of when it was written"
            }
            (Some(_), false) => "every file was compared with the manifest",
            (None, _) => "the whole was compared with the checksum of when it was written",
        };
        let contents = checked.contents.as_ref();
        let unread = contents.map(|contents| &contents.head.unread).filter(|all| !all.is_empty());
        let lacks = unread.map_or_else(String::new, |all| {
            format!("; it was made without all of {}, which could not be read", listed(all, 5))
        });
        let files = contents.map(|contents| contents.files);
        Ok(VerifyReport { bytes: checked.raw.bytes, files, how: format!("{how}{lacks}") })
    }

    /// The same for an archive that was found, and remembers what it has shown.
    pub(crate) fn verify_found(
        &self,
        folder: &Folder,
        found: &Found,
        watch: &Watch,
    ) -> Result<Checked, Failure> {
        let name = found.name.to_string();
        let known = self.memory.known(&name);
        if known.is_none() && !self.can_open(found) {
            let path = folder.path().join(&name);
            let message = format!(
                "{} cannot be checked: neither an identity that opens it is configured, nor is its \
                 checksum remembered on this machine",
                path.display()
            );
            return Err(Failure::new(ErrorCode::EncryptionKeyMissing, message).with_remedy(
                "set `encryption.identity_file` to the identity of one of its recipients",
            ));
        }
        let checksum = known.as_ref().map(|known| known.checksum.as_str());
        let checked = self.check(folder, found, checksum, &[], watch)?;
        let now = self.settings.clock.now();
        match (&known, &checked.contents) {
            (None, Some(Contents { opening: Some(opening), head, dump, .. })) => {
                let known = Known {
                    bytes: checked.raw.bytes,
                    parts: found.parts(),
                    checksum: checked.raw.checksum.clone(),
                    proof: Proof::Proven,
                    proven_at: Some(now),
                    run: head.run_id.clone(),
                    host: head.host.clone(),
                    dump: opening.dump.clone().zip(*dump),
                    assets: opening.assets.clone(),
                };
                self.memory.update(|memory| drop(memory.archives.insert(name, known)));
            }
            _ => self.memory.judge(&name, Proof::Proven, now),
        }
        Ok(checked)
    }

    /// Reads an archive from the disk, and what is in it where that can be seen. Damage is remembered.
    fn check(
        &self,
        folder: &Folder,
        found: &Found,
        checksum: Option<&str>,
        wanted: &[PathBuf],
        watch: &Watch,
    ) -> Result<Checked, Failure> {
        let checked = self.read_back(folder, found, checksum, wanted, watch);
        if let Err(failure) = &checked
            && is_damage(failure)
        {
            let name = found.name.to_string();
            self.memory.judge(&name, Proof::Damaged, self.settings.clock.now());
        }
        checked
    }

    fn read_back(
        &self,
        folder: &Folder,
        found: &Found,
        checksum: Option<&str>,
        wanted: &[PathBuf],
        watch: &Watch,
    ) -> Result<Checked, Failure> {
        let path = folder.path().join(found.name.to_string()).display().to_string();
        if let Some(part) = found.gap() {
            return Err(damaged(&path, &format!("its part {part} is missing")));
        }
        let (contents, raw) = match self.look_into(folder, found, wanted, watch) {
            Some(Ok((contents, raw))) => (Some(contents), raw),
            // The key may be another one than the archive's. Then its bytes decide, if they are known.
            Some(Err(failure)) if failure.code == ErrorCode::DecryptionFailed => {
                let checksum = checksum.ok_or_else(|| failure.clone())?;
                let raw = raw(folder, found, watch)?;
                if raw.checksum != checksum {
                    // In its middle the failure says where; before that it blames the key.
                    let what = "its bytes are not those that were written";
                    let begun = failure.message.contains("(while ");
                    return Err(if begun { failure } else { damaged(&path, what) });
                }
                (None, raw)
            }
            Some(Err(failure)) => return Err(failure),
            None => (None, raw(folder, found, watch)?),
        };
        if let Some(contents) = &contents {
            self.check_name(found, &contents.head, &path)?;
        }
        match checksum {
            Some(checksum) if checksum != raw.checksum => {
                Err(damaged(&path, "its bytes are not those that were written"))
            }
            checksum => Ok(Checked { raw, contents, compared: checksum.is_some() }),
        }
    }
}

impl Inner {
    /// Reads an archive from the disk, with what is in it; `None` where there is no key to it.
    fn look_into(
        &self,
        folder: &Folder,
        found: &Found,
        wanted: &[PathBuf],
        watch: &Watch,
    ) -> Option<Result<(Contents, Raw), Failure>> {
        self.can_open(found).then(|| {
            let scratch = self.scratch()?;
            let inside = Mutex::default();
            let intake = self.intake(folder, found, true)?;
            intake.read(true, watch, &inside, |reader| {
                inspect(reader, wanted, intake.path(), &scratch, &inside, &mut Look)
            })
        })
    }
}

impl Inner {
    /// Whether an archive is the one that its name says: a copy under another name proves nothing.
    pub(crate) fn check_name(&self, found: &Found, head: &Head, path: &str) -> Result<(), Failure> {
        if self.settings.project.as_str() != head.project {
            let ours = &self.settings.project;
            let what = format!("it is an archive of project {}, not {ours}", head.project);
            return Err(damaged(path, &what));
        }
        let Ok(made) = head.started_at.parse::<Timestamp>() else { return Ok(()) };
        let named = found.name.time.to_zoned(TimeZone::UTC).map(|named| named.timestamp());
        let apart = named.map(|named| named.duration_since(made).unsigned_abs());
        // The name is in the time zone of whoever wrote it.
        if apart.is_ok_and(|apart| apart > OTHER_ZONE) {
            let what = format!("it was made at {}, not when its name says", head.started_at);
            return Err(damaged(path, &what));
        }
        Ok(())
    }
}

/// Whether an archive holds an asset, or says why it does not.
fn holds(contents: &Contents, asset: &PathBuf, all: &[PathBuf]) -> bool {
    let listed = contents.opening.as_ref().is_some_and(|o| o.assets.contains(asset));
    let below = |other: &&PathBuf| asset.starts_with(other) && asset != *other;
    listed
        && (contents.present.contains(asset)
            || contents.head.absent.contains(asset)
            // What a pattern leaves out of the asset above it is left out.
            || all.iter().any(|other| below(&other))
            || asset.parent().is_none())
}
