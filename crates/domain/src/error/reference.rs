//! The error reference as a document: docs/reference/errors.md is what this renders, so that the
//! page and `backupctl explain` cannot differ.

use std::fmt::Write as _;

use super::{Class, ErrorCode};

const INTRODUCTION: &str = "\
# Errors

<!-- Generated from crates/domain/src/error; edit the texts there. -->

Every failure carries one of these codes: on the terminal, in `--json`, in the run record, in the
notification and in the HTTP API. `backupctl explain CODE` prints the same text.

*Transient* says whether a retryable stage (Dump to Cleanup) tries again by itself; an adapter that
knows better in a single case says so. *Exit* is the status of a command that ends with the code.
`NOTIFY_FAILED` and `HEARTBEAT_FAILED` never change the result of a run, and `AUDIT_UNAVAILABLE`
ends only commands that are about the audit.
";

/// The content of docs/reference/errors.md: a table of every code, then a section for each.
pub fn reference_markdown() -> String {
    let mut out = INTRODUCTION.to_owned();
    out.push_str("\n| Code | Transient | Exit | Meaning |\n|---|---|---|---|\n");
    for code in ErrorCode::ALL {
        let name = code.as_str();
        let anchor = name.to_lowercase();
        let meaning = code.explanation().meaning;
        let _ = writeln!(
            out,
            "| [{name}](#{anchor}) | {} | {} | {} |",
            transient(*code),
            exit(*code),
            first_sentence(meaning)
        );
    }
    for code in ErrorCode::ALL {
        let text = code.explanation();
        let _ = write!(out, "\n## {code}\n\n{}\n\nUsual causes:\n\n", text.meaning);
        for cause in text.causes {
            let _ = writeln!(out, "- {cause}");
        }
        let _ = write!(out, "\nFix: {}\n", text.remedy);
    }
    out
}

const fn transient(code: ErrorCode) -> &'static str {
    match code.class() {
        Class::Transient => "yes",
        Class::Permanent => "no",
    }
}

fn exit(code: ErrorCode) -> String {
    match code {
        // By the signal that ended the run.
        ErrorCode::Interrupted => "130 or 143".to_owned(),
        code => code.exit_status().to_string(),
    }
}

fn first_sentence(text: &str) -> &str {
    text.find(". ").map_or(text, |at| &text[..=at])
}
