//! The surroundings of one test: a folder with everything in it, a receiver, a repository, and the
//! program in a clean environment.

mod claims;
mod gate;
mod process;
mod stick;

pub(crate) use claims::{STAGES, words};
pub(crate) use gate::Gate;
pub(crate) use process::{Output, Running, mentioning, wait_until};
pub(crate) use stick::{OnStick, faithful};

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use backupctl_testkit::WorkDir;
use backupctl_testkit::services::{HttpReceiver, Postgres, Repository, Sshd};
use serde_json::{Value, json};

/// Where programs are, but for those that a test puts in front.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What must be seen nowhere but where it is used.
pub(crate) const REPOSITORY_PASSWORD: &str = "repository-password-5e1f";
pub(crate) const DATABASE_PASSWORD: &str = "database-password-a94c";
pub(crate) const HOOK_TOKEN: &str = "hook-token-77d3";
pub(crate) const PUSH_TOKEN: &str = "push-token-0b6e";
const SECRETS: [&str; 4] = [REPOSITORY_PASSWORD, DATABASE_PASSWORD, HOOK_TOKEN, PUSH_TOKEN];

/// One test's world. Dropped after a test that went well, it proves that no secret, no partial file
/// and no process was left anywhere.
pub(crate) struct World {
    pub(crate) config: Value,
    pub(crate) receiver: HttpReceiver,
    pub(crate) repository: Repository,
    pub(crate) work: WorkDir,
    pub(crate) env: BTreeMap<String, String>,
    said: Mutex<String>,
}

impl World {
    /// A project `shop` with one asset folder, a local repository, a webhook and a push monitor.
    pub(crate) fn new() -> Self {
        let work = WorkDir::new();
        let receiver = HttpReceiver::start();
        let repository = Repository::fresh(REPOSITORY_PASSWORD);
        work.file("assets/uploads/one.txt", "first upload");
        work.file("assets/uploads/deep/two.txt", "second upload");
        for dir in ["home", "etc", "bin"] {
            work.dir(dir);
        }
        let config = json!({
            "base_dir": work.join("state"),
            "timezone": "Europe/Berlin",
            "min_free_gb": 0,
            "log": {"dir": work.join("logs"), "level": "debug"},
            "uptime_kuma_base_url": receiver.base_url(),
            "notification": {
                "type": "webhook", "config": {"url": receiver.url(&format!("/{HOOK_TOKEN}"))},
            },
            "projects": [{
                "name": "shop",
                "assets": {"paths": [work.join("assets/uploads")]},
                "restic": {"repository": repository.path(), "password": REPOSITORY_PASSWORD},
                "monitor": {"type": "uptime-kuma", "config": {"push_token": PUSH_TOKEN}},
                "retention": {"keep_last": 20},
            }],
        });
        let home = work.join("home");
        let path = |p: PathBuf| p.to_string_lossy().into_owned();
        let env = [
            ("HOME", path(home.clone())),
            ("XDG_CONFIG_HOME", path(home.join("config"))),
            ("XDG_CACHE_HOME", path(home.join("cache"))),
            ("XDG_STATE_HOME", path(home.join("state"))),
            ("PATH", format!("{}:{PATH}", path(work.join("bin")))),
            ("LC_ALL", "C.UTF-8".to_owned()),
            ("BACKUP_RETRY_COUNT", "0".to_owned()),
            ("BACKUP_RETRY_DELAY_MS", "1".to_owned()),
        ];
        let env = env.map(|(k, v)| (k.to_owned(), v)).into();
        Self { config, receiver, repository, work, env, said: Mutex::default() }
    }

    /// The same with a small `SQLite` database.
    pub(crate) fn with_sqlite() -> Self {
        let mut world = Self::new();
        let file = world.sqlite("shop.sqlite", 100);
        world.project()["database"] = json!({"type": "sqlite", "path": file});
        world
    }

    /// The same with a database of the shared server.
    pub(crate) fn with_postgres(server: &Postgres) -> Self {
        let mut world = Self::new();
        world.project()["database"] = postgres_database(server, 1000);
        world
    }

