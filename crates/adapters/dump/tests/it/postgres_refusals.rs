//! PostgreSQL: each way in which a dump is refused or ends early has its code, and leaves nothing.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use backupctl_adapter_dump::PostgresDumper;
use backupctl_adapter_process::Tool;
use backupctl_application::context::Interrupt;
use backupctl_application::ports::DatabaseDumper;
use backupctl_domain::project::{Database, Engine};
use backupctl_domain::{ErrorCode, Secret};
use backupctl_testkit::services::{Postgres, free_port};
use backupctl_testkit::{WorkDir, builders};

use sqlx::{Connection, PgConnection};

use super::postgres::{dumper, folders, with};
use super::*;

type Change = Box<dyn Fn(&mut Database)>;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_is_told_by_its_reason() {
    let server = Postgres::start();
    server.create_role("limited", "limited-password");
    server.create_database("shop", server.superuser());
    server.psql_in(
        "shop",
        "create table secrets (a int); create table own (a int); grant select on own to limited",
    );
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let port = free_port();
    let as_limited: fn(&mut Database) = |d| {
        d.user = Some("limited".to_owned());
        d.password = Some(Secret::value("limited-password"));
    };
    let cases: Vec<(ErrorCode, bool, Change)> = vec![
        (ErrorCode::DbAuthFailed, false, Box::new(|d| d.password = Some(Secret::value("wrong")))),
        (ErrorCode::DbAuthFailed, false, Box::new(|d| d.user = Some("nobody_here".to_owned()))),
        (ErrorCode::DbNotFound, false, Box::new(|d| d.name = "no_such_db".to_owned())),
        (ErrorCode::DbConnectionRefused, true, Box::new(move |d| d.port = port)),
        (ErrorCode::DbConnectionRefused, true, Box::new(|d| d.host = "db.invalid".to_owned())),
        (ErrorCode::DbConnectionRefused, true, Box::new(|d| d.host = "/nowhere".to_owned())),
        (
            ErrorCode::DbConnectionRefused,
            false,
            Box::new(|d| d.options.sslmode = Some("require".to_owned())),
        ),
        (
            ErrorCode::InvalidConfig,
            false,
            Box::new(|d| d.options.sslmode = Some("maybe".to_owned())),
        ),
        (
            ErrorCode::InvalidConfig,
            false,
            Box::new(|d| d.options.extra_args = vec!["--enable-row-security".to_owned()]),
        ),
        (
            ErrorCode::InvalidConfig,
            false,
            Box::new(|d| d.options.extra_args = vec!["--no-role-passwords".to_owned()]),
        ),
        (
            ErrorCode::InvalidConfig,
            false,
            Box::new(|d| {
                d.options.globals = true;
                d.options.extra_args = vec!["--clean".to_owned()];
            }),
        ),
        (
            ErrorCode::InvalidConfig,
            false,
            Box::new(|d| d.options.extra_args = vec!["-Fp".to_owned()]),
        ),
        (
            ErrorCode::InvalidConfig,
            false,
            Box::new(|d| d.options.exclude_tables = vec!["a[".to_owned()]),
        ),
    ];
    for (code, transient, change) in cases {
        let dumper = with(&server, "shop", &run, &change);
        let failure = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap_err();
        assert_eq!(failure.code, code, "{failure} {}", failure.detail);
        assert_eq!(failure.is_transient(), transient, "{failure}");
        assert!(!failure.full_message().contains("wrong"), "{failure}");
        assert_nothing_left(&work, &failure);
        // A bad pattern is noticed by whoever asks the catalog.
        if !failure.message.contains("regular expression") {
            let checked = dumper.check_database(&context()).await.unwrap_err();
            assert_eq!(checked.code, code, "{checked}");
        }
    }

    let dumper = with(&server, "shop", &run, as_limited);
    let failure = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DbPermissionDenied, "{failure}");
    assert!(failure.message.contains("secrets"), "{failure}");
    assert_nothing_left(&work, &failure);

    // A table to choose that is not there; nobody is to believe in a dump of nothing.
    let choosing = with(&server, "shop", &run, |d| {
        d.options.extra_args = vec!["--table=no_such_table".to_owned()];
    });
    let failure = choosing.dump(&request(&dumps, ZSTD), &context()).await.unwrap_err();
    assert_eq!(
        (failure.code, failure.is_transient()),
        (ErrorCode::InvalidConfig, false),
        "{failure}"
    );
    assert!(failure.message.contains("no matching tables"), "{failure}");
    assert_nothing_left(&work, &failure);

    server.psql_in("shop", "drop table secrets; alter table own enable row level security");
    let failure = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DbPermissionDenied, "{failure}");
    assert!(failure.remedy.contains("BYPASSRLS"), "{}", failure.remedy);
    assert_nothing_left(&work, &failure);
}

