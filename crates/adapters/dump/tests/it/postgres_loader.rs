//! PostgreSQL: an archive is loaded whole, with its owners where they are known, or not at all.

use std::path::PathBuf;
use std::sync::Arc;

use backupctl_adapter_dump::PostgresLoader;
use backupctl_application::context::Interrupt;
use backupctl_application::ports::{DatabaseDumper, DatabaseLoader, TargetState};
use backupctl_domain::project::{Compression, Database};
use backupctl_domain::{ErrorCode, Secret};
use backupctl_testkit::services::Postgres;
use backupctl_testkit::{WorkDir, contracts};

use super::postgres::{SCHEMA, database, folders, with};
use super::*;

fn loader(server: &Postgres, name: &str, run: &Path) -> PostgresLoader {
    PostgresLoader::new(&database(server, name), run.to_owned(), None)
}

async fn dump(
    server: &Postgres,
    work: &WorkDir,
    compression: Option<Compression>,
    change: impl FnOnce(&mut Database),
) -> PathBuf {
    let (dumps, run) = folders(work);
    let dumper = with(server, "shop", &run, change);
    dumper.dump(&request(&dumps, compression), &context()).await.unwrap().path
}

fn shop(server: &Postgres) {
    server.create_role("bob", "bobs-password");
    server.create_database("shop", "bob");
    server.psql_in("shop", SCHEMA);
    server.psql_in(
        "shop",
        "alter table orders owner to bob; create role reader; grant select on orders to reader",
    );
}

