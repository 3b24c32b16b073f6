//! The folder itself: whether it can be used, and what somebody should know of its disk.

use std::path::Path;

use async_trait::async_trait;
use backupctl_application::context::StageContext;
use backupctl_application::ports::{FileSystem, Remark, RepositoryAdmin, RepositoryInfo, ToolInfo};
use backupctl_domain::retention::Proof;
use backupctl_domain::{ByteSize, ErrorCode, Failure, ProjectName, SnapshotId};
use rustix::fs::{Access, access};

use crate::exclude::Exclude;
use crate::failure::path_failure;
use crate::{Archive, Inner};

#[async_trait]
impl RepositoryAdmin for Archive {
    async fn check_tool(&self) -> Result<Option<ToolInfo>, Failure> {
        Ok(None)
    }

    async fn check(&self, ctx: &StageContext) -> Result<RepositoryInfo, Failure> {
        let system = self.mounted().await?;
        self.inner.check_writable(&system)?;
        if let Some(envelope) = &self.inner.settings.envelope {
            envelope.check()?;
        }
        Exclude::new(&self.inner.settings.exclude)?;
        self.inner.check_room(&system, &self.inner.memory.read(), 0)?;
        self.blocking(ctx, move |inner, watch| {
            watch.check()?;
            inner.check_access()?;
            inner.info(&system)
        })
        .await
    }

    fn creates_by_itself(&self) -> bool {
        true
    }

    async fn init(&self, ctx: &StageContext) -> Result<(RepositoryInfo, bool), Failure> {
        let system = self.any_mount().await?;
        self.inner.check_writable(&system)?;
        self.blocking(ctx, move |inner, watch| {
            watch.check()?;
            let (_, made) = inner.make_folder()?;
            inner.check_access()?;
            inner.memory.update(|known| {
                known.mount_point = Some(system.mount_point.clone());
                known.device = Some(system.device.clone());
            });
            Ok((inner.info(&system)?, made))
        })
        .await
    }

    async fn forget(&self, snapshot: &SnapshotId, ctx: &StageContext) -> Result<(), Failure> {
        let system = self.mounted().await?;
        let id = snapshot.clone();
        self.blocking(ctx, move |inner, watch| inner.forget(&id, &system, &watch)).await
    }

    async fn check_access(&self) -> Result<Option<String>, Failure> {
        Ok(None)
    }

    fn project(&self) -> &ProjectName {
        &self.inner.settings.project
    }
}

impl Inner {
    /// Whether files can be made in the folder, or it itself where it is missing.
    fn check_access(&self) -> Result<(), Failure> {
        let path = &self.settings.target.path;
        let there = path.ancestors().find(|path| path.exists()).unwrap_or(path);
        if !there.is_dir() {
            return Err(path_failure(&std::io::ErrorKind::NotADirectory.into(), there));
        }
        access(there, Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|e| path_failure(&e.into(), there))
    }

    fn info(&self, system: &FileSystem) -> Result<RepositoryInfo, Failure> {
        Ok(RepositoryInfo {
            id: None,
            location: self.location(),
            detail: self.detail(system)?,
            remark: self.remark_of_archives()?.or_else(|| self.remark(system)),
        })
    }

    /// A folder that has nothing good to restore from, though it had.
    fn remark_of_archives(&self) -> Result<Option<Remark>, Failure> {
        let memory = self.memory.read();
        let found = match self.open_folder()? {
            Some(folder) => self.archives(&folder)?,
            None => Vec::new(),
        };
        let location = self.location();
        let run = format!("back up anew: `backupctl run {}`", self.settings.project);
        let Some(newest) = found.first() else {
            let known = memory.archives.len();
            return Ok((known > 0).then(|| Remark {
                code: ErrorCode::SnapshotNotFound,
                message: format!("{location} has no archive, and {known} were written there"),
                remedy: format!("plug in the disk that holds them, or {run}"),
            }));
        };
        let known = memory.archives.get(&newest.name.to_string());
        let damaged = known.is_some_and(|known| known.proof_of(newest) == Proof::Damaged);
        Ok((damaged || newest.gap().is_some()).then(|| Remark {
            code: ErrorCode::ChecksumMismatch,
            message: format!("the newest archive at {location} is damaged: {}", newest.name),
            remedy: format!("{run}, and check the disk (`dmesg` tells of input/output errors)"),
        }))
    }

    /// A limit of the file system that a growing archive is going to reach.
    fn remark(&self, system: &FileSystem) -> Option<Remark> {
        let limit = system.max_file_bytes.filter(|_| self.settings.target.split_size.is_none())?;
        let message = format!(
            "the file system of {} ({}) holds no file larger than {}",
            self.location(),
            system.kind,
            ByteSize(limit)
        );
        let remedy = format!(
            "set `archive.split_size: 3900MiB`, or format the disk anew, which deletes everything on it: {}",
            format_commands(system)
        );
        Some(Remark { code: ErrorCode::FsFileTooLarge, message, remedy })
    }
}

/// What makes an ext4 disk of this one, for somebody to type.
fn format_commands(system: &FileSystem) -> String {
    let (device, mount) = (&system.device, system.mount_point.display());
    let mut commands = vec![format!("`umount {mount}`")];
    if let Some(disk) = disk_of(device) {
        commands.push(format!("`parted --script {disk} mklabel gpt mkpart backup ext4 1MiB 100%`"));
    }
    commands.push(format!("`mkfs.ext4 -L backup {device}`"));
    commands.push(format!("`mount {device} {mount}`"));
    commands.join(", ")
}

/// The disk of which this is the first partition: `/dev/sdb` of `/dev/sdb1`, `/dev/mmcblk0` of
/// `/dev/mmcblk0p1`.
fn disk_of(device: &str) -> Option<&str> {
    let name = Path::new(device).file_name()?.to_str()?;
    let disk = device.strip_suffix('1')?;
    let numbered = name.starts_with("mmcblk") || name.starts_with("nvme");
    let disk = if numbered { disk.strip_suffix('p')? } else { disk };
    let letters = numbered || disk.ends_with(|c: char| c.is_ascii_lowercase());
    (device.starts_with("/dev/") && letters).then_some(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_partition_tells_its_disk_and_others_do_not() {
        let disks = [
            ("/dev/sdb1", Some("/dev/sdb")),
            ("/dev/mmcblk0p1", Some("/dev/mmcblk0")),
            ("/dev/nvme0n1p1", Some("/dev/nvme0n1")),
            ("/dev/sdb2", None),
            ("/dev/sdb11", None),
            ("/dev/nvme0n1", None),
            ("server:/export1", None),
        ];
        for (device, disk) in disks {
            assert_eq!(disk_of(device), disk, "{device}");
        }
    }
}
