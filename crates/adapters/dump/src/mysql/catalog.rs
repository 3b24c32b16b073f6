//! What the server shows of its databases.

use std::collections::BTreeSet;

use backupctl_application::context::StageContext;
use backupctl_domain::Failure;
use backupctl_domain::manifest::Contents;

use super::args::ExtraArgs;
use super::grants::Grants;
use super::scan::contents_name;
use super::server::{Client, Server};
use super::tools::numbers;

/// Databases of the server itself, which no user fills.
pub(crate) const SYSTEM: [&str; 4] = ["mysql", "sys", "information_schema", "performance_schema"];

/// Tables by database and name.
pub(crate) type Tables = BTreeSet<(String, String)>;

/// What is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    /// The server's version as it tells it, e.g. `10.11.19-MariaDB-0+deb12u1`.
    pub(crate) version: String,
    /// Who we are to the server: `backup@%`.
    pub(crate) user: String,
    /// The TLS cipher; empty without TLS.
    pub(crate) cipher: String,
    /// What the user may do.
    pub(crate) grants: Grants,
    /// Every database that is to be dumped.
    pub(crate) databases: BTreeSet<String>,
    /// Tables that may have triggers.
    pub(crate) tables: Tables,
    /// Those of them that keep the history of their rows.
    pub(crate) versioned: Tables,
    /// Databases that hold a routine whose body the user may not see.
    pub(crate) with_hidden_routines: BTreeSet<String>,
    /// Everything in the databases, by [`contents_name`], they themselves among it for `all`.
    pub(crate) contents: Contents,
    /// Views and sequences.
    others: Tables,
    /// Database, name and table of each.
    triggers: BTreeSet<[String; 3]>,
}

impl Catalog {
    /// Asks the server.
    pub(crate) async fn read(
        server: &Server,
        client: &Client<'_>,
        ctx: &StageContext,
    ) -> Result<Self, Failure> {
        let all = server.is_all();
        let database = (!all).then_some(server.database.name.as_str());
        let rows = server.ask(client, database, &questions(all), ctx).await?;
        let mut catalog = Self::default();
        for row in rows {
            let row: Vec<&str> = row.iter().map(String::as_str).collect();
            catalog.add(&row, all);
        }
        Ok(catalog)
    }

    /// Takes one row of the answers; `all` where databases count as contents.
    pub(crate) fn add(&mut self, row: &[&str], all: bool) {
        let mut note = |kind: &str, database: &str, name: &str| {
            self.contents.insert(contents_name(kind, database, name));
        };
        match *row {
            ["server", version, user] => {
                version.clone_into(&mut self.version);
                user.clone_into(&mut self.user);
            }
            ["Ssl_cipher", cipher] => cipher.clone_into(&mut self.cipher),
            ["database", name] => {
                if all {
                    note("database", name, name);
                }
                self.databases.insert(name.to_owned());
            }
            ["table", database, name, kind] => {
                let key = (database.to_owned(), name.to_owned());
                match kind {
                    "VIEW" | "SEQUENCE" => {
                        note(&kind.to_lowercase(), database, name);
                        self.others.insert(key);
                    }
                    // A session's own, and what is made up.
                    _ if kind.starts_with("TEMPORARY") || kind == "SYSTEM VIEW" => {}
                    _ => {
                        note("table", database, name);
                        if kind == "SYSTEM VERSIONED" {
                            self.versioned.insert(key.clone());
                        }
                        self.tables.insert(key);
                    }
                }
            }
            ["trigger", database, name, table] => {
                note("trigger", database, name);
                self.triggers.insert([database, name, table].map(str::to_owned));
            }
            ["routine", database, name, kind, hidden] => {
                note(&kind.to_lowercase(), database, name);
                if hidden == "1" {
                    self.with_hidden_routines.insert(database.to_owned());
                }
            }
            ["event", database, name] => note("event", database, name),
            [line] => self.grants.add(line),
            _ => {}
        }
    }

    /// Whether the server is MariaDB.
    pub(crate) fn is_mariadb(&self) -> bool {
        self.version.to_lowercase().contains("mariadb")
    }

    /// Whether routines are kept in `mysql.proc`, as everywhere but in MySQL from 8.0 on.
    pub(crate) fn has_proc(&self) -> bool {
        self.is_mariadb() || numbers(&self.version).0 < 8
    }

    /// The number of tables, without views and sequences.
    pub(crate) fn table_count(&self) -> u64 {
        self.tables.len() as u64
    }

    /// What users have made in the databases, which themselves are not among it.
    pub(crate) fn things(&self) -> impl Iterator<Item = &String> {
        self.contents.iter().filter(|name| !name.starts_with("database "))
    }

