//! What users may do on this machine: by owner and mode, as the kernel judges, for a user who is not
//! the one that asks.

use std::fs::{self, DirBuilder, Metadata};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backupctl_adapter_process::{Tool, failure_from_io};
use backupctl_application::context::{Cancel, StageContext};
use backupctl_application::ports::{PathAccess, ServiceHost, UnitUser};
use backupctl_domain::{ErrorCode, Failure, Redactor, Stage};

/// The machine that this process runs on. Access lists (ACLs) are not looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine;

#[async_trait]
impl ServiceHost for Machine {
    async fn user(&self, name: &str) -> Result<UnitUser, Failure> {
        let unknown = || {
            Failure::new(ErrorCode::InvalidConfig, format!("there is no user {name:?}"))
                .with_remedy(format!("create it with `useradd --system {name}`, or name another"))
        };
        let entry = ask("getent", &["passwd", name]).await?.ok_or_else(unknown)?;
        let fields: Vec<&str> = entry.trim().split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields[..] else { return Err(unknown()) };
        let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) else { return Err(unknown()) };
        let groups = ask("id", &["-G", name]).await?.unwrap_or_default();
        Ok(UnitUser {
            name: name.to_owned(),
            uid,
            gid,
            groups: groups.split_whitespace().filter_map(|g| g.parse().ok()).collect(),
            home: PathBuf::from(home),
        })
    }

    async fn access(&self, user: &UnitUser, path: &Path) -> Option<PathAccess> {
        let real = fs::canonicalize(path).ok()?;
        let reachable = |dir: &Path| {
            fs::metadata(dir).is_ok_and(|meta| user.uid == 0 || bits(user, &meta) & 0o1 != 0)
        };
        if !real.ancestors().skip(1).all(reachable) {
            return None;
        }
        let meta = fs::metadata(&real).ok()?;
        let bits = bits(user, &meta);
        let root = user.uid == 0;
        let mode = meta.permissions().mode() & 0o7777;
        Some(PathAccess {
            is_dir: meta.is_dir(),
            mode,
            read: root || bits & 0o4 != 0,
            write: root || (bits & 0o2 != 0 && (!meta.is_dir() || bits & 0o1 != 0)),
            execute: if root { meta.is_dir() || mode & 0o111 != 0 } else { bits & 0o1 != 0 },
        })
    }

    async fn find(&self, name: &str, path: &str) -> Option<PathBuf> {
        let is_program = |file: &PathBuf| {
            fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        };
        if name.contains('/') {
            return Some(PathBuf::from(name)).filter(is_program);
        }
        let folders = path.split(':').filter(|dir| !dir.is_empty());
        folders.map(|dir| Path::new(dir).join(name)).find(is_program)
    }

    async fn version(&self, program: &Path) -> Result<String, Failure> {
        let tool = Tool::new(program).arg("--version").timeout(Some(Duration::from_secs(30)));
        let output =
            tool.run(&context()).await.map_err(|e| e.into_failure(ErrorCode::ToolMissing))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().next().unwrap_or_default().trim().to_owned();
        if output.success() && !line.is_empty() {
            return Ok(line);
        }
        Err(Failure::new(
            ErrorCode::ToolMissing,
            format!("`{} --version` ended with {}", program.display(), output.status_text()),
        )
        .with_detail(output.last_lines(3))
        .with_remedy("run it by hand, and install the program again"))
    }

    async fn make_dir(&self, path: &Path, user: &UnitUser) -> Result<(), Failure> {
        let cannot = |e| failure_from_io(e, path, "cannot make the folder");
        let missing: Vec<&Path> = path.ancestors().take_while(|dir| !dir.exists()).collect();
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(cannot)?;
        if user.uid != rustix::process::geteuid().as_raw() {
            for dir in missing {
                chown(dir, Some(user.uid), Some(user.gid)).map_err(cannot)?;
            }
        }
        Ok(())
    }
}

/// The user's three bits of the mode.
fn bits(user: &UnitUser, meta: &Metadata) -> u32 {
    let mode = meta.permissions().mode();
    if meta.uid() == user.uid {
        mode >> 6 & 0o7
    } else if meta.gid() == user.gid || user.groups.contains(&meta.gid()) {
        mode >> 3 & 0o7
    } else {
        mode & 0o7
    }
}

/// What a program prints; `None` where it says no.
async fn ask(program: &str, args: &[&str]) -> Result<Option<String>, Failure> {
    let tool = Tool::new(program).args(args).timeout(Some(Duration::from_secs(30)));
    let output = tool.run(&context()).await.map_err(|e| e.into_failure(ErrorCode::ToolMissing))?;
    Ok(output.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

fn context() -> StageContext {
    StageContext::new(Stage::Lock, Cancel::new(), Arc::new(Redactor::default()))
}

#[cfg(test)]
mod tests {
    use backupctl_testkit::WorkDir;

    use super::*;

    #[tokio::test]
    async fn another_users_rights_are_those_of_owner_and_mode() {
        let work = WorkDir::new();
        let key = work.file("keys/id", "key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        let meta = fs::metadata(&key).unwrap();
        let user = |uid, groups: Vec<u32>| UnitUser {
            name: "u".to_owned(),
            uid,
            gid: 4242,
            groups,
            home: PathBuf::from("/"),
        };
        let stranger = user(4242, Vec::new());
        let outside = Machine.access(&stranger, &key).await.unwrap();
        assert!(!outside.read && !outside.write, "{outside:?}");
        fs::set_permissions(key.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(Machine.access(&stranger, &key).await, None);
        let bits_of = |user: &UnitUser| bits(user, &meta);
        assert_eq!(bits_of(&user(4242, Vec::new())), 0);
        assert_eq!(bits_of(&user(4242, vec![meta.gid()])), 0o4);
        assert_eq!(bits_of(&user(meta.uid(), Vec::new())), 0o6);
        let own = Machine.access(&user(meta.uid(), Vec::new()), &key).await.unwrap();
        assert!(own.read && own.write && !own.execute && own.mode == 0o640, "{own:?}");
    }

    #[tokio::test]
    async fn programs_are_found_in_the_path_that_is_asked_for() {
        assert_eq!(Machine.find("sh", "/nowhere:/bin").await, Some(PathBuf::from("/bin/sh")));
        assert_eq!(Machine.find("sh", "/nowhere").await, None);
        let root = Machine.user("root").await.unwrap();
        assert_eq!((root.uid, root.home), (0, PathBuf::from("/root")));
        let nobody = Machine.user("nosuchuser").await.unwrap_err();
        assert_eq!(nobody.code, ErrorCode::InvalidConfig);
    }
}
