//! The mark of our files, and words as systemd reads them.

use std::path::Path;

use backupctl_domain::{ErrorCode, Failure};

/// What the first line of each of our files begins with; the checksum of the rest follows.
const MARK: &str = "# Written by `backupctl systemd install`; checksum ";

/// The text with our mark in front.
pub(crate) fn marked(text: &str) -> String {
    format!("{MARK}{}\n{text}", checksum(text))
}

/// Whose a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// As we wrote it.
    Ours,
    /// Ours, and edited since.
    Edited,
    /// Not ours.
    Foreign,
}

/// Whose the text of a file is.
pub(crate) fn owner(text: &str) -> Owner {
    let Some((first, rest)) = text.split_once('\n') else { return Owner::Foreign };
    match first.strip_prefix(MARK) {
        Some(sum) if sum == checksum(rest) => Owner::Ours,
        Some(_) => Owner::Edited,
        None => Owner::Foreign,
    }
}

fn checksum(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
}

/// A path as text that a unit can hold.
///
/// # Errors
///
/// `INVALID_CONFIG` for one with line ends or that is no UTF-8.
pub(crate) fn path_text(path: &Path) -> Result<&str, Failure> {
    let text = path.to_str().filter(|text| !text.chars().any(char::is_control));
    text.ok_or_else(|| {
        Failure::new(
            ErrorCode::InvalidConfig,
            format!("{} has characters that no unit can hold", path.display()),
        )
        .with_remedy("rename it, or keep it out of what the units are made of")
    })
}

/// One word of a list, e.g. of `ReadWritePaths=`.
pub(crate) fn word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@~%".contains(c);
    let escaped = text.replace('%', "%%");
    if !text.is_empty() && text.chars().all(plain) {
        escaped
    } else {
        format!("\"{}\"", escaped.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// One word of a command line, where `$` begins a variable too.
pub(crate) fn argument(text: &str) -> String {
    word(&text.replace('$', "$$"))
}

/// The words of a list or command line.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let Some(first) = chars.peek().copied() else { return all };
        let quote = (first == '"' || first == '\'').then_some(first);
        if quote.is_some() {
            chars.next();
        }
        let mut word = String::new();
        while let Some(c) = chars.next() {
            match c {
                '\\' => word.extend(chars.next()),
                '%' | '$' if chars.peek() == Some(&c) => word.extend(chars.next()),
                c if Some(c) == quote => break,
                c if quote.is_none() && c.is_whitespace() => break,
                c => word.push(c),
            }
        }
        all.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_as_they_were() {
        for text in ["/srv/repo", "/mnt/my stick/100%", "a\"b\\c", "it's", "/srv/$x$$", "ä b"] {
            let line = format!("{} {}", argument(text), argument("next"));
            assert_eq!(words(&line), [text, "next"], "{line}");
        }
    }

    #[test]
    fn an_edited_file_is_told_from_one_of_ours_and_from_others() {
        let text = marked("[Unit]\nA=1\n");
        assert_eq!(owner(&text), Owner::Ours);
        assert_eq!(owner(&text.replace("A=1", "A=2")), Owner::Edited);
        assert_eq!(owner("[Unit]\nA=1\n"), Owner::Foreign);
        assert_eq!(owner(""), Owner::Foreign);
    }
}
