//! `cargo xtask docs`: the reference that the program writes of itself.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::shell;

/// Where the generated reference is, below the root.
pub(crate) const REFERENCE: &str = "docs/reference";

/// Lets `backupctl` write its reference into a folder.
pub(crate) fn generate(backupctl: &Path, dir: &Path) -> Result<()> {
    shell::read(shell::hermetic(backupctl).args(["docs", "--dir"]).arg(dir))?;
    Ok(())
}

/// The task.
pub(crate) fn run() -> Result<()> {
    let backupctl = shell::build_backupctl()?;
    let dir = shell::root().join(REFERENCE);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    generate(&backupctl, &dir)?;
    for file in shell::files_under(&dir)? {
        println!("{REFERENCE}/{}", file.display());
    }
    Ok(())
}
