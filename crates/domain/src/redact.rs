//! Takes known secrets out of a text before anybody else sees it.

#[cfg(test)]
mod tests;

use std::fmt;

/// What stands in a secret's place.
pub const MASK: &str = "***";

/// A secret of fewer bytes is masked as a word of its own only: it stands inside half of all words, and
/// a text without them could not be read.
const SHORT: usize = 3;

/// Replaces every known secret in a text by `***`; also a password inside a URL (`//user:…@`).
#[derive(Clone, Default)]
pub struct Redactor {
    secrets: Vec<String>,
}

impl Redactor {
    /// Makes a redactor for these secrets. Empty ones are passed over, and the longest are replaced
    /// first so that a secret that contains another one leaves no remainder.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<String> = secrets.into_iter().filter(|s| !s.is_empty()).collect();
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        Self { secrets }
    }

    /// The text with every secret masked.
    pub fn redact(&self, text: &str) -> String {
        // Secrets go first: some are whole URLs, and one of which only the password were masked
        // would not be recognised any more.
        let mut out = text.to_owned();
        for secret in &self.secrets {
            if !out.contains(secret.as_str()) {
                continue;
            }
            out = if secret.len() < SHORT {
                mask_words(&out, secret)
            } else {
                out.replace(secret.as_str(), MASK)
            };
        }
        mask_url_passwords(&out)
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} secrets)", self.secrets.len())
    }
}

/// Whether a variable's name says that its value is a secret: a password, token, key or the like.
pub fn is_secret_name(variable: &str) -> bool {
    const MARKS: [&str; 6] = ["PASS", "SECRET", "TOKEN", "KEY", "WEBHOOK", "CREDENTIAL"];
    let name = variable.to_ascii_uppercase();
    MARKS.iter().any(|mark| name.contains(mark))
}

/// Masks a secret where neither side goes on with a letter or digit.
fn mask_words(text: &str, secret: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (at, found) in text.match_indices(secret) {
        let end = at + found.len();
        let goes_on = text[..at].chars().next_back().is_some_and(char::is_alphanumeric)
            || text[end..].chars().next().is_some_and(char::is_alphanumeric);
        if !goes_on {
            out.push_str(&text[done..at]);
            out.push_str(MASK);
            done = end;
        }
    }
    out.push_str(&text[done..]);
    out
}

fn mask_url_passwords(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let end = tail
            .find(|c: char| c == '/' || c.is_whitespace() || c == '"' || c == '\'')
            .unwrap_or(tail.len());
        let authority = &tail[..end];
        match authority.rsplit_once('@') {
            Some((user, host)) if user.contains(':') => {
                let name = user.split(':').next().unwrap_or_default();
                out.push_str(name);
                out.push(':');
                out.push_str(MASK);
                out.push('@');
                out.push_str(host);
            }
            _ => out.push_str(authority),
        }
        rest = &tail[end..];
    }
    out.push_str(rest);
    out
}
