//! Thins out archives, and never lets a damaged one stand for a good one.

use backupctl_adapter_stream::Watch;
use backupctl_application::ports::{FileSystem, PruneReport};
use backupctl_domain::manifest::listed;
use backupctl_domain::retention::{ArchiveCopy, KeepPolicy, Proof, expired_archives};
use backupctl_domain::{ErrorCode, Failure, SnapshotId};

use crate::Inner;
use crate::damage::{is_damage, is_unreadable};
use crate::failure::{visible, write_failure};
use crate::folder::{Folder, Found};
use crate::list::id_of;

impl Inner {
    /// Removes what the policy does not keep.
    pub(crate) fn prune(
        &self,
        keep: &KeepPolicy,
        system: &FileSystem,
        watch: &Watch,
    ) -> Result<PruneReport, Failure> {
        watch.check()?;
        let Some(folder) = self.open_folder()? else { return Ok(PruneReport::default()) };
        let device = visible(&system.device);
        let all = self.archives(&folder)?;
        let (expired, warnings) = self.judge(&folder, &all, keep, watch)?;
        let mut report = PruneReport { warnings, ..PruneReport::default() };
        let mut bytes = 0;
        for (place, found) in all.iter().enumerate() {
            if expired.contains(&place) {
                watch.check()?;
                self.remove(&folder, found, device)?;
                report.removed.push(id_of(&found.name)?);
            } else {
                bytes += found.bytes;
                report.kept += 1;
            }
        }
        report.repository_bytes = Some(bytes);
        Ok(report)
    }

    /// Which archives may go, by their places. Before a good one goes for it, the newest of those that
    /// stay is read back, unless it is the one that was proven last. What nothing shows to be ours stays.
    fn judge(
        &self,
        folder: &Folder,
        all: &[Found],
        keep: &KeepPolicy,
        watch: &Watch,
    ) -> Result<(Vec<usize>, Vec<String>), Failure> {
        let settings = &self.settings;
        let now = settings.clock.now().to_zoned(settings.timezone.clone()).datetime();
        let memory = self.memory.read();
        let copy = |found: &Found| {
            let name = found.name.to_string();
            let known = memory.archives.get(&name);
            ArchiveCopy {
                time: found.name.time,
                proof: known.map_or(Proof::Unproven, |known| known.proof_of(found)),
                is_last: memory.last_name.as_ref() == Some(&name),
            }
        };
        let mut copies: Vec<ArchiveCopy> = all.iter().map(copy).collect();
        let mut warnings = Vec::new();
        let expired = loop {
            let expired = expired_archives(&copies, now, keep);
            let kept: Vec<usize> = (0..all.len()).filter(|i| !expired.contains(i)).collect();
            // Newest first, as they are listed.
            let proven = kept.iter().find(|i| copies[**i].proof == Proof::Proven);
            let doubtful =
                kept.iter().find(|i| Some(*i) != proven && copies[**i].proof != Proof::Damaged);
            let Some(place) = doubtful.filter(|_| !expired.is_empty() && kept.len() > 1) else {
                break expired;
            };
            match self.verify_found(folder, &all[*place], watch) {
                Err(failure) if is_damage(&failure) || is_unreadable(&failure) => {
                    copies[*place].proof = Proof::Damaged;
                    warnings.push(format!("{}; it does not count as a copy", failure.message));
                }
                // Nothing to compare it with: then it counts as its name says.
                Err(failure) if failure.code == ErrorCode::EncryptionKeyMissing => break expired,
                Err(failure) => return Err(failure),
                Ok(_) => break expired,
            }
        };
        let is_ours = |place: &usize| {
            let found = &all[*place];
            memory.archives.contains_key(&found.name.to_string())
                || self
                    .opening(folder, found)
                    .is_some_and(|o| settings.project.as_str() == o.project)
        };
        let (ours, strange): (Vec<usize>, Vec<usize>) = expired.into_iter().partition(is_ours);
        if !strange.is_empty() {
            let names: Vec<String> =
                strange.iter().map(|place| all[*place].name.to_string()).collect();
            warnings.push(format!(
                "retention would remove {}, and nothing here shows that this project wrote it: it stays \
                 (set `encryption.identity_file` so that it can be opened, or remove it by `backupctl \
                 forget` or by hand)",
                listed(&names, 3)
            ));
        }
        Ok((ours, warnings))
    }

    /// Removes one archive by its id.
    pub(crate) fn forget(
        &self,
        id: &SnapshotId,
        system: &FileSystem,
        watch: &Watch,
    ) -> Result<(), Failure> {
        watch.check()?;
        let Some((folder, found)) = self.find(id)? else { return Err(self.not_found(id)) };
        self.remove(&folder, &found, visible(&system.device))
    }

    fn remove(&self, folder: &Folder, found: &Found, device: Option<&str>) -> Result<(), Failure> {
        // The first part first: what is left of a broken removal is no archive, and is cleared away.
        for file in &found.files {
            folder.remove(file).map_err(|e| write_failure(e, folder, device))?;
        }
        folder.sync().map_err(|e| write_failure(e, folder, device))?;
        self.memory.update(|known| drop(known.archives.remove(&found.name.to_string())));
        Ok(())
    }
}
