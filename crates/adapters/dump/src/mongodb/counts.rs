//! How many documents `mongodump` says that it has dumped, to compare with what came.

use std::collections::BTreeMap;

/// The counts of its stderr, by `database.collection`: lines such as
/// `2026-03-18T00:00:05.123+0000 done dumping shop.orders (5 documents)`.
pub(crate) fn of(stderr: &str) -> BTreeMap<&str, u64> {
    stderr.lines().filter_map(of_line).collect()
}

fn of_line(line: &str) -> Option<(&str, u64)> {
    let (_, rest) = line.split_once("done dumping ")?;
    let (name, count) = rest.trim_end().strip_suffix(')')?.rsplit_once(" (")?;
    let count = count.strip_suffix(" documents").or_else(|| count.strip_suffix(" document"))?;
    Some((name, count.parse().ok()?))
}

/// What is said of a collection and is not so, in words.
pub(crate) fn differences(said: &BTreeMap<&str, u64>, held: &BTreeMap<String, u64>) -> Vec<String> {
    let differing = said.iter().filter_map(|(name, said)| {
        let held = held.get(*name).copied().unwrap_or_default();
        (held != *said).then(|| format!("{name} ({held} of {said} documents)"))
    });
    differing.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_whatever_the_names_are() {
        let stderr = "2026-03-18T00:00:05.1+0000\twriting shop.a to archive on stdout\n\
            2026-03-18T00:00:05.1+0000\tdone dumping shop.a (1 document)\n\
            2026-03-18T00:00:05.1+0000\tdone dumping shop.it's (odd) (20 documents)\n\
            2026-03-18T00:00:05.1+0000\t[####....]  shop.b  101/5000  (2.0%)\n";
        let said = of(stderr);
        assert_eq!(said, [("shop.a", 1), ("shop.it's (odd)", 20)].into());
        let held = [("shop.a".to_owned(), 1), ("shop.it's (odd)".to_owned(), 19)].into();
        assert_eq!(differences(&said, &held), ["shop.it's (odd) (19 of 20 documents)"]);
        assert_eq!(differences(&of(""), &held), Vec::<String>::new());
    }
}
