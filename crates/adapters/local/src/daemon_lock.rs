//! One daemon for a base folder: the lock that others find it by.

use std::io::Write;
use std::path::{Path, PathBuf};

use backupctl_application::ports::LockGuard;
use backupctl_domain::notice::stamp;
use backupctl_domain::{ErrorCode, Failure};
use jiff::Timestamp;

use crate::blocking::{blocking, make_dir, unusable};
use crate::kernel_lock::LockedFile;
use crate::lock::{Guard, read_holder};

/// The lock of the daemon, in the base folder: two lines and a kernel lock, like a project's.
const NAME: &str = ".daemon.lock";

/// Where the daemon's lock is.
pub(crate) fn daemon_lock_path(base_dir: &Path) -> PathBuf {
    base_dir.join(NAME)
}

/// Makes this process the daemon of that base folder, until the guard is released or dropped.
/// `BACKUP_IN_PROGRESS`, naming the process, where there is one already.
pub async fn lock_daemon(base_dir: &Path, now: Timestamp) -> Result<Box<dyn LockGuard>, Failure> {
    let (dir, path) = (base_dir.to_owned(), daemon_lock_path(base_dir));
    blocking(move || {
        make_dir(&dir).map_err(|e| unusable(e, &dir, "cannot make the base folder"))?;
        let cannot = |e| unusable(e, &path, "cannot lock");
        let Some(mut locked) = LockedFile::try_take(&path).map_err(cannot)? else {
            return Err(taken(&path));
        };
        let text = format!("pid={}\nstarted={}\n", std::process::id(), stamp(now));
        let file = locked.file();
        let written = file.set_len(0).and_then(|()| file.write_all(text.as_bytes()));
        let guard = Guard::new(locked, path);
        written.map_err(|e| unusable(e, guard.path(), "cannot write the lock file"))?;
        Ok(Box::new(guard) as Box<dyn LockGuard>)
    })
    .await
}

fn taken(path: &Path) -> Failure {
    let holder = read_holder(path);
    let pid = holder.pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
    let since = holder.started.map_or_else(|| "an unknown time".to_owned(), stamp);
    Failure::new(
        ErrorCode::BackupInProgress,
        format!("a daemon is running already since {since} (pid {pid}, {})", path.display()),
    )
    .with_remedy(format!(
        "leave it to that one (`backupctl config reload` has it read the configuration again), or \
         stop it first: `kill {pid}`, or `systemctl stop` of its unit"
    ))
}

#[cfg(test)]
mod tests {
    use backupctl_application::ports::Processes;
    use backupctl_testkit::WorkDir;

    use super::*;
    use crate::LockHolders;

    #[tokio::test]
    async fn one_daemon_holds_a_base_folder_and_others_find_it() {
        let work = WorkDir::new();
        let base = work.join("not-made-yet");
        let holders = LockHolders::new(&base);
        assert_eq!(holders.daemon().await.unwrap(), None);
        let guard = lock_daemon(&base, Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!(holders.daemon().await.unwrap(), Some(std::process::id()));
        let Err(refused) = lock_daemon(&base, Timestamp::UNIX_EPOCH).await else { panic!("twice") };
        assert_eq!(refused.code, ErrorCode::BackupInProgress);
        let named = format!("pid {}", std::process::id());
        assert!(refused.message.contains(&named), "{}", refused.message);
        assert!(refused.message.contains("since 1970-01-01"), "{}", refused.message);
        guard.release().unwrap();
        assert!(!daemon_lock_path(&base).exists());
        drop(lock_daemon(&base, Timestamp::UNIX_EPOCH).await.unwrap());
        assert_eq!(holders.daemon().await.unwrap(), None);
    }
}
