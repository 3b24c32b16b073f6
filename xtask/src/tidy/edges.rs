//! Dependencies point inward, and the inner layers do not touch the world.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Source, Violation};
use crate::shell;

/// The layers, by the folder of a crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    Domain,
    Application,
    Testkit,
    Process,
    Stream,
    Adapter,
    Facade,
    Cli,
    Xtask,
}

impl Layer {
    fn of(folder: &Path) -> Option<Self> {
        Some(match folder.to_str()? {
            "crates/domain" => Self::Domain,
            "crates/application" => Self::Application,
            "crates/testkit" => Self::Testkit,
            "crates/adapters/process" => Self::Process,
            "crates/adapters/stream" => Self::Stream,
            "crates/adapters" => Self::Facade,
            "crates/cli" => Self::Cli,
            "xtask" => Self::Xtask,
            other if other.starts_with("crates/adapters/") => Self::Adapter,
            _ => return None,
        })
    }

    /// The layers that this one may build upon.
    fn may_use(self) -> &'static [Self] {
        use Layer::{Adapter, Application, Domain, Facade, Process, Stream};
        match self {
            Self::Domain | Self::Xtask => &[],
            Self::Application => &[Domain],
            Self::Testkit | Self::Process => &[Domain, Application],
            Self::Stream => &[Domain, Application, Process],
            Self::Adapter => &[Domain, Application, Process, Stream],
            Self::Facade => &[Domain, Application, Process, Stream, Adapter],
            Self::Cli => &[Domain, Application, Facade],
        }
    }
}

/// What a layer's sources never name, because it is another layer's business.
const ABSENT: [(&str, &[&str]); 2] = [
    (
        "crates/domain/src",
        &[
            "std::fs",
            "std::env",
            "std::net",
            "std::process",
            "std::thread",
            "tokio",
            "reqwest",
            "sea_orm",
            "duct::",
            "sqlx",
        ],
    ),
    (
        "crates/application/src",
        &[
            "std::fs",
            "std::env",
            "std::net",
            "std::process",
            "tokio::fs",
            "tokio::net",
            "tokio::process",
            "reqwest",
            "sea_orm",
            "duct::",
            "sqlx",
        ],
    ),
];

pub(super) fn check(sources: &[Source]) -> Result<Vec<Violation>> {
    let mut found = dependencies()?;
    for (folder, names) in ABSENT {
        for source in sources.iter().filter(|s| s.is_below(folder) && s.has_ext("rs")) {
            for (line, text) in source.lines() {
                let code = text.split("//").next().unwrap_or_default();
                for name in names.iter().filter(|n| code.contains(**n)) {
                    let text = format!("`{name}` has no place in {folder}: put it behind a port");
                    found.push(Violation::new(source.name(), line, text));
                }
            }
        }
    }
    Ok(found)
}

fn dependencies() -> Result<Vec<Violation>> {
    let mut cargo = shell::cargo();
    let text = shell::read(cargo.args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&text)?;
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().context("cargo metadata lists packages")? {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
        let manifest = manifest.strip_prefix(shell::root()).unwrap_or(manifest);
        let folder = manifest.parent().unwrap_or(manifest);
        let Some(layer) = Layer::of(folder) else {
            let text = "a crate outside the layers: name its layer in xtask/src/tidy/edges.rs";
            found.push(Violation::new(manifest.display(), None, text));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let Some(path) = dependency["path"].as_str() else { continue };
            let path = Path::new(path);
            let path = path.strip_prefix(shell::root()).unwrap_or(path);
            let dev = dependency["kind"].as_str() == Some("dev");
            let allowed = Layer::of(path).is_some_and(|other| {
                layer.may_use().contains(&other)
                    || (dev && other == Layer::Testkit && layer != Layer::Xtask)
            });
            if !allowed {
                let name = dependency["name"].as_str().unwrap_or_default();
                let text = format!(
                    "{layer:?} must not depend on `{name}`: dependencies point inward, {layer:?} \
                     may use {:?}",
                    layer.may_use()
                );
                found.push(Violation::new(manifest.display(), None, text));
            }
        }
    }
    Ok(found)
}
