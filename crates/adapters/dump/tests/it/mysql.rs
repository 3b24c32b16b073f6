//! MySQL and MariaDB: what is dumped is what the server shows, and comes back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backupctl_adapter_dump::{MysqlDumper, MysqlLoader};
use backupctl_application::ports::{DatabaseDumper, DatabaseLoader, TargetState};
use backupctl_domain::manifest::Completeness;
use backupctl_domain::project::{Database, Engine};
use backupctl_domain::{ErrorCode, Secret};
use backupctl_testkit::services::{DockerClient, MariaDb};
use backupctl_testkit::{WorkDir, builders, contracts};

use super::*;

/// Everything that a database can hold, with names and texts that a careless reader trips over.
pub(super) const SCHEMA: &str = r#"
create table orders (id int primary key auto_increment, what text, at datetime default now(),
  raw blob, note varchar(60) default 'a
-- Dump completed' comment 'CREATE TABLE `fake` (');
insert into orders (what, raw) select concat('line\nCREATE TABLE `no` (', seq, '\0\\\'"'),
  unhex(sha2(seq, 256)) from seq_1_to_3000;
insert into orders (what) values ('Grüße 🦀'), ('-- Dump completed on'), ('DELIMITER ;;');
create table `Weird.Name ``x` (`a b` int, key (`a b`));
insert into `Weird.Name ``x` values (1), (2);
create table log (n int) engine=aria;
create table parted (k int) partition by range (k) (partition p0 values less than (10),
  partition p1 values less than maxvalue);
insert into parted select seq from seq_1_to_50;
create sequence numbers start with 7;
create view recent as select id, 'x
CREATE VIEW `zz`' as s from orders where id > 2000;
create view on_view as select count(*) as c from recent;
create view `my view` as select 1 as one;
delimiter ;;
create trigger
  tr1 before insert on orders for each row begin
  -- Dump completed
  set new.what = concat(new.what, '!');
end;;
create trigger `tr 2` after insert on log for each row set @x = 1;;
create procedure add_order(in t text) begin
insert into orders (what) values (t);
create temporary table
x (a int);
drop temporary table x;
end;;
create function twice(n int) returns int deterministic return n * 2;;
create event nightly on schedule every 1 day starts '2030-01-01 00:00:00' do delete from log;;
set sql_mode = oracle;;
create package pk as function a return int; end;;
create package body pk as function a return int as begin return 1; end; end;;
delimiter ;
"#;

/// Everything that is there, with a checksum of each table.
pub(super) fn inventory(server: &MariaDb, name: &str) -> String {
    let sql = "select table_type, table_name from information_schema.tables where table_schema = database() order by 1, 2;
        select trigger_name, event_manipulation, action_statement from information_schema.triggers where trigger_schema = database() order by 1;
        select routine_type, routine_name, routine_definition from information_schema.routines where routine_schema = database() order by 1, 2;
        select event_name, event_definition, interval_value, starts from information_schema.events where event_schema = database() order by 1;
        select view_definition from information_schema.views where table_schema = database() order by table_name;
        select count(*), sum(crc32(what)), max(hex(raw)) from orders;
        checksum table orders, `Weird.Name ``x`, log, parted;
        select twice(21); select next_not_cached_value from numbers;";
    server.sql_in(name, sql).replace(&format!("{name}."), "").replace(&format!("`{name}`."), "")
}

pub(super) fn database(server: &MariaDb, name: &str) -> Database {
    Database {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        user: Some(server.superuser().to_owned()),
        password: Some(Secret::value(server.password())),
        ..builders::database(Engine::Mariadb, name)
    }
}

pub(super) fn folders(work: &WorkDir) -> (PathBuf, PathBuf) {
    (work.dir("dumps"), work.dir("run"))
}

pub(super) fn with(
    server: &MariaDb,
    name: &str,
    run: &Path,
    change: impl FnOnce(&mut Database),
) -> MysqlDumper {
    let mut database = database(server, name);
    change(&mut database);
    MysqlDumper::new(&database, run.to_owned(), None)
}

pub(super) fn dumper(server: &MariaDb, name: &str, run: &Path) -> MysqlDumper {
    with(server, name, run, |_| ())
}

fn loader(server: &MariaDb, name: &str, run: &Path) -> MysqlLoader {
    MysqlLoader::new(&database(server, name), run.to_owned(), None)
}

pub(super) fn list(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_dumped_proven_and_loaded() {
    let server = MariaDb::start();
    // A name that is an option to whoever does not say where options end, and a password that is a
    // comment, an escape and a quote to whoever does not quote.
    let name = "-x y";
    server.create_database(name);
    server.sql_in(name, SCHEMA);
    let password = r#"a#b"c'd\n e\ ü; "#;
    server.create_user("odd", password, &["all on *.*"]);
    let expected = inventory(&server, name);
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    for (i, (ext, compression, engine)) in [
        ("sql", None, Engine::Mariadb),
        ("sql.zst", ZSTD, Engine::Mysql),
        ("sql.gz", GZIP, Engine::Mariadb),
    ]
    .into_iter()
    .enumerate()
    {
        let dumper = with(&server, name, &run, |d| {
            d.engine = engine;
            d.user = Some("odd".to_owned());
            d.password = Some(Secret::value(password));
            d.host = match i {
                0 => "localhost".to_owned(),
                1 => server.socket().to_string_lossy().into_owned(),
                _ => server.socket().parent().unwrap().to_string_lossy().into_owned(),
            };
        });
        let dumped = dumper.dump(&request(&dumps, compression), &context()).await.unwrap();
        assert_eq!(dumped.path, dumps.join(format!("{NAME}.{ext}")));
        assert_eq!(dumped.completeness, Completeness::Complete);
        assert_eq!(dumped.warnings, Vec::<String>::new());
        assert_eq!(dumped.info.engine, engine.as_str());
        assert!(dumped.info.tool_version.starts_with("mariadb-dump "), "{:?}", dumped.info);
        let on_disk = fs::metadata(&dumped.path).unwrap();
        assert_eq!(on_disk.len(), dumped.info.bytes);
        assert_eq!(on_disk.permissions().mode() & 0o777, 0o600);
        assert_eq!(names(&run), Vec::<String>::new());
        dumper.verify(&proof(&dumped), &context()).await.unwrap();

        let into = format!("restored{i}");
        let loader = loader(&server, &into, &run);
        loader.create(&context()).await.unwrap();
        let report = loader.load(&dumped.path, false, &context()).await.unwrap();
        assert_eq!((report.tables, report.notes), (4, Vec::new()));
        assert_eq!(inventory(&server, &into), expected);
        assert_eq!(names(&run), Vec::<String>::new());
        fs::remove_file(&dumped.path).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_by_configuration_is_not_missing() {
    let server = MariaDb::start();
    server.create_database("shop");
    server.sql_in("shop", SCHEMA);
    server.sql_in(
        "shop",
        "create table log_1 (a int); create table log_2 (a int); insert into log_2 values (1)",
    );
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let dumper = with(&server, "shop", &run, |d| {
        d.options.exclude_tables = list(&["log", "log_?", "my*", "shop.numbers"]);
        d.options.exclude_table_data = list(&["shop.orders", "Weird*"]);
        d.options.extra_args = list(&["--skip-events", "--hex-blob"]);
    });
    let dumped = dumper.dump(&request(&dumps, None), &context()).await.unwrap();
    assert_eq!(dumped.completeness, Completeness::Complete);
    let loader = loader(&server, "restored", &run);
    loader.create(&context()).await.unwrap();
    loader.load(&dumped.path, false, &context()).await.unwrap();
    let left = "select group_concat(table_name order by 1 separator ' ') from information_schema.tables where table_schema = database()";
    assert_eq!(server.sql_in("restored", left), "on_view orders parted recent Weird.Name `x");
    let counts = "select count(*) from orders; select count(*) from parted; select count(*) from information_schema.events where event_schema = database()";
    assert_eq!(server.sql_in("restored", counts), "0\n50\n0");
    fs::remove_file(&dumped.path).unwrap();

    let dumper =
        with(&server, "shop", &run, |d| d.options.extra_args = list(&["-t", "--where=1=0"]));
    let dumped = dumper.dump(&request(&dumps, None), &context()).await.unwrap();
    assert!(dumped.warnings[0].contains("not compared") && dumped.warnings[0].contains("-t"));
    assert!(dumped.warnings[1].contains("lacks rows"), "{:?}", dumped.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_versioned_tables_is_dumped_and_loaded() {
    let server = MariaDb::start();
    server.create_database("shop");
    server.sql_in(
        "shop",
        "create table prices (id int primary key, price int) with system versioning;
        insert into prices values (1, 10); update prices set price = 11;
        update prices set price = 12; delete from prices;
        create table plain (a int); insert into plain values (1)",
    );
    let all = "select price, row_start, row_end from prices for system_time all order by row_start";
    let history = server.sql_in("shop", all);
    assert_eq!(history.lines().count(), 3, "{history}");
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let dumper = dumper(&server, "shop", &run);
    let dumped = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap();
    assert_eq!(dumped.warnings, Vec::<String>::new());
    let loader = loader(&server, "restored", &run);
    loader.create(&context()).await.unwrap();
    loader.load(&dumped.path, false, &context()).await.unwrap();
    assert_eq!(server.sql_in("restored", all), history);
    fs::remove_file(&dumped.path).unwrap();
    // Somebody does not want it.
    let dumper =
        with(&server, "shop", &run, |d| d.options.extra_args = list(&["--skip-dump-history"]));
    let dumped = dumper.dump(&request(&dumps, None), &context()).await.unwrap();
    assert!(!fs::read_to_string(&dumped.path).unwrap().contains("insert_history"));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_break_lines_are_dumped_and_told() {
    let server = MariaDb::start();
    server.create_database("shop");
    server.sql_in(
        "shop",
        "create table `a\nb` (a int); create table t (a int); create view `v\tw` as select 1 as one",
    );
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let dumper = dumper(&server, "shop", &run);
    let dumped = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap();
    assert_eq!(dumped.warnings.len(), 1, "{:?}", dumped.warnings);
    assert!(
        dumped.warnings[0].ends_with(r"table shop.a\nb, view shop.v\tw"),
        "{:?}",
        dumped.warnings
    );
    dumper.verify(&proof(&dumped), &context()).await.unwrap();
    let loader = loader(&server, "restored", &run);
    loader.create(&context()).await.unwrap();
    assert_eq!(loader.load(&dumped.path, false, &context()).await.unwrap().tables, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_is_told() {
    let server = MariaDb::start();
    server.create_database("shop");
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let dumper = dumper(&server, "shop", &run);
    let preview = dumper.check_database(&context()).await.unwrap();
    assert!(preview.server_version.contains("MariaDB"), "{preview:?}");
    let dumped = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap();
    assert_eq!(dumped.completeness, Completeness::NothingInDatabase);
    assert!(dumped.warnings[0].contains("no tables"), "{:?}", dumped.warnings);
    dumper.verify(&proof(&dumped), &context()).await.unwrap();
    let again = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap_err();
    assert_eq!(again.code, ErrorCode::PathNotWritable, "nothing is overwritten");
    fs::remove_file(&dumped.path).unwrap();
    server.sql_in("shop", "create function f() returns int return 1");
    let dumped = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap();
    assert_eq!(dumped.completeness, Completeness::Complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_database_is_dumped_the_later_ones_too_and_loaded_into_another_server() {
    let server = MariaDb::start();
    server.create_database("shop");
    server.sql_in("shop", SCHEMA);
    server.create_database("empty");
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let dumper = with(&server, "all", &run, |d| d.options.globals = true);
    let preview = dumper.check_database(&context()).await.unwrap();
    assert!(preview.database_bytes.unwrap() > 100_000, "{preview:?}");
    let first = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap();
    assert!(first.warnings[0].contains("password hashes"), "{:?}", first.warnings);
    fs::remove_file(&first.path).unwrap();
    let dumper = dumper.encrypted(true);
    server.create_database("later");
    server.sql_in("later", "create table t (a int); insert into t values (1), (2)");
    server.create_user("app", "app-password", &["select on shop.*"]);
    let dumped = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap();
    assert_eq!(dumped.completeness, Completeness::Complete);
    assert_eq!(dumped.warnings, Vec::<String>::new());
    dumper.verify(&proof(&dumped), &context()).await.unwrap();

    let other = MariaDb::start();
    let everything = loader(&other, "all", &run);
    assert_eq!(everything.state(&context()).await.unwrap(), TargetState::Empty);
    let report = everything.load(&dumped.path, false, &context()).await.unwrap();
    assert_eq!(report.tables, 5);
    assert!(report.notes[0].contains("users of the server"), "{:?}", report.notes);
    assert_eq!(inventory(&other, "shop"), inventory(&server, "shop"));
    let databases = "select group_concat(schema_name order by 1) from information_schema.schemata where schema_name not in ('mysql','sys','information_schema','performance_schema')";
    assert_eq!(other.sql(databases), "empty,later,shop");
    let seen = other.try_sql_as("app", "app-password", "shop", "select count(*) > 0 from orders");
    assert_eq!(seen.unwrap().trim(), "1");

    // One of many is not loaded into one, nor one into many.
    other.create_database("one");
    let one = loader(&other, "one", &run);
    let failure = one.load(&dumped.path, false, &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::InvalidConfig, "{failure}");
    assert_eq!(one.state(&context()).await.unwrap(), TargetState::Empty);
    fs::remove_file(&dumped.path).unwrap();
    let single = super::mysql::dumper(&server, "later", &run);
    let dumped = single.dump(&request(&dumps, None), &context()).await.unwrap();
    let failure = everything.load(&dumped.path, true, &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::InvalidConfig, "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_with_any_byte_flipped_or_cut_anywhere_is_caught() {
    let server = MariaDb::start();
    server.create_database("shop");
    server.sql_in("shop", SCHEMA);
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let dumper = dumper(&server, "shop", &run);
    for compression in [None, ZSTD, GZIP] {
        let dumped = dumper.dump(&request(&dumps, compression), &context()).await.unwrap();
        let length = usize::try_from(dumped.info.bytes).unwrap();
        let places = [0, 1, 5, 100, length - 1].into_iter().chain((0..length).step_by(length / 7));
        every_damage_is_caught(&dumper, &dumped, places).await;

        // The right bytes of what is no dump, or not all of one.
        for (content, code) in [
            (&b"select 1;\n-- Dump completed\n"[..], ErrorCode::DumpCorrupt),
            (b"-- MariaDB dump 10.19\nselect 1;\n", ErrorCode::DumpTruncated),
        ] {
            let mut request = proof(&dumped);
            request.path = dumps.join("bad.sql");
            fs::write(&request.path, content).unwrap();
            request.info.bytes = content.len() as u64;
            request.info.raw_bytes = request.info.bytes;
            request.info.checksum = format!("blake3:{}", blake3::hash(content).to_hex());
            let failure = dumper.verify(&request, &context()).await.unwrap_err();
            assert_eq!(failure.code, code, "{failure}");
        }
        fs::remove_file(&dumped.path).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_the_server_refuses_is_told_and_replacing_takes_the_place_of_what_is_there() {
    let server = MariaDb::start();
    server.create_database("target");
    server.sql_in("target", "create table orders (other int); create table own (a int)");
    let work = WorkDir::new();
    let (_, run) = folders(&work);
    let loader = loader(&server, "target", &run);
    let head = "/*M!999999\\- enable the sandbox mode */ \n-- MySQL dump 10.13  Distrib 8.0.36\n";
    let good = "DROP TABLE IF EXISTS `orders`;\nCREATE TABLE `orders` (\n  a int\n);\n";
    let end = "\n-- Dump completed on 2026-03-18\n";
    let file = |text: &str| work.file("dump.sql", format!("{head}{text}{end}"));
    let report = loader.load(&file(good), true, &context()).await.unwrap();
    assert_eq!(report.tables, 2);
    assert!(report.notes[0].contains("MySQL") && report.notes[0].contains("MariaDB"));
    assert_eq!(server.sql_in("target", "show columns from orders").split('\t').next(), Some("a"));

    for (text, code, word) in [
        ("CREATE TABLE `x` (a int) COLLATE utf8mb4_0900_ai_ci_x;", ErrorCode::DumpCorrupt, "0900"),
        ("this is no SQL;", ErrorCode::DumpCorrupt, "syntax"),
        // A command of the client, which is not obeyed.
        ("\\! touch /tmp/backupctl-obeyed", ErrorCode::DumpCorrupt, "Unknown command"),
    ] {
        let failure = loader.load(&file(text), true, &context()).await.unwrap_err();
        assert_eq!((failure.code, failure.is_transient()), (code, false), "{failure}");
        assert!(failure.message.contains(word), "{failure}");
        assert!(failure.message.contains("what came before that is loaded"), "{failure}");
        assert!(failure.remedy.contains("--force"), "{}", failure.remedy);
        assert!(!Path::new("/tmp/backupctl-obeyed").exists());
        assert_eq!(names(&run), Vec::<String>::new());
    }
    // What the server skips without an error, as those in conditions for another one.
    let skipped = "CREATE TABLE `here` (a int);\n/*!99999999 CREATE SEQUENCE `skipped` */;\nCREATE TABLE `gone` (a int);\nDROP TABLE gone;";
    let failure = loader.load(&file(skipped), true, &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DumpIncomplete, "{failure}");
    assert!(failure.message.ends_with(": sequence target.skipped, table target.gone"), "{failure}");
    let past = "set @a = 1;\nDELIMITER ;;\n/*!50106 CREATE EVENT `past` ON SCHEDULE AT '2001-01-01 00:00:00' ON COMPLETION NOT PRESERVE DO select 1 */ ;;\nDELIMITER ;\n";
    let report = loader.load(&file(past), true, &context()).await.unwrap();
    assert!(report.notes.iter().any(|n| n.contains("event target.past")), "{:?}", report.notes);
    server.create_user("reader", "reader-password", &["select on target.*"]);
    let mut weak = database(&server, "target");
    weak.user = Some("reader".to_owned());
    weak.password = Some(Secret::value("reader-password"));
    let weak = MysqlLoader::new(&weak, run.clone(), None);
    let failure = weak.load(&file(good), true, &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DbPermissionDenied, "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_as_configured() {
    let server = MariaDb::start_with_tls();
    let plain = MariaDb::start();
    for server in [&server, &plain] {
        server.create_database("shop");
        server.sql_in("shop", "create table t (a int)");
    }
    let foreign = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let foreign = work.file("foreign.pem", foreign.cert.pem());
    let secure = |mode: &str, authority: Option<&Path>, host: &str| {
        with(&server, "shop", &run, |d| {
            d.host = host.to_owned();
            d.options.sslmode = Some(mode.to_owned());
            d.options.sslrootcert = authority.map(Path::to_owned);
        })
    };
    let own = server.certificate();
    for (mode, authority) in [
        ("prefer", None),
        ("require", None),
        ("verify-ca", Some(&*own)),
        ("verify-full", Some(&*own)),
    ] {
        let dumper = secure(mode, authority, "localhost");
        let dumped = dumper.dump(&request(&dumps, None), &context()).await.unwrap();
        fs::remove_file(&dumped.path).unwrap();
    }
    for (mode, authority) in [("verify-full", Some(&*foreign)), ("verify-ca", Some(&*foreign))] {
        let dumper = secure(mode, authority, "localhost");
        let failure = dumper.dump(&request(&dumps, None), &context()).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::DbConnectionRefused, "{mode}: {failure}");
        assert!(!failure.is_transient() && failure.remedy.contains("sslmode"), "{failure:?}");
        assert_nothing_left(&work, &failure);
    }
    // MariaDB's client would go on in the clear.
    let dumper = with(&plain, "shop", &run, |d| d.options.sslmode = Some("require".to_owned()));
    let failure = dumper.dump(&request(&dumps, None), &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DbConnectionRefused, "{failure}");
    assert!(failure.message.contains("offers no TLS"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_container_the_programs_run_there_and_are_told_the_password_by_no_argument() {
    let server = MariaDb::start();
    server.create_database("shop");
    server.sql_in("shop", SCHEMA);
    let password = r#"a$HOME `b` "c" \\ 'd' END"#;
    server.create_user("odd", password, &["all on *.*"]);
    let docker = DockerClient::new();
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let mut database = database(&server, "shop");
    database.user = Some("odd".to_owned());
    database.password = Some(Secret::value(password));
    database.container = Some("db".to_owned());
    database.options.exclude_tables = list(&["unwanted"]);
    server.sql_in("shop", "create table unwanted (a int)");
    let dumper = MysqlDumper::new(&database, run.clone(), None).search_path(docker.path());
    assert_eq!(dumper.check_tool().await.unwrap().name, "mariadb-dump");
    let dumped = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap();
    assert_eq!(dumped.completeness, Completeness::Complete);
    server.sql_in("shop", "drop table unwanted");
    database.name = "restored".to_owned();
    let loader = MysqlLoader::new(&database, run.clone(), None).search_path(docker.path());
    assert_eq!(loader.state(&context()).await.unwrap(), TargetState::Missing);
    loader.create(&context()).await.unwrap();
    loader.load(&dumped.path, false, &context()).await.unwrap();
    assert_eq!(inventory(&server, "restored"), inventory(&server, "shop"));
    assert_eq!(names(&run), Vec::<String>::new());

    // An image that has the other family's name alone, one that has neither, and no container.
    let only = |name: &str| {
        std::os::unix::fs::symlink("/usr/bin/mariadb-dump", work.dir(name).join(name)).unwrap();
        docker.set_inside(&work.join(name).to_string_lossy());
    };
    only("mysqldump");
    let failure = dumper.check_tool().await.unwrap_err();
    assert!(failure.message.contains("mariadb is not in container db"), "{failure}");
    only("nothing");
    let failure = dumper.check_tool().await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::ToolMissing);
    assert!(failure.message.contains("mariadb-dump is not in container db"), "{failure}");
    database.container = Some("gone".to_owned());
    let gone = MysqlDumper::new(&database, run, None).search_path(docker.path());
    let failure = gone.dump(&request(&dumps, GZIP), &context()).await.unwrap_err();
    assert!(failure.message.contains("no container gone"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dumper_keeps_its_contract() {
    let server = MariaDb::start();
    server.create_database("shop");
    server.sql_in("shop", SCHEMA);
    let work = WorkDir::new();
    for engine in [Engine::Mariadb, Engine::Mysql] {
        let run = work.dir(format!("run-{engine}"));
        let dumper = with(&server, "shop", &run, |d| d.engine = engine);
        let dumps = work.dir(format!("dumps-{engine}"));
        contracts::database_dumper(Arc::new(dumper), engine, &dumps).await;
        assert_eq!(names(&run), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loader_keeps_its_contract() {
    let server = MariaDb::start();
    server.create_database("shop");
    server.sql_in("shop", SCHEMA);
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let dumped = dumper(&server, "shop", &run).dump(&request(&dumps, ZSTD), &context()).await;
    let dumped = dumped.unwrap();
    let whole = fs::read(&dumped.path).unwrap();
    let broken = work.file("broken.sql.zst", &whole[..whole.len() - 40]);
    let loader = Arc::new(loader(&server, "new", &run));
    contracts::database_loader(loader, &dumped.path, &broken, 4).await;
    // A cut at a line's end decompresses and is SQL, and is still no whole dump.
    let text = zstd::decode_all(&whole[..]).unwrap();
    let words = b"\nUNLOCK TABLES;\n";
    let end = text.windows(words.len()).position(|w| w == words).unwrap() + words.len();
    let broken = work.file("broken.sql", &text[..end]);
    let loader = Arc::new(super::mysql::loader(&server, "newer", &run));
    contracts::database_loader(loader, &dumped.path, &broken, 4).await;
    assert_eq!(names(&run), Vec::<String>::new());
}
