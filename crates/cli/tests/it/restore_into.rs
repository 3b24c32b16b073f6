//! Loading a snapshot's dump into a database: what is refused, what is proven, what is left behind.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::{DATABASE_PASSWORD, Gate, World, postgres, real, words};

fn names_left(w: &World) -> Vec<String> {
    let names = w.work.names("state/shop").into_iter();
    names.filter(|n| n.starts_with(".restore")).collect()
}

#[track_caller]
fn refused(w: &World, args: &[&str], exit: i32, code: &str) -> Value {
    let error = w.run(args).expect(exit).json();
    assert_eq!(error["error"]["code"], code, "{error:#}");
    words(&error["error"], "remedy");
    assert_eq!(names_left(w), Vec::<String>::new());
    error
}

fn rows(file: &std::path::Path) -> i64 {
    let db = rusqlite::Connection::open(file).unwrap();
    db.query_row("SELECT count(*) FROM items", [], |r| r.get(0)).unwrap()
}

#[test]
fn a_sqlite_dump_is_loaded_into_a_file() {
    let mut w = World::with_sqlite();
    w.backup();
    let copy = w.work.join("copy/new.sqlite");
    w.work.dir("copy");
    let url = format!("sqlite://{}", copy.display());
    let into = ["restore", "shop", "latest", "--into", &url, "--json"];
    let error = refused(&w, &into, 4, "DB_NOT_FOUND");
    assert!(words(&error["error"], "remedy").contains("--create"), "{error:#}");
    assert!(!copy.exists());

    let document = w.json(&[&into[..], &["--create"]].concat());
    assert_eq!(document["into"]["created"], true, "{document:#}");
    assert_eq!(document["into"]["tables"], 1, "{document:#}");
    assert_eq!((&document["checksum_proven"], &document["dump"]), (&json!(true), &json!(null)));
    assert!(document["into"]["duration"].is_f64(), "{document:#}");
    assert_eq!(rows(&copy), 100);

    let error = refused(&w, &into, 1, "PATH_NOT_WRITABLE");
    assert!(words(&error["error"], "message").contains("items"), "{error:#}");
    assert!(words(&error["error"], "remedy").contains("--force"), "{error:#}");
    let shown = w.run(&["restore", "shop", "latest", "--into", &url, "--force"]);
    assert!(shown.expect(0).stdout.starts_with("loaded 1 table from "), "{}", shown.stdout);
    assert_eq!(rows(&copy), 100);

    // With a target the dump stays there.
    let back = w.work.join("back");
    let target = back.to_str().unwrap();
    let kept = ["restore", "shop", "latest", target, "--into", &url, "--force", "--json"];
    let document = w.json(&kept);
    assert!(std::path::Path::new(words(&document, "dump")).starts_with(&back), "{document:#}");
    assert_eq!(w.work.names("back").len(), 1);

    // The snapshot of another engine, and what goes with no database.
    refused(
        &w,
        &["restore", "shop", "latest", "--into", "postgres://u@h/d", "--json"],
        3,
        "INVALID_CONFIG",
    );
    let error = refused(
        &w,
        &["restore", "shop", "latest", "--into", "redis://h", "--json"],
        3,
        "INVALID_CONFIG",
    );
    assert!(words(&error["error"], "message").contains("--guide"), "{error:#}");
    let both = ["restore", "shop", "latest", "--into", &url, "--only", "assets", "--json"];
    refused(&w, &both, 3, "INVALID_CONFIG");
    w.run(&["restore", "shop", "latest", "--into", &url, "--guide"]).expect(3);
    w.run(&["restore", "shop", "latest", "/tmp/x", "--create"]).expect(3);
    assert_eq!(names_left(&w), Vec::<String>::new());
    w.project()["assets"] = json!({});
}

