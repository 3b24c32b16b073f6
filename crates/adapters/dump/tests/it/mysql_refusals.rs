//! MySQL and MariaDB: each way in which a dump is refused, ends early or would lack something in
//! silence has its code, and leaves nothing.

use std::sync::Arc;
use std::time::Duration;

use backupctl_adapter_dump::MysqlDumper;
use backupctl_adapter_process::Tool;
use backupctl_application::context::{Interrupt, Observer, RunEvent};
use backupctl_application::ports::DatabaseDumper;
use backupctl_domain::manifest::Completeness;
use backupctl_domain::project::{Database, Engine};
use backupctl_domain::{ErrorCode, Secret};
use backupctl_testkit::services::{MariaDb, free_port};
use backupctl_testkit::{WorkDir, builders};

use super::mysql::{dumper, folders, list, with};
use super::*;

type Change = Box<dyn Fn(&mut Database)>;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_is_told_by_its_reason() {
    let server = MariaDb::start();
    server.create_database("shop");
    server.sql_in("shop", "create table t (a int)");
    server.create_user("nobody", "nobody-password", &[]);
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let port = free_port();
    let cases: Vec<(ErrorCode, bool, Change)> = vec![
        (ErrorCode::DbAuthFailed, false, Box::new(|d| d.password = Some(Secret::value("wrong")))),
        (ErrorCode::DbAuthFailed, false, Box::new(|d| d.user = Some("not_there".to_owned()))),
        (ErrorCode::DbNotFound, false, Box::new(|d| d.name = "no_such_db".to_owned())),
        (ErrorCode::DbConnectionRefused, true, Box::new(move |d| d.port = port)),
        (ErrorCode::DbConnectionRefused, true, Box::new(|d| d.host = "db.invalid".to_owned())),
        (ErrorCode::DbConnectionRefused, true, Box::new(|d| d.host = "/nowhere".to_owned())),
        (
            ErrorCode::DbPermissionDenied,
            false,
            Box::new(|d| {
                d.user = Some("nobody".to_owned());
                d.password = Some(Secret::value("nobody-password"));
            }),
        ),
        (
            ErrorCode::InvalidConfig,
            false,
            Box::new(|d| d.options.sslmode = Some("maybe".to_owned())),
        ),
        (ErrorCode::InvalidConfig, false, Box::new(|d| d.options.extra_args = list(&["--force"]))),
    ];
    for (code, transient, change) in cases {
        let dumper = with(&server, "shop", &run, &change);
        let failure = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap_err();
        assert_eq!(failure.code, code, "{failure} {}", failure.detail);
        assert_eq!(failure.is_transient(), transient, "{failure}");
        assert!(!failure.full_message().contains("wrong"), "{failure}");
        assert_nothing_left(&work, &failure);
        let checked = dumper.check_database(&context()).await.unwrap_err();
        assert_eq!(checked.code, code, "{checked}");
    }
    let dumper =
        with(&server, "shop", &run, |d| d.options.extra_args = list(&["--no-such-option"]));
    let failure = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::InvalidConfig, "{failure}");
    assert!(failure.message.contains("no-such-option"), "{failure}");
    assert_nothing_left(&work, &failure);
}

