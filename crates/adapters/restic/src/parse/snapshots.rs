//! What `snapshots --json` prints: one array, `[]` where nothing matches.

use std::io::{self, Read};
use std::path::PathBuf;

use backupctl_application::ports::Snapshot;
use backupctl_domain::SnapshotId;
use jiff::Timestamp;
use serde::Deserialize;

use super::first_value;

#[derive(Deserialize)]
struct Listed {
    id: String,
    time: Timestamp,
    tags: Option<Vec<String>>,
    paths: Option<Vec<PathBuf>>,
    #[serde(default)]
    hostname: String,
    /// From 0.17 on.
    summary: Option<Summary>,
}

#[derive(Deserialize)]
struct Summary {
    total_bytes_processed: Option<u64>,
}

/// Reads all of stdout; the snapshots come newest first. `None` where it is no list.
pub(crate) fn read(reader: impl Read) -> io::Result<Option<Vec<Snapshot>>> {
    let Some(listed) = first_value::<Vec<Listed>>(reader, |_| {})? else { return Ok(None) };
    let mut snapshots: Vec<Snapshot> = listed
        .into_iter()
        .filter_map(|listed| {
            Some(Snapshot {
                id: SnapshotId::new(listed.id)?,
                time: listed.time,
                tags: listed.tags.unwrap_or_default(),
                paths: listed.paths.unwrap_or_default(),
                host: listed.hostname,
                bytes: listed.summary.and_then(|summary| summary.total_bytes_processed),
                archive: None,
                proof: None,
            })
        })
        .collect();
    snapshots.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| b.id.as_str().cmp(a.id.as_str())));
    Ok(Some(snapshots))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_come_newest_first() {
        let text = include_bytes!("../../tests/fixtures/restic-0.14/snapshots-json.stdout");
        let snapshots = read(&text[..]).unwrap().unwrap();
        assert_eq!(snapshots.len(), 7);
        assert_eq!(snapshots[0].id.short(), "688c5aa0");
        assert_eq!(snapshots[6].tags, ["project:demo", "kind:db"]);
        assert_eq!((snapshots[6].host.as_str(), snapshots[6].bytes), ("app1", None));
        assert_eq!(snapshots[6].paths, [PathBuf::from("/WORK/src")]);
    }

    #[test]
    fn none_is_an_empty_list_and_something_else_is_none() {
        assert_eq!(read(&b"[]\n"[..]).unwrap(), Some(vec![]));
        assert_eq!(read(&b""[..]).unwrap(), None);
    }

    #[test]
    fn newer_versions_tell_the_bytes() {
        let text = br#"[{"id":"0123abcd","time":"2026-11-21T08:01:46.7+01:00","hostname":"h",
            "program_version":"restic 0.17.3","summary":{"total_bytes_processed":15}}]"#;
        assert_eq!(read(&text[..]).unwrap().unwrap()[0].bytes, Some(15));
    }
}
