//! A private MariaDB server.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::Signal;

use super::child::{Child, Program, User, find, listens};
use super::{free_port, template};
use crate::WorkDir;

/// The superuser of every private server.
const SUPERUSER: &str = "root";
const SUPERUSER_PASSWORD: &str = "superuser-password";
const PACKAGE: &str = "mariadb-server";
const CLIENT_PACKAGE: &str = "mariadb-client";
/// The server refuses files of another size than it was told of.
const LOG_SIZE: &str = "--innodb-log-file-size=4M";
/// Where Debian keeps servers, which is in nobody's `PATH` but root's.
const SERVER_DIRS: &[&str] = &["/usr/sbin", "/usr/local/sbin"];

/// How clients are to reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tls {
    No,
    Demanded,
}

/// A server on 127.0.0.1 and a unix socket, ended on drop.
///
/// As root it runs as the user `mysql`, since the server refuses root.
#[derive(Debug)]
pub struct MariaDb {
    child: Option<Child>,
    port: u16,
    tls: Tls,
    user: Option<User>,
    work: WorkDir,
}

impl MariaDb {
    /// Starts a new server without databases, which speaks no TLS.
    pub fn start() -> Self {
        Self::start_with(Tls::No)
    }

    /// Starts one that lets nobody in without TLS; its certificate is for `localhost` and 127.0.0.1,
    /// and [`MariaDb::certificate`] is the one to trust.
    pub fn start_with_tls() -> Self {
        Self::start_with(Tls::Demanded)
    }

    fn start_with(tls: Tls) -> Self {
        let user = rustix::process::geteuid().is_root().then(|| {
            User::named("mysql").unwrap_or_else(|| {
                panic!("there is no user mysql: install {PACKAGE}, or run `cargo xtask setup`")
            })
        });
        let archive = data_folder(user.as_ref());
        let work = WorkDir::new();
        let data = work.dir("data");
        template::give(work.path(), user.as_ref());
        template::give(&data, user.as_ref());
        template::unpack(&archive, &data, user.as_ref());
        let mut server = Self { child: None, port: 0, tls, user, work };
        if tls == Tls::Demanded {
            server.make_certificate();
        }
        // Another process may take the port between finding and using it.
        let mut said = String::new();
        for _ in 0..5 {
            server.port = free_port();
            match server.launch() {
                Ok(()) => return server,
                Err(e) => said = e,
            }
        }
        panic!("a private MariaDB does not start: {said}");
    }

    fn make_certificate(&self) {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(names).expect("a certificate can be made");
        let certificate = self.work.file("server.pem", cert.pem());
        let key = self.work.file("server.key", signing_key.serialize_pem());
        template::give(&certificate, self.user.as_ref());
        template::give(&key, self.user.as_ref());
    }

    fn launch(&mut self) -> Result<(), String> {
        let path = |name: &str| self.work.join(name).to_string_lossy().into_owned();
        let mut settings = vec![
            format!("--datadir={}", path("data")),
            format!("--socket={}", path("mysqld.sock")),
            format!("--pid-file={}", path("server.pid")),
            format!("--port={}", self.port),
            format!("--tmpdir={}", path("data")),
        ];
        let fixed = [
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--skip-log-bin",
            "--character-set-server=utf8mb4",
            "--innodb-buffer-pool-size=16M",
            LOG_SIZE,
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-flush-method=nosync",
            "--innodb-buffer-pool-dump-at-shutdown=OFF",
            "--key-buffer-size=64K",
            "--aria-pagecache-buffer-size=128K",
            "--max-connections=50",
        ];
        settings.extend(fixed.map(str::to_owned));
        if self.tls == Tls::Demanded {
            settings.push(format!("--ssl-cert={}", path("server.pem")));
            settings.push(format!("--ssl-key={}", path("server.key")));
            settings.push("--require-secure-transport=ON".to_owned());
        }
        let mut child = Program::new(server_program("mariadbd"))
            .args(["--no-defaults"])
            .args(settings)
            .user(self.user.as_ref())
            .start(&self.log_file());
        child.wait_ready(|| self.client("").input("select 1").try_run().is_ok())?;
        self.child = Some(child);
        Ok(())
    }

    fn client(&self, database: &str) -> Program {
        self.client_as(SUPERUSER, SUPERUSER_PASSWORD, database)
    }

