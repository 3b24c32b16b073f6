//! PostgreSQL: what is dumped is what the database shows, and comes back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use backupctl_adapter_dump::{FileUnpacker, PostgresDumper};
use backupctl_adapter_process::Tool;
use backupctl_application::ports::{DatabaseDumper, Unpacker};
use backupctl_domain::manifest::Completeness;
use backupctl_domain::project::{Database, Engine};
use backupctl_domain::{ErrorCode, Secret};
use backupctl_testkit::services::Postgres;
use backupctl_testkit::{WorkDir, builders};

use super::*;

/// Names that a careless pattern, list or connection string would trip over.
pub(super) const SCHEMA: &str = r#"
create table orders (id serial primary key, what text, at timestamptz default now());
insert into orders (what) select md5(i::text) from generate_series(1, 5000) i;
create schema "My Schema";
create table "My Schema"."Weird.Name" (id int generated always as identity, "a b" text);
insert into "My Schema"."Weird.Name" ("a b") values ('x'), ('y');
create table parted (k int, v text) partition by range (k);
create table parted_1 partition of parted for values from (0) to (100);
insert into parted select i, 'p' from generate_series(1, 99) i;
create unlogged table scratch (a int);
create view recent as select * from orders where id > 4000;
create materialized view totals as select count(*) from orders;
create sequence numbers;
create function twice(int) returns int language sql as 'select $1 * 2';
create temporary table gone (a int);
"#;

pub(super) fn database(server: &Postgres, name: &str) -> Database {
    Database {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        user: Some(server.superuser().to_owned()),
        password: Some(Secret::value(server.password(server.superuser()))),
        ..builders::database(Engine::Postgres, name)
    }
}

pub(super) fn folders(work: &WorkDir) -> (PathBuf, PathBuf) {
    (work.dir("dumps"), work.dir("run"))
}

pub(super) fn dumper(server: &Postgres, name: &str, run: &Path) -> PostgresDumper {
    with(server, name, run, |_| ())
}

pub(super) fn with(
    server: &Postgres,
    name: &str,
    run: &Path,
    change: impl FnOnce(&mut Database),
) -> PostgresDumper {
    let mut database = database(server, name);
    change(&mut database);
    PostgresDumper::new(&database, run.to_owned(), None)
}

