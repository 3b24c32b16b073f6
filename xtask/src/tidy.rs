//! `cargo xtask tidy`: the rules that no compiler checks, every violation at once.

mod edges;
mod links;
mod manifests;
mod reference;
mod sources;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;

/// One broken rule: where, and what to do.
struct Violation {
    file: String,
    line: Option<usize>,
    text: String,
}

impl Violation {
    fn new(
        file: impl fmt::Display,
        line: impl Into<Option<usize>>,
        text: impl fmt::Display,
    ) -> Self {
        Self { file: file.to_string(), line: line.into(), text: text.to_string() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.text),
            None => write!(f, "{}: {}", self.file, self.text),
        }
    }
}

/// A text file of the project, by its path below the root.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn has_ext(&self, ext: &str) -> bool {
        self.path.extension().is_some_and(|e| e == ext)
    }

    fn is_below(&self, dir: &str) -> bool {
        self.path.starts_with(dir)
    }

    fn name(&self) -> std::path::Display<'_> {
        self.path.display()
    }

    /// Lines with their numbers from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(i, line)| (i + 1, line))
    }
}

/// Every text file that git knows or would add.
fn sources() -> Result<Vec<Source>> {
    let mut git = shell::command("git");
    let list = shell::read(git.args(["ls-files", "-z", "-co", "--exclude-standard"]))
        .context("tidy looks at the files that git knows: run it in a git checkout")?;
    let mut sources = Vec::new();
    for path in list.split('\0').filter(|p| !p.is_empty()) {
        // A file that is deleted and not yet committed, or that is no text, has nothing to check.
        if let Ok(text) = fs::read_to_string(shell::root().join(path)) {
            sources.push(Source { path: PathBuf::from(path), text });
        }
    }
    Ok(sources)
}

/// The task; `backupctl` is built first where it is not given.
pub(crate) fn run(backupctl: Option<&Path>) -> Result<()> {
    let sources = sources()?;
    let mut found = Vec::new();
    found.extend(edges::check(&sources)?);
    found.extend(manifests::check(&sources));
    found.extend(sources::check(&sources));
    found.extend(links::check(&sources));
    for violation in &found {
        println!("{violation}");
    }
    // The one check that needs a program that builds comes last.
    let backupctl = backupctl.map_or_else(shell::build_backupctl, |path| Ok(path.to_owned()));
    let reference = match backupctl.and_then(|path| reference::check(&path)) {
        Ok(reference) => reference,
        Err(error) => {
            let text = format!("cannot be compared with what the program says: {error:#}");
            vec![Violation::new(crate::docs::REFERENCE, None, text)]
        }
    };
    for violation in &reference {
        println!("{violation}");
    }
    match found.len() + reference.len() {
        0 => {
            println!("tidy: {} files, nothing to complain about", sources.len());
            Ok(())
        }
        n => bail!("tidy: {n} violation(s)"),
    }
}
