//! What keeps a unit from everything that backups have no need of.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use backupctl_application::ports::{Need, Needs, ReadKind, UnitPlan, Writes};
use backupctl_domain::Failure;
use backupctl_domain::project::credential_name;

use crate::text::{path_text, word};

/// What `ProtectHome=` hides.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
/// Where disks of the system itself are mounted, which nobody takes out, and of which a unit needs a folder.
const OF_THE_SYSTEM: [&str; 7] = ["/boot", "/etc", "/home", "/opt", "/root", "/usr", "/var"];
/// What `PrivateTmp=` hides.
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

/// The settings of `[Service]` that confine it: its user, environment, folders and rights.
pub(crate) fn service(plan: &UnitPlan, needs: &Needs) -> Result<String, Failure> {
    let mut out = String::new();
    let root = plan.user.uid == 0;
    if !root {
        line(&mut out, "User", &plan.user.name);
        if needs.docker {
            line(&mut out, "SupplementaryGroups", "docker");
        }
    }
    line(&mut out, "UMask", "0077");
    environment(&mut out, plan, root)?;
    credentials(&mut out, needs)?;
    folders(&mut out, plan, needs)?;
    // Backups read what they are told to, whoever owns it, and write nowhere but to the folders above.
    line(
        &mut out,
        "CapabilityBoundingSet",
        if root { "CAP_DAC_READ_SEARCH CAP_DAC_OVERRIDE" } else { "" },
    );
    line(&mut out, "AmbientCapabilities", "");
    out.push_str(CONFINED);
    if !needs.hooks {
        // Nobody knows what a hook starts: some interpreters write code and run it.
        line(&mut out, "MemoryDenyWriteExecute", "yes");
    }
    Ok(out)
}

/// What holds for every unit of ours.
pub(crate) const CONFINED: &str = "\
NoNewPrivileges=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
";

fn environment(out: &mut String, plan: &UnitPlan, root: bool) -> Result<(), Failure> {
    let mut set = |key: &str, value: &str| {
        line(out, "Environment", &word(&format!("{key}={value}")));
    };
    set("PATH", &plan.options.path);
    if root {
        // systemd sets it for other users.
        set("HOME", path_text(&plan.user.home)?);
    } else {
        // What stands for base_dir where the configuration names none depends on the user.
        set("BACKUP_BASE_DIR", path_text(&plan.base_dir)?);
    }
    set("XDG_CACHE_HOME", path_text(&plan.base_dir.join(".cache"))?);
    Ok(())
}

/// Secrets are read by systemd and handed over to this process alone. One that is not there would keep
/// the unit from starting, and every other project with it.
fn credentials(out: &mut String, needs: &Needs) -> Result<(), Failure> {
    for secret in needs.reads.iter().filter(|r| r.kind == ReadKind::Secret) {
        if secret.path.exists() {
            let path = path_text(&secret.path)?.replace('%', "%%");
            line(out, "LoadCredential", &format!("{}:{path}", credential_name(&secret.path)));
        }
    }
    Ok(())
}

fn folders(out: &mut String, plan: &UnitPlan, needs: &Needs) -> Result<(), Failure> {
    line(out, "ProtectSystem", "strict");
    let used = used_paths(plan, needs);
    let below = |dirs: &[&str]| used.iter().any(|p| dirs.iter().any(|dir| p.starts_with(dir)));
    line(out, "ProtectHome", if below(&HOMES) { "read-only" } else { "yes" });
    line(out, "PrivateTmp", if below(&TEMPORARY) { "no" } else { "yes" });
    let mut named = Vec::new();
    for writes in &needs.writes {
        let text = read_write(plan, writes)?;
        if !named.contains(&text) {
            line(out, "ReadWritePaths", &text);
            named.push(text);
        }
    }
    for path in &plan.options.read_write {
        line(out, "ReadWritePaths", &format!("-{}", word(path_text(path)?)));
    }
    Ok(())
}

/// A folder without which nothing works fails the start; of others, the run that needs them tells.
///
/// systemd makes a mount of each folder that is none. On a disk that may be taken out that is in the way:
/// the unit goes on seeing the folder of a disk that has gone, and not the disk that is plugged in. So of
/// one the place is named where the disk was mounted at the time of installing.
fn read_write(plan: &UnitPlan, writes: &Writes) -> Result<String, Failure> {
    let mounts = plan.options.mounts.iter().filter(|mount| writes.path.starts_with(mount));
    let mount = mounts.max_by_key(|mount| mount.as_os_str().len());
    let of_the_system = |mount: &Path| OF_THE_SYSTEM.iter().any(|dir| mount == Path::new(dir));
    let mount = mount.filter(|mount| writes.on_a_disk && !of_the_system(mount));
    let path = path_text(mount.unwrap_or(&writes.path))?;
    Ok(if writes.need == Need::Vital { word(path) } else { word(&format!("-{path}")) })
}

/// Everything that the process itself must see.
fn used_paths(plan: &UnitPlan, needs: &Needs) -> Vec<PathBuf> {
    let reads = needs.reads.iter().filter(|r| r.kind != ReadKind::Secret || !r.path.exists());
    let tools = needs.tools.iter().flat_map(|t| &t.any_of).filter(|name| name.starts_with('/'));
    let folders = plan.options.path.split(':').filter(|dir| dir.starts_with('/'));
    let mut all: Vec<PathBuf> = vec![plan.program.clone(), plan.config.clone()];
    all.extend(reads.map(|r| r.path.clone()));
    all.extend(needs.writes.iter().map(|w| w.path.clone()));
    all.extend(plan.options.read_write.iter().cloned());
    all.extend(tools.chain(&folders.map(str::to_owned).collect::<Vec<_>>()).map(PathBuf::from));
    all
}

/// `Wants=` and `After=` of the mount units of disks that were mounted at the time of installing: a
/// disk that is not there must not keep the other projects from running.
pub(crate) fn mounts(plan: &UnitPlan) -> String {
    let mut out = String::new();
    for mount in &plan.options.mounts {
        let unit = mount_unit(mount);
        line(&mut out, "Wants", &unit);
        line(&mut out, "After", &unit);
    }
    out
}

/// The name of a mount's unit, as `systemd-escape --path --suffix=mount` gives it.
fn mount_unit(path: &Path) -> String {
    let text = path.to_string_lossy();
    let text = text.trim_matches('/');
    let mut name = String::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if at == 0 => name.push_str("\\x2e"),
            b if b.is_ascii_alphanumeric() || b":_.".contains(&b) => name.push(char::from(b)),
            b => {
                let _ = write!(name, "\\x{b:02x}");
            }
        }
    }
    format!("{name}.mount")
}

pub(crate) fn line(out: &mut String, key: &str, value: &str) {
    let _ = writeln!(out, "{key}={value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_named_as_systemd_names_them() {
        assert_eq!(mount_unit(Path::new("/mnt/usb-stick")), "mnt-usb\\x2dstick.mount");
        assert_eq!(mount_unit(Path::new("/srv/a b")), "srv-a\\x20b.mount");
    }
}