#[test]
fn a_postgres_dump_is_loaded_with_the_password_that_fits() {
    let server = postgres();
    let w = World::with_postgres(&server);
    w.backup();
    let database = &w.config["projects"][0]["database"];
    let (user, port) = (words(database, "user").to_owned(), server.port());
    let copy = format!("{user}_copy");
    let url = format!("postgres://{user}@127.0.0.1:{port}/{copy}");
    let into = ["restore", "shop", "latest", "--into", &url, "--json"];
    refused(&w, &into, 4, "DB_NOT_FOUND");
    server.psql(&format!("ALTER ROLE \"{user}\" CREATEDB"));

    // The project's own server and user: its own password will do.
    let document = w.json(&[&into[..], &["--create"]].concat());
    assert_eq!(document["into"]["tables"], 2, "{document:#}");
    let count = |table: &str| server.psql_in(&copy, &format!("SELECT count(*) FROM {table}"));
    assert_eq!((count("orders").trim(), count("customers").trim()), ("1000", "17"));
    let error = refused(&w, &into, 1, "PATH_NOT_WRITABLE");
    assert!(words(&error["error"], "message").contains("orders"), "{error:#}");
    server.psql_in(&copy, "DELETE FROM orders");
    w.json(&[&into[..], &["--force"]].concat());
    assert_eq!(count("orders").trim(), "1000");

    // Another user: its password by the URL, a file, or a variable; never shown.
    let role = format!("{user}_loader");
    server.create_role(&role, DATABASE_PASSWORD);
    server.create_database(&role, &role);
    let plain = format!("postgres://{role}@127.0.0.1:{port}/{role}");
    let none = w.run(&["restore", "shop", "latest", "--into", &plain, "--json"]);
    assert_eq!(none.expect(4).json()["error"]["code"], "DB_AUTH_FAILED");
    let file = w.work.file("secret", format!("{DATABASE_PASSWORD}\n"));
    let file = file.to_str().unwrap();
    w.json(&[
        "restore",
        "shop",
        "latest",
        "--into",
        &plain,
        "--into-password-file",
        file,
        "--json",
    ]);
    let with = format!("postgres://{role}:{DATABASE_PASSWORD}@127.0.0.1:{port}/{role}");
    let shown = w.run(&["restore", "shop", "latest", "--into", &with, "--force"]);
    assert!(shown.expect(0).stderr.contains("list of processes"), "{}", shown.stderr);
    let wrong = format!("postgres://{role}:{DATABASE_PASSWORD}x@127.0.0.1:{port}/{role}");
    let wrong = w.run(&["restore", "shop", "latest", "--into", &wrong, "--json"]);
    let error = wrong.expect(4).json();
    assert_eq!(error["error"]["code"], "DB_AUTH_FAILED", "{error:#}");
    let mut by_variable = w.backupctl(&["restore", "shop", "latest", "--into", &plain, "--force"]);
    by_variable.env("BACKUPCTL_INTO_PASSWORD", DATABASE_PASSWORD);
    w.finish(super::support::Running::start(by_variable)).expect(0);
    assert_eq!(names_left(&w), Vec::<String>::new());
}

#[test]
fn a_restore_that_is_ended_leaves_no_dump_in_the_clear() {
    let w = World::with_sqlite();
    w.backup();
    let url = format!("sqlite://{}", w.work.join("copy.sqlite").display());
    let args = ["restore", "shop", "latest", "--into", &url, "--create"];
    let gate = Gate::new(&w, "restore");
    w.wrap("restic", &gate.before("restic", "*' restore '*"));
    let mut running = w.start(&args);
    gate.wait(&mut running);
    assert_eq!(names_left(&w).len(), 1);
    running.signal(Signal::TERM);
    w.finish(running).expect(143);
    assert_eq!(names_left(&w), Vec::<String>::new());

    std::fs::remove_file(w.work.join("gates/restore.at")).unwrap();
    let mut running = w.start(&args);
    gate.wait(&mut running);
    let report = w.json(&["recover", "--json"]);
    assert_eq!(report["partials_removed"], json!([]), "that of a living one stays");
    assert_eq!(names_left(&w).len(), 1);
    running.kill();
    gate.open();
    let report = w.json(&["recover", "--json"]);
    assert_eq!(report["partials_removed"].as_array().unwrap().len(), 1, "{report:#}");
    assert_eq!(names_left(&w), Vec::<String>::new());
    w.wrap("restic", &format!("exec {} \"$@\"", real("restic").display()));
}