async fn restore(server: &Postgres, file: &Path, into: &str) {
    server.create_database(into, server.superuser());
    let tool = Tool::new(Postgres::bin_dir().join("pg_restore"))
        .args(["--exit-on-error", "--no-owner", "--host=127.0.0.1"])
        .arg(format!("--port={}", server.port()))
        .arg(format!("--username={}", server.superuser()))
        .arg(format!("--dbname={into}"))
        .arg(file)
        .env("PGPASSWORD", server.password(server.superuser()));
    let output = tool.run(&context()).await.unwrap();
    assert!(output.success(), "{}", output.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_dumped_proven_and_restored() {
    let server = Postgres::start();
    // A name that is a connection string to whoever does not quote.
    let name = r"host=nowhere it's \ odd";
    server.create_database(name, server.superuser());
    let quoted = |sql: &str| {
        server.psql_as(server.superuser(), "dbname='host=nowhere it\\'s \\\\ odd'", sql)
    };
    quoted(SCHEMA);
    let counts = "select count(*), sum(hashtext(what)::bigint) from orders; select count(*) from \"My Schema\".\"Weird.Name\"; select count(*) from parted_1; select * from totals; select twice(21);";
    let expected = quoted(counts);
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let by_socket = server.socket_dir().to_string_lossy().into_owned();
    for (i, (ext, compression)) in
        [("dump", None), ("dump.zst", ZSTD), ("dump.gz", GZIP)].into_iter().enumerate()
    {
        let dumper = with(&server, name, &run, |d| {
            if i == 1 {
                d.host.clone_from(&by_socket);
            }
        });
        let dumped = dumper.dump(&request(&dumps, compression), &context()).await.unwrap();
        assert_eq!(dumped.path, dumps.join(format!("{NAME}.{ext}")));
        assert_eq!(dumped.completeness, Completeness::Complete);
        assert_eq!(dumped.warnings, Vec::<String>::new());
        assert_eq!(dumped.info.engine, "postgres");
        assert!(dumped.info.tool_version.starts_with("pg_dump "), "{:?}", dumped.info);
        let on_disk = fs::metadata(&dumped.path).unwrap();
        assert_eq!(on_disk.len(), dumped.info.bytes);
        assert_eq!(on_disk.permissions().mode() & 0o777, 0o600);
        assert_eq!(names(&run), Vec::<String>::new());
        dumper.verify(&proof(&dumped), &context()).await.unwrap();

        let checksum = FileUnpacker.checksum(&dumped.path, &context()).await.unwrap();
        assert_eq!(checksum, dumped.info.checksum);
        let unpacked = FileUnpacker.unpack(&dumped.path, &context()).await.unwrap();
        let plain = unpacked.map_or(dumped.path.clone(), |u| u.path);
        assert_eq!(fs::metadata(&plain).unwrap().len(), dumped.info.raw_bytes);
        let into = format!("restored{i}");
        restore(&server, &plain, &into).await;
        assert_eq!(server.psql_in(&into, counts), expected);
        for file in names(&dumps) {
            fs::remove_file(dumps.join(file)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_by_configuration_is_not_missing() {
    let server = Postgres::start();
    server.create_database("shop", server.superuser());
    server.psql_in("shop", SCHEMA);
    server.psql_in("shop", "create table \"Log_2026\" (id int generated always as identity); create table log_x (id serial); create table other.log_y (id int)".replace("create table other", "create schema other; create table other").as_str());
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let list = |v: &[&str]| v.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let dumper = with(&server, "shop", &run, |d| {
        d.options.exclude_tables = list(&["\"Log_\"*", "LOG_?", "\"My Schema\".weird*"]);
        d.options.exclude_table_data = list(&["public.par*", "\"My Schema\".*"]);
    });
    let dumped = dumper.dump(&request(&dumps, None), &context()).await.unwrap();
    assert_eq!(dumped.completeness, Completeness::Complete);
    restore(&server, &dumped.path, "restored").await;
    let tables = "select string_agg(n.nspname || '.' || relname, ' ' order by 1) from pg_class c join pg_namespace n on n.oid = relnamespace where relkind = 'r' and nspname !~ '^(pg_|information)'";
    let found = server.psql_in("restored", tables);
    assert!(!found.contains("Log_2026") && !found.contains("public.log_x"), "{found}");
    assert!(found.contains("other.log_y") && found.contains("My Schema.Weird.Name"), "{found}");
    assert_eq!(server.psql_in("restored", "select count(*) from parted_1"), "0");
    let [unmatched] = &dumped.warnings[..] else { panic!("{:?}", dumped.warnings) };
    assert!(unmatched.contains("weird*"), "the name is written with a capital: {unmatched}");
    fs::remove_file(&dumped.path).unwrap();

    // pg_dump ends with 0 on these, and somebody believes that something is left out.
    let dumper = with(&server, "shop", &run, |d| {
        d.options.exclude_tables = list(&["orders", "Orders_Old", "nowhere.*"]);
        d.options.exclude_table_data = list(&["sessions"]);
    });
    let dumped = dumper.dump(&request(&dumps, None), &context()).await.unwrap();
    let told: Vec<&str> = dumped.warnings.iter().map(String::as_str).collect();
    let [a, b, c] = told[..] else { panic!("{told:?}") };
    assert!(a.contains("\"Orders_Old\" of `database.options.exclude_tables`"), "{a}");
    assert!(b.contains("\"nowhere.*\""), "{b}");
    assert!(c.contains("\"sessions\" of `database.options.exclude_table_data`"), "{c}");
    fs::remove_file(&dumped.path).unwrap();

    let dumper =
        with(&server, "shop", &run, |d| d.options.extra_args = list(&["-n", "other", "-O"]));
    let dumped = dumper.dump(&request(&dumps, None), &context()).await.unwrap();
    assert!(dumped.warnings[0].contains("not compared") && dumped.warnings[0].contains("-n"));
    fs::remove_file(&dumped.path).unwrap();
    let dumper = with(&server, "shop", &run, |d| {
        d.options.extra_args = list(&["--serializable-deferrable", "--no-owner", "--verbose"]);
    });
    let dumped = dumper.dump(&request(&dumps, None), &context()).await.unwrap();
    assert_eq!(dumped.completeness, Completeness::Complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_is_told_and_one_with_functions_alone_is_not_empty() {
    let server = Postgres::start();
    server.create_database("shop", server.superuser());
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let dumper = dumper(&server, "shop", &run);
    let preview = dumper.check_database(&context()).await.unwrap();
    assert!(preview.database_bytes.unwrap() > 1_000_000);
    let tool = dumper.check_tool().await.unwrap();
    assert_eq!(tool.version.split('.').next(), preview.server_version.split('.').next());

    let dumped = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap();
    assert_eq!(dumped.completeness, Completeness::NothingInDatabase);
    assert!(dumped.warnings[0].contains("no tables"), "{:?}", dumped.warnings);
    dumper.verify(&proof(&dumped), &context()).await.unwrap();
    let again = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap_err();
    assert_eq!(again.code, ErrorCode::PathNotWritable, "nothing is overwritten");
    fs::remove_file(&dumped.path).unwrap();

    server.psql_in("shop", "create function f() returns int language sql as 'select 1'");
    let dumped = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap();
    assert_eq!(dumped.completeness, Completeness::Complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_with_any_byte_flipped_or_cut_anywhere_is_caught() {
    let server = Postgres::start();
    server.create_database("shop", server.superuser());
    server.psql_in("shop", SCHEMA);
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let dumper = dumper(&server, "shop", &run);
    for compression in [None, ZSTD, GZIP] {
        let dumped = dumper.dump(&request(&dumps, compression), &context()).await.unwrap();
        let length = usize::try_from(dumped.info.bytes).unwrap();
        let places = [0, 1, 5, 100, length - 1].into_iter().chain((0..length).step_by(length / 7));
        every_damage_is_caught(&dumper, &dumped, places).await;

        // The right bytes of no archive: pg_restore itself must say no.
        let mut request = proof(&dumped);
        let nonsense = b"PGDMP and nothing more".repeat(1000);
        fs::write(dumps.join("bad.dump"), &nonsense).unwrap();
        request.path = dumps.join("bad.dump");
        request.info.bytes = nonsense.len() as u64;
        request.info.raw_bytes = request.info.bytes;
        request.info.checksum = format!("blake3:{}", blake3::hash(&nonsense).to_hex());
        let failure = dumper.verify(&request, &context()).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::DumpCorrupt);
        assert!(failure.detail.contains("pg_restore"), "{}", failure.detail);
        fs::remove_file(&dumped.path).unwrap();
    }
}
