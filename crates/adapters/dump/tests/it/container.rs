//! Every engine by `docker exec`: a stand-in takes the place of Docker's client, servers and programs
//! are the real ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use backupctl_adapter_dump::{
    MongodbDumper, MysqlDumper, PostgresDumper, PostgresLoader, RedisDumper,
};
use backupctl_application::context::Interrupt;
use backupctl_application::ports::DatabaseLoader;
use backupctl_domain::Secret;
use backupctl_domain::manifest::Completeness;
use backupctl_domain::project::{Database, Engine};
use backupctl_testkit::contracts;
use backupctl_testkit::services::{DockerClient, MariaDb, Mongodump, Postgres, Redis, free_port};

use super::*;

const SYSTEM: &str = "/usr/local/bin:/usr/bin:/bin";

/// A database in a container, and which program dumps it.
struct Inside {
    docker: DockerClient,
    database: Database,
    /// Where the programs are in there.
    programs: String,
    tool: &'static str,
    /// An argument that it has when it dumps.
    dumping: &'static str,
    work: WorkDir,
}

impl Inside {
    fn new(
        database: Database,
        programs: impl AsRef<Path>,
        tool: &'static str,
        dumping: &'static str,
    ) -> Self {
        let docker = DockerClient::new();
        let programs = format!("{}:{SYSTEM}", programs.as_ref().display());
        docker.set_inside(&programs);
        let database = Database { container: Some("db".to_owned()), ..database };
        Self { docker, database, programs, tool, dumping, work: WorkDir::new() }
    }

    fn dumper(&self) -> Arc<dyn DatabaseDumper> {
        self.with(|_| ())
    }

    fn with(&self, change: impl FnOnce(&mut Database)) -> Arc<dyn DatabaseDumper> {
        let mut database = self.database.clone();
        change(&mut database);
        let (path, run) = (self.docker.path(), self.work.dir("run"));
        match database.engine {
            Engine::Postgres => {
                Arc::new(PostgresDumper::new(&database, run, None).search_path(path))
            }
            Engine::Mysql | Engine::Mariadb => {
                Arc::new(MysqlDumper::new(&database, run, None).search_path(path))
            }
            Engine::Mongodb => Arc::new(MongodbDumper::new(&database, run, None).search_path(path)),
            Engine::Redis => Arc::new(RedisDumper::new(&database, None).search_path(path)),
            Engine::Sqlite => panic!("a file is in no container"),
        }
    }

    async fn refused(&self, change: impl FnOnce(&mut Database)) -> Failure {
        let dumps = self.work.dir("dumps");
        let dumper = self.with(change);
        let failure = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap_err();
        assert_nothing_left(&self.work, &failure);
        failure
    }

    /// A folder with these programs alone.
    fn only(&self, programs: &[&str]) -> PathBuf {
        let dir = self.work.dir(format!("only-{}", programs.len()));
        for program in programs {
            let found = self.programs.split(':').map(|d| Path::new(d).join(program));
            let real = found.into_iter().find(|p| p.is_file()).unwrap();
            let _ = std::os::unix::fs::symlink(real, dir.join(program));
        }
        dir
    }

