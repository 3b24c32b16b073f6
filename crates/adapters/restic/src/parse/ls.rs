//! What `ls --json` prints: the snapshot, then a line for each entry. From it comes the proof that a
//! snapshot holds what it must.

use std::collections::BTreeMap;
use std::path::Path;

use backupctl_domain::SnapshotId;
use serde::Deserialize;

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    struct_type: String,
    // Of the snapshot.
    #[serde(default)]
    id: String,
    tags: Option<Vec<String>>,
    // Of a node.
    #[serde(default)]
    path: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    size: u64,
}

/// An entry that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) is_file: bool,
    pub(crate) size: u64,
}

/// What a listing shows of a few wanted paths.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The snapshot's whole id.
    pub(crate) id: Option<SnapshotId>,
    /// Its tags.
    pub(crate) tags: Vec<String>,
    wanted: BTreeMap<String, Option<Node>>,
    entries: u64,
}

impl Listing {
    /// Nothing seen yet, looking for these paths.
    pub(crate) fn of<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let wanted = paths.into_iter().map(|path| (shown(path), None)).collect();
        Self { wanted, ..Self::default() }
    }

    /// Takes a line of stdout.
    pub(crate) fn line(&mut self, line: &[u8]) {
        // Names that are no UTF-8 come replaced, as `shown` replaces them.
        let Ok(entry) = serde_json::from_str::<Entry>(&String::from_utf8_lossy(line)) else {
            return;
        };
        match entry.struct_type.as_str() {
            "snapshot" => {
                self.id = SnapshotId::new(entry.id);
                self.tags = entry.tags.unwrap_or_default();
            }
            "node" => {
                self.entries += 1;
                if let Some(found) = self.wanted.get_mut(&entry.path) {
                    *found = Some(Node { is_file: entry.kind == "file", size: entry.size });
                }
            }
            _ => {}
        }
    }

    /// The entry at this wanted path.
    pub(crate) fn node(&self, path: &Path) -> Option<&Node> {
        self.wanted.get(&shown(path))?.as_ref()
    }

    /// Whether the path is in it; the root has no entry of its own.
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.node(path).is_some() || (path == Path::new("/") && self.entries > 0)
    }
}

/// The path as restic writes it: without `.`, double or trailing slashes.
fn shown(path: &Path) -> String {
    let clean: std::path::PathBuf = path.components().collect();
    clean.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_snapshot_and_the_wanted_entries_are_found() {
        let text = include_str!("../../tests/fixtures/restic-0.14/ls-latest-json.stdout");
        let dump = Path::new("/demo.sql");
        let mut listing = Listing::of([dump, Path::new("/other")]);
        text.lines().for_each(|line| listing.line(line.as_bytes()));
        assert_eq!(listing.id.as_ref().map(SnapshotId::short), Some("688c5aa0"));
        assert_eq!(listing.tags, ["project:demo"]);
        assert_eq!(listing.node(dump), Some(&Node { is_file: true, size: 15 }));
        assert!(listing.has(Path::new("//demo.sql/")) && !listing.has(Path::new("/other")));
    }
}
