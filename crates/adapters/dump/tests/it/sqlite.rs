//! SQLite: a database in use is copied whole, a damaged or missing one is no backup.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use backupctl_adapter_dump::{FileUnpacker, SqliteDumper};
use backupctl_application::context::Interrupt;
use backupctl_application::ports::{DatabaseDumper, Unpacker};
use backupctl_domain::manifest::Completeness;
use backupctl_domain::project::{Database, Engine};
use backupctl_testkit::builders;
use rusqlite::Connection;

use super::*;

pub(super) fn dumper(path: &Path) -> SqliteDumper {
    let database =
        Database { path: Some(path.to_owned()), ..builders::database(Engine::Sqlite, "shop") };
    SqliteDumper::new(&database)
}

/// A database of 2000 rows; still open when it is in WAL mode.
pub(super) fn filled(path: &Path, wal: bool) -> Connection {
    let connection = Connection::open(path).unwrap();
    if wal {
        connection
            .execute_batch("pragma journal_mode = wal; pragma wal_autocheckpoint = 0")
            .unwrap();
    }
    connection
        .execute_batch(
            "create table orders (id integer primary key, what text);
             create index by_what on orders (what);
             create view recent as select * from orders where id > 1900;
             create trigger t after insert on orders begin select 1; end;
             with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000)
             insert into orders select i, hex(randomblob(20)) from n;",
        )
        .unwrap();
    connection
}

