//! PostgreSQL: roles and whole servers as one script, and back again.

use backupctl_adapter_dump::PostgresLoader;
use backupctl_application::ports::{DatabaseDumper, DatabaseLoader, TargetState};
use backupctl_domain::manifest::Completeness;
use backupctl_domain::project::Database;
use backupctl_domain::{ErrorCode, Secret};
use backupctl_testkit::WorkDir;
use backupctl_testkit::services::Postgres;

use super::postgres::{SCHEMA, database, folders, with};
use super::*;

/// What only a reader of SQL tells from the dump's own words, a large object, and somebody else's table.
const TRAPS: &str = r"
create function trap() returns text language sql as $f$ select $$
-- Name: not_there; Type: TABLE; Schema: public; Owner: bob
-- PostgreSQL database dump complete
$$ $f$;
create table notes (id int primary key, t text);
insert into notes values (1, E'-- PostgreSQL database dump complete\n\\.\n'), (2, '\.');
create type mood as enum ('good', 'bad');
alter table notes add m mood default 'good';
create view v_notes as select * from notes;
select lo_from_bytea(4242, 'a large object');
alter table notes owner to bob;
grant select on notes to public;
";

const COUNTS: &str = "select count(*), sum(hashtext(what)::bigint) from orders; select md5(string_agg(t, ',' order by id)) from notes; select twice(21), trap() like '%not_there%'; select lo_get(4242); select tableowner from pg_tables where tablename = 'notes'; select count(*) from \"My Schema\".\"Weird.Name\"";

const ODD: &str = r#"a b'c "d" \ e"#;

fn filled(server: &Postgres) {
    server.create_role("bob", "bobs-password");
    server.psql("create role \"odd 'q\" createdb; grant bob to \"odd 'q\"; comment on role bob is E'it''s;\nbob'; alter role bob set search_path to public");
    server.create_database("shop", "bob");
    server.psql_in("shop", SCHEMA);
    server.psql_in("shop", TRAPS);
}