/// Runs `meanwhile` once `pg_dump` waits for a lock that is never given back.
async fn while_locked<T>(
    server: &Postgres,
    running: impl Future<Output = T>,
    meanwhile: impl FnOnce(&str) + Send + 'static,
) -> T {
    let url = server.url(server.superuser(), "shop");
    let mut holder = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("begin; lock table orders in access exclusive mode")
        .execute(&mut holder)
        .await
        .unwrap();
    let mut watcher = PgConnection::connect(&url).await.unwrap();
    let waiting = async {
        let sql = "select pid from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'backupctl'";
        loop {
            let pid: Option<i32> =
                sqlx::query_scalar(sql).fetch_optional(&mut watcher).await.unwrap();
            if let Some(pid) = pid {
                break meanwhile(&pid.to_string());
            }
            sqlx::raw_sql("select pg_sleep(0.02)").execute(&mut watcher).await.unwrap();
        }
    };
    // A dump that ends before anybody has looked has nothing to wait for.
    let mut running = std::pin::pin!(running);
    tokio::select! {
        result = &mut running => result,
        () = waiting => running.await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_is_ended_has_its_reason_and_leaves_nothing() {
    let server = std::sync::Arc::new(Postgres::start());
    server.create_database("shop", server.superuser());
    server.psql_in("shop", "create table orders (a int)");
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);

    // The server ends the connection; meanwhile, no secret is in any argument or variable.
    let plain = dumper(&server, "shop", &run);
    let (ctx, asked) = (context(), request(&dumps, ZSTD));
    let (secret, private) = (server.password(server.superuser()), run.clone());
    let killer = std::sync::Arc::clone(&server);
    let result = while_locked(&server, plain.dump(&asked, &ctx), move |pid| {
        let shown = seen_of_pg_dump(killer.port());
        assert!(shown.contains("pg_dump") && !shown.contains(&secret), "{shown}");
        // One that a killed run leaves is known as its partial, and goes with those.
        let files = names(&private);
        assert_eq!(files, [format!(".{NAME}.pgpass.partial")]);
        assert!(DumpName::parse_partial(&name().project, &files[0]).is_some());
        killer.psql(&format!("select pg_terminate_backend({pid})"));
    });
    let failure = result.await.unwrap_err();
    assert_eq!(
        (failure.code, failure.is_transient()),
        (ErrorCode::DbDisconnected, true),
        "{failure}"
    );
    assert_nothing_left(&work, &failure);

    // Our own lock timeout.
    let impatient = with(&server, "shop", &run, |d| {
        d.options.extra_args = vec!["--lock-wait-timeout=300".to_owned()];
    });
    let failure = while_locked(&server, impatient.dump(&asked, &ctx), |_| ()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DbTimeout, "{failure}");
    assert_nothing_left(&work, &failure);

    // The dump's time is up.
    let mut short = request(&dumps, ZSTD);
    short.timeout = Some(Duration::from_millis(700));
    let failure = while_locked(&server, plain.dump(&short, &ctx), |_| ()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DumpTimeout, "{failure}");
    assert_nothing_left(&work, &failure);

    // The run is told to stop.
    let cancel = ctx.cancel.clone();
    let stop = move |_: &str| cancel.cancel(Interrupt::Term);
    let failure = while_locked(&server, plain.dump(&asked, &ctx), stop).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Interrupted, "{failure}");
    assert_nothing_left(&work, &failure);
}

