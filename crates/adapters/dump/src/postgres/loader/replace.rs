//! What is dropped before a script brings it anew. `pg_restore --clean` knows it by itself; `psql` does not.

use std::fmt::Write as _;

use crate::postgres::script::{Entry, quoted};

/// Statements that drop what these entries are going to make, and nothing else: where something else
/// depends on it, they fail and the transaction with them.
pub(super) fn drops(entries: &[Entry]) -> String {
    let mut out = String::from("SET client_min_messages = warning;\n");
    let of = |kinds: &[&str]| -> Vec<&Entry> {
        let mut found: Vec<&Entry> = Vec::new();
        for entry in entries.iter().filter(|e| kinds.contains(&e.kind.as_str())) {
            if !found.contains(&entry) {
                found.push(entry);
            }
        }
        // What came last may depend on what came before.
        found.reverse();
        found
    };
    for entry in of(&["VIEW", "MATERIALIZED VIEW"]) {
        drop_one(&mut out, entry);
    }
    for kind in ["FOREIGN TABLE", "TABLE"] {
        let names: Vec<String> = of(&[kind]).into_iter().map(name_of).collect();
        if !names.is_empty() {
            // In one statement, within which foreign keys between them do not matter.
            let _ = writeln!(out, "DROP {kind} IF EXISTS {};", names.join(", "));
        }
    }
    for kinds in [&["SEQUENCE"][..], &["AGGREGATE", "FUNCTION", "PROCEDURE"], &["TYPE", "DOMAIN"]] {
        for entry in of(kinds) {
            drop_one(&mut out, entry);
        }
    }
    for entry in of(&["BLOB"]) {
        if entry.name.bytes().all(|b| b.is_ascii_digit()) {
            let _ = writeln!(
                out,
                "SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata WHERE oid = {};",
                entry.name
            );
        }
    }
    out
}

fn drop_one(out: &mut String, entry: &Entry) {
    let _ = writeln!(out, "DROP {} IF EXISTS {};", entry.kind, name_of(entry));
}

/// `"public"."orders"`, `"public"."f"(integer)`.
fn name_of(entry: &Entry) -> String {
    let routine = ["AGGREGATE", "FUNCTION", "PROCEDURE"].contains(&entry.kind.as_str());
    let (name, arguments) = match entry.name.find('(').filter(|_| routine) {
        Some(at) => entry.name.split_at(at),
        None => (entry.name.as_str(), ""),
    };
    format!("{}.{}{arguments}", quoted(&entry.schema), quoted(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_depends_goes_first_and_names_are_quoted() {
        let entry = |kind: &str, name: &str| Entry {
            kind: kind.to_owned(),
            schema: "My \"S".to_owned(),
            name: name.to_owned(),
        };
        let entries = [
            entry("TYPE", "mood"),
            entry("FUNCTION", "f(integer, text)"),
            entry("TABLE", "a"),
            entry("TABLE", "b(1)"),
            entry("VIEW", "v"),
            entry("VIEW", "over v"),
            entry("BLOB", "16403"),
            entry("BLOB", "1; drop"),
            entry("INDEX", "i"),
        ];
        let text = drops(&entries);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                r#"DROP VIEW IF EXISTS "My ""S"."over v";"#,
                r#"DROP VIEW IF EXISTS "My ""S"."v";"#,
                r#"DROP TABLE IF EXISTS "My ""S"."b(1)", "My ""S"."a";"#,
                r#"DROP FUNCTION IF EXISTS "My ""S"."f"(integer, text);"#,
                r#"DROP TYPE IF EXISTS "My ""S"."mood";"#,
                "SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata WHERE oid = 16403;",
            ]
        );
    }
}
