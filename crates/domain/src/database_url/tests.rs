//! URLs as people write them, and everything that can be wrong with them.

use super::*;

fn password(database: &Database) -> Option<&str> {
    database.password.as_ref().map(|p| p.expose().unwrap())
}

#[test]
fn servers_are_read_with_all_their_parts() {
    let db = parse("postgres://bob:p%40ss%2F1@db.example:6543/shop%20new?sslmode=verify-full&sslrootcert=/etc/ca.pem")
        .unwrap();
    assert_eq!((db.engine, db.host.as_str(), db.port), (Engine::Postgres, "db.example", 6543));
    assert_eq!((db.name.as_str(), db.user.as_deref()), ("shop new", Some("bob")));
    assert_eq!(password(&db), Some("p@ss/1"));
    assert_eq!(db.options.sslmode.as_deref(), Some("verify-full"));
    assert_eq!(db.options.sslrootcert.as_deref(), Some(Path::new("/etc/ca.pem")));

    for (url, engine, host, port, user) in [
        ("postgresql://h/d", Engine::Postgres, "h", 5432, None),
        ("mysql://u@h/d", Engine::Mysql, "h", 3306, Some("u")),
        ("MariaDB://u:@10.0.0.1:3307/d", Engine::Mariadb, "10.0.0.1", 3307, Some("u")),
        ("postgres://u@[fe80::1]:5433/d", Engine::Postgres, "fe80::1", 5433, Some("u")),
        ("postgres://[::1]/d", Engine::Postgres, "::1", 5432, None),
        ("postgres:///d?host=/run/postgresql", Engine::Postgres, "/run/postgresql", 5432, None),
        ("postgres://u@/d?host=%2Frun%2Fpg", Engine::Postgres, "/run/pg", 5432, Some("u")),
        ("postgres://u@:6000/d?host=/run/pg", Engine::Postgres, "/run/pg", 6000, Some("u")),
    ] {
        let db = parse(url).unwrap_or_else(|e| panic!("{url}: {e:?}"));
        assert_eq!((db.engine, db.host.as_str(), db.port), (engine, host, port), "{url}");
        assert_eq!((db.user.as_deref(), password(&db)), (user, None), "{url}");
    }
}

#[test]
fn a_sqlite_file_is_a_whole_path() {
    let db = parse("sqlite:///srv/a%20b/data.db").unwrap();
    assert_eq!(db.path.as_deref(), Some(Path::new("/srv/a b/data.db")));
    assert_eq!((db.host.as_str(), db.name.as_str()), ("", ""));
    for bad in ["sqlite://data.db", "sqlite:///", "sqlite://"] {
        assert!(parse(bad).unwrap_err()[0].contains("whole path"), "{bad}");
    }
}

#[test]
fn every_mistake_is_told_at_once() {
    let problems =
        parse("postgres://u:p@:99999/?sslmode=maybe&sslrootcert=ca.pem&x=1").unwrap_err();
    for part in [
        "names no host",
        "port is no number",
        "names no database",
        "sslmode",
        "sslrootcert",
        "only `host`",
    ] {
        assert!(problems.iter().any(|p| p.contains(part)), "{part} in {problems:#?}");
    }
    assert_eq!(problems.len(), 6, "{problems:#?}");
    for bad in ["shop", "ftp://h/d", "", "/srv/data.db"] {
        assert!(parse(bad).unwrap_err()[0].contains("does not begin"), "{bad}");
    }
    for bad in ["mongodb://h/d", "redis://h", "rediss://h/0"] {
        assert!(parse(bad).unwrap_err()[0].contains("--guide"), "{bad}");
    }
    assert!(parse("postgres://u@h/%zz").unwrap_err()[0].contains("database name"));
    assert!(parse("postgres://u@h/%ff").unwrap_err()[0].contains("no text"));
}

#[test]
fn no_message_shows_a_password_that_was_not_encoded() {
    for url in [
        "postgres://u:hunter2/x@h/d",
        "postgres://u:a/hunter2@h/d",
        "postgres://u:a?hunter2@h/d",
        "postgres://u:a%hunter2@h/d",
        "hunter2",
    ] {
        let problems = parse(url).unwrap_err().join("; ");
        assert!(!problems.contains("hunter2"), "{url}: {problems}");
    }
    assert_eq!(password(&parse("postgres://u:a@b@h/d").unwrap()), Some("a@b"));
    assert_eq!(password(&parse("postgres://u:a:b@h/d").unwrap()), Some("a:b"));
}

#[test]
fn logins_and_engines_are_compared() {
    let of = |url| parse(url).unwrap();
    assert!(same_login(&of("postgres://u@h/a"), &of("postgresql://u:x@h:5432/b")));
    assert!(same_login(&of("mysql://u@h/a"), &of("mariadb://u@h/b")));
    assert!(!same_login(&of("postgres://u@h/a"), &of("postgres://v@h/a")));
    assert!(!same_login(&of("postgres://u@h/a"), &of("postgres://u@h:1/a")));
    assert!(loads(Engine::Mysql, Engine::Mariadb) && loads(Engine::Mariadb, Engine::Mysql));
    assert!(!loads(Engine::Postgres, Engine::Sqlite));
    assert_eq!(shown(&of("postgres://u:secret@h/a")), "a at h:5432");
    assert_eq!(shown(&of("sqlite:///a.db")), "/a.db");
}