const COUNTS: &str = "select count(*), sum(hashtext(what)::bigint) from orders; select count(*) from \"My Schema\".\"Weird.Name\"; select count(*) from parted_1; select twice(21)";

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_is_kept_by_archives_and_scripts() {
    let server = Postgres::start();
    shop(&server);
    let work = WorkDir::new();
    for (i, globals) in [false, true].into_iter().enumerate() {
        for (k, compression) in [None, ZSTD].into_iter().enumerate() {
            let good = dump(&server, &work, compression, |d| d.options.globals = globals).await;
            let bytes = fs::read(&good).unwrap();
            let broken = work.join("broken").join(good.file_name().unwrap());
            fs::create_dir_all(work.join("broken")).unwrap();
            fs::write(&broken, &bytes[..bytes.len() * 2 / 3]).unwrap();
            let loader = Arc::new(loader(&server, &format!("into \"{i}{k}"), &work.dir("run")));
            contracts::database_loader(loader, &good, &broken, 5).await;
            assert_eq!(work.names("run"), Vec::<String>::new());
            fs::remove_file(good).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cut_or_flipped_leaves_the_database_as_it_was() {
    let server = Postgres::start();
    shop(&server);
    server.create_database("into", server.superuser());
    server.psql_in("into", "create table orders (id int default 1, old text); insert into orders (old) values ('kept')");
    let work = WorkDir::new();
    let run = work.dir("run");
    let loader = loader(&server, "into", &run);
    let unharmed = || assert_eq!(server.psql_in("into", "select old from orders"), "kept");
    for (compression, globals) in [(None, false), (ZSTD, false), (GZIP, false), (ZSTD, true)] {
        let good = dump(&server, &work, compression, |d| d.options.globals = globals).await;
        let bytes = fs::read(&good).unwrap();
        let last = bytes.len() - 1;
        for place in [0, 1, 7, last / 5, last / 2, last * 9 / 10, last] {
            fs::write(&good, &bytes[..place]).unwrap();
            let loaded = loader.load(&good, true, &context()).await;
            let failure = loaded.expect_err(&format!("cut to {place} of {last}, and loaded"));
            assert!(!failure.is_transient() && !failure.remedy.is_empty(), "{place}: {failure}");
            unharmed();
            // Nothing in an uncompressed archive tells; its checksum is compared by whoever calls.
            // A member of gzip begins with a time, which changes nothing.
            let told = compression.is_some() && (compression != GZIP || place > 9);
            if told {
                let mut flipped = bytes.clone();
                flipped[place] ^= 1;
                fs::write(&good, flipped).unwrap();
                let failure = loader.load(&good, true, &context()).await.unwrap_err();
                assert_eq!(failure.code, ErrorCode::DumpCorrupt, "{place}: {failure}");
                unharmed();
            }
        }
        fs::write(&good, &bytes).unwrap();
        let ctx = context();
        ctx.cancel.cancel(Interrupt::Int);
        let failure = loader.load(&good, true, &ctx).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::Interrupted, "{failure}");
        unharmed();
        // A view that the dump does not know hangs on what it would replace.
        server.psql_in("into", "create view hanging as select * from orders");
        let failure = loader.load(&good, true, &context()).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::PathNotWritable, "{failure}");
        assert!(failure.remedy.contains("--create"), "{}", failure.remedy);
        server.psql_in("into", "drop view hanging");
        unharmed();
        if !globals {
            // pg_restore takes away first what the dump knows of a table, which must be there.
            server.psql_in("into", "alter table orders rename id to other");
            let failure = loader.load(&good, true, &context()).await.unwrap_err();
            assert_eq!(failure.code, ErrorCode::PathNotWritable, "{failure}");
            assert!(failure.remedy.contains("--create"), "{}", failure.remedy);
            server.psql_in("into", "alter table orders rename other to id");
            unharmed();
        }
        fs::remove_file(good).unwrap();
    }
    assert_eq!(work.names("run"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_come_along_where_the_server_knows_them() {
    let server = Postgres::start();
    shop(&server);
    let work = WorkDir::new();
    let run = work.dir("run");
    let good = dump(&server, &work, ZSTD, |_| ()).await;
    let expected = server.psql_in("shop", COUNTS);
    let owner = "select tableowner from pg_tables where tablename = 'orders'; select has_table_privilege('reader', 'orders', 'select')";

    let same = loader(&server, "copy", &run);
    same.create(&context()).await.unwrap();
    let report = same.load(&good, false, &context()).await.unwrap();
    assert_eq!((report.tables, report.notes), (5, Vec::new()));
    assert_eq!(server.psql_in("copy", COUNTS), expected);
    assert_eq!(server.psql_in("copy", owner), "bob\nt");

    let other = Postgres::start();
    let into = loader(&other, "shop", &run);
    assert_eq!(into.state(&context()).await.unwrap(), TargetState::Missing);
    into.create(&context()).await.unwrap();
    let report = into.load(&good, false, &context()).await.unwrap();
    let [note] = &report.notes[..] else { panic!("{report:?}") };
    assert!(note.contains("without its owners") && note.contains("bob, reader"), "{note}");
    assert_eq!(other.psql_in("shop", COUNTS), expected);

    // Somebody who may create databases, and is none of the owners.
    server.create_role("loading", "loading-password");
    let as_loading = |name: &str| {
        let mut database = database(&server, name);
        database.user = Some("loading".to_owned());
        database.password = Some(Secret::value("loading-password"));
        PostgresLoader::new(&database, run.clone(), None)
    };
    let failure = as_loading("mine").create(&context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DbPermissionDenied, "{failure}");
    assert!(failure.remedy.contains("CREATEDB"), "{}", failure.remedy);
    server.psql("alter role loading createdb");
    as_loading("mine").create(&context()).await.unwrap();
    let report = as_loading("mine").load(&good, false, &context()).await.unwrap();
    assert!(report.notes[0].contains("no member of role bob, postgres"), "{report:?}");
    assert_eq!(server.psql_in("mine", COUNTS), expected);

    // A policy cannot be left out.
    fs::remove_file(&good).unwrap();
    server.psql_in("shop", "create policy p on orders to reader using (true)");
    let good = dump(&server, &work, ZSTD, |_| ()).await;
    other.psql("create database again");
    let failure = loader(&other, "again", &run).load(&good, false, &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DbPermissionDenied, "{failure}");
    assert!(failure.remedy.contains("CREATE ROLE reader"), "{}", failure.remedy);
    assert_eq!(work.names("run"), Vec::<String>::new());
}