    fn client_as(&self, user: &str, password: &str, database: &str) -> Program {
        Program::new(find("mariadb", &[], CLIENT_PACKAGE))
            .args(["--no-defaults", "--batch", "--skip-column-names", "--binary-mode"])
            .args(["--default-character-set=utf8mb4", "--max-allowed-packet=1G"])
            .args([format!("--socket={}", self.socket().display()), format!("--user={user}")])
            .args([format!("--database={database}")])
            .env("MYSQL_PWD", password)
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The unix socket; its folder holds no other.
    pub fn socket(&self) -> PathBuf {
        self.work.join("mysqld.sock")
    }

    /// The folder of the server's data.
    pub fn data_dir(&self) -> PathBuf {
        self.work.join("data")
    }

    /// The certificate of a server that was started with TLS.
    pub fn certificate(&self) -> PathBuf {
        self.work.join("server.pem")
    }

    /// The file that the server logs to.
    pub fn log_file(&self) -> PathBuf {
        self.work.join("server.log")
    }

    /// The superuser's name.
    pub fn superuser(&self) -> &'static str {
        SUPERUSER
    }

    /// The superuser's password.
    pub fn password(&self) -> &'static str {
        SUPERUSER_PASSWORD
    }

    /// Runs SQL without a database as the superuser; what it printed, columns split by tabs. The
    /// client's `delimiter` is understood.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_in("", sql)
    }

    /// Runs SQL in that database as the superuser.
    pub fn sql_in(&self, database: &str, sql: &str) -> String {
        self.client(database).input(sql).run().trim_end().to_owned()
    }

    /// Runs SQL in that database as that user, `Err` with what was said where it fails.
    pub fn try_sql_as(
        &self,
        user: &str,
        password: &str,
        database: &str,
        sql: &str,
    ) -> Result<String, String> {
        self.client_as(user, password, database).input(sql).try_run()
    }

    /// Creates an empty database.
    pub fn create_database(&self, name: &str) {
        self.sql(&format!("create database {}", quoted(name)));
    }

    /// Creates a user that may log in from anywhere with that password, and grants what is listed:
    /// `SELECT ON shop.*`.
    pub fn create_user(&self, name: &str, password: &str, grants: &[&str]) {
        let secret = password.replace('\\', "\\\\").replace('\'', "''");
        self.sql(&format!("create user '{name}'@'%' identified by '{secret}'"));
        for grant in grants {
            self.sql(&format!("grant {grant} to '{name}'@'%'"));
        }
    }

    /// Shuts it down; connections are refused until [`MariaDb::start_again`].
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.end(Signal::TERM);
        }
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.child = None;
    }

    /// Starts it again on the same port with the same data.
    pub fn start_again(&mut self) {
        self.stop();
        self.launch().unwrap_or_else(|e| panic!("the private MariaDB does not come back: {e}"));
    }

    /// Stops it in its tracks: it accepts connections and answers nothing.
    pub fn freeze(&self) {
        self.child.as_ref().expect("the server runs").signal(Signal::STOP);
    }

    /// Lets it go on after [`MariaDb::freeze`].
    pub fn thaw(&self) {
        self.child.as_ref().expect("the server runs").signal(Signal::CONT);
    }

    /// Whether it takes TCP connections now.
    pub fn listens(&self) -> bool {
        listens(self.port)
    }
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn server_program(name: &str) -> PathBuf {
    let dirs: Vec<&Path> = SERVER_DIRS.iter().map(Path::new).collect();
    find(name, &dirs, PACKAGE)
}

fn data_folder(user: Option<&User>) -> PathBuf {
    let version = Program::new(server_program("mariadbd")).args(["--version"]).run();
    let version: String =
        version.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let key = format!("mariadb-2-{}", version.trim_matches('-'));
    template::archive(&key, user, |data| {
        Program::new(find("mariadb-install-db", &[], PACKAGE))
            .args(["--no-defaults", "--skip-test-db", "--skip-name-resolve"])
            .args(["--auth-root-authentication-method=normal"])
            .args([LOG_SIZE])
            .args([format!("--datadir={}", data.display())])
            .user(user)
            .run();
        give_root_a_password(data, user);
        // Made anew at the start of whoever uses it.
        for left in ["ib_buffer_pool", "ddl_recovery.log", "ddl_recovery-backup.log"] {
            let _ = fs::remove_file(data.join(left));
        }
    })
}

/// The installation leaves `root` without a password, and one for each name of this machine; without
/// name resolution, `localhost` is the unix socket alone.
fn give_root_a_password(data: &Path, user: Option<&User>) {
    let sql = format!(
        "delete from mysql.global_priv where user = 'root' and host <> 'localhost';\n\
         flush privileges;\n\
         alter user 'root'@'localhost' identified by '{SUPERUSER_PASSWORD}';\n\
         create user 'root'@'127.0.0.1' identified by '{SUPERUSER_PASSWORD}';\n\
         grant all on *.* to 'root'@'127.0.0.1' with grant option;\n"
    );
    Program::new(server_program("mariadbd"))
        .args(["--no-defaults", "--bootstrap", "--skip-networking"])
        .args([LOG_SIZE])
        .args([format!("--datadir={}", data.display())])
        .input(sql)
        .user(user)
        .run();
}