    /// The tables, views and sequences that a pattern of the configuration means: a name with `*` and
    /// `?`, the database's before a point. `default` is the database of a name that stands alone.
    pub(crate) fn matching(&self, pattern: &str, default: Option<&str>) -> Tables {
        let split = pattern.split_once('.');
        let of = |(database, name): &&(String, String)| {
            like(pattern, name) || split.is_some_and(|(d, n)| like(d, database) && like(n, name))
        };
        let mut found: Tables =
            self.tables.iter().chain(&self.others).filter(of).cloned().collect();
        // One that is there when the dump begins, and was not yet when we looked.
        if !pattern.contains(['*', '?'])
            && let Some((database, name)) = split.or(default.map(|d| (d, pattern)))
        {
            found.insert((database.to_owned(), name.to_owned()));
        }
        found
    }

    /// The contents that go with left-out tables, or that the arguments leave out.
    pub(crate) fn excluded(&self, tables: &Tables, extra: &ExtraArgs) -> Contents {
        let mut excluded = Contents::new();
        for (database, name) in tables {
            for kind in ["table", "view", "sequence"] {
                excluded.insert(contents_name(kind, database, name));
            }
        }
        for [database, name, table] in &self.triggers {
            if tables.contains(&(database.clone(), table.clone())) {
                excluded.insert(contents_name("trigger", database, name));
            }
        }
        let kinds: &[(bool, &[&str])] = &[
            (extra.skips_triggers, &["trigger "]),
            (extra.skips_routines, &["procedure ", "function ", "package "]),
            (extra.skips_events, &["event "]),
        ];
        let skipped: Vec<&str> = kinds.iter().filter(|k| k.0).flat_map(|k| k.1).copied().collect();
        let left_out = |name: &&String| {
            skipped.iter().any(|kind| name.starts_with(kind))
                || extra.ignored_databases.iter().any(|database| is_of(name, database))
        };
        excluded.extend(self.contents.iter().filter(left_out).cloned());
        excluded
    }
}

/// Whether `table shop.orders` is of the database `shop`.
pub(crate) fn is_of(name: &str, database: &str) -> bool {
    let name = name.split_once(' ').map_or("", |(_, rest)| rest);
    let name = name.strip_prefix("body ").unwrap_or(name);
    name.strip_prefix(database).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn questions(all: bool) -> String {
    let system = SYSTEM.map(|name| format!("'{name}'")).join(", ");
    let of = |column: &str| {
        if all { format!("{column} not in ({system})") } else { format!("{column} = database()") }
    };
    let from = |columns: &str, table: &str, scope: &str| {
        format!("select {columns} from information_schema.{table} where {}", of(scope))
    };
    [
        "select 'server', version(), current_user()".to_owned(),
        "show session status like 'Ssl_cipher'".to_owned(),
        from("'database', SCHEMA_NAME", "SCHEMATA", "SCHEMA_NAME"),
        from("'table', TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE", "TABLES", "TABLE_SCHEMA"),
        from(
            "'trigger', TRIGGER_SCHEMA, TRIGGER_NAME, EVENT_OBJECT_TABLE",
            "TRIGGERS",
            "TRIGGER_SCHEMA",
        ),
        from(
            "'routine', ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_TYPE, ROUTINE_DEFINITION is null",
            "ROUTINES",
            "ROUTINE_SCHEMA",
        ),
        from("'event', EVENT_SCHEMA, EVENT_NAME", "EVENTS", "EVENT_SCHEMA"),
        "show grants".to_owned(),
    ]
    .join("; ")
}

/// Whether a name is one of a pattern with `*` and `?`.
fn like(pattern: &str, name: &str) -> bool {
    let mut pattern = pattern.chars();
    match pattern.next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = pattern.as_str();
            like(rest, name)
                || name.char_indices().any(|(i, c)| like(rest, &name[i + c.len_utf8()..]))
        }
        Some(first) => {
            let mut name = name.chars();
            name.next().is_some_and(|c| first == '?' || first == c)
                && like(pattern.as_str(), name.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_the_configuration_mean_tables_of_one_or_of_all_databases() {
        let rows: &[&[&str]] = &[
            &["table", "shop", "log_1", "BASE TABLE"],
            &["table", "shop", "log_2", "VIEW"],
            &["table", "crm", "log_1", "BASE TABLE"],
            &["trigger", "shop", "t1", "log_1"],
            &["routine", "shop", "body", "PACKAGE BODY", "0"],
            &["event", "crm", "e"],
        ];
        let mut of = Catalog::default();
        for row in rows {
            of.add(row, true);
        }
        let found = |pattern, default| {
            let found = of.matching(pattern, default);
            found.iter().map(|(d, n)| format!("{d}.{n}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(found("shop.log_?", None), "shop.log_1 shop.log_2");
        assert_eq!(found("log_1", None), "crm.log_1 shop.log_1");
        assert_eq!(found("gone", Some("shop")), "shop.gone");
        let extra = super::super::args::check(&["--ignore-database=crm".to_owned()]).unwrap();
        let excluded = of.excluded(&of.matching("shop.log_1", None), &extra);
        assert!(excluded.contains("trigger shop.t1") && excluded.contains("table crm.log_1"));
        assert!(excluded.contains("event crm.e") && !excluded.contains("view shop.log_2"));
        assert!(!excluded.contains("package body shop.body"));
    }
}
