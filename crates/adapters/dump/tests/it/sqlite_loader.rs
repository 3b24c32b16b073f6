//! SQLite: a dump takes a database's place whole, and nothing of the old one is played into it.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;

use backupctl_adapter_dump::SqliteLoader;
use backupctl_application::ports::{DatabaseDumper, DatabaseLoader, TargetState};
use backupctl_domain::project::{Compression, Database, Engine};
use backupctl_testkit::{builders, contracts};
use rusqlite::Connection;

use super::sqlite::{dumper, filled};
use super::*;

fn loader(path: &Path) -> SqliteLoader {
    let database =
        Database { path: Some(path.to_owned()), ..builders::database(Engine::Sqlite, "shop") };
    SqliteLoader::new(&database)
}

async fn dump(work: &WorkDir, compression: Option<Compression>) -> PathBuf {
    let source = work.dir("app").join("source.db");
    let _open = (!source.exists()).then(|| filled(&source, false));
    let asked = request(&work.dir("dumps"), compression);
    dumper(&source).dump(&asked, &context()).await.unwrap().path
}

fn count(path: &Path, table: &str) -> i64 {
    let connection = Connection::open(path).unwrap();
    connection.query_row(&format!("select count(*) from {table}"), [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_is_kept() {
    let work = WorkDir::new();
    for (i, compression) in [None, ZSTD, GZIP].into_iter().enumerate() {
        let good = dump(&work, compression).await;
        let bytes = fs::read(&good).unwrap();
        let broken = work.dir("broken").join(good.file_name().unwrap());
        fs::write(&broken, &bytes[..bytes.len() * 2 / 3]).unwrap();
        let target = work.dir(format!("into{i}")).join("a b?.db");
        contracts::database_loader(Arc::new(loader(&target)), &good, &broken, 1).await;
        assert_eq!(work.names(format!("into{i}")), ["a b?.db"]);
        assert_eq!(count(&target, "orders"), 2000);
        fs::remove_file(good).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_use_is_refused_and_stays_as_it_was() {
    let work = WorkDir::new();
    let good = dump(&work, ZSTD).await;
    let target = work.dir("into").join("data.db");
    for wal in [true, false] {
        let open = Connection::open(&target).unwrap();
        let mode = if wal { "wal" } else { "delete" };
        let sql = format!("pragma journal_mode = {mode}; create table if not exists old (a)");
        open.execute_batch(&sql).unwrap();
        open.execute_batch("begin immediate; insert into old values (1)").unwrap();
        let failure = loader(&target).load(&good, true, &context()).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::PathNotWritable, "{failure}");
        assert!(failure.remedy.contains("stop the application"), "{}", failure.remedy);
        open.execute_batch("commit").unwrap();
        if wal {
            // At rest, but open: its `-wal` would be played into the new file.
            let failure = loader(&target).load(&good, true, &context()).await.unwrap_err();
            assert_eq!(failure.code, ErrorCode::PathNotWritable, "{failure}");
        }
        drop(open);
        assert!(!work.names("into").iter().any(|n| n.contains("partial")));
    }
    assert_eq!(count(&target, "old"), 2);

    // Another program, which holds no lock at all.
    let tool = backupctl_adapter_process::Tool::new("sqlite3").arg(&target);
    let (said, heard) = std::sync::mpsc::channel::<()>();
    let (opened, is_open) = tokio::sync::oneshot::channel();
    let (ctx, path) = (context(), target.clone());
    let running = tool.run_writing(&ctx, move |stdin| {
        stdin.write_all(b"select count(*) from old;\n")?;
        while !has_open("sqlite3", &path) {
            std::thread::yield_now();
        }
        let _ = opened.send(());
        let _ = heard.recv();
        Ok(())
    });
    let trying = async {
        is_open.await.unwrap();
        let failure = loader(&target).load(&good, true, &context()).await.unwrap_err();
        said.send(()).unwrap();
        failure
    };
    let (ran, failure) = tokio::join!(running, trying);
    assert!(ran.unwrap().0.success());
    assert_eq!(failure.code, ErrorCode::PathNotWritable, "{failure}");
    assert!(failure.message.contains("(sqlite3)"), "{failure}");
    assert_eq!(count(&target, "old"), 2);

    loader(&target).load(&good, true, &context()).await.unwrap();
    assert_eq!(count(&target, "orders"), 2000);
    assert_eq!(work.names("into"), ["data.db"]);
}

fn has_open(program: &str, path: &Path) -> bool {
    fs::read_dir("/proc").unwrap().filter_map(Result::ok).any(|process| {
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        let files = fs::read_dir(process.path().join("fd")).into_iter().flatten();
        let is_it = |f: fs::DirEntry| fs::read_link(f.path()).is_ok_and(|to| to == path);
        name.trim() == program && files.filter_map(Result::ok).any(is_it)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_has_left_is_not_played_into_the_new_file() {
    let work = WorkDir::new();
    let good = dump(&work, ZSTD).await;
    // As a process leaves them that is killed while it writes.
    let crashed = work.dir("crashed").join("data.db");
    let open = Connection::open(&crashed).unwrap();
    open.execute_batch("pragma journal_mode = wal; pragma wal_autocheckpoint = 0; create table old (a); insert into old values (1), (2)").unwrap();
    let copy = |to: &Path, names: &[&str]| {
        for name in names {
            fs::copy(work.join("crashed").join(name), to.join(name)).unwrap();
        }
    };
    let whole = ["data.db", "data.db-wal", "data.db-shm"];
    for (i, names) in [&whole[..], &whole[..2], &whole[1..]].into_iter().enumerate() {
        let into = work.dir(format!("into{i}"));
        let target = into.join("data.db");
        copy(&into, names);
        if names.len() == 2 && names[0] != "data.db" {
            assert_eq!(loader(&target).state(&context()).await.unwrap(), TargetState::Missing);
            loader(&target).create(&context()).await.unwrap();
        } else {
            // Its newest rows are in the `-wal` alone.
            let state = loader(&target).state(&context()).await.unwrap();
            assert_eq!(state, TargetState::Filled { objects: vec!["table old".to_owned()] });
        }
        let report = loader(&target).load(&good, true, &context()).await.unwrap();
        assert_eq!(report.tables, 1, "{report:?}");
        assert_eq!(work.names(format!("into{i}")), ["data.db"]);
        assert_eq!(count(&target, "orders"), 2000);
    }
    drop(open);

    // What is no database at all, and what lies beside it.
    let into = work.dir("nonsense");
    let target = work.file("nonsense/data.db", "nothing that SQLite knows".repeat(100));
    work.file("nonsense/data.db-journal", "nor this");
    let state = loader(&target).state(&context()).await.unwrap();
    assert!(matches!(state, TargetState::Filled { .. }), "{state:?}");
    let report = loader(&target).load(&good, true, &context()).await.unwrap();
    assert!(report.notes.iter().any(|n| n.contains("was no database")), "{report:?}");
    assert_eq!(names(&into), ["data.db"]);
    assert_eq!(count(&target, "orders"), 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn owner_mode_and_links_stay() {
    let work = WorkDir::new();
    let good = dump(&work, None).await;
    let target = work.dir("into").join("data.db");
    Connection::open(&target).unwrap().execute_batch("create table old (a)").unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
    let link = work.join("link.db");
    symlink(&target, &link).unwrap();
    let before = fs::metadata(&target).unwrap();
    loader(&link).load(&good, true, &context()).await.unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let after = fs::metadata(&target).unwrap();
    assert_eq!(
        (after.uid(), after.gid(), after.mode()),
        (before.uid(), before.gid(), before.mode())
    );
    assert_eq!(count(&link, "orders"), 2000);

    // A damaged dump that unpacks.
    let mut bytes = fs::read(&good).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 3000].fill(0xa5);
    fs::write(&good, bytes).unwrap();
    let failure = loader(&target).load(&good, true, &context()).await.unwrap_err();
    assert_eq!(
        (failure.code, failure.is_transient()),
        (ErrorCode::DumpCorrupt, false),
        "{failure}"
    );
    assert_eq!(count(&target, "orders"), 2000);
    assert_eq!(work.names("into"), ["data.db"]);
}
