//! How source files are to be: one subject, said at the top, of a size that can be read.

use super::{Source, Violation};

/// A longer file holds more than one subject.
const MAX_LINES: usize = 900;

/// Left-overs, and what to do about them.
const LEFT_OVERS: [(&str, &str); 5] = [
    ("todo!(", "write it, or leave it out"),
    ("unimplemented!(", "write it, or leave it out"),
    ("dbg!(", "use tracing"),
    ("#[allow(", "use #[expect(lint, reason = \"…\")]"),
    ("#![allow(", "use #![expect(lint, reason = \"…\")]"),
];

/// Words that mark what is not finished.
const FORBIDDEN: [&str; 3] = ["FIXME", "XXX:", "HACK:"];

pub(super) fn check(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources {
        // The lists above would find themselves.
        let is_tidy = source.is_below("xtask/src/tidy");
        if source.has_ext("rs") {
            rust(source, is_tidy, &mut found);
        }
        let written = ["rs", "md", "toml", "yml", "yaml"].iter().any(|e| source.has_ext(e))
            || source.is_below(".ci");
        if written && !is_tidy {
            for (number, line) in source.lines() {
                for word in FORBIDDEN.iter().filter(|w| line.contains(**w)) {
                    let text = format!("`{word}` does not belong into the project");
                    found.push(Violation::new(source.name(), number, text));
                }
            }
        }
    }
    changelog(sources, &mut found);
    found
}

fn rust(source: &Source, is_tidy: bool, found: &mut Vec<Violation>) {
    let in_crates = source.is_below("crates");
    if !source.text.starts_with("//!") {
        let text = "begin with `//!` and say why this file exists";
        found.push(Violation::new(source.name(), 1, text));
    }
    let lines = source.text.lines().count();
    if in_crates && lines > MAX_LINES {
        let text = format!("{lines} lines, at most {MAX_LINES}: split it by subject");
        found.push(Violation::new(source.name(), None, text));
    }
    if is_tidy {
        return;
    }
    for (number, line) in source.lines() {
        let line = line.trim_start();
        if line.starts_with("//") {
            continue;
        }
        for (left_over, remedy) in LEFT_OVERS.iter().filter(|(l, _)| line.contains(l)) {
            let text = format!("`{left_over}…`: {remedy}");
            found.push(Violation::new(source.name(), number, text));
        }
    }
}

fn changelog(sources: &[Source], found: &mut Vec<Violation>) {
    let changelog = sources.iter().find(|s| s.path.as_os_str() == "CHANGELOG.md");
    if !changelog.is_some_and(|s| s.text.lines().any(|l| l.trim() == "## [Unreleased]")) {
        let text = "needs a section `## [Unreleased]` (keepachangelog.com)";
        found.push(Violation::new("CHANGELOG.md", None, text));
    }
}
