//! Reads back what a unit says.

use std::path::PathBuf;

use backupctl_application::ports::{InstalledUnit, UnitMode, UnitOptions};

use crate::text::words;

/// The section in which our units remember how they were chosen; systemd passes over it.
pub(crate) const OWN_SECTION: &str = "X-Backupctl";

/// A setting: section, key, value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) section: String,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// The settings of a unit, in their order.
pub(crate) fn settings(text: &str) -> Vec<Setting> {
    let mut section = String::new();
    let mut all = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=') {
            all.push(Setting {
                section: section.clone(),
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
            });
        }
    }
    all
}

/// The keys whose values are not the same, with both values where they are short.
pub(crate) fn differences(installed: &str, wanted: &str) -> Vec<String> {
    let (old, new) = (settings(installed), settings(wanted));
    let mut keys: Vec<(&str, &str)> = Vec::new();
    for setting in old.iter().chain(&new) {
        let key = (setting.section.as_str(), setting.key.as_str());
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let values = |all: &[Setting], key: (&str, &str)| {
        let of_key = all.iter().filter(|s| (s.section.as_str(), s.key.as_str()) == key);
        of_key.map(|s| s.value.clone()).collect::<Vec<_>>()
    };
    let mut found = Vec::new();
    for key in keys {
        let (was, is) = (values(&old, key), values(&new, key));
        if was == is {
            continue;
        }
        let gone: Vec<&String> = was.iter().filter(|v| !is.contains(v)).collect();
        let come: Vec<&String> = is.iter().filter(|v| !was.contains(v)).collect();
        found.push(match (gone.as_slice(), come.as_slice()) {
            ([], []) => format!("{} in another order", key.1),
            ([], new) => format!("{} lacks `{}`", key.1, joined(new)),
            (old, []) => format!("{} has `{}`", key.1, joined(old)),
            (old, new) => format!("{} is `{}`, would be `{}`", key.1, joined(old), joined(new)),
        });
    }
    if found.is_empty() {
        found.push("comments".to_owned());
    }
    found
}

fn joined(values: &[&String]) -> String {
    let text = values.iter().map(|v| v.as_str()).collect::<Vec<_>>().join("`, `");
    if text.chars().count() <= 200 {
        return text;
    }
    text.chars().take(199).chain(['…']).collect()
}

/// What a service tells of its process.
pub(crate) fn service(name: &str, text: &str) -> InstalledUnit {
    let all = settings(text);
    let of = |key: &str| {
        let key = key.to_owned();
        all.iter().filter(move |s| s.section == "Service" && s.key == key).map(|s| s.value.as_str())
    };
    let command = of("ExecStart").next_back().map(words).unwrap_or_default();
    let config = command.iter().position(|word| word == "--config");
    let config = config.and_then(|at| command.get(at + 1)).map(PathBuf::from);
    let variables: Vec<String> = of("Environment").flat_map(words).collect();
    let path = variables.iter().rev().find_map(|v| v.strip_prefix("PATH=")).map(str::to_owned);
    let strict = of("ProtectSystem").next_back() == Some("strict");
    let lists = of("ReadWritePaths").flat_map(words);
    let folders = lists.map(|w| PathBuf::from(w.trim_start_matches(['-', '+'])));
    let is_on = |key: &str| matches!(of(key).next_back(), Some("yes" | "true" | "tmpfs"));
    let mut hidden: Vec<&str> = Vec::new();
    if is_on("ProtectHome") {
        hidden.extend(["/home", "/root", "/run/user"]);
    }
    if is_on("PrivateTmp") {
        hidden.extend(["/tmp", "/var/tmp"]);
    }
    InstalledUnit {
        name: name.to_owned(),
        program: command.first().map(|w| w.trim_start_matches(['@', '-', ':', '+', '!']).into()),
        config,
        path,
        read_write: strict.then(|| folders.collect()),
        hidden: hidden.into_iter().map(PathBuf::from).collect(),
    }
}

/// The choices that a unit remembers; `None` where it remembers none.
pub(crate) fn options(text: &str) -> Option<UnitOptions> {
    let all = settings(text);
    let own = || all.iter().filter(|s| s.section == OWN_SECTION);
    let value = |key: &str| own().find(|s| s.key == key).map(|s| s.value.clone());
    let paths = |key: &str| {
        own().filter(|s| s.key == key).flat_map(|s| words(&s.value)).map(PathBuf::from).collect()
    };
    Some(UnitOptions {
        mode: match value("Mode")?.as_str() {
            "timers" => UnitMode::Timers,
            _ => UnitMode::Serve,
        },
        user: value("User")?,
        path: words(&value("Path")?).into_iter().next()?,
        read_write: paths("ReadWrite"),
        mounts: paths("Mounted"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_its_key_and_both_values() {
        let old = "[Service]\nExecStart=/old/backupctl serve\nUMask=0077\nA=1\n";
        let new = "[Service]\nExecStart=/new/backupctl serve\nA=1\nReadWritePaths=/srv\n";
        assert_eq!(
            differences(old, new),
            [
                "ExecStart is `/old/backupctl serve`, would be `/new/backupctl serve`",
                "UMask has `0077`",
                "ReadWritePaths lacks `/srv`",
            ]
        );
        assert_eq!(differences("# a\n[Unit]\n", "# b\n[Unit]\n"), ["comments"]);
    }
}
