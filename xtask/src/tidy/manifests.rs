//! One place for versions, lints and licence: the workspace's own manifest.

use super::{Source, Violation};

/// What every member takes over from the workspace.
const INHERITED: [&str; 6] = [
    "version.workspace = true",
    "edition.workspace = true",
    "rust-version.workspace = true",
    "license.workspace = true",
    "repository.workspace = true",
    "publish.workspace = true",
];

pub(super) fn check(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources {
        if source.path.file_name().is_some_and(|n| n == "Cargo.toml")
            && source.path.parent().is_some_and(|p| p.components().next().is_some())
        {
            member(source, &mut found);
        }
        if source.path.file_name().is_some_and(|n| n == "Cargo.lock") {
            lock_file(source, &mut found);
        }
    }
    found
}

fn member(source: &Source, found: &mut Vec<Violation>) {
    let mut complain = |line: Option<usize>, text: String| {
        found.push(Violation::new(source.name(), line, text));
    };
    let mut section = String::new();
    let mut inherits_lints = false;
    for (number, line) in source.lines() {
        let line = line.trim();
        if line.starts_with('[') {
            line.trim_matches(['[', ']']).clone_into(&mut section);
            if section.contains("dependencies.") {
                let text = "write the dependency as one line, `name.workspace = true`";
                complain(Some(number), text.to_owned());
            }
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        inherits_lints |= section == "lints" && line == "workspace = true";
        if section.ends_with("dependencies") && line.contains('=') {
            let compact: String = line.split_whitespace().collect();
            if !compact.contains("workspace=true") {
                let text = "a version or path of its own: put it into [workspace.dependencies] \
                            and write `name.workspace = true`";
                complain(Some(number), text.to_owned());
            }
        }
        if section == "package"
            && let Some(name) = line.strip_prefix("name = ")
        {
            let name = name.trim_matches('"');
            let folder = source.path.parent().and_then(|p| p.file_name()).unwrap_or_default();
            let folder = folder.to_string_lossy();
            if name != folder && !name.ends_with(&format!("-{folder}")) {
                let text = format!("package `{name}` in a folder `{folder}`: name them alike");
                complain(Some(number), text);
            }
        }
    }
    for wanted in INHERITED {
        if !source.text.lines().any(|l| l.trim() == wanted) {
            complain(None, format!("add `{wanted}` to [package]"));
        }
    }
    if !inherits_lints {
        complain(None, "add `[lints]` with `workspace = true`".to_owned());
    }
}

/// Everybody must be able to fetch what the lock file names.
fn lock_file(source: &Source, found: &mut Vec<Violation>) {
    for (number, line) in source.lines() {
        let Some(origin) = line.strip_prefix("source = ") else { continue };
        if !origin.starts_with("\"registry+") {
            let text = format!("{origin} is no registry: a dependency is named by version");
            found.push(Violation::new(source.name(), number, text));
        }
    }
}
