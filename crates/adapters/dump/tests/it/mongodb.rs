//! MongoDB, by a stand-in of `mongodump` that writes archives of the real format.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use backupctl_adapter_dump::{FileUnpacker, MongodbDumper};
use backupctl_application::context::Interrupt;
use backupctl_application::ports::{DatabaseDumper, Unpacker};
use backupctl_domain::manifest::Completeness;
use backupctl_domain::project::{Database, Engine};
use backupctl_domain::{ErrorCode, Secret};
use backupctl_testkit::mongo_archive::{MongoArchive, document};
use backupctl_testkit::services::{DockerClient, MongoMode, Mongodump, free_port};
use backupctl_testkit::{WorkDir, builders};

use super::*;

type Change = Box<dyn Fn(&mut Database)>;

/// Three collections, dumped at once.
pub(super) fn shop() -> MongoArchive {
    MongoArchive::new()
        .collection("shop", "orders", (0..2000).map(|i| document(i, &format!("order {i}"))))
        .collection("shop", "customers", (0..300).map(|i| document(i, "somebody")))
        .view("shop", "recent")
        .documents_a_block(100)
}

pub(super) fn database(mongodump: &Mongodump) -> Database {
    Database {
        host: "127.0.0.1".to_owned(),
        port: mongodump.port(),
        user: Some(Mongodump::USER.to_owned()),
        password: Some(Secret::value(Mongodump::PASSWORD)),
        ..builders::database(Engine::Mongodb, "shop")
    }
}

pub(super) fn dumper(mongodump: &Mongodump, run: &Path) -> MongodbDumper {
    with(mongodump, run, |_| ())
}

fn with(mongodump: &Mongodump, run: &Path, change: impl FnOnce(&mut Database)) -> MongodbDumper {
    let mut database = database(mongodump);
    change(&mut database);
    MongodbDumper::new(&database, run.to_owned(), None).search_path(mongodump.path())
}