/// Dumps as a user with those rights.
async fn as_user(
    server: &MariaDb,
    work: &WorkDir,
    name: &str,
    grants: &[&str],
    extra: &[&str],
) -> Result<DumpedFile, Failure> {
    let (dumps, run) = folders(work);
    server.sql("drop user if exists limited");
    server.create_user("limited", "limited-password", grants);
    let dumper = with(server, name, &run, |d| {
        d.user = Some("limited".to_owned());
        d.password = Some(Secret::value("limited-password"));
        d.options.extra_args = list(extra);
    });
    let result = dumper.dump(&request(&dumps, None), &context()).await;
    match &result {
        Ok(dumped) => fs::remove_file(&dumped.path).unwrap(),
        Err(failure) => assert_nothing_left(work, failure),
    }
    result
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_user_may_not_see_makes_a_dump_incomplete() {
    let server = MariaDb::start();
    server.create_database("shop");
    server.sql_in("shop", super::mysql::SCHEMA);
    server.create_database("plain");
    server.sql_in("plain", "create table t (a int)");
    let work = WorkDir::new();
    let incomplete = async |name: &str, grants: &[&str], words: &[&str]| {
        let failure = as_user(&server, &work, name, grants, &[]).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::DumpIncomplete, "{grants:?}: {failure}");
        for word in words {
            assert!(failure.message.contains(word), "{word} of {failure}");
        }
        assert!(failure.remedy.contains("GRANT "), "{}", failure.remedy);
    };
    let proc = "select on mysql.proc";
    // Without rights, and every database: status 0 and no tables.
    incomplete("all", &[], &["databases (SELECT on *.*)"]).await;
    // Rights on some tables dump those alone.
    incomplete("shop", &["select, trigger on shop.orders", proc], &["tables (SELECT"]).await;
    let no_triggers = ["select, show view, event, lock tables on shop.*", proc];
    incomplete("shop", &no_triggers, &["triggers (TRIGGER on `shop`.*)"]).await;
    let no_events = ["select, show view, trigger, lock tables on shop.*", proc];
    incomplete("shop", &no_events, &["events (EVENT on `shop`.*)"]).await;
    let no_routines = ["select, show view, trigger, event, lock tables on shop.*"];
    incomplete("shop", &no_routines, &["routines (SELECT on mysql.proc)"]).await;
    // Their names are seen, and not what they do.
    let names_alone = ["select, show view, trigger, event, execute on shop.*"];
    incomplete("shop", &names_alone, &["routines"]).await;

    // What the remedy says is enough, and so is what says that it is intended.
    let all = ["select, show view, trigger, event, lock tables on shop.*", proc];
    for (grants, extra) in [
        (&all[..], &[][..]),
        (&no_triggers, &["--skip-triggers"]),
        (&no_events, &["--skip-events"]),
        (&no_routines, &["--skip-routines"]),
    ] {
        let dumped = as_user(&server, &work, "shop", grants, extra).await.unwrap();
        assert_eq!(dumped.completeness, Completeness::Complete);
    }
    // Rights without which nothing is hidden are not asked for.
    let enough = ["select, event, execute on plain.*", "trigger on plain.t"];
    as_user(&server, &work, "plain", &enough, &[]).await.unwrap();
    // Of several grants that fit a database the server takes the most specific.
    server.create_database("app_shop");
    server.sql_in(
        "app_shop",
        "create table t (a int); create trigger tr before insert on t for each row set @x = 1",
    );
    let wide = r"select, show view, trigger, event, lock tables on `app\_%`.*";
    let narrow = r"select, show view, event, lock tables on `app\_shop`.*";
    incomplete("app_shop", &[wide, narrow, proc], &["triggers (TRIGGER on `app_shop`.*)"]).await;
    as_user(&server, &work, "app_shop", &[wide, proc], &[]).await.unwrap();
    let narrow = r"select, show view, trigger, event, lock tables on `app\_shop`.*";
    let wide = r"select on `app\_%`.*";
    as_user(&server, &work, "app_shop", &[wide, narrow, proc], &[]).await.unwrap();
    // What the tool itself refuses.
    let no_views = ["select, trigger, event on shop.*", proc];
    let failure = as_user(&server, &work, "shop", &no_views, &[]).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DbPermissionDenied, "{failure}");
    assert!(failure.message.contains("SHOW VIEW"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_is_broken_ends_the_dump_by_its_name() {
    let server = MariaDb::start();
    server.create_database("shop");
    let sql = "create table gone (a int); create table t (a int); create view bad as select a from gone; drop table gone";
    server.sql_in("shop", sql);
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let failure = dumper(&server, "shop", &run).dump(&request(&dumps, ZSTD), &context()).await;
    let failure = failure.unwrap_err();
    assert_eq!((failure.code, failure.is_transient()), (ErrorCode::DumpIncomplete, false));
    assert!(failure.message.contains("bad"), "{failure}");
    assert_nothing_left(&work, &failure);
    let dumper = with(&server, "shop", &run, |d| d.options.exclude_tables = list(&["bad"]));
    dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap();
}

/// Does something once, as soon as some bytes of the dump have been read.
struct OnProgress(std::sync::Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Observer for OnProgress {
    fn event(&self, event: &RunEvent) {
        if let RunEvent::Progress { bytes, .. } = event
            && *bytes > 0
            && let Some(action) = self.0.lock().unwrap().take()
        {
            action();
        }
    }
}

fn context_with(action: impl FnOnce() + Send + 'static) -> StageContext {
    let observer = OnProgress(std::sync::Mutex::new(Some(Box::new(action))));
    StageContext { observer: Arc::new(observer), ..context() }
}

/// More than any buffer between the server and us holds.
const LARGE: &str = "create table large (id int primary key, text longtext);
    insert into large select seq, repeat(sha2(seq, 512), 800) from seq_1_to_600";

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_is_ended_has_its_reason_and_leaves_nothing() {
    let server = MariaDb::start();
    server.create_database("shop");
    server.sql_in("shop", LARGE);
    let (port, secret) = (server.port(), server.password());
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let asked = request(&dumps, None);
    let plain = dumper(&server, "shop", &run);

    // The run is told to stop; until then, no secret is in any argument or variable.
    let cancel = backupctl_application::context::Cancel::new();
    let (stop, private) = (cancel.clone(), run.clone());
    let mut ctx = context_with(move || {
        let shown = seen_of_dumps(&private);
        assert!(shown.contains("mariadb-dump") && !shown.contains(secret), "{shown}");
        // One that a killed run leaves is known as its partial, and goes with those.
        let files = names(&private);
        assert_eq!(files, [format!(".{NAME}.mycnf.partial")]);
        assert!(DumpName::parse_partial(&name().project, &files[0]).is_some());
        stop.cancel(Interrupt::Term);
    });
    ctx.cancel = cancel;
    let failure = plain.dump(&asked, &ctx).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Interrupted, "{failure}");
    assert_nothing_left(&work, &failure);

    // The dump's time is up: the server answers no more.
    let server = Arc::new(std::sync::Mutex::new(server));
    let mut short = asked.clone();
    short.timeout = Some(Duration::from_secs(2));
    let frozen = Arc::clone(&server);
    let ctx = context_with(move || frozen.lock().unwrap().freeze());
    let failure = plain.dump(&short, &ctx).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DumpTimeout, "{failure}");
    assert_nothing_left(&work, &failure);
    server.lock().unwrap().thaw();

    // The server dies in the middle.
    let ctx = context_with(move || server.lock().unwrap().kill());
    let failure = plain.dump(&asked, &ctx).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DbDisconnected, "{failure}");
    assert!(failure.is_transient(), "{failure}");
    assert_nothing_left(&work, &failure);
    let failure = plain.dump(&asked, &context()).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DbConnectionRefused, "{failure}");
    assert!(failure.message.contains(&port.to_string()), "{failure}");
}