    /// What must hold for every engine.
    async fn holds(&self) {
        let engine = self.database.engine;
        contracts::database_dumper(self.dumper(), engine, &self.work.dir("contract")).await;
        assert_eq!(self.work.names("run"), Vec::<String>::new());

        let failure = self.refused(|d| d.password = Some(Secret::value("wrong"))).await;
        assert_eq!(failure.code, ErrorCode::DbAuthFailed, "{engine:?}: {failure}");
        assert!(!failure.is_transient());

        for (container, told) in
            [("stopped", "docker start stopped"), ("gone", "docker ps"), ("dead", "systemctl")]
        {
            let change = |d: &mut Database| d.container = Some(container.to_owned());
            let failure = self.refused(change).await;
            assert_eq!(failure.code, ErrorCode::DbConnectionRefused, "{engine:?}: {failure}");
            assert!(failure.remedy.contains(told), "{engine:?}: {}", failure.remedy);
            assert!(failure.is_transient());
            let checked = self.with(change).check_tool().await.unwrap_err();
            assert_eq!(checked.full_message(), failure.full_message());
            let checked = self.with(change).check_database(&context()).await.unwrap_err();
            assert_eq!(checked.full_message(), failure.full_message());
        }

        self.docker.set_inside(&self.only(&["sh", "bash", "cat"]).to_string_lossy());
        let failure = self.refused(|_| ()).await;
        assert_eq!(failure.code, ErrorCode::ToolMissing, "{engine:?}: {failure}");
        assert!(failure.message.contains(self.tool), "{failure}");
        assert!(failure.message.contains("container db"), "{failure}");
        assert!(failure.remedy.contains("database.via"), "{}", failure.remedy);
        let checked = self.dumper().check_tool().await.unwrap_err();
        assert_eq!(checked.full_message(), failure.full_message());
        self.docker.set_inside(&self.programs);

        self.ends_what_hangs().await;

        let given = self.docker.args();
        assert!(given.contains(self.tool), "{given}");
        let Some(Secret::Value(_)) = &self.database.password else { panic!("no password") };
        let password = self.database.password.as_ref().unwrap().expose().unwrap();
        assert!(!given.contains(password), "{given}");
    }

    /// A dump that hangs in there ends there, by its limit of time and when the run stops.
    async fn ends_what_hangs(&self) {
        let (pid, dumps) = (self.work.join("pid"), self.work.dir("dumps"));
        let real = self.programs.split(':').map(|d| Path::new(d).join(self.tool));
        let real = real.into_iter().find(|p| p.is_file()).unwrap();
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *{}*) echo $$ > {1}.new; mv {1}.new {1}; exec sleep 600 ;; esac\nexec {2} \"$@\"\n",
            self.dumping,
            pid.display(),
            real.display()
        );
        let hanging = self.work.file(format!("hangs/{}", self.tool), script);
        fs::set_permissions(&hanging, fs::Permissions::from_mode(0o755)).unwrap();
        self.docker.set_inside(&format!("{}:{}", self.work.join("hangs").display(), self.programs));

        let dumper = self.dumper();
        let mut limited = request(&dumps, ZSTD);
        limited.timeout = Some(Duration::from_secs(2));
        let failure = dumper.dump(&limited, &context()).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::DumpTimeout, "{failure}");
        assert_nothing_left(&self.work, &failure);
        self.assert_ended(&pid);

        let ctx = context();
        let (cancel, begun) = (ctx.cancel.clone(), pid.clone());
        let watcher = tokio::task::spawn_blocking(move || {
            assert!(soon(|| begun.exists()), "it never dumps");
            cancel.cancel(Interrupt::Term);
        });
        let failure = dumper.dump(&request(&dumps, ZSTD), &ctx).await.unwrap_err();
        watcher.await.unwrap();
        assert_eq!(failure.code, ErrorCode::Interrupted, "{failure}");
        self.assert_ended(&pid);
        self.docker.set_inside(&self.programs);
    }

    /// The process of that number has ended, and the way to the server is closed.
    #[track_caller]
    fn assert_ended(&self, file: &Path) {
        if let Ok(pid) = fs::read_to_string(file) {
            let lives = || {
                let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
                stat.is_ok_and(|s| !s.contains(") Z "))
            };
            assert!(soon(|| !lives()), "{} goes on in its container", self.tool);
            fs::remove_file(file).unwrap();
        }
        let bridge = format!(" bash {} {} ", self.database.host, self.database.port);
        assert!(soon(|| !running(&bridge)), "its bridge goes on");
    }
}

