//! What each code means, where it usually comes from and what to do: the text behind
//! `backupctl explain` and the error reference.

use super::ErrorCode;

/// The long form of an error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explanation {
    /// What has happened, in a sentence.
    pub meaning: &'static str,
    /// The usual causes, most frequent first.
    pub causes: &'static [&'static str],
    /// What to do, as an imperative that names a command or key.
    pub remedy: &'static str,
}

pub(super) const fn explanation(code: ErrorCode) -> Explanation {
    match code {
        _ => Explanation { meaning: "…", causes: &["…"], remedy: "…" },
    }
}
