//! Which rights the user lacks without which a dump would leave something out in silence.

use std::fmt::Write as _;

use backupctl_domain::manifest::listed;
use backupctl_domain::{ErrorCode, Failure};

use super::args::ExtraArgs;
use super::catalog::{Catalog, SYSTEM, Tables};
use super::server::{Server, identifier};

/// A right that the user lacks, and what is hidden without it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lacking {
    hidden: &'static str,
    right: &'static str,
    on: String,
}

/// `DUMP_INCOMPLETE` where one is lacking. None is where there is proof that nothing is hidden.
pub(crate) fn check(
    catalog: &Catalog,
    server: &Server,
    extra: &ExtraArgs,
    left_out: &Tables,
) -> Result<(), Failure> {
    let lacking = lacking(catalog, server, extra, left_out);
    if lacking.is_empty() {
        return Ok(());
    }
    let (place, user) = (server.place(), &catalog.user);
    let list: Vec<String> =
        lacking.iter().map(|l| format!("{} ({} on {})", l.hidden, l.right, l.on)).collect();
    let list = listed(&list, 10);
    Err(Failure::new(
        ErrorCode::DumpIncomplete,
        format!("a dump of {place} may leave out what user {user} has no rights to see: {list}"),
    )
    .with_remedy(remedy(catalog, server, &lacking)))
}

fn lacking(
    catalog: &Catalog,
    server: &Server,
    extra: &ExtraArgs,
    left_out: &Tables,
) -> Vec<Lacking> {
    let grants = &catalog.grants;
    let mut lacking = Vec::new();
    if server.is_all() && !grants.everywhere("SELECT") && !grants.everywhere("SHOW DATABASES") {
        return vec![Lacking { hidden: "databases", right: "SELECT", on: "*.*".to_owned() }];
    }
    let not_wanted = |d: &String| extra.ignored_databases.contains(d) || SYSTEM.contains(&&**d);
    // A server that hides a database from the user does not list it.
    let unseen = grants.revoked_databases("SELECT").filter(|d| {
        server.is_all() && grants.everywhere("SELECT") && !catalog.databases.contains(d)
    });
    lacking.extend(unseen.filter(|d| !not_wanted(d)).map(|database| Lacking {
        hidden: "tables",
        right: "SELECT",
        on: format!("{}.*", identifier(&database)),
    }));
    let mut routines = true;
    for database in catalog.databases.iter().filter(|d| !extra.ignored_databases.contains(d)) {
        let on = format!("{}.*", identifier(database));
        let mut lacks = |hidden, right| lacking.push(Lacking { hidden, right, on: on.clone() });
        if !grants.on_database("SELECT", database) {
            lacks("tables", "SELECT");
        }
        if !extra.skips_triggers && !sees_triggers(catalog, database, left_out) {
            lacks("triggers", "TRIGGER");
        }
        if !extra.skips_events && !grants.on_database("EVENT", database) {
            lacks("events", "EVENT");
        }
        routines &= extra.skips_routines || sees_routines(catalog, database);
    }
    if !routines {
        let (right, on) = routine_right(catalog);
        lacking.push(Lacking { hidden: "routines", right, on: on.to_owned() });
    }
    lacking
}

fn sees_triggers(catalog: &Catalog, database: &str, left_out: &Tables) -> bool {
    let grants = &catalog.grants;
    let mut tables =
        catalog.tables.iter().filter(|key| key.0 == database && !left_out.contains(key));
    grants.on_database("TRIGGER", database)
        || tables.all(|(database, table)| grants.on_table("TRIGGER", database, table))
}

fn sees_routines(catalog: &Catalog, database: &str) -> bool {
    let grants = &catalog.grants;
    let everything = if catalog.has_proc() {
        grants.on_table("SELECT", "mysql", "proc")
    } else {
        grants.everywhere("SELECT")
    };
    if everything
        || grants.everywhere("SHOW_ROUTINE")
        || grants.on_database("SHOW CREATE ROUTINE", database)
    {
        return true;
    }
    // With one of these all are listed, though not what they do unless they are one's own.
    let listed = ["EXECUTE", "ALTER ROUTINE", "CREATE ROUTINE"];
    listed.iter().any(|right| grants.on_database(right, database))
        && !catalog.with_hidden_routines.contains(database)
}