fn rows(path: &Path) -> (i64, String) {
    let connection = Connection::open(path).unwrap();
    let sql = "select count(*), (select group_concat(name) from (select name from sqlite_schema order by name)) from orders";
    connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_use_is_copied_with_all_that_is_committed() {
    let work = WorkDir::new();
    let dumps = work.dir("dumps");
    for wal in [false, true] {
        // A name in which a careless URI would see parameters.
        let path = work.dir("app").join(format!("a b?c#{wal}%41.db"));
        let writer = filled(&path, wal);
        let expected = rows(&path);
        let before = work.names("app");
        writer.execute_batch("begin; insert into orders (what) values ('not committed')").unwrap();
        for (ext, compression) in [("sqlite", None), ("sqlite.zst", ZSTD), ("sqlite.gz", GZIP)] {
            let dumper = dumper(&path);
            let dumped = dumper.dump(&request(&dumps, compression), &context()).await.unwrap();
            assert_eq!(dumped.path, dumps.join(format!("{NAME}.{ext}")));
            assert_eq!(dumped.completeness, Completeness::Complete);
            assert_eq!(names(&dumps), [format!("{NAME}.{ext}")]);
            let mode = fs::metadata(&dumped.path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            dumper.verify(&proof(&dumped), &context()).await.unwrap();
            assert_eq!(names(&dumps), [format!("{NAME}.{ext}")]);
            let unpacked = FileUnpacker.unpack(&dumped.path, &context()).await.unwrap();
            let plain = unpacked.map_or(dumped.path.clone(), |u| u.path);
            assert_eq!(fs::metadata(&plain).unwrap().len(), dumped.info.raw_bytes);
            assert_eq!(rows(&plain), expected);
            assert!(!names(&dumps).iter().any(|n| n.contains("-wal") || n.contains("-shm")));
            for file in names(&dumps) {
                fs::remove_file(dumps.join(file)).unwrap();
            }
        }
        writer.execute_batch("rollback").unwrap();
        if wal {
            assert_eq!(work.names("app"), before);
        }
        drop(writer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_at_rest_is_read_without_a_trace() {
    let work = WorkDir::new();
    let dumps = work.dir("dumps");
    let path = work.dir("app").join("data.db");
    drop(filled(&path, true));
    assert_eq!(work.names("app"), ["data.db"], "the last to close takes the WAL along");
    let before = fs::read(&path).unwrap();
    fs::set_permissions(work.join("app"), fs::Permissions::from_mode(0o500)).unwrap();
    let preview = dumper(&path).check_database(&context()).await.unwrap();
    assert_eq!(preview.database_bytes, Some(before.len() as u64));
    let dumped = dumper(&path).dump(&request(&dumps, ZSTD), &context()).await.unwrap();
    assert_eq!(dumped.info.raw_bytes, before.len() as u64);
    assert_eq!(work.names("app"), ["data.db"]);
    assert!(fs::read(&path).unwrap() == before);
    fs::set_permissions(work.join("app"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_database_is_no_backup() {
    let work = WorkDir::new();
    let dumps = work.dir("dumps");
    work.dir("run");
    let damaged = work.join("damaged.db");
    drop(filled(&damaged, false));
    let mut bytes = fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 3000].fill(0xa5);
    fs::write(&damaged, bytes).unwrap();
    let cases = [
        (work.join("missing.db"), ErrorCode::DbNotFound),
        (work.file("empty.db", ""), ErrorCode::DumpEmpty),
        (work.file("text.db", "not a database at all".repeat(100)), ErrorCode::DumpCorrupt),
        (work.file("short.db", "SQLite format 3\0"), ErrorCode::DumpCorrupt),
        (work.dir("folder.db"), ErrorCode::DbPermissionDenied),
        (damaged, ErrorCode::DumpCorrupt),
    ];
    for (path, code) in cases {
        let failure = dumper(&path).dump(&request(&dumps, ZSTD), &context()).await.unwrap_err();
        assert_eq!(failure.code, code, "{failure}");
        assert!(!failure.is_transient(), "{failure}");
        assert_nothing_left(&work, &failure);
    }
    assert!(!work.join("missing.db").exists(), "a missing database is never created");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_a_full_disk_and_a_stop_are_told() {
    let work = WorkDir::new();
    let (dumps, path) = (work.dir("dumps"), work.join("data.db"));
    work.dir("run");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("create table t (a); drop table t").unwrap();
    let dumped = dumper(&path).dump(&request(&dumps, ZSTD), &context()).await.unwrap();
    assert_eq!(dumped.completeness, Completeness::NothingInDatabase);
    assert!(dumped.warnings[0].contains("no tables"));
    fs::remove_file(&dumped.path).unwrap();
    drop(connection);

    drop(filled(&path, false));
    // Too little for the copy, for the compressed file beside it, and for the copy that proves it.
    let raw_bytes = fs::metadata(&path).unwrap().len();
    let mut low = request(&dumps, ZSTD);
    for room in [raw_bytes - 1, raw_bytes + 10_000] {
        low.max_bytes = Some(room);
        let failure = dumper(&path).dump(&low, &context()).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::DiskLow, "{failure}");
        assert_nothing_left(&work, &failure);
    }
    let dumped = dumper(&path).dump(&request(&dumps, ZSTD), &context()).await.unwrap();
    let mut proof = proof(&dumped);
    proof.max_bytes = Some(raw_bytes - 1);
    let failure = dumper(&path).verify(&proof, &context()).await.unwrap_err();
    assert_eq!((failure.code, failure.is_transient()), (ErrorCode::DiskLow, false), "{failure}");
    proof.max_bytes = Some(raw_bytes);
    dumper(&path).verify(&proof, &context()).await.unwrap();
    assert_eq!(names(&dumps), [format!("{NAME}.sqlite.zst")]);
    fs::remove_file(&dumped.path).unwrap();

    let ctx = context();
    ctx.cancel.cancel(Interrupt::Int);
    let failure = dumper(&path).dump(&request(&dumps, ZSTD), &ctx).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Interrupted, "{failure}");
    assert_nothing_left(&work, &failure);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_holds_on_is_waited_for_until_time_is_up() {
    let work = WorkDir::new();
    let (dumps, path) = (work.dir("dumps"), work.join("data.db"));
    work.dir("run");
    let writer = filled(&path, false);
    writer.execute_batch("begin exclusive").unwrap();
    let mut request = request(&dumps, ZSTD);
    request.timeout = Some(std::time::Duration::from_millis(300));
    let failure = dumper(&path).dump(&request, &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DumpTimeout, "{failure}");
    assert_nothing_left(&work, &failure);
    request.timeout = None;
    let (busy, ctx) = (dumper(&path), context());
    let release = tokio::task::spawn_blocking(move || {
        // Long enough for the first try to find it locked.
        writer.busy_timeout(std::time::Duration::ZERO).unwrap();
        writer.execute_batch("insert into orders (what) values ('late'); commit").unwrap();
    });
    let (dumped, released) = tokio::join!(busy.dump(&request, &ctx), release);
    released.unwrap();
    assert_eq!(dumped.unwrap().completeness, Completeness::Complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flipped_byte_and_every_cut_of_a_copy_is_caught() {
    let work = WorkDir::new();
    let (dumps, path) = (work.dir("dumps"), work.join("data.db"));
    Connection::open(&path)
        .unwrap()
        .execute_batch("create table t (a); insert into t values (1)")
        .unwrap();
    let dumper = dumper(&path);
    // The header's trailing reserved bytes included: the checksum alone can know.
    for (compression, step) in [(ZSTD, 1), (GZIP, 1), (None, 37)] {
        let dumped = dumper.dump(&request(&dumps, compression), &context()).await.unwrap();
        let length = usize::try_from(dumped.info.bytes).unwrap();
        every_damage_is_caught(&dumper, &dumped, (0..length).step_by(step)).await;
        assert_eq!(names(&dumps).len(), 1);
        fs::remove_file(&dumped.path).unwrap();
    }
}