/// Arguments and environment of every `pg_dump` that talks to that port.
fn seen_of_pg_dump(port: u16) -> String {
    let mut seen = String::new();
    for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        if arguments.contains("pg_dump") && arguments.contains(&port.to_string()) {
            seen += &arguments;
            seen += &String::from_utf8_lossy(&read("environ"));
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_would_be_too_full_ends_the_dump() {
    let server = Postgres::start();
    server.create_database("shop", server.superuser());
    server
        .psql_in("shop", "create table t as select md5(i::text) from generate_series(1, 50000) i");
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let dumper = dumper(&server, "shop", &run);
    for compression in [None, ZSTD, GZIP] {
        let mut request = request(&dumps, compression);
        request.max_bytes = Some(200_000);
        let failure = dumper.dump(&request, &context()).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::DiskLow, "{failure}");
        assert_nothing_left(&work, &failure);
    }
    let failure = dumper.dump(&request(&dumps.join("none"), ZSTD), &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::PathNotWritable, "{failure}");
}

/// The server's port, its superuser's password and the work folder of [`dump_when_told`].
const TOLD: &str = "BACKUPCTL_TEST_DUMP";

/// Not a test by itself: what the process does that the next test starts, with a PATH of its own.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "how a test talks to the process that it starts")]
async fn dump_when_told() {
    let Ok(told) = std::env::var(TOLD) else { return };
    let [port, password, work] = told.split(' ').collect::<Vec<_>>()[..] else { panic!("{told}") };
    let database = Database {
        host: "127.0.0.1".to_owned(),
        port: port.parse().unwrap(),
        user: Some("postgres".to_owned()),
        password: Some(Secret::value(password)),
        ..builders::database(Engine::Postgres, "shop")
    };
    let dumper = PostgresDumper::new(&database, Path::new(work).join("run"), None);
    let asked = request(&Path::new(work).join("dumps"), ZSTD);
    match dumper.dump(&asked, &context()).await {
        Ok(dumped) => println!("\nended well: {:?}", dumped.completeness),
        Err(failure) => println!("\nended by {}: {}", failure.code, failure.message),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_dump_with_status_0_that_lacks_a_table_is_incomplete() {
    let server = Postgres::start();
    server.create_database("shop", server.superuser());
    server.psql_in("shop", "create table orders (id serial); create table kept (a int)");
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    // As somebody's wrapper might, it leaves out what nobody has told us of.
    for (leave_out, outcome) in [
        ("", "ended well: Complete"),
        ("--exclude-table=public.orders", "ended by DUMP_INCOMPLETE: "),
    ] {
        let real = Postgres::bin_dir().join("pg_dump");
        let script = format!("#!/bin/sh\nexec {} \"$@\" {leave_out}\n", real.display());
        let wrapper = work.file("bin/pg_dump", script);
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", work.join("bin").display());
        let password = server.password(server.superuser());
        let told = format!("{} {password} {}", server.port(), work.path().display());
        let tool = Tool::new(std::env::current_exe().unwrap())
            .args(["--exact", "postgres_refusals::dump_when_told", "--nocapture"])
            .env(TOLD, told)
            .env("PATH", path);
        let output = tool.run(&context()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(outcome), "{said} {}", output.stderr);
        if leave_out.is_empty() {
            fs::remove_file(dumps.join(format!("{NAME}.dump.zst"))).unwrap();
        } else {
            for name in ["data of table public.orders", "table public.orders"] {
                assert!(said.contains(name), "{said}");
            }
            assert!(!said.contains("kept"), "{said}");
            assert_eq!((names(&dumps), names(&run)), (Vec::new(), Vec::new()));
        }
    }
}
