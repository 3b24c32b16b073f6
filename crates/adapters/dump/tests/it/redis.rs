//! Redis: what is dumped is what the server holds, and comes back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use backupctl_adapter_dump::{FileUnpacker, RedisDumper};
use backupctl_application::context::Interrupt;
use backupctl_application::ports::{DatabaseDumper, Unpacker};
use backupctl_domain::manifest::Completeness;
use backupctl_domain::project::{Database, Engine};
use backupctl_domain::{ErrorCode, Secret};
use backupctl_testkit::services::{DockerClient, Redis, free_port};
use backupctl_testkit::{WorkDir, builders};

use super::*;

type Change = Box<dyn Fn(&mut Database)>;

const PASSWORD: &str = "database-password";
const FUNCTIONS: &str = "#!lua name=mylib\nredis.register_function('one', function() return 1 end)";

pub(super) fn database(server: &Redis) -> Database {
    Database {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        user: None,
        password: Some(Secret::value(PASSWORD)),
        ..builders::database(Engine::Redis, "")
    }
}

pub(super) fn dumper(server: &Redis) -> RedisDumper {
    with(server, |_| ())
}

fn with(server: &Redis, change: impl FnOnce(&mut Database)) -> RedisDumper {
    let mut database = database(server);
    change(&mut database);
    RedisDumper::new(&database, None)
}

