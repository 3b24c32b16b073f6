//! What `forget --prune --json` prints: one array, nothing where no snapshot matched, and in 0.14
//! the text of `prune` behind it.

use std::io::{self, Read};

use backupctl_domain::SnapshotId;
use serde::Deserialize;

use super::{first_value, text};

#[derive(Deserialize)]
struct Group {
    keep: Option<Vec<Listed>>,
    remove: Option<Vec<Listed>>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
}

/// What was kept and removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Forgotten {
    pub(crate) removed: Vec<SnapshotId>,
    pub(crate) kept: u64,
    /// The repository's size after pruning, where prune told it.
    pub(crate) remaining: Option<u64>,
}

/// Reads all of stdout.
pub(crate) fn read(reader: impl Read) -> io::Result<Forgotten> {
    let mut result = Forgotten::default();
    let groups: Option<Vec<Group>> = first_value(reader, |line| {
        result.remaining =
            result.remaining.or_else(|| text::remaining(&String::from_utf8_lossy(line)));
    })?;
    for group in groups.into_iter().flatten() {
        result.kept += group.keep.map_or(0, |keep| keep.len() as u64);
        let removed = group.remove.into_iter().flatten();
        result.removed.extend(removed.filter_map(|listed| SnapshotId::new(listed.id)));
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! fixture {
        ($name:literal) => {
            read(&include_bytes!(concat!("../../tests/fixtures/restic-0.14/", $name))[..]).unwrap()
        };
    }

    #[test]
    fn the_array_is_read_and_the_text_behind_it_tells_the_size() {
        let pruned = fixture!("forget-prune-json.stdout");
        assert_eq!((pruned.kept, pruned.removed.len()), (1, 5));
        assert_eq!(pruned.remaining, Some(31_473));
        assert_eq!(fixture!("stale-lock-forget-after-unlock.stdout").kept, 1);
    }

    #[test]
    fn nothing_to_remove_and_nothing_at_all_are_fine() {
        let nothing = fixture!("forget-prune-nothing-json.stdout");
        assert_eq!((nothing.kept, nothing.removed.len(), nothing.remaining), (1, 0, None));
        assert_eq!(read(&b""[..]).unwrap(), Forgotten::default());
    }
}
