//! The systemd units of backupctl on this machine, as their files and links say.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use backupctl_adapter_process::failure_from_io;
use backupctl_application::ports::{ServiceUnit, ServiceUnits};
use backupctl_domain::Failure;

use crate::blocking::blocking;

/// Where an administrator's units are.
const SYSTEM_UNITS: &str = "/etc/systemd/system";

/// What the names of our units begin with.
const PREFIX: &str = "backupctl";

/// Reads the units of one folder. systemd itself is not asked: it may not run here.
#[derive(Debug, Clone)]
pub struct SystemdUnits {
    dir: PathBuf,
}

impl Default for SystemdUnits {
    fn default() -> Self {
        Self::in_dir(SYSTEM_UNITS)
    }
}

impl SystemdUnits {
    /// The units below this folder instead of `/etc/systemd/system`.
    pub fn in_dir(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }
}

#[async_trait]
impl ServiceUnits for SystemdUnits {
    async fn installed(&self) -> Result<Vec<ServiceUnit>, Failure> {
        let dir = self.dir.clone();
        blocking(move || {
            let mut units = Vec::new();
            let all = names(&dir)?;
            let links = enabling_links(&dir, &all);
            for name in all.iter().filter(|name| is_ours(name)) {
                let path = dir.join(name);
                let text = fs::read_to_string(&path)
                    .map_err(|e| failure_from_io(e, &path, "cannot read the unit"))?;
                units.push(judge(name, &text, &links));
            }
            Ok(units)
        })
        .await
    }
}

fn names(dir: &Path) -> Result<Vec<String>, Failure> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| failure_from_io(e, dir, "cannot list the units in"))?,
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

fn is_ours(name: &str) -> bool {
    let file = Path::new(name);
    let kind = file.extension().and_then(|e| e.to_str());
    let rest = name.strip_prefix(PREFIX);
    matches!(kind, Some("service" | "timer"))
        && rest.is_some_and(|rest| rest.starts_with(['.', '-', '@']))
}

/// The names by which `systemctl enable` has linked units to what starts them.
fn enabling_links(dir: &Path, entries: &[String]) -> Vec<String> {
    let kind = |name: &str| Path::new(name).extension().map(ToOwned::to_owned);
    let wanted = |name: &&String| kind(name).is_some_and(|k| k == "wants" || k == "requires");
    let folders = entries.iter().filter(wanted).map(|name| dir.join(name));
    let links = folders.filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    links.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

fn judge(name: &str, text: &str, links: &[String]) -> ServiceUnit {
    let missing_program = programs(text).into_iter().find(|program| !is_program(program));
    // What has no [Install] section is started by another unit, e.g. a service by its timer.
    let asks = text.lines().any(|line| line.trim() == "[Install]");
    let linked = links.iter().any(|link| link == name || is_instance(link, name));
    ServiceUnit { name: name.to_owned(), missing_program, enabled: asks.then_some(linked) }
}

/// Whether `link` is an instance (`backupctl@shop.timer`) of a template (`backupctl@.timer`).
fn is_instance(link: &str, template: &str) -> bool {
    template.split_once("@.").is_some_and(|(before, after)| {
        link.strip_prefix(before).is_some_and(|rest| rest.starts_with('@'))
            && link.strip_suffix(after).is_some_and(|rest| rest.ends_with('.'))
    })
}

/// The first word of each `ExecStart=`, without systemd's own prefixes.
fn programs(text: &str) -> Vec<String> {
    let commands = text.lines().filter_map(|line| line.trim().strip_prefix("ExecStart="));
    let words = commands.filter_map(|command| {
        let command = command.trim().trim_start_matches(['@', '-', ':', '+', '!']);
        match command.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next(),
            None => command.split_whitespace().next(),
        }
    });
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Whether it can be started. A name without a path is systemd's to find.
fn is_program(word: &str) -> bool {
    if !word.starts_with('/') {
        return true;
    }
    fs::metadata(word).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use backupctl_testkit::WorkDir;

    use super::*;

    fn service(program: &str) -> String {
        format!("[Service]\nExecStart=-{program} serve --flag\n\n[Install]\nWantedBy=x.target\n")
    }

    #[tokio::test]
    async fn units_are_found_with_what_is_wrong_about_them() {
        let work = WorkDir::new();
        let dir = work.dir("system");
        let good = service("/bin/sh");
        for (name, text) in [
            ("backupctl.service", good.as_str()),
            ("backupctl-old.service", &service("/opt/gone/backupctl")),
            ("backupctl@.service", "[Service]\nExecStart=\"/bin/sh\" -c x\n"),
            ("backupctl@.timer", "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n"),
            ("backupctld.service", &good),
            ("backupctl.service.d", ""),
            ("other.service", &service("/nowhere")),
        ] {
            work.file(format!("system/{name}"), text);
        }
        let wants = work.dir("system/timers.target.wants");
        symlink(dir.join("backupctl@.timer"), wants.join("backupctl@shop.timer")).unwrap();

        let units = SystemdUnits::in_dir(&dir).installed().await.unwrap();

        let unit = |name: &str, missing: Option<&str>, enabled| ServiceUnit {
            name: name.to_owned(),
            missing_program: missing.map(str::to_owned),
            enabled,
        };
        assert_eq!(
            units,
            [
                unit("backupctl-old.service", Some("/opt/gone/backupctl"), Some(false)),
                unit("backupctl.service", None, Some(false)),
                unit("backupctl@.service", None, None),
                unit("backupctl@.timer", None, Some(true)),
            ]
        );
    }

    #[tokio::test]
    async fn a_machine_without_systemd_has_none() {
        let work = WorkDir::new();
        let units = SystemdUnits::in_dir(work.join("nowhere")).installed().await.unwrap();
        assert_eq!(units, []);
    }
}
