//! Which file is the configuration.

use std::path::{Path, PathBuf};

use backupctl_domain::{ErrorCode, Failure};

use crate::environment::Environment;

/// The file: the one asked for, else `$BACKUPCTL_CONFIG`, else the first of the usual places.
pub(crate) fn locate(
    explicit: Option<&Path>,
    environment: &Environment,
) -> Result<PathBuf, Failure> {
    let asked = explicit.map(|path| (path, "--config"));
    let variable = environment.get("BACKUPCTL_CONFIG").map(Path::new);
    if let Some((path, by)) = asked.or_else(|| Some((variable?, "BACKUPCTL_CONFIG"))) {
        let path = environment.cwd.join(path);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(Failure::new(
                ErrorCode::InvalidConfig,
                format!("no configuration file at {} (named by {by})", path.display()),
            )
            .with_remedy(format!(
                "correct {by}, or run `backupctl init --config {}` to write a starter file",
                path.display()
            )))
        };
    }
    let places = usual_places(environment);
    places.iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
        let list: Vec<_> = places.iter().map(|path| path.display().to_string()).collect();
        Failure::new(
            ErrorCode::InvalidConfig,
            format!("no configuration file; looked for {}", list.join(", ")),
        )
        .with_remedy("run `backupctl init` to write a starter file, or name one with `--config`")
    })
}

/// The usual places, in the order they are looked at.
pub(crate) fn usual_places(environment: &Environment) -> Vec<PathBuf> {
    let mut places =
        vec![environment.cwd.join("backupctl.yml"), environment.cwd.join("config/projects.yml")];
    let own = environment.xdg("XDG_CONFIG_HOME", ".config");
    places.extend(own.map(|folder| folder.join("backupctl/backupctl.yml")));
    places.push(PathBuf::from("/etc/backupctl/backupctl.yml"));
    places
}
