//! What a unit's process may and may not: folders below its sandbox, keys by its user, programs by its
//! PATH. The shell of whoever asks has another user, another PATH and no sandbox.

use std::path::{Path, PathBuf};

use backupctl_domain::plan::{self, Space};
use backupctl_domain::{ErrorCode, Failure};

use super::install::is_removable;
use super::needs::STORES;
use super::verify::Found;
use crate::World;
use crate::ports::{
    InstalledUnit, Need, Needs, NeedsTool, ReadKind, Reads, ServiceHost, UnitMode, UnitPlan, Writes,
};
use crate::use_cases::checks::{Check, CheckOutcome};

const PATHS: &str = "path";
const KEYS: &str = "key";
const TOOLS: &str = "tool";
const DISK: &str = "disk";

/// The machine as the installed units see it.
pub(super) struct View<'a> {
    pub(super) world: &'a World,
    pub(super) host: &'a dyn ServiceHost,
    pub(super) plan: &'a UnitPlan,
    pub(super) services: &'a [InstalledUnit],
}

impl View<'_> {
    pub(super) async fn look(&self, found: &mut Found) {
        for mount in &self.plan.options.mounts {
            self.mount(mount, found).await;
        }
        let shared = self.plan.shared.clone();
        self.needs(None, &shared, found).await;
        for project in &self.plan.projects {
            let mut needs = project.needs.clone();
            // What all share is told once.
            needs.writes.retain(|w| !shared.writes.iter().any(|s| s.path == w.path));
            needs.reads.retain(|r| !shared.reads.contains(r));
            self.needs(Some(project.name.as_str()), &needs, found).await;
        }
    }

    async fn needs(&self, project: Option<&str>, needs: &Needs, found: &mut Found) {
        let mut put = |check: Check| match project {
            Some(project) => found.of(project, check),
            None => found.shared(check),
        };
        let services = self.services_of(project);
        let mut writable = Vec::new();
        for writes in &needs.writes {
            match self.writable(&services, writes).await {
                Ok(()) => writable.push(writes.path.display().to_string()),
                Err(failure) => put(Check::bad(PATHS, without(writes.need), failure)),
            }
        }
        if !writable.is_empty() {
            put(Check::pass(PATHS, format!("the units may write to {}", writable.join(", "))));
        }
        let mut readable = Vec::new();
        for reads in &needs.reads {
            match self.readable(&services, reads).await {
                Ok(()) => readable.push(reads.path.display().to_string()),
                Err(failure) => {
                    let name = if reads.kind == ReadKind::Asset { "assets" } else { KEYS };
                    put(Check::bad(name, CheckOutcome::Fail, failure));
                }
            }
        }
        if !readable.is_empty() {
            put(Check::pass(KEYS, format!("the units may read {}", readable.join(", "))));
        }
        for tool in &needs.tools {
            put(Check::of(TOOLS, self.tool(&services, tool).await));
        }
        if let Some(project) = project {
            for writes in needs.writes.iter().filter(|w| STORES.contains(&w.what)) {
                self.repository(project, writes, found).await;
            }
        }
    }

    /// The services that do a project's work; those that do any for `None`.
    fn services_of(&self, project: Option<&str>) -> Vec<&InstalledUnit> {
        let own = project
            .filter(|_| self.plan.options.mode == UnitMode::Timers)
            .map(|project| format!("backupctl-{project}.service"));
        let works = |unit: &&InstalledUnit| match &own {
            Some(name) => unit.name == *name,
            // The watch reads alone, but it remembers what it has told.
            None if project.is_none() => unit.config.is_some(),
            None => unit.name == "backupctl.service",
        };
        self.services.iter().filter(works).collect()
    }

    async fn writable(&self, services: &[&InstalledUnit], writes: &Writes) -> Result<(), Failure> {
        let path = &writes.path;
        let named = format!("{} ({})", path.display(), writes.what);
        let failure = |text: String| Failure::new(ErrorCode::PathNotWritable, text);
        let user = &self.plan.user.name;
        if let Some(hidden) = hidden(services, path) {
            return Err(failure(format!("{named} is hidden from {hidden}"))
                .with_remedy("bring the units up to date with `backupctl systemd install`"));
        }
        let outside = services.iter().find(|unit| {
            let allowed = unit.read_write.as_ref();
            allowed.is_some_and(|dirs| !dirs.iter().any(|dir| path.starts_with(dir)))
        });
        if let Some(unit) = outside {
            return Err(failure(format!(
                "{named} is below no ReadWritePaths of {}: its sandbox keeps it read-only",
                unit.name
            ))
            .with_remedy("bring the units up to date with `backupctl systemd install`"));
        }
        let system = self.world.disk.file_system(path).await?;
        if is_removable(path) && system.mount_point == Path::new("/") {
            return Err(not_mounted(path, writes.what));
        }
        let Some(access) = self.host.access(&self.plan.user, path).await else {
            let remedy = if writes.need == Need::Vital {
                "systemd starts no unit without it: make it with `backupctl systemd install`"
            } else {
                "make it with `backupctl systemd install`, or correct the key that names it"
            };
            return Err(failure(format!("{named} is not there, or out of reach for {user}"))
                .with_remedy(remedy));
        };
        if system.read_only {
            let mount = system.mount_point.display();
            return Err(failure(format!("{named}: {mount} is mounted read-only"))
                .with_remedy(format!("mount it for writing: `mount -o remount,rw {mount}`")));
        }
        if !access.write {
            return Err(failure(format!("{named} may not be written by {user}"))
                .with_remedy(format!("run `chown -R {user} {}`", path.display())));
        }
        Ok(())
    }

    async fn readable(&self, services: &[&InstalledUnit], reads: &Reads) -> Result<(), Failure> {
        let path = &reads.path;
        let shown = path.display();
        let user = &self.plan.user.name;
        let (what, code, remedy) = match reads.kind {
            ReadKind::SshKey => (
                "ssh key",
                ErrorCode::SshKeyPermissions,
                format!("put the private key at {shown}, or correct ssh.key_path"),
            ),
            ReadKind::KnownHosts => (
                "known hosts",
                ErrorCode::SshHostKeyUnknown,
                format!("write the host's key to {shown}: `ssh-keyscan -p PORT HOST >> {shown}`"),
            ),
            ReadKind::Secret => (
                "secret",
                ErrorCode::InvalidConfig,
                format!("put the secret at {shown}, or correct the `…_file` key"),
            ),
            ReadKind::Keys => (
                "keys",
                ErrorCode::EncryptionKeyMissing,
                format!("put the keys at {shown}, or correct the key that names it"),
            ),
            ReadKind::Certificate => (
                "certificate",
                ErrorCode::InvalidConfig,
                format!("put it at {shown}, or correct database.options.sslrootcert"),
            ),
            ReadKind::Asset => (
                "asset path",
                ErrorCode::SourceIncomplete,
                "correct `assets.paths`, or see that its disk is mounted".to_owned(),
            ),
        };
        let failure = |text: &str| {
            Failure::new(code, format!("{what} {shown} {text}")).with_remedy(remedy.clone())
        };
        // systemd itself reads what it hands over.
        let by_root = reads.kind == ReadKind::Secret;
        if !by_root && let Some(unit) = hidden(services, path) {
            return Err(failure(&format!("is hidden from {unit}"))
                .with_remedy("bring the units up to date with `backupctl systemd install`"));
        }
        let reader = if by_root { self.host.user("root").await? } else { self.plan.user.clone() };
        let Some(access) = self.host.access(&reader, path).await else {
            return Err(failure(&format!("is not there, or out of reach for {user}")));
        };
        if !access.read {
            return Err(failure(&format!("may not be read by {user}"))
                .with_remedy(format!("run `chown {user} {shown}`")));
        }
        if reads.kind == ReadKind::SshKey {
            if access.is_dir {
                return Err(failure("is not a file"));
            }
            if access.mode & 0o077 != 0 {
                let mode = access.mode & 0o777;
                return Err(failure(&format!(
                    "has mode {mode:04o}: others may read it, so ssh \
                                             does not take it"
                ))
                .with_remedy(format!("run `chmod 600 {shown}`")));
            }
        }
        Ok(())
    }

    /// A program, in the PATH of the units.
    async fn tool(&self, services: &[&InstalledUnit], tool: &NeedsTool) -> Result<String, Failure> {
        let mut paths: Vec<&str> =
            services.iter().filter_map(|unit| unit.path.as_deref()).collect();
        paths.sort_unstable();
        paths.dedup();
        if paths.is_empty() {
            paths.push(&self.plan.options.path);
        }
        let mut places: Vec<PathBuf> = Vec::new();
        for path in paths {
            let mut here = None;
            for name in &tool.any_of {
                here = self.host.find(name, path).await;
                if here.is_some() {
                    break;
                }
            }
            let Some(program) = here else {
                return Err(Failure::new(
                    ErrorCode::ToolMissing,
                    format!("{} is not in the PATH of the units, {path}", tool.any_of.join(" or ")),
                )
                .with_remedy(format!(
                    "install {} there, or name its folder: `backupctl systemd install --path \
                     {path}:FOLDER`",
                    tool.any_of.first().map_or("it", String::as_str)
                )));
            };
            if !places.contains(&program) {
                places.push(program);
            }
        }
        let places: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
        Ok(places.join(", "))
    }

    /// A disk that was mounted when the units were written.
    async fn mount(&self, mount: &Path, found: &mut Found) {
        let checked = self.world.disk.file_system(mount).await.and_then(|system| {
            if system.mount_point == mount {
                Ok(format!("{} is mounted ({})", mount.display(), system.kind))
            } else {
                Err(not_mounted(mount, "a disk that backups write to"))
            }
        });
        // What no required destination is on may be in a drawer.
        let needs = self.plan.all_needs();
        let on_it = needs.writes.iter().filter(|writes| writes.path.starts_with(mount));
        let need = on_it.map(|writes| writes.need).max().unwrap_or(Need::Required);
        found.shared(match checked {
            Ok(message) => Check::pass(DISK, message),
            Err(failure) => Check::bad(DISK, without(need), failure),
        });
    }

    /// Room in a repository on this machine. That of dumps is another matter.
    async fn repository(&self, project: &str, writes: &Writes, found: &mut Found) {
        let path = &writes.path;
        // One that is not mounted, or not there, is told of its own.
        let Ok(system) = self.world.disk.file_system(path).await else { return };
        if is_removable(path) && system.mount_point == Path::new("/") {
            return;
        }
        let space = Space {
            free: system.free_bytes,
            min_free: self.world.settings.min_free_bytes,
            max_file: system.max_file_bytes,
            largest: None,
            total: None,
        };
        if let Err(failure) = plan::check_space(space, &path.to_string_lossy()) {
            found.of(project, Check::bad(DISK, CheckOutcome::Fail, failure));
        }
    }
}

fn not_mounted(path: &Path, what: &str) -> Failure {
    let shown = path.display();
    Failure::new(
        ErrorCode::NotMounted,
        format!("{shown} ({what}): its disk is not mounted, and this is the root file system"),
    )
    .with_remedy(format!(
        "mount it (`mount {shown}`), and add it to /etc/fstab with `nofail` so that it is mounted at \
         boot"
    ))
}

/// How bad it is that a folder cannot be written to.
fn without(need: Need) -> CheckOutcome {
    if need == Need::Optional { CheckOutcome::Warn } else { CheckOutcome::Fail }
}

/// The unit that does not see the path, if one does not.
fn hidden<'a>(services: &[&'a InstalledUnit], path: &Path) -> Option<&'a str> {
    let hides = |unit: &&&InstalledUnit| unit.hidden.iter().any(|dir| path.starts_with(dir));
    services.iter().find(hides).map(|unit| unit.name.as_str())
}