    /// The configuration of the project `shop`.
    pub(crate) fn project(&mut self) -> &mut Value {
        &mut self.config["projects"][0]
    }

    /// Adds a project like `shop` of that name, with a folder of its own to back up.
    pub(crate) fn add_project(&mut self, name: &str) -> &mut Value {
        let file = self.work.file(format!("assets/{name}/file.txt"), name);
        let mut project = self.config["projects"][0].clone();
        project["name"] = json!(name);
        project["assets"]["paths"] = json!([file.parent()]);
        let all = self.config["projects"].as_array_mut().unwrap();
        all.push(project);
        all.last_mut().unwrap()
    }

    /// Makes a `SQLite` database of so many rows of 100 random bytes.
    pub(crate) fn sqlite(&self, name: &str, rows: u32) -> PathBuf {
        let file = self.work.join(name);
        let db = rusqlite::Connection::open(&file).unwrap();
        db.execute_batch(&format!(
            "CREATE TABLE items (id INTEGER PRIMARY KEY, data BLOB);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO items SELECT i, randomblob(100) FROM n;"
        ))
        .unwrap();
        file
    }

    /// `{base_dir}/{rest}`.
    pub(crate) fn state(&self, rest: &str) -> PathBuf {
        self.work.join("state").join(rest)
    }

    /// The dump files of the project, sorted.
    pub(crate) fn dumps(&self) -> Vec<String> {
        let names = self.work.names("state/shop");
        names.into_iter().filter(|n| n.starts_with("shop_backup_")).collect()
    }

    /// Puts a shell script in front of a program of PATH.
    pub(crate) fn wrap(&self, program: &str, script: &str) {
        let text = self.work.file(format!("scripts/{program}"), format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).unwrap();
        // Copied by another process: a descriptor for writing that some other test's fork holds for
        // a moment would make the script "busy".
        let status = command("cp").arg(&text).arg(self.work.join("bin")).status().unwrap();
        assert!(status.success());
    }

    /// The program with these arguments, in this world.
    pub(crate) fn backupctl(&self, args: &[&str]) -> Command {
        self.prefixed(&[], args)
    }

    /// The same, started by another program. The configuration is written anew, unless it is `null`:
    /// then it is the test's own.
    pub(crate) fn prefixed(&self, prefix: &[&str], args: &[&str]) -> Command {
        if !self.config.is_null() {
            let text = serde_json::to_string_pretty(&self.config).unwrap();
            self.work.file("etc/backupctl.yml", text);
        }
        let words: Vec<&str> =
            prefix.iter().copied().chain([env!("CARGO_BIN_EXE_backupctl")]).collect();
        let mut command = command(words[0]);
        command.args(&words[1..]).args(args);
        command.env_clear().envs(&self.env).current_dir(self.work.join("etc"));
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.finish(Running::start(self.backupctl(args)))
    }

    /// Starts it.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        Running::start(self.backupctl(args))
    }

    /// Waits for its end.
    pub(crate) fn finish(&self, running: Running) -> Output {
        let output = running.finish();
        self.note(&output);
        output
    }

    /// Keeps what was said, for the search for secrets.
    pub(crate) fn note(&self, output: &Output) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.push_str(&output.stdout);
        said.push_str(&output.stderr);
    }

    /// Runs it and takes its stdout as JSON; it must succeed.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let output = self.run(args);
        output.expect(0);
        output.json()
    }

    /// A backup of `shop` that succeeds; its record.
    #[track_caller]
    pub(crate) fn backup(&self) -> Value {
        let record = self.json(&["run", "shop", "--json"]);
        assert_eq!(record["status"], "success", "{record:#}");
        record
    }

    /// The records of `shop`, newest first.
    #[track_caller]
    pub(crate) fn records(&self) -> Vec<Value> {
        self.json(&["logs", "shop", "--json", "--last", "100"])["runs"].as_array().unwrap().clone()
    }

    /// restic on the repository; its stdout.
    #[track_caller]
    pub(crate) fn restic(&self, args: &[&str]) -> String {
        self.repository.restic(args)
    }
}

/// A program of the system, for a test's own use.
#[expect(clippy::disallowed_methods, reason = "the one place of these tests that starts programs")]
pub(crate) fn command(program: &str) -> Command {
    Command::new(program)
}