/// Arguments and environment of every dump program that is given an option file in that folder.
fn seen_of_dumps(run: &Path) -> String {
    let mut seen = String::new();
    for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        if arguments.contains(&run.to_string_lossy().into_owned()) {
            seen += &arguments;
            seen += &String::from_utf8_lossy(&read("environ"));
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_killed_is_told_as_lost() {
    let server = Arc::new(MariaDb::start());
    server.create_database("shop");
    server.sql_in("shop", LARGE);
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let killer = Arc::clone(&server);
    let ctx = context_with(move || {
        let ids = "select id from information_schema.processlist where db = 'shop'";
        for id in killer.sql(ids).lines() {
            killer.sql(&format!("kill {id}"));
        }
    });
    let failure = dumper(&server, "shop", &run).dump(&request(&dumps, None), &ctx).await;
    let failure = failure.unwrap_err();
    assert_eq!(failure.code, ErrorCode::DbDisconnected, "{failure}");
    assert_nothing_left(&work, &failure);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_would_be_too_full_ends_the_dump() {
    let server = MariaDb::start();
    server.create_database("shop");
    server.sql_in("shop", LARGE);
    let work = WorkDir::new();
    let (dumps, run) = folders(&work);
    let dumper = dumper(&server, "shop", &run);
    for compression in [None, ZSTD, GZIP] {
        let mut request = request(&dumps, compression);
        request.max_bytes = Some(20_000);
        let failure = dumper.dump(&request, &context()).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::DiskLow, "{failure}");
        assert_nothing_left(&work, &failure);
    }
}

/// What the test below runs with another PATH: this process's is not changed.
const TOLD: &str = "MYSQL_DUMP_WHEN_TOLD";

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "how a test talks to the process that it starts")]
async fn dump_when_told() {
    let Ok(told) = std::env::var(TOLD) else { return };
    let [engine, port, password, work] = told.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{told}")
    };
    let engine = if engine == "mysql" { Engine::Mysql } else { Engine::Mariadb };
    let mut database = Database {
        host: "127.0.0.1".to_owned(),
        port: port.parse().unwrap(),
        user: Some("root".to_owned()),
        password: Some(Secret::value(password)),
        ..builders::database(engine, "shop")
    };
    if engine == Engine::Mysql {
        database.options.exclude_table_data = list(&["t"]);
    }
    let dumper = MysqlDumper::new(&database, Path::new(work).join("run"), None);
    let asked = request(&Path::new(work).join("dumps"), ZSTD);
    match dumper.dump(&asked, &context()).await {
        Ok(dumped) => println!("\nended well: {:?}", dumped.completeness),
        Err(failure) => println!("\nended by {}: {}", failure.code, failure.message),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_in_path_does_with_status_0_is_not_believed() {
    let server = MariaDb::start();
    server.create_database("shop");
    server.sql_in("shop", "create table orders (a int); create table kept (a int); create trigger tr before insert on kept for each row set @x = 1");
    let work = WorkDir::new();
    let (dumps, _) = folders(&work);
    let real = "/usr/bin/mariadb-dump";
    let version = format!("[ \"$1\" = --version ] && exec {real} --version");
    // As somebody's wrapper might do it.
    for (engine, script, outcome) in [
        ("mariadb", format!("exec {real} \"$@\""), "ended well: Complete"),
        (
            "mariadb",
            format!("a=$1; shift; exec {real} $a --ignore-table=shop.orders \"$@\""),
            "ended by DUMP_INCOMPLETE: the dump of shop at 127.0.0.1:PORT lacks what the server shows: table shop.orders",
        ),
        (
            "mariadb",
            format!(
                "{version}; a=$1; shift; {real} $a --skip-triggers $(echo \"$@\" | sed s/--triggers//)"
            ),
            "ended by DUMP_INCOMPLETE: the dump of shop at 127.0.0.1:PORT lacks what the server shows: trigger shop.tr",
        ),
        ("mariadb", format!("{version}; {real} \"$@\" | head -c 900"), "ended by DUMP_TRUNCATED: "),
        ("mariadb", version.clone() + "; true", "ended by DUMP_EMPTY: "),
        ("mariadb", "echo nonsense".to_owned(), "ended by TOOL_MISSING: "),
        (
            "mysql",
            "echo 'mysqldump  Ver 8.0.36 for Linux on x86_64'".to_owned(),
            "ended by INVALID_CONFIG: `database.options.exclude_table_data`: mysqldump 8.0.36 cannot",
        ),
    ] {
        let name = if engine == "mysql" { "mysqldump" } else { "mariadb-dump" };
        let wrapper = work.file(format!("bin/{name}"), format!("#!/bin/sh\n{script}\n"));
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&wrapper, executable).unwrap();
        let told =
            format!("{engine} {} {} {}", server.port(), server.password(), work.path().display());
        let tool = Tool::new(std::env::current_exe().unwrap())
            .args(["--exact", "mysql_refusals::dump_when_told", "--nocapture"])
            .env(TOLD, told)
            .env("PATH", format!("{}:/usr/bin:/bin", work.join("bin").display()));
        let output = tool.run(&context()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let outcome = outcome.replace("PORT", &server.port().to_string());
        assert!(said.contains(&outcome), "{script}: {said} {}", output.stderr);
        let left = names(&dumps);
        assert_eq!(left.is_empty(), !outcome.contains("well"), "{left:?}");
        for file in left {
            fs::remove_file(dumps.join(file)).unwrap();
        }
        fs::remove_file(&wrapper).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_programs_are_named_with_their_package() {
    let work = WorkDir::new();
    let told = format!("mariadb 1 x {}", work.path().display());
    let tool = Tool::new(std::env::current_exe().unwrap())
        .args(["--exact", "mysql_refusals::dump_when_told", "--nocapture"])
        .env(TOLD, told)
        .env("PATH", work.dir("bin"));
    let output = tool.run(&context()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("ended by TOOL_MISSING: mariadb-dump is not installed"), "{said}");
}