/// A server with every kind of value, keys in two databases, and functions.
fn filled() -> Redis {
    let server = Redis::with_password(PASSWORD);
    server.populate(3000, 60);
    for command in [
        &["SET", "with spaces and \"quotes\"", "binary\u{1}\u{ff}"][..],
        &["RPUSH", "list", "a", "b", "c"],
        &["SADD", "set", "1", "2", "x"],
        &["ZADD", "sorted", "1.5", "a", "2", "b"],
        &["HSET", "hash", "field", "value", "other", "more"],
        &["XADD", "stream", "1-1", "field", "value"],
        &["PFADD", "hyper", "a", "b"],
        &["-n", "7", "SET", "elsewhere", "v"],
        &["-n", "7", "SET", "passing", "v", "EX", "100000"],
        &["FUNCTION", "LOAD", FUNCTIONS],
    ] {
        let said = server.cli(command);
        assert!(!said.starts_with("ERR"), "{command:?}: {said}");
    }
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_dumped_proven_and_restored() {
    let server = filled();
    let work = WorkDir::new();
    let dumps = work.dir("dumps");
    let socket = server.socket().to_string_lossy().into_owned();
    let cases = [(None, "yes", false), (ZSTD, "no", true), (GZIP, "yes", true)];
    for (compression, diskless, by_socket) in cases {
        // The server's way to send it, by pipe or by a file of its own, makes no difference.
        assert_eq!(server.cli(&["CONFIG", "SET", "repl-diskless-sync", diskless]), "OK");
        let dumper = with(&server, |d| {
            if by_socket {
                d.host.clone_from(&socket);
            }
        });
        let preview = dumper.check_database(&context()).await.unwrap();
        let tool = dumper.check_tool().await.unwrap();
        assert_eq!(tool.version.split('.').next(), preview.server_version.split('.').next());
        let dumped = dumper.dump(&request(&dumps, compression), &context()).await.unwrap();
        assert_eq!(dumped.completeness, Completeness::Complete);
        assert_eq!(dumped.warnings, Vec::<String>::new());
        assert_eq!(dumped.info.engine, "redis");
        let mode = fs::metadata(&dumped.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        dumper.verify(&proof(&dumped), &context()).await.unwrap();

        let unpacked = FileUnpacker.unpack(&dumped.path, &context()).await.unwrap();
        let plain = unpacked.map_or(dumped.path.clone(), |u| u.path);
        let restored = Redis::on(&plain);
        assert_eq!(restored.digest(), server.digest());
        assert_eq!(restored.cli(&["DBSIZE"]), server.cli(&["DBSIZE"]));
        assert_eq!(restored.cli(&["-n", "7", "DBSIZE"]), "2");
        assert_eq!(restored.cli(&["FCALL", "one", "0"]), "1");
        assert_eq!(restored.cli(&["GET", "with spaces and \"quotes\""]), "binary\u{1}\u{ff}");
        for file in names(&dumps) {
            fs::remove_file(dumps.join(file)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_server_is_told_and_one_without_checksums_is_proven_by_reading_it() {
    let server = Redis::with(Some(PASSWORD), &["--rdbchecksum", "no"]);
    let work = WorkDir::new();
    let dumps = work.dir("dumps");
    let dumper = with(&server, |d| d.options.globals = true);
    let dumped = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap();
    assert_eq!(dumped.completeness, Completeness::NothingInDatabase);
    assert!(dumped.warnings.iter().any(|w| w.contains("no keys")), "{:?}", dumped.warnings);
    assert!(dumped.warnings.iter().any(|w| w.contains("globals")), "{:?}", dumped.warnings);
    dumper.verify(&proof(&dumped), &context()).await.unwrap();
    fs::remove_file(&dumped.path).unwrap();

    server.populate(100, 20);
    let dumped = dumper.dump(&request(&dumps, None), &context()).await.unwrap();
    assert_eq!(dumped.completeness, Completeness::Complete);
    assert!(dumped.warnings.iter().any(|w| w.contains("rdbchecksum yes")), "{:?}", dumped.warnings);
    dumper.verify(&proof(&dumped), &context()).await.unwrap();
    assert_eq!(Redis::on(&dumped.path).digest(), server.digest());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_with_any_byte_flipped_or_cut_anywhere_is_caught() {
    let server = filled();
    let work = WorkDir::new();
    let dumps = work.dir("dumps");
    let dumper = dumper(&server);
    for compression in [None, ZSTD] {
        let dumped = dumper.dump(&request(&dumps, compression), &context()).await.unwrap();
        let length = usize::try_from(dumped.info.bytes).unwrap();
        let places = [0, 1, 9, length - 1].into_iter().chain((0..length).step_by(length / 5));
        every_damage_is_caught(&dumper, &dumped, places).await;

        // The right bytes of no RDB: redis-check-rdb itself must say no.
        let mut request = proof(&dumped);
        let nonsense = b"REDIS0010 and nothing more".repeat(1000);
        fs::write(dumps.join("bad.rdb"), &nonsense).unwrap();
        request.path = dumps.join("bad.rdb");
        request.info.bytes = nonsense.len() as u64;
        request.info.raw_bytes = request.info.bytes;
        request.info.checksum = format!("blake3:{}", blake3::hash(&nonsense).to_hex());
        let failure = dumper.verify(&request, &context()).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::DumpCorrupt, "{failure}");
        assert!(!failure.detail.is_empty());
        fs::remove_file(&dumped.path).unwrap();
    }
    // One that only a newer server writes.
    let newer = [b"REDIS0099".as_slice(), &[0; 100]].concat();
    fs::write(dumps.join("newer.rdb"), &newer).unwrap();
    let dumped = dumper.dump(&request(&dumps, None), &context()).await.unwrap();
    let mut request = proof(&dumped);
    request.path = dumps.join("newer.rdb");
    request.info.bytes = newer.len() as u64;
    request.info.raw_bytes = request.info.bytes;
    request.info.checksum = format!("blake3:{}", blake3::hash(&newer).to_hex());
    let failure = dumper.verify(&request, &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DbVersionMismatch, "{failure} {}", failure.detail);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_code_and_leaves_nothing() {
    let server = filled();
    let open = Redis::start();
    for user in [
        &["ACL", "SETUSER", "limited", "on", ">limited", "~*", "+get", "+info"][..],
        &["ACL", "SETUSER", "blind", "on", ">blind", "~*", "+psync", "+sync", "+replconf"],
        &["ACL", "SETUSER", "backup", "on", ">backup", "+psync", "+sync", "+replconf", "+info"],
    ] {
        assert_eq!(server.cli(user), "OK");
    }
    let work = WorkDir::new();
    let dumps = work.dir("dumps");
    let login = |name: &'static str, password: &'static str| -> Change {
        Box::new(move |d| {
            d.user = Some(name.to_owned());
            d.password = Some(Secret::value(password));
        })
    };
    let (closed, no_password) = (free_port(), open.port());
    let cases: Vec<(ErrorCode, bool, Change)> = vec![
        (ErrorCode::DbAuthFailed, false, Box::new(|d| d.password = None)),
        (ErrorCode::DbAuthFailed, false, Box::new(|d| d.password = Some(Secret::value("wrong")))),
        (ErrorCode::DbAuthFailed, false, login("nobody", "wrong")),
        (ErrorCode::DbAuthFailed, false, Box::new(move |d| d.port = no_password)),
        (ErrorCode::DbPermissionDenied, false, login("limited", "limited")),
        (ErrorCode::DbPermissionDenied, false, login("blind", "blind")),
        (ErrorCode::DbConnectionRefused, true, Box::new(move |d| d.port = closed)),
        (ErrorCode::DbConnectionRefused, true, Box::new(|d| d.host = "h.invalid".to_owned())),
        (ErrorCode::DbConnectionRefused, true, Box::new(|d| d.host = "/nowhere.sock".to_owned())),
        (
            ErrorCode::InvalidConfig,
            false,
            Box::new(|d| d.options.sslmode = Some("verify-full".to_owned())),
        ),
        (
            ErrorCode::InvalidConfig,
            false,
            Box::new(|d| d.options.extra_args = vec!["--rdb".to_owned()]),
        ),
    ];
    for (i, (code, transient, change)) in cases.into_iter().enumerate() {
        let dumper = with(&server, &change);
        let failure = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap_err();
        assert_eq!(failure.code, code, "{i}: {failure} {}", failure.detail);
        assert_eq!(failure.is_transient(), transient, "{i}: {failure}");
        assert!(!failure.full_message().contains("wrong\""), "{failure}");
        assert_nothing_left(&work, &failure);
        // Who may ask and not copy is noticed at the copy.
        let may_ask = code == ErrorCode::DbPermissionDenied && i == 4;
        let checked = dumper.check_database(&context()).await;
        assert_eq!(checked.is_ok(), may_ask, "{i}: {checked:?}");
        if let Err(checked) = checked {
            assert_eq!(checked.code, code, "{checked}");
        }
    }
    // As the remedy says: these rights are enough.
    let enough = with(&server, |d| {
        d.user = Some("backup".to_owned());
        d.password = Some(Secret::value("backup"));
    });
    let dumped = enough.dump(&request(&dumps, ZSTD), &context()).await.unwrap();
    assert_eq!(dumped.completeness, Completeness::Complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_its_certificate_checked() {
    let server = Redis::with_tls();
    server.populate(10, 10);
    let work = WorkDir::new();
    let dumps = work.dir("dumps");
    let tls = |mode: &'static str, authority: Option<&Path>| {
        with(&server, |d| {
            d.port = server.tls_port();
            d.password = None;
            d.options.sslmode = Some(mode.to_owned());
            d.options.sslrootcert = authority.map(Path::to_owned);
        })
    };
    let authority = server.authority();
    for (mode, authority) in [("require", None), ("verify-ca", Some(authority.as_path()))] {
        let dumped = tls(mode, authority).dump(&request(&dumps, None), &context()).await.unwrap();
        fs::remove_file(dumped.path).unwrap();
    }
    let failure = tls("verify-ca", None).check_database(&context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DbConnectionRefused, "{failure}");
    assert!(!failure.is_transient() && failure.remedy.contains("sslrootcert"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_container_both_programs_run_there() {
    let server = filled();
    let docker = DockerClient::new();
    let work = WorkDir::new();
    let mut database = database(&server);
    database.container = Some("cache".to_owned());
    let dumper = RedisDumper::new(&database, None).search_path(docker.path());
    let dumped = dumper.dump(&request(&work.dir("dumps"), ZSTD), &context()).await.unwrap();
    dumper.verify(&proof(&dumped), &context()).await.unwrap();
    database.container = Some("gone".to_owned());
    let gone = RedisDumper::new(&database, None).search_path(docker.path());
    let failure = gone.check_database(&context()).await.unwrap_err();
    assert!(failure.message.contains("gone"), "{failure}");
}

/// Programs that say what a broken pair of client and server would.
fn broken(work: &WorkDir, rdb: &str, status: i32) -> String {
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n--version) echo redis-cli 7.0.15 ;;\n*INFO*) printf 'redis_version:7.0.15\\r\\ndb0:keys=5,expires=0,avg_ttl=0\\r\\n' ;;\n*--rdb*) printf '{rdb}'; exit {status} ;;\nesac\n"
    );
    let file = work.file("bin/redis-cli", script);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:/usr/bin:/bin", work.join("bin").display())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_with_status_0_is_still_looked_at() {
    let server = Redis::start();
    let work = WorkDir::new();
    let dumps = work.dir("dumps");
    // The second is an empty RDB without a checksum.
    for (rdb, status, code) in [
        ("", 0, ErrorCode::DumpEmpty),
        ("REDIS0010\\377\\0\\0\\0\\0\\0\\0\\0\\0", 0, ErrorCode::DumpIncomplete),
        ("REDIS0010\\376\\0\\0\\001k\\001v", 0, ErrorCode::DumpTruncated),
        ("ERR no such command", 0, ErrorCode::DumpTruncated),
        (
            "REDIS0010\\376\\0\\0\\001k\\001v\\377\\0\\0\\0\\0\\0\\0\\0\\0",
            1,
            ErrorCode::DumpTruncated,
        ),
    ] {
        let path = broken(&work, rdb, status);
        let dumper = RedisDumper::new(&database(&server), None).search_path(path);
        let failure = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap_err();
        assert_eq!(failure.code, code, "{rdb}: {failure}");
        assert_nothing_left(&work, &failure);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_is_ended_has_its_reason_and_leaves_nothing() {
    let mut server = Redis::with_password(PASSWORD);
    server.populate(20_000, 2000);
    // Slow enough that nothing is over before the server is gone.
    assert_eq!(server.cli(&["CONFIG", "SET", "rdb-key-save-delay", "2000"]), "OK");
    let work = WorkDir::new();
    let dumps = work.dir("dumps");
    let dumper = dumper(&server);

    let mut limited = request(&dumps, ZSTD);
    limited.timeout = Some(Duration::from_secs(2));
    let failure = dumper.dump(&limited, &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DumpTimeout, "{failure}");
    assert_nothing_left(&work, &failure);

    // Once bytes come, the run is told to stop; then the server dies.
    let begun = |dir: &Path| names(dir).iter().any(|n| fs::metadata(dir.join(n)).is_ok());
    let (ctx, dir) = (context(), dumps.clone());
    let cancel = ctx.cancel.clone();
    let watcher = tokio::task::spawn_blocking(move || {
        while !begun(&dir) {
            std::thread::yield_now();
        }
        cancel.cancel(Interrupt::Int);
    });
    let failure = dumper.dump(&request(&dumps, ZSTD), &ctx).await.unwrap_err();
    watcher.await.unwrap();
    assert_eq!(failure.code, ErrorCode::Interrupted, "{failure}");
    assert_nothing_left(&work, &failure);

    let dir = dumps.clone();
    let killer = tokio::task::spawn_blocking(move || {
        while !begun(&dir) {
            std::thread::yield_now();
        }
        server.kill();
        server
    });
    let failure = dumper.dump(&request(&dumps, None), &context()).await.unwrap_err();
    let server = killer.await.unwrap();
    assert!(
        matches!(failure.code, ErrorCode::DbDisconnected | ErrorCode::DbConnectionRefused),
        "{failure} {}",
        failure.detail
    );
    assert!(failure.is_transient() && !server.listens());
    assert_nothing_left(&work, &failure);
}