/// So many bytes that no compression makes fewer.
pub(crate) fn random(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    let mut source = fs::File::open("/dev/urandom").unwrap();
    std::io::Read::read_exact(&mut source, &mut noise).unwrap();
    noise
}

/// Where a program of the system is.
pub(crate) fn real(program: &str) -> PathBuf {
    let found = PATH.split(':').map(|dir| Path::new(dir).join(program)).find(|p| p.is_file());
    found.unwrap_or_else(|| panic!("this test needs {program}: run `cargo xtask setup`"))
}

/// The server that tests share as long as one of them uses it.
pub(crate) fn postgres() -> Arc<Postgres> {
    static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
    shared(&SHARED, Postgres::start)
}

/// The ssh server that tests share as long as one of them uses it.
pub(crate) fn sshd() -> Arc<Sshd> {
    static SHARED: Mutex<Weak<Sshd>> = Mutex::new(Weak::new());
    shared(&SHARED, Sshd::start)
}

fn shared<T>(place: &Mutex<Weak<T>>, start: impl FnOnce() -> T) -> Arc<T> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    place.upgrade().unwrap_or_else(|| {
        let service = Arc::new(start());
        *place = Arc::downgrade(&service);
        service
    })
}

/// A new role and database with so many rows, as a configuration names them.
pub(crate) fn postgres_database(server: &Postgres, rows: u32) -> Value {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("shop_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    server.create_role(&name, DATABASE_PASSWORD);
    server.create_database(&name, &name);
    server.psql_as(
        &name,
        &name,
        &format!(
            "CREATE TABLE orders AS SELECT i AS id, md5(i::text) AS note
               FROM generate_series(1, {rows}) AS i;
             CREATE TABLE customers AS SELECT i AS id FROM generate_series(1, 17) AS i;"
        ),
    );
    json!({
        "type": "postgres", "host": "127.0.0.1", "port": server.port(), "name": name,
        "user": name, "password": DATABASE_PASSWORD,
    })
}

/// Every file and folder below `root` with its content, links as they are.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            let kind = entry.file_type().unwrap();
            let content = match () {
                () if kind.is_dir() => Vec::new(),
                () if kind.is_file() => fs::read(&path).unwrap_or_default(),
                () => b"neither file nor folder".to_vec(),
            };
            if kind.is_dir() {
                open.push(path.clone());
            }
            all.insert(path, content);
        }
    }
    all
}

fn is_kept_configuration(path: &Path) -> bool {
    let is_private =
        |path: &Path, mode| fs::metadata(path).unwrap().permissions().mode() & 0o777 == mode;
    let Some(dir) = path.parent() else { return false };
    dir.parent().is_some_and(|kept| kept.ends_with("state/.schedule/last-good"))
        && is_private(dir, 0o700)
        && is_private(path, 0o600)
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_clean();
        }
    }
}

impl World {
    /// No secret in output, files, logs, audit or notices; no partial file; no process.
    fn assert_clean(&self) {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        for secret in SECRETS {
            assert!(!said.contains(secret), "{secret} was printed:\n{said}");
            for event in self.events() {
                assert!(!event.to_string().contains(secret), "{secret} was sent: {event:#}");
            }
        }
        let state = tree(&self.work.join("state"));
        for (path, content) in state.iter().chain(&tree(&self.work.join("logs"))) {
            for secret in SECRETS {
                let found = content.windows(secret.len()).any(|w| w == secret.as_bytes());
                // The last good configuration, which is its owner's alone.
                let found = found && !is_kept_configuration(path);
                assert!(!found, "{secret} is in {}", path.display());
            }
        }
        for path in state.keys() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            // A daemon that is ended while it keeps the configuration leaves a part of the copy, which
            // the next copy replaces.
            let left = name.ends_with(".partial") && !is_kept_configuration(path);
            assert!(!left, "{} was left", path.display());
        }
        let marker = self.work.path().to_string_lossy().into_owned();
        assert!(
            wait_until(|| process::mentioning(&marker).is_empty()),
            "left running: {:#?}",
            process::mentioning(&marker)
        );
    }
}
