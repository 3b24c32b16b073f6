//! Every relative link of a Markdown file leads somewhere, to its heading if it names one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{Source, Violation};
use crate::shell;

pub(super) fn check(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|s| s.has_ext("md")) {
        let folder = shell::root().join(&source.path);
        let folder = folder.parent().unwrap_or(shell::root()).to_owned();
        for (number, line) in prose(&source.text) {
            for target in targets(&line) {
                if let Some(text) = broken(&folder, source, target) {
                    found.push(Violation::new(source.name(), number, text));
                }
            }
        }
    }
    found
}

fn broken(folder: &Path, source: &Source, target: &str) -> Option<String> {
    let is_url = target.split('/').next().is_some_and(|scheme| scheme.ends_with(':'));
    if is_url || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = folder.join(path);
    if !path.is_empty() && !file.exists() {
        return Some(format!("link to `{target}` leads nowhere: correct it"));
    }
    let is_markdown = path.is_empty() || file.extension().is_some_and(|e| e == "md");
    if anchor.is_empty() || !is_markdown {
        return None;
    }
    let text =
        if path.is_empty() { source.text.clone() } else { fs::read_to_string(&file).ok()? };
    let known = headings(&text);
    (!known.contains(anchor)).then(|| format!("no heading `#{anchor}` for link `{target}`"))
}

/// Lines with their numbers, less code blocks and code spans.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let plain = line.split('`').step_by(2).collect::<Vec<_>>().join("");
            lines.push((index + 1, plain));
        }
    }
    lines
}

/// The targets of `[text](target)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split(')').next()?;
        target.split_whitespace().next()
    })
}

/// The anchors of a file's headings, as GitHub makes them.
fn headings(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced || !line.starts_with('#') {
            continue;
        }
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let anchor: String = title
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        // A heading that comes again gets a number.
        let again = (1..).map(|n| format!("{anchor}-{n}"));
        let free = std::iter::once(anchor.clone()).chain(again).find(|a| !anchors.contains(a));
        anchors.extend(free);
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_not_searched_for_links() {
        let text = "[a](b.md) `[c](d.md)`\n```\n[e](f.md)\n```\n[g](h.md#i \"title\")";
        let found: Vec<String> = prose(text)
            .iter()
            .flat_map(|(_, line)| targets(line).map(str::to_owned).collect::<Vec<_>>())
            .collect();
        assert_eq!(found, ["b.md", "h.md#i"]);
    }

    #[test]
    fn anchors_are_those_of_the_reader() {
        let anchors = headings("# What `run` does, and why\n## Twice\n## Twice\n");
        let expected = ["twice", "twice-1", "what-run-does-and-why"].map(str::to_owned);
        assert_eq!(anchors, BTreeSet::from(expected));
    }
}