fn odd(server: &Postgres, sql: &str) -> String {
    server.psql_as(server.superuser(), r#"dbname='a b\'c "d" \\ e'"#, sql)
}

fn loader(server: &Postgres, name: &str, run: &Path) -> PostgresLoader {
    PostgresLoader::new(&database(server, name), run.to_owned(), None)
}

fn globals(d: &mut Database) {
    d.options.globals = true;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_its_roles_comes_back_on_another_server_by_another_name() {
    let server = Postgres::start();
    filled(&server);
    let expected = server.psql_in("shop", COUNTS);
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let dumper = with(&server, "shop", &run, globals);
    let preview = dumper.check_database(&context()).await.unwrap();
    assert!(preview.database_bytes.unwrap() > 1_000_000);
    let other = Postgres::start();
    for (i, (ext, compression)) in
        [("sql", None), ("sql.zst", ZSTD), ("sql.gz", GZIP)].into_iter().enumerate()
    {
        let dumped = dumper.dump(&request(&dumps, compression), &context()).await.unwrap();
        assert_eq!(dumped.path, dumps.join(format!("{NAME}.{ext}")));
        assert_eq!(dumped.completeness, Completeness::Complete);
        assert!(dumped.info.tool_version.starts_with("pg_dump 1"), "{:?}", dumped.info);
        let [warning] = &dumped.warnings[..] else { panic!("{:?}", dumped.warnings) };
        assert!(warning.contains("password verifiers") && warning.contains("`encryption`"));
        assert_eq!((names(&run), names(&dumps).len()), (Vec::new(), 1));
        dumper.verify(&proof(&dumped), &context()).await.unwrap();
        let places = [0, 5, 100, 2000].map(|p| p % usize::try_from(dumped.info.bytes).unwrap());
        every_damage_is_caught(&dumper, &dumped, places.into_iter()).await;

        let into = format!("copy{i}");
        let loader = loader(&other, &into, &run);
        loader.create(&context()).await.unwrap();
        let report = loader.load(&dumped.path, false, &context()).await.unwrap();
        assert_eq!(report.tables, 6, "{report:?}");
        // The first load brings the roles, later ones find them.
        let known = if i == 0 { "role postgres" } else { "role bob, role odd 'q, role postgres" };
        assert!(report.notes[0].contains(known), "{report:?}");
        assert_eq!(other.psql_in(&into, COUNTS), expected);
        let again = loader.load(&dumped.path, false, &context()).await.unwrap_err();
        assert_eq!(again.code, ErrorCode::PathNotWritable, "{again}");
        other.psql_in(&into, "delete from notes; create table kept (a int)");
        loader.load(&dumped.path, true, &context()).await.unwrap();
        assert_eq!(other.psql_in(&into, COUNTS), expected);
        assert_eq!(other.psql_in(&into, "select count(*) from kept"), "0");
        assert_eq!(names(&run), Vec::<String>::new());
        fs::remove_file(&dumped.path).unwrap();
    }
    let roles = "select rolname, rolcreatedb, rolpassword from pg_authid where rolname in ('bob', 'odd ''q') order by 1; select shobj_description(oid, 'pg_authid') from pg_roles where rolname = 'bob'; select count(*) from pg_auth_members where roleid = 'bob'::regrole";
    assert_eq!(other.psql(roles), server.psql(roles));
    assert!(other.psql(roles).contains("SCRAM-SHA-256"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_server_comes_back_with_every_database() {
    let server = Postgres::start();
    filled(&server);
    server.psql("create table of_the_house (a int); insert into of_the_house values (1)");
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let list = |v: &[&str]| v.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let dumper = with(&server, "all", &run, |d| {
        d.options.exclude_tables = list(&["scratch", "no_such_table"]);
        d.options.extra_args = list(&["--no-role-passwords"]);
    });
    assert!(dumper.check_database(&context()).await.unwrap().database_bytes.unwrap() > 10_000_000);
    let first = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap();
    fs::remove_file(&first.path).unwrap();
    // Created later, and one that lets nobody in.
    server.create_database(ODD, "odd 'q");
    odd(&server, "create table late (a int); insert into late select generate_series(1, 77)");
    server.psql("create database closed allow_connections false");
    let dumped = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap();
    assert_eq!(dumped.path, dumps.join(format!("{NAME}.sql.zst")));
    assert_eq!(dumped.completeness, Completeness::Complete);
    let [closed, unmatched] = &dumped.warnings[..] else { panic!("{:?}", dumped.warnings) };
    assert!(closed.contains("database closed was not dumped"), "{closed}");
    assert!(unmatched.contains("no_such_table"), "{unmatched}");
    dumper.verify(&proof(&dumped), &context()).await.unwrap();

    let other = Postgres::start();
    let loader = loader(&other, "all", &run);
    assert_eq!(loader.state(&context()).await.unwrap(), TargetState::Empty);
    let report = loader.load(&dumped.path, false, &context()).await.unwrap();
    assert_eq!(report.tables, 7, "{report:?}");
    let expected = server.psql_in("shop", COUNTS);
    let as_before = |other: &Postgres| {
        assert_eq!(other.psql_in("shop", COUNTS), expected);
        assert_eq!(
            odd(other, "select count(*), current_database() from late"),
            format!("77|{ODD}")
        );
        assert_eq!(other.psql("select count(*) from of_the_house"), "1");
    };
    as_before(&other);
    assert_eq!(other.psql_in("shop", "select to_regclass('scratch') is null"), "t");
    assert_eq!(other.psql("select rolpassword is null from pg_authid where rolname = 'bob'"), "t");
    let TargetState::Filled { objects } = loader.state(&context()).await.unwrap() else { panic!() };
    assert_eq!(objects[..2], [format!("database {ODD}"), "database shop".to_owned()]);

    // What is there is refused, and what fails on its way comes back.
    let again = loader.load(&dumped.path, false, &context()).await.unwrap_err();
    assert_eq!(again.code, ErrorCode::PathNotWritable, "{again}");
    let failed = loader.load(&dumped.path, true, &context()).await.unwrap_err();
    assert!(failed.message.contains("of_the_house") && failed.message.contains("as they were"));
    as_before(&other);
    other.psql("drop table of_the_house");
    other.psql_in("shop", "drop table notes cascade");
    loader.load(&dumped.path, true, &context()).await.unwrap();
    as_before(&other);
    assert!(
        !other.psql("select string_agg(datname, ' ') from pg_database").contains("before_restore")
    );

    // A script of a server is none of a database, and the other way round.
    let one = PostgresLoader::new(&database(&other, "postgres"), run.clone(), None);
    let failure = one.load(&dumped.path, true, &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::InvalidConfig, "{failure}");
    assert_eq!(names(&run), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_need_rights_and_a_dump_that_ends_early_leaves_nothing() {
    let server = Postgres::start();
    server.create_role("reader", "readers-password");
    server.create_database("shop", server.superuser());
    server.psql_in("shop", "create table orders (a int); grant select on orders to reader");
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let as_reader = |d: &mut Database| {
        d.user = Some("reader".to_owned());
        d.password = Some(Secret::value("readers-password"));
        d.options.globals = true;
    };
    let dumper = with(&server, "shop", &run, as_reader);
    for failure in [
        dumper.check_database(&context()).await.unwrap_err(),
        dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap_err(),
    ] {
        assert_eq!(failure.code, ErrorCode::DbPermissionDenied, "{failure}");
        assert!(failure.remedy.contains("--no-role-passwords"), "{}", failure.remedy);
        assert_nothing_left(&work, &failure);
    }
    let without = with(&server, "shop", &run, |d| {
        as_reader(d);
        d.options.extra_args = vec!["--no-role-passwords".to_owned()];
    });
    let dumped = without.dump(&request(&dumps, None), &context()).await.unwrap();
    assert_eq!(dumped.warnings, Vec::<String>::new());
    assert!(fs::read_to_string(&dumped.path).unwrap().contains("CREATE ROLE reader;"));
    fs::remove_file(&dumped.path).unwrap();
    // Whoever may read all may read the verifiers too.
    server.psql("grant pg_read_all_data to reader");
    let dumped = dumper.dump(&request(&dumps, None), &context()).await.unwrap();
    assert!(fs::read_to_string(&dumped.path).unwrap().contains("SCRAM-SHA-256"));
    fs::remove_file(&dumped.path).unwrap();

    let mut low = request(&dumps, None);
    low.max_bytes = Some(500);
    let all = with(&server, "all", &run, |_| ());
    let failure = all.dump(&low, &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DiskLow, "{failure}");
    assert_nothing_left(&work, &failure);

    // The row-level security of one database of several.
    server.psql_in("shop", "alter table orders enable row level security");
    let all = with(&server, "all", &run, |d| {
        as_reader(d);
        d.options.extra_args = vec!["--no-role-passwords".to_owned()];
    });
    let failure = all.dump(&request(&dumps, ZSTD), &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DbPermissionDenied, "{failure}");
    assert!(failure.message.contains("shop at") && failure.remedy.contains("BYPASSRLS"));
    assert_nothing_left(&work, &failure);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_dump_warns_of_nothing_and_an_empty_server_is_told() {
    let server = Postgres::start();
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let dumper = with(&server, "all", &run, |_| ()).encrypted(true);
    let dumped = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap();
    assert_eq!(dumped.completeness, Completeness::NothingInDatabase);
    let [warning] = &dumped.warnings[..] else { panic!("{:?}", dumped.warnings) };
    assert!(warning.contains("no tables"), "{warning}");
    dumper.verify(&proof(&dumped), &context()).await.unwrap();
}