fn routine_right(catalog: &Catalog) -> (&'static str, &'static str) {
    if catalog.has_proc() { ("SELECT", "mysql.proc") } else { ("SHOW_ROUTINE", "*.*") }
}

fn remedy(catalog: &Catalog, server: &Server, lacking: &[Lacking]) -> String {
    let user = match catalog.user.rsplit_once('@') {
        Some((name, host)) => format!("'{name}'@'{host}'"),
        None => catalog.user.clone(),
    };
    let on = if server.is_all() {
        "*.*".to_owned()
    } else {
        // Of that database alone, which so comes before patterns that fit it too.
        let pattern = server.database.name.replace('_', r"\_").replace('%', r"\%");
        format!("{}.*", identifier(&pattern))
    };
    let mut remedy =
        format!("`GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON {on} TO {user}`");
    for database in catalog.grants.revoked_databases("SELECT").filter(|_| server.is_all()) {
        // A right on everything that is granted again does not take a revoke back.
        let on = format!("{}.*", identifier(&database));
        if lacking.iter().any(|l| l.on == on) {
            let _ = write!(remedy, " and `GRANT SELECT ON {on} TO {user}`");
        }
    }
    let lacks = |hidden| lacking.iter().any(|l| l.hidden == hidden);
    if lacks("routines") {
        let (right, on) = routine_right(catalog);
        let _ = write!(remedy, " and `GRANT {right} ON {on} TO {user}`");
    }
    let skips: Vec<_> = ["triggers", "routines", "events"]
        .into_iter()
        .filter(|hidden| lacks(hidden))
        .map(|hidden| format!("--skip-{hidden}"))
        .collect();
    if !skips.is_empty() {
        let skips = skips.join(", ");
        let _ = write!(
            remedy,
            "; or, where they are not wanted, `database.options.extra_args: [{skips}]`"
        );
    }
    remedy
}

#[cfg(test)]
mod tests {
    use backupctl_domain::project::Engine;
    use backupctl_testkit::builders;

    use super::super::args;
    use super::*;

    fn server(name: &str) -> Server {
        let database = builders::database(Engine::Mariadb, name);
        Server { database, journal: None, path: None }
    }

    fn catalog(version: &str, grants: &[&str], rows: &[&[&str]]) -> Catalog {
        let mut catalog = Catalog::default();
        catalog.add(&["server", version, "lim@%"], true);
        for line in grants {
            catalog.add(&[line], true);
        }
        for row in rows {
            catalog.add(row, true);
        }
        catalog
    }

    const SHOP: &[&[&str]] = &[
        &["database", "shop"],
        &["table", "shop", "orders", "BASE TABLE"],
        &["table", "shop", "v", "VIEW"],
    ];

    fn lacking_of(catalog: &Catalog, name: &str, extra: &[&str]) -> Vec<String> {
        let extra: Vec<String> = extra.iter().map(|a| (*a).to_owned()).collect();
        let extra = args::check(&extra).unwrap();
        let found = lacking(catalog, &server(name), &extra, &Tables::new());
        found.iter().map(|l| format!("{} {}", l.right, l.on)).collect()
    }

    #[test]
    fn rights_that_hide_something_are_named_with_the_way_out() {
        let of = catalog("10.11.6-MariaDB", &["GRANT SELECT ON `shop`.* TO `lim`@`%`"], SHOP);
        let expected = ["TRIGGER `shop`.*", "EVENT `shop`.*", "SELECT mysql.proc"];
        assert_eq!(lacking_of(&of, "shop", &[]), expected);
        let skip = ["--skip-triggers", "--skip-routines", "--events=0"];
        assert_eq!(lacking_of(&of, "shop", &skip), [""; 0]);
        let none = Tables::new();
        let failure = check(&of, &server("shop"), &ExtraArgs::default(), &none).unwrap_err();
        assert_eq!(failure.code, ErrorCode::DumpIncomplete);
        assert!(failure.message.contains("triggers (TRIGGER on `shop`.*)"), "{failure}");
        let remedy = &failure.remedy;
        assert!(remedy.contains("GRANT SELECT ON mysql.proc TO 'lim'@'%'"), "{remedy}");
        assert!(remedy.contains("--skip-triggers"), "{remedy}");
    }

