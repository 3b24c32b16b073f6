//! The generated reference says what the program does today.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::Violation;
use crate::docs::{self, REFERENCE};
use crate::shell;

pub(super) fn check(backupctl: &Path) -> Result<Vec<Violation>> {
    let fresh = tempfile::tempdir()?;
    docs::generate(backupctl, fresh.path())?;
    let committed = shell::root().join(REFERENCE);
    let mut names = shell::files_under(fresh.path())?;
    if committed.is_dir() {
        names.extend(shell::files_under(&committed)?);
    }
    names.sort();
    names.dedup();
    let mut found = Vec::new();
    for name in names {
        let wanted = fs::read_to_string(fresh.path().join(&name)).ok();
        let is = fs::read_to_string(committed.join(&name)).ok();
        if wanted == is {
            continue;
        }
        let (what, line) = match (&wanted, &is) {
            (Some(wanted), Some(is)) => {
                let same = wanted.lines().zip(is.lines()).take_while(|(a, b)| a == b).count();
                ("is not what `backupctl docs` writes", Some(same + 1))
            }
            (Some(_), None) => ("is missing", None),
            _ => ("is no file that `backupctl docs` writes", None),
        };
        let file = format!("{REFERENCE}/{}", name.display());
        found.push(Violation::new(file, line, format!("{what}: run `cargo xtask docs`")));
    }
    Ok(found)
}
