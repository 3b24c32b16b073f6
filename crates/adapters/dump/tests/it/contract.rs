//! The promises of every dumper and unpacker, kept by these.

use std::sync::Arc;

use backupctl_adapter_dump::FileUnpacker;
use backupctl_domain::project::Engine;
use backupctl_testkit::contracts;
use backupctl_testkit::services::{Mongodump, Postgres, Redis};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn postgres_dumper() {
    let server = Postgres::start();
    server.psql("create table t as select i, md5(i::text) from generate_series(1, 2000) i");
    let work = WorkDir::new();
    let dumper = postgres::dumper(&server, "postgres", &work.dir("run"));
    contracts::database_dumper(Arc::new(dumper), Engine::Postgres, &work.dir("dumps")).await;
    assert_eq!(work.names("run"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_dumper() {
    let work = WorkDir::new();
    let file = work.dir("app").join("data.db");
    let _open = sqlite::filled(&file, true);
    let dumper = Arc::new(sqlite::dumper(&file));
    contracts::database_dumper(dumper, Engine::Sqlite, &work.dir("dumps")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mongodb_dumper() {
    let work = WorkDir::new();
    let mongodump = Mongodump::install(&mongodb::shop());
    let dumper = mongodb::dumper(&mongodump, &work.dir("run"));
    contracts::database_dumper(Arc::new(dumper), Engine::Mongodb, &work.dir("dumps")).await;
    assert_eq!(work.names("run"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_dumper() {
    let server = Redis::with_password("database-password");
    server.populate(2000, 50);
    let work = WorkDir::new();
    let dumper = redis::dumper(&server);
    contracts::database_dumper(Arc::new(dumper), Engine::Redis, &work.dir("dumps")).await;
}

#[tokio::test]
async fn unpacker() {
    let work = WorkDir::new();
    let plain = "one line of many\n".repeat(20_000);
    let packed = [("zst", unpack::zstd_file(&plain)), ("gz", unpack::gzip_file(&plain))];
    let unpacker = Arc::new(FileUnpacker);
    contracts::unpacker(unpacker, work.path(), plain.as_bytes(), &packed).await;
}
