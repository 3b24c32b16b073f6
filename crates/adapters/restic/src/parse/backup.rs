//! What `backup --json` prints: progress, a summary, and on stderr what could not be read.

use serde::Deserialize;

/// Unread sources that are named; more are counted.
const UNREAD_LIMIT: usize = 200;

#[derive(Debug, Deserialize)]
#[serde(tag = "message_type", rename_all = "snake_case")]
enum Message {
    Status {
        #[serde(default)]
        bytes_done: u64,
        #[serde(default)]
        total_bytes: u64,
    },
    Summary(Summary),
    Error {
        #[serde(default)]
        item: String,
        #[serde(default)]
        during: String,
    },
    #[serde(other)]
    Other,
}

/// The end of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Summary {
    pub(crate) files_new: u64,
    pub(crate) files_changed: u64,
    pub(crate) files_unmodified: u64,
    /// New data before compression.
    pub(crate) data_added: u64,
    /// New data as stored; not before 0.16.
    pub(crate) data_added_packed: Option<u64>,
    pub(crate) total_files_processed: u64,
    /// 8 characters in 0.14, whole from 0.15 on.
    pub(crate) snapshot_id: String,
    /// A made-up id stands beside this.
    pub(crate) dry_run: bool,
}

/// One line of stdout.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// So far, of so much (0 where unknown).
    Progress(u64, u64),
    /// The end.
    Summary(Summary),
    /// Nothing that is needed.
    Other,
}

/// Reads a line of stdout.
pub(crate) fn line(line: &[u8]) -> Line {
    match serde_json::from_slice(line) {
        Ok(Message::Status { bytes_done, total_bytes }) => Line::Progress(bytes_done, total_bytes),
        Ok(Message::Summary(summary)) => Line::Summary(summary),
        _ => Line::Other,
    }
}

/// The sources that stderr names as unread, each once, in order.
///
/// `incomplete` says that restic itself called the backup incomplete (exit status 3): then every
/// error counts, and without any a line says that restic named none. Otherwise only a source that
/// was gone counts, which older versions pass over with status 0.
pub(crate) fn unread(stderr: &str, incomplete: bool) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut more = 0_u64;
    let mut add = |item: &str| {
        if item.is_empty() || found.iter().any(|known| known == item) {
        } else if found.len() < UNREAD_LIMIT {
            found.push(item.to_owned());
        } else {
            more += 1;
        }
    };
    for line in stderr.lines().map(str::trim) {
        if let Some((path, _)) = line.split_once(" does not exist, skipping") {
            add(path.trim_start_matches("Warning: "));
        } else if !incomplete {
        } else if line.starts_with('{') {
            if let Ok(Message::Error { item, during }) = serde_json::from_str(line)
                && during != "scan"
            {
                add(&item);
            }
        } else if let Some(text) = line.strip_prefix("error: ") {
            add(text);
        }
    }
    if more > 0 {
        found.push(format!("… and {more} more"));
    }
    if incomplete && found.is_empty() {
        found.push("(restic did not say which)".to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! fixture {
        ($name:literal) => {
            include_str!(concat!("../../tests/fixtures/restic-0.14/", $name))
        };
    }

    fn summary(text: &str) -> Summary {
        let mut found = None;
        super::super::lines(text.as_bytes(), |bytes| {
            if let Line::Summary(summary) = line(bytes) {
                found = Some(summary);
            }
        })
        .unwrap();
        found.unwrap()
    }

    #[test]
    fn summaries_and_progress_are_read() {
        let first = summary(fixture!("backup-first-json.stdout"));
        assert_eq!((first.files_unmodified, first.snapshot_id.len()), (0, 8));
        let second = summary(fixture!("backup-unchanged-json.stdout"));
        assert_eq!((second.files_unmodified, second.files_new), (5, 0));
        assert_eq!(second.snapshot_id, "96853da5");
        assert!(!second.dry_run && second.data_added_packed.is_none());
        assert!(summary(fixture!("backup-dry-run-json.stdout")).dry_run);
        let verbose = summary(fixture!("backup-verbose2-json.stdout"));
        assert_eq!(verbose.files_new, 2);
        let progress = fixture!("backup-first-json.stdout").lines().nth(1).unwrap();
        assert_eq!(line(progress.as_bytes()), Line::Progress(1_242_429, 120_090_006));
        assert_eq!(line(b"not json"), Line::Other);
    }

    #[test]
    fn unread_files_are_named_once() {
        assert_eq!(
            unread(fixture!("unreadable-file-json.stderr"), true),
            ["/WORK/nb/src/closed", "/WORK/nb/src/secret"]
        );
        assert_eq!(unread(fixture!("unreadable-only-json.stderr"), true), ["/WORK/nb/src/secret"]);
        assert_eq!(unread(fixture!("unreadable-file-text.stderr"), true).len(), 2);
        assert_eq!(unread("Warning: something", true), ["(restic did not say which)"]);
    }

    #[test]
    fn a_source_that_was_gone_counts_even_at_status_0() {
        assert_eq!(unread(fixture!("one-path-missing-json.stderr"), false), ["/WORK/src/gone"]);
        assert_eq!(unread(fixture!("unreadable-file-json.stderr"), false), [""; 0]);
    }

    #[test]
    fn the_list_of_unread_files_is_bounded() {
        use std::fmt::Write as _;
        let mut text = String::new();
        for n in 0..1000 {
            writeln!(text, r#"{{"message_type":"error","during":"archival","item":"/f{n}"}}"#)
                .unwrap();
        }
        let found = unread(&text, true);
        assert_eq!(found.len(), UNREAD_LIMIT + 1);
        assert_eq!(found.last().unwrap(), "… and 800 more");
    }
}