    #[test]
    fn proof_that_nothing_is_hidden_is_enough() {
        let grants = [
            "GRANT SELECT, EVENT, EXECUTE ON `shop`.* TO `lim`@`%`",
            "GRANT TRIGGER ON `shop`.`orders` TO `lim`@`%`",
        ];
        let of = catalog("10.11.6-MariaDB", &grants, SHOP);
        assert_eq!(lacking_of(&of, "shop", &[]), [""; 0]);
        let hidden: &[&[&str]] = &[&["routine", "shop", "p", "PROCEDURE", "1"]];
        let of = catalog("10.11.6-MariaDB", &grants, &[SHOP, hidden].concat());
        assert_eq!(lacking_of(&of, "shop", &[]), ["SELECT mysql.proc"]);
        let all = ["GRANT ALL PRIVILEGES ON *.* TO `lim`@`%`"];
        assert_eq!(lacking_of(&catalog("8.0.36", &all, SHOP), "all", &[]), [""; 0]);
        // Tables may be hidden where only some are granted.
        let some = ["GRANT SELECT, TRIGGER ON `shop`.`orders` TO `lim`@`%`"];
        let expected = ["SELECT `shop`.*", "EVENT `shop`.*", "SHOW_ROUTINE *.*"];
        assert_eq!(lacking_of(&catalog("8.0.36", &some, SHOP), "shop", &[]), expected);
    }

    #[test]
    fn a_user_without_rights_sees_no_databases_and_that_is_told() {
        let of = catalog("10.11.6-MariaDB", &["GRANT USAGE ON *.* TO `lim`@`%`"], &[]);
        assert_eq!(lacking_of(&of, "all", &[]), ["SELECT *.*"]);
        let seeing = [
            "GRANT SHOW DATABASES ON *.* TO `lim`@`%`",
            "GRANT ALL PRIVILEGES ON `shop`.* TO `lim`@`%`",
            "GRANT SELECT ON `mysql`.* TO `lim`@`%`",
        ];
        assert_eq!(lacking_of(&catalog("10.5.2-MariaDB", &seeing, SHOP), "all", &[]), [""; 0]);
    }

    #[test]
    fn databases_whose_rights_are_taken_back_are_named() {
        let grants = [
            "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON *.* TO `lim`@`%`",
            "GRANT SHOW_ROUTINE ON *.* TO `lim`@`%`",
            "REVOKE SELECT ON `secret`.* FROM `lim`@`%`",
            "REVOKE SELECT ON `sys`.* FROM `lim`@`%`",
        ];
        let of = catalog("8.0.36", &grants, SHOP);
        assert_eq!(lacking_of(&of, "all", &[]), ["SELECT `secret`.*"]);
        assert_eq!(lacking_of(&of, "all", &["--ignore-database=secret"]), [""; 0]);
        assert_eq!(lacking_of(&of, "shop", &[]), [""; 0]);
        let none = Tables::new();
        let failure = check(&of, &server("all"), &ExtraArgs::default(), &none).unwrap_err();
        assert!(failure.message.contains("tables (SELECT on `secret`.*)"), "{failure}");
        assert!(
            failure.remedy.contains("`GRANT SELECT ON `secret`.* TO 'lim'@'%'`"),
            "{failure:?}"
        );
        // Listed or not, it is named once.
        let seen: &[&[&str]] = &[&["database", "secret"]];
        let of = catalog("8.0.36", &grants, &[SHOP, seen].concat());
        assert_eq!(lacking_of(&of, "all", &[]), ["SELECT `secret`.*"]);
    }
}
