//! What a dump must hold to be the dump of what the database shows (spec: pipeline.md §4, last part).

use std::collections::BTreeSet;

/// Names of things (tables, triggers, routines …), each as `kind name`, e.g. `table public.orders`.
pub type Contents = BTreeSet<String>;

/// What comparing the catalog with the dump has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completeness {
    /// The dump holds everything that the catalog shows.
    Complete,
    /// The database itself has nothing to dump: true, and worth a warning.
    NothingInDatabase,
    /// These are in the catalog and not in the dump, in order.
    Missing(Vec<String>),
}

/// Compares what the catalog shows, less what the configuration excludes, with what the dump holds.
pub fn completeness(
    catalog: &Contents,
    dump: &Contents,
    is_excluded: impl Fn(&str) -> bool,
) -> Completeness {
    if catalog.is_empty() && dump.is_empty() {
        return Completeness::NothingInDatabase;
    }
    let missing: Vec<String> = catalog
        .iter()
        .filter(|name| !dump.contains(*name) && !is_excluded(name))
        .cloned()
        .collect();
    if missing.is_empty() { Completeness::Complete } else { Completeness::Missing(missing) }
}

/// Up to `limit` names in one line, and how many more there are.
pub fn listed(names: &[String], limit: usize) -> String {
    let shown = names.iter().take(limit).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(limit) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> Contents {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn what_the_catalog_shows_and_the_dump_lacks_is_named() {
        let found = completeness(&set(&["a", "b", "c"]), &set(&["b", "x"]), |n| n == "c");
        assert_eq!(found, Completeness::Missing(vec!["a".to_owned()]));
        assert_eq!(completeness(&set(&["a"]), &set(&["a"]), |_| false), Completeness::Complete);
        let none = completeness(&set(&[]), &set(&[]), |_| false);
        assert_eq!(none, Completeness::NothingInDatabase);
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        assert_eq!(listed(&names, 2), "a, b and 1 more");
        assert_eq!(listed(&names, 3), "a, b, c");
    }
}
