//! A script on its way to `psql`: what is there already is passed over, and one database becomes one
//! transaction.
//!
//! The transaction is ours and not `psql -1`'s: that commits at the end of its input, also where the input
//! was cut, and a script with large objects commits on its own in the middle.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use backupctl_domain::manifest::Contents;

use super::unpack;
use crate::postgres::script::{Kind, Splitter, first_name};
use crate::stream::{CHUNK, Watch};

/// What is done to a script.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    /// Roles and tablespaces that stay as they are: `role bob`.
    pub(super) existing: Contents,
    /// Run first inside the transaction of the one database; `None` for a script of several.
    pub(super) first: Option<String>,
    /// Whether a schema that is there is no error.
    pub(super) schemas_exist: bool,
}

/// Where in a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before anything that counts.
    Head,
    /// Among roles and tablespaces.
    Globals,
    /// In a database.
    Database,
}

/// Writes the unpacked and changed script.
pub(super) fn feed(
    path: &Path,
    changes: &Changes,
    watch: &Watch,
    stdin: &mut (dyn Write + Send),
) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(CHUNK, stdin);
    let mut splitter = Splitter::default();
    let mut place = Place::Head;
    unpack(path, watch, |chunk| {
        let mut written = Ok(());
        splitter.feed(chunk, &mut |kind, piece| {
            if written.is_ok() {
                written = pass(kind, piece, changes, &mut place, &mut out);
            }
        });
        written
    })?;
    let mut written = Ok(());
    splitter.flush(&mut |_, piece| written = out.write_all(piece));
    written?;
    if changes.first.is_some() {
        out.write_all(b"\nCOMMIT;\n")?;
    }
    out.flush()
}

fn pass(
    kind: Kind,
    piece: &[u8],
    changes: &Changes,
    place: &mut Place,
    out: &mut impl Write,
) -> io::Result<()> {
    match kind {
        Kind::Comment if piece == b"-- PostgreSQL database cluster dump\n" => {
            *place = Place::Globals;
        }
        Kind::Comment if piece == b"-- PostgreSQL database dump\n" => {
            *place = Place::Database;
            if let Some(first) = &changes.first {
                out.write_all(b"\nBEGIN;\n")?;
                out.write_all(first.as_bytes())?;
            }
        }
        Kind::Statement if *place == Place::Globals => {
            let text = String::from_utf8_lossy(piece);
            if subject(&text).is_some_and(|name| changes.existing.contains(&name)) {
                return Ok(());
            }
        }
        // Around large objects; both would end our transaction.
        Kind::Statement
            if changes.first.is_some() && matches!(piece, b"BEGIN;\n" | b"COMMIT;\n") =>
        {
            return Ok(());
        }
        Kind::Statement if changes.schemas_exist => {
            if let Some(rest) = piece.strip_prefix(b"CREATE SCHEMA ") {
                out.write_all(b"CREATE SCHEMA IF NOT EXISTS ")?;
                return out.write_all(rest);
            }
        }
        _ => {}
    }
    out.write_all(piece)
}

/// The role or tablespace that a statement of `pg_dumpall` makes or changes; of a membership the member.
fn subject(statement: &str) -> Option<String> {
    let named = |kind: &str, rest: &str| first_name(rest).map(|name| format!("{kind} {name}"));
    for (start, kind) in [
        ("CREATE ROLE ", "role"),
        ("ALTER ROLE ", "role"),
        ("COMMENT ON ROLE ", "role"),
        ("CREATE TABLESPACE ", "tablespace"),
        ("ALTER TABLESPACE ", "tablespace"),
        ("COMMENT ON TABLESPACE ", "tablespace"),
    ] {
        if let Some(rest) = statement.strip_prefix(start) {
            return named(kind, rest);
        }
    }
    if !statement.starts_with("GRANT ") && !statement.starts_with("REVOKE ") {
        return None;
    }
    match statement.split_once(" ON TABLESPACE ") {
        Some((_, rest)) => named("tablespace", rest),
        None => named("role", statement.split_once(" TO ")?.1),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use backupctl_application::context::{Cancel, StageContext};
    use backupctl_domain::Stage;

    use super::*;

    fn fed(script: &str, changes: &Changes) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sql");
        std::fs::write(&path, script).unwrap();
        let ctx = StageContext::new(Stage::Sync, Cancel::new(), Arc::default());
        let mut out = Vec::new();
        feed(&path, changes, &Watch::new(&ctx), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    const GLOBALS: &str = "-- PostgreSQL database cluster dump\nCREATE ROLE bob;\nALTER ROLE bob WITH LOGIN PASSWORD 'x;\ny';\nCREATE ROLE \"new one\";\nGRANT bob TO \"new one\" GRANTED BY postgres;\nGRANT \"new one\" TO bob;\nCREATE TABLESPACE fast OWNER bob LOCATION '/x';\nGRANT ALL ON TABLESPACE fast TO \"new one\";\n-- PostgreSQL database cluster dump complete\n";

    #[test]
    fn roles_that_exist_stay_as_they_are() {
        let existing = ["role bob", "tablespace fast"].map(str::to_owned).into();
        let out = fed(GLOBALS, &Changes { existing, ..Changes::default() });
        assert!(!out.contains("CREATE ROLE bob") && !out.contains("ALTER ROLE"), "{out}");
        assert!(!out.contains("'x;") && !out.contains("TABLESPACE fast"), "{out}");
        assert!(!out.contains("TO bob"), "{out}");
        assert!(out.contains("CREATE ROLE \"new one\";\nGRANT bob TO \"new one\""), "{out}");
        assert_eq!(fed(GLOBALS, &Changes::default()), GLOBALS);
    }

    #[test]
    fn one_database_is_one_transaction_whatever_the_script_commits() {
        let script = "-- PostgreSQL database dump\nCREATE SCHEMA app;\nBEGIN;\nSELECT 1;\nCOMMIT;\nCOPY t FROM stdin;\nCOMMIT;\n\\.\n-- PostgreSQL database dump complete\n";
        let changes = Changes {
            first: Some("DROP TABLE t;\n".to_owned()),
            schemas_exist: true,
            ..Changes::default()
        };
        assert_eq!(
            fed(script, &changes),
            "\nBEGIN;\nDROP TABLE t;\n-- PostgreSQL database dump\nCREATE SCHEMA IF NOT EXISTS app;\nSELECT 1;\nCOPY t FROM stdin;\nCOMMIT;\n\\.\n-- PostgreSQL database dump complete\n\nCOMMIT;\n"
        );
    }
}