fn list(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dump_is_byte_for_byte_what_mongodump_wrote() {
    let archive = shop();
    let mongodump = Mongodump::install(&archive);
    let work = WorkDir::new();
    let (dumps, run) = (work.dir("dumps"), work.dir("run"));
    let dumper = dumper(&mongodump, &run);
    let preview = dumper.check_database(&context()).await.unwrap();
    assert_eq!(preview.server_version, "7.0.5");
    for compression in [None, ZSTD, GZIP] {
        let dumped = dumper.dump(&request(&dumps, compression), &context()).await.unwrap();
        assert_eq!(dumped.completeness, Completeness::Complete);
        assert_eq!(dumped.warnings, Vec::<String>::new());
        assert_eq!(dumped.info.tool_version, "mongodump 100.9.4");
        assert_eq!(names(&run), Vec::<String>::new(), "the password's file is gone");
        dumper.verify(&proof(&dumped), &context()).await.unwrap();
        let unpacked = FileUnpacker.unpack(&dumped.path, &context()).await.unwrap();
        let plain = unpacked.map_or(dumped.path, |u| u.path);
        assert_eq!(fs::read(plain).unwrap(), archive.bytes());
        for file in names(&dumps) {
            fs::remove_file(dumps.join(file)).unwrap();
        }
    }
    let said = [mongodump.args().join(" "), mongodump.environment()].concat();
    assert!(!said.contains(Mongodump::PASSWORD), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn options_become_mongodumps_own() {
    let mongodump = Mongodump::install(&shop());
    let work = WorkDir::new();
    let (dumps, run) = (work.dir("dumps"), work.dir("run"));
    let one = with(&mongodump, &run, |d| {
        d.options.exclude_tables = list(&["logs", "tmp"]);
        d.options.globals = true;
        d.options.extra_args = list(&["--authenticationDatabase", "admin", "-v"]);
    });
    let dumped = one.dump(&request(&dumps, ZSTD), &context()).await.unwrap();
    let args = mongodump.args().join("\n");
    for expected in [
        "--archive",
        "--db=shop",
        "--host=127.0.0.1",
        "--username=shop",
        "--excludeCollection=logs\n--excludeCollection=tmp",
        "--dumpDbUsersAndRoles",
        "--authenticationDatabase\nadmin",
    ] {
        assert!(args.contains(expected), "{expected} is not in {args}");
    }
    fs::remove_file(&dumped.path).unwrap();
    // A visit takes what is about the connection and leaves the rest.
    one.check_database(&context()).await.unwrap();
    let args = mongodump.args().join(" ");
    assert!(args.contains("--authenticationDatabase admin"), "{args}");
    assert!(!args.contains("exclude"), "{args}");

    // Every database: whoever does not see admin may not see others either.
    let all = with(&mongodump, &run, |d| {
        d.name = "all".to_owned();
        d.options.extra_args = list(&["--oplog"]);
    });
    let failure = all.dump(&request(&dumps, ZSTD), &context()).await.unwrap_err();
    let args = mongodump.args().join(" ");
    assert!(!args.contains("--db") && args.contains("--oplog"), "{args}");
    assert_eq!(failure.code, ErrorCode::DumpIncomplete, "{failure}");
    assert!(failure.message.contains("lacks the role `backup`"), "{failure}");
    assert!(failure.remedy.contains("grantRolesToUser"), "{}", failure.remedy);
    assert_nothing_left(&work, &failure);
    mongodump.archive(&shop().collection("admin", "system.version", [document(1, "v")]));
    let dumped = all.dump(&request(&dumps, ZSTD), &context()).await.unwrap();
    assert_eq!(dumped.warnings, Vec::<String>::new());
    fs::remove_file(&dumped.path).unwrap();

    // TLS cannot be spoken to by our own question: mongodump alone asks.
    let tls = with(&mongodump, &run, |d| {
        d.port = free_port();
        d.options.sslmode = Some("verify-full".to_owned());
        d.options.sslrootcert = Some("/etc/ca.pem".into());
    });
    assert_eq!(tls.check_database(&context()).await.unwrap().server_version, "unknown");
    assert!(mongodump.args().join(" ").contains("--ssl --sslCAFile=/etc/ca.pem"));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_container_the_password_comes_by_stdin() {
    let archive = shop();
    let mongodump = Mongodump::install(&archive);
    let docker = DockerClient::new();
    docker.set_inside(&mongodump.path());
    let work = WorkDir::new();
    let (dumps, run) = (work.dir("dumps"), work.dir("run"));
    let mut database = database(&mongodump);
    database.container = Some("mongo".to_owned());
    let dumper = MongodbDumper::new(&database, run.clone(), None).search_path(docker.path());
    assert_eq!(dumper.check_tool().await.unwrap().version, "100.9.4");
    dumper.check_database(&context()).await.unwrap();
    let dumped = dumper.dump(&request(&dumps, None), &context()).await.unwrap();
    assert_eq!(fs::read(&dumped.path).unwrap(), archive.bytes());
    assert!(!mongodump.args().join(" ").contains(Mongodump::PASSWORD));
    assert_eq!(names(&run), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_is_told() {
    let mongodump = Mongodump::install(&MongoArchive::new());
    mongodump.without_login();
    let work = WorkDir::new();
    let dumper = with(&mongodump, &work.dir("run"), |d| {
        d.user = None;
        d.password = None;
    });
    let dumped = dumper.dump(&request(&work.dir("dumps"), ZSTD), &context()).await.unwrap();
    assert_eq!(dumped.completeness, Completeness::NothingInDatabase);
    assert!(dumped.warnings[0].contains("no collections"), "{:?}", dumped.warnings);
    dumper.verify(&proof(&dumped), &context()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_code_and_leaves_nothing() {
    let mongodump = Mongodump::install(&shop());
    let half = shop().bytes().len() / 2;
    let work = WorkDir::new();
    let (dumps, run) = (work.dir("dumps"), work.dir("run"));
    let nothing = || -> Change { Box::new(|_| ()) };
    let extra = |arg: &'static str| -> Change {
        Box::new(move |d| d.options.extra_args = vec![arg.to_owned()])
    };
    let closed = free_port();
    let dumps_well = MongoMode::Dumps;
    let cases: Vec<(ErrorCode, bool, MongoMode, Change)> = vec![
        (ErrorCode::DbConnectionRefused, true, MongoMode::Refused, nothing()),
        (ErrorCode::DbConnectionRefused, true, dumps_well, Box::new(move |d| d.port = closed)),
        (
            ErrorCode::DbConnectionRefused,
            true,
            dumps_well,
            Box::new(|d| d.host = "/nowhere".to_owned()),
        ),
        (ErrorCode::DbAuthFailed, false, dumps_well, Box::new(|d| d.user = Some("x".to_owned()))),
        (
            ErrorCode::DbAuthFailed,
            false,
            dumps_well,
            Box::new(|d| d.password = Some(Secret::value("wrong\nsecret"))),
        ),
        (ErrorCode::DbPermissionDenied, false, MongoMode::Forbidden, nothing()),
        (ErrorCode::DbDisconnected, true, MongoMode::Dies, nothing()),
        (ErrorCode::DumpTruncated, true, MongoMode::Killed, nothing()),
        (ErrorCode::DumpTruncated, true, MongoMode::Lies(half), nothing()),
        (ErrorCode::DumpEmpty, true, MongoMode::Silent, nothing()),
        (ErrorCode::InvalidConfig, false, dumps_well, extra("--gzip")),
        (ErrorCode::InvalidConfig, false, dumps_well, extra("--oplog")),
        (ErrorCode::InvalidConfig, false, dumps_well, extra("--nonsense")),
        (
            ErrorCode::InvalidConfig,
            false,
            dumps_well,
            Box::new(|d| d.options.exclude_table_data = vec!["a".to_owned()]),
        ),
        (
            ErrorCode::InvalidConfig,
            false,
            dumps_well,
            Box::new(|d| {
                d.name = "all".to_owned();
                d.options.exclude_tables = vec!["a".to_owned()];
            }),
        ),
        (
            ErrorCode::InvalidConfig,
            false,
            dumps_well,
            Box::new(|d| d.options.sslmode = Some("prefer".to_owned())),
        ),
    ];
    for (code, transient, mode, change) in cases {
        mongodump.mode(mode);
        let dumper = with(&mongodump, &run, &change);
        let failure = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap_err();
        assert_eq!(failure.code, code, "{mode:?}: {failure} {}", failure.detail);
        assert_eq!(failure.is_transient(), transient, "{failure}");
        assert!(!failure.full_message().contains("secret"), "{failure}");
        assert_nothing_left(&work, &failure);
        if matches!(mode, MongoMode::Dumps | MongoMode::Refused | MongoMode::Forbidden) {
            let checked = dumper.check_database(&context()).await.unwrap_err();
            assert_eq!(checked.code, code, "{checked}");
            assert_nothing_left(&work, &checked);
        }
    }
    let without = MongodbDumper::new(&database(&mongodump), run, None).search_path("/nowhere");
    let failure = without.check_tool().await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::ToolMissing);
    assert!(failure.remedy.contains("mongodb-database-tools"), "{}", failure.remedy);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_announced_or_counted_and_did_not_come_is_missing() {
    let mongodump = Mongodump::install(&shop());
    let work = WorkDir::new();
    let (dumps, run) = (work.dir("dumps"), work.dir("run"));
    let dumper = dumper(&mongodump, &run);

    // A cut between two blocks: everything that is there is right.
    let parts = shop().parts();
    let (_, last) = parts[..parts.len() - 4].last().unwrap();
    mongodump.mode(MongoMode::Lies(last.end));
    let failure = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap_err();
    assert!(
        matches!(failure.code, ErrorCode::DumpIncomplete | ErrorCode::DumpTruncated),
        "{failure}"
    );
    assert!(failure.message.contains("shop."), "{failure}");
    assert_nothing_left(&work, &failure);

    // mongodump ends a collection properly that it has not read to its end.
    mongodump.mode(MongoMode::Dumps);
    mongodump.said(&["done dumping shop.orders (2001 documents)".to_owned()]);
    let failure = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DumpIncomplete);
    assert!(failure.message.contains("shop.orders (2000 of 2001 documents)"), "{failure}");
    assert_nothing_left(&work, &failure);

    let mut flipped = shop().bytes();
    let at = flipped.len() / 3;
    flipped[at] ^= 1;
    mongodump.bytes(&flipped);
    mongodump.said(&[]);
    let failure = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DumpCorrupt, "{failure}");
    assert_nothing_left(&work, &failure);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_with_any_byte_flipped_or_cut_anywhere_is_caught() {
    let mongodump = Mongodump::install(&shop());
    let work = WorkDir::new();
    let (dumps, run) = (work.dir("dumps"), work.dir("run"));
    let dumper = dumper(&mongodump, &run);
    for compression in [None, ZSTD] {
        let dumped = dumper.dump(&request(&dumps, compression), &context()).await.unwrap();
        let length = usize::try_from(dumped.info.bytes).unwrap();
        let places = [0, 1, 5, length - 1].into_iter().chain((0..length).step_by(length / 7));
        every_damage_is_caught(&dumper, &dumped, places).await;

        // The right bytes of no whole archive: the reader itself must say no.
        let mut request = proof(&dumped);
        let cut = &shop().bytes()[..5000];
        fs::write(dumps.join("bad.archive"), cut).unwrap();
        request.path = dumps.join("bad.archive");
        request.info.bytes = cut.len() as u64;
        request.info.raw_bytes = request.info.bytes;
        request.info.checksum = format!("blake3:{}", blake3::hash(cut).to_hex());
        let failure = dumper.verify(&request, &context()).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::DumpTruncated, "{failure}");
        fs::remove_file(&dumped.path).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "no event tells that the program has begun to hang")]
async fn a_dump_that_hangs_is_ended() {
    let mongodump = Mongodump::install(&shop());
    mongodump.mode(MongoMode::Hangs);
    let work = WorkDir::new();
    let (dumps, run) = (work.dir("dumps"), work.dir("run"));
    let dumper = dumper(&mongodump, &run);
    let mut limited = request(&dumps, ZSTD);
    limited.timeout = Some(Duration::from_secs(2));
    let failure = dumper.dump(&limited, &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DumpTimeout, "{failure}");
    assert_nothing_left(&work, &failure);

    let _ = fs::remove_file(mongodump.hanging());
    let (ctx, hanging) = (context(), mongodump.hanging());
    let cancel = ctx.cancel.clone();
    let watcher = tokio::task::spawn_blocking(move || {
        let end = Instant::now() + Duration::from_mins(2);
        while !hanging.exists() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        cancel.cancel(Interrupt::Term);
    });
    let failure = dumper.dump(&request(&dumps, ZSTD), &ctx).await.unwrap_err();
    watcher.await.unwrap();
    assert_eq!(failure.code, ErrorCode::Interrupted, "{failure}");
    assert_nothing_left(&work, &failure);
}