/// Whether it comes about.
fn soon(mut condition: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !condition() {
        if begun.elapsed() > Duration::from_mins(1) {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

/// Whether a process has these words in its arguments.
fn running(words: &str) -> bool {
    let all = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).replace('\0', " ").contains(words))
}

fn postgres_inside(server: &Postgres, name: &str) -> Inside {
    let database = postgres::database(server, name);
    Inside::new(database, Postgres::bin_dir(), "pg_dump", "--format=")
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_in_a_container() {
    let server = Postgres::start();
    server.create_database("shop", server.superuser());
    server.psql_in("shop", postgres::SCHEMA);
    let inside = postgres_inside(&server, "shop");
    inside.holds().await;

    let closed = free_port();
    let failure = inside.refused(|d| d.port = closed).await;
    assert_eq!(failure.code, ErrorCode::DbConnectionRefused, "{failure}");
    assert!(failure.message.ends_with("Connection refused"), "{failure}");
    assert!(failure.remedy.contains("from inside"), "{}", failure.remedy);
    let failure = inside.refused(|d| d.name = "nowhere".to_owned()).await;
    assert_eq!(failure.code, ErrorCode::DbNotFound, "{failure}");
    let failure = inside.refused(|d| d.host = "/run/postgresql".to_owned()).await;
    assert_eq!(failure.code, ErrorCode::InvalidConfig, "{failure}");
    assert!(failure.remedy.contains("database.host: localhost"), "{}", failure.remedy);

    server.freeze();
    let failure = inside.refused(|_| ()).await;
    server.thaw();
    assert_eq!(failure.code, ErrorCode::DbTimeout, "{failure}");
    inside.assert_ended(&inside.work.join("pid"));

    inside
        .docker
        .set_inside(&inside.only(&["cat", "pg_dump", "pg_restore", "sh"]).to_string_lossy());
    let failure = inside.refused(|_| ()).await;
    assert_eq!(failure.code, ErrorCode::ToolMissing, "{failure}");
    assert!(failure.message.contains("bash is not in container db"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_postgres_server_in_a_container() {
    let server = Postgres::start();
    server.create_database("shop", server.superuser());
    server.psql_in("shop", postgres::SCHEMA);
    let inside = postgres_inside(&server, "all");
    let dumper = inside.dumper();
    dumper.check_tool().await.unwrap();
    dumper.check_database(&context()).await.unwrap();
    let dumped = dumper.dump(&request(&inside.work.dir("dumps"), ZSTD), &context()).await.unwrap();
    assert_eq!(dumped.completeness, Completeness::Complete);
    dumper.verify(&proof(&dumped), &context()).await.unwrap();

    let another = Postgres::start();
    let mut target = inside.database.clone();
    target.port = another.port();
    let loader = PostgresLoader::new(&target, inside.work.dir("run"), None);
    let loader = loader.search_path(inside.docker.path());
    loader.check_tool().await.unwrap();
    loader.load(&dumped.path, false, &context()).await.unwrap();
    let count = "select count(*), sum(hashtext(what)::bigint) from orders";
    assert_eq!(another.psql_in("shop", count), server.psql_in("shop", count));

    inside.docker.set_inside(&inside.only(&["bash", "cat", "pg_dump"]).to_string_lossy());
    let failure = dumper.check_tool().await.unwrap_err();
    assert!(failure.message.contains("pg_dumpall is not in container db"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_in_a_container_is_proven_by_tls() {
    let server = Postgres::start_with_tls();
    server.psql("create table t as select i from generate_series(1, 100) i");
    let inside = postgres_inside(&server, "postgres");
    let verified = |authority: PathBuf| {
        move |d: &mut Database| {
            d.host = "localhost".to_owned();
            d.options.sslmode = Some("verify-full".to_owned());
            d.options.sslrootcert = Some(authority);
        }
    };
    let dumper = inside.with(verified(server.authority()));
    let dumps = inside.work.dir("dumps");
    let dumped = dumper.dump(&request(&dumps, ZSTD), &context()).await.unwrap();
    assert_eq!(dumped.completeness, Completeness::Complete);
    fs::remove_file(&dumped.path).unwrap();
    let failure = inside.refused(verified(server.other_authority())).await;
    assert_eq!(failure.code, ErrorCode::DbConnectionRefused, "{failure}");
    assert!(failure.message.contains("TLS"), "{failure}");
    let failure = inside.refused(verified("/nowhere.pem".into())).await;
    assert_eq!(failure.code, ErrorCode::InvalidConfig, "{failure}");
    assert!(failure.message.contains("in container db"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_in_a_container() {
    let server = MariaDb::start();
    server.create_database("shop");
    server.sql_in("shop", mysql::SCHEMA);
    let database = mysql::database(&server, "shop");
    let inside = Inside::new(database, "/usr/bin", "mariadb-dump", "--single-transaction");
    inside.holds().await;

    // What is left out is told by the option file, which has no room for it in the arguments.
    let socket = server.socket().parent().unwrap().to_string_lossy().into_owned();
    let dumps = inside.work.dir("dumps");
    let dumper = inside.with(|d| {
        d.host = socket;
        d.options.exclude_tables = vec!["orders".to_owned()];
    });
    let dumped = dumper.dump(&request(&dumps, None), &context()).await.unwrap();
    let text = fs::read(&dumped.path).unwrap();
    let text = String::from_utf8_lossy(&text);
    assert!(!text.contains("CREATE TABLE `orders`") && text.contains("CREATE TABLE `parted`"));
    fs::remove_file(&dumped.path).unwrap();

    // Whatever there is to leave out: a variable holds 128 KiB.
    let long = "x".repeat(55);
    let views = (0..1700).map(|i| format!("create view v_{i:04}_{long} as select 1 as a;"));
    server.sql_in("shop", &views.collect::<Vec<_>>().join("\n"));
    let dumper = inside.with(|d| d.options.exclude_tables = vec!["v_*".to_owned()]);
    let dumped = dumper.dump(&request(&dumps, None), &context()).await.unwrap();
    assert_eq!(dumped.completeness, Completeness::Complete);
    let text = fs::read(&dumped.path).unwrap();
    assert!(!String::from_utf8_lossy(&text).contains(&long));
}

#[tokio::test(flavor = "multi_thread")]
async fn mongodb_in_a_container() {
    let mongodump = Mongodump::install(&mongodb::shop());
    let database = mongodb::database(&mongodump);
    Inside::new(database, mongodump.bin(), "mongodump", "--archive").holds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_in_a_container() {
    let server = Redis::with_password("database-password");
    server.populate(2000, 50);
    let database = redis::database(&server);
    Inside::new(database, "/usr/bin", "redis-cli", "--rdb").holds().await;
}

/// Without a client there is nothing to ask, whatever the engine.
#[tokio::test]
async fn without_a_client_it_is_said_at_once() {
    let work = WorkDir::new();
    let nowhere = work.dir("empty");
    for engine in [Engine::Postgres, Engine::Mysql, Engine::Mongodb, Engine::Redis] {
        let database = Database {
            container: Some("db".to_owned()),
            ..backupctl_testkit::builders::database(engine, "shop")
        };
        let run = work.dir("run");
        let dumper: Arc<dyn DatabaseDumper> = match engine {
            Engine::Postgres => {
                Arc::new(PostgresDumper::new(&database, run, None).search_path(&nowhere))
            }
            Engine::Mongodb => {
                Arc::new(MongodbDumper::new(&database, run, None).search_path(&nowhere))
            }
            Engine::Redis => Arc::new(RedisDumper::new(&database, None).search_path(&nowhere)),
            _ => Arc::new(MysqlDumper::new(&database, run, None).search_path(&nowhere)),
        };
        let failures = [
            dumper.check_tool().await.unwrap_err(),
            dumper.check_database(&context()).await.unwrap_err(),
            dumper.dump(&request(&work.dir("dumps"), ZSTD), &context()).await.unwrap_err(),
        ];
        for failure in failures {
            assert_eq!(failure.code, ErrorCode::ToolMissing, "{engine:?}: {failure}");
            assert!(failure.message.starts_with("docker is not installed"), "{failure}");
            assert!(failure.remedy.contains("database.via"), "{}", failure.remedy);
        }
    }
}
