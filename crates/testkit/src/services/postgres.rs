//! A private PostgreSQL server.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustix::process::Signal;

use super::child::{Child, Program, User, find, listens};
use super::{free_port, template};
use crate::WorkDir;

/// The superuser of every private server.
const SUPERUSER: &str = "postgres";
const SUPERUSER_PASSWORD: &str = "superuser-password";
const PACKAGE: &str = "postgresql";

/// A server on 127.0.0.1 and a unix socket, with scram passwords, ended on drop.
///
/// As root it runs as the user `postgres`, since PostgreSQL refuses root.
#[derive(Debug)]
pub struct Postgres {
    child: Option<Child>,
    port: u16,
    passwords: Mutex<HashMap<String, String>>,
    user: Option<User>,
    tls: bool,
    work: WorkDir,
}

impl Postgres {
    /// Starts a new, empty server.
    pub fn start() -> Self {
        Self::start_with(false)
    }

    /// Starts one that takes TCP connections by TLS alone, with a certificate for `localhost` that the
    /// authority of [`Postgres::authority`] has signed. By its socket it is as any other.
    pub fn start_with_tls() -> Self {
        Self::start_with(true)
    }

    fn start_with(tls: bool) -> Self {
        let user = rustix::process::geteuid().is_root().then(|| {
            User::named("postgres").unwrap_or_else(|| {
                panic!("there is no user postgres: install {PACKAGE}, or run `cargo xtask setup`")
            })
        });
        let archive = cluster(user.as_ref());
        let work = WorkDir::new();
        let data = work.dir("data");
        template::give(work.path(), user.as_ref());
        template::give(&data, user.as_ref());
        template::unpack(&archive, &data, user.as_ref());
        let passwords = [(SUPERUSER.to_owned(), SUPERUSER_PASSWORD.to_owned())].into();
        let mut server =
            Self { child: None, port: 0, passwords: Mutex::new(passwords), user, tls, work };
        if tls {
            server.make_certificates();
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
        panic!("a private PostgreSQL does not start: {said}");
    }

    fn launch(&mut self) -> Result<(), String> {
        let port = self.port.to_string();
        let socket = self.work.path().to_string_lossy().into_owned();
        let settings = [
            ("port", port.as_str()),
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", &socket),
            ("fsync", "off"),
            ("synchronous_commit", "off"),
            ("full_page_writes", "off"),
            ("shared_buffers", "16MB"),
            ("max_connections", "50"),
            ("logging_collector", "off"),
        ];
        let mut child = Program::new(Self::bin_dir().join("postgres"))
            .args(["-D".as_ref(), self.data_dir().as_os_str()])
            .args(settings.iter().flat_map(|(k, v)| ["-c".to_owned(), format!("{k}={v}")]))
            .args(if self.tls { ["-c", "ssl=on"].as_slice() } else { &[] })
            .user(self.user.as_ref())
            .start(&self.log_file());
        // The port opens before the server accepts anybody; its pid file says when it does.
        let pid_file = self.data_dir().join("postmaster.pid");
        child.wait_ready(|| {
            let text = fs::read_to_string(&pid_file).unwrap_or_default();
            text.lines().nth(7).is_some_and(|state| state.trim() == "ready")
        })?;
        self.child = Some(child);
        Ok(())
    }

    /// An authority, and a certificate that it has signed, where the server looks for them.
    fn make_certificates(&self) {
        let data = self.data_dir();
        let (authority, issuer) = authority("backupctl test authority");
        fs::write(self.authority(), authority).expect("our own folder");
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        for (name, text) in [("server.crt", certificate.pem()), ("server.key", key.serialize_pem())]
        {
            let path = data.join(name);
            fs::write(&path, text).expect("our own folder");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own file");
            template::give(&path, self.user.as_ref());
        }
        let rules = "local all all scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), rules).expect("our own folder");
    }

    /// The certificate of the authority that has signed the server's, for `sslrootcert`.
    pub fn authority(&self) -> PathBuf {
        self.work.join("authority.pem")
    }

    /// The certificate of an authority of the same name that has signed nothing.
    pub fn other_authority(&self) -> PathBuf {
        self.work.file("other-authority.pem", authority("backupctl test authority").0)
    }

    /// The folder of the newest server's programs, `pg_dump` and the like among them.
    pub fn bin_dir() -> PathBuf {
        let version = |path: &PathBuf| -> u32 {
            let name = path.parent().and_then(Path::file_name);
            name.and_then(|n| n.to_str()).and_then(|n| n.parse().ok()).unwrap_or_default()
        };
        let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
        let newest = installed
            .filter_map(Result::ok)
            .map(|e| e.path().join("bin"))
            .filter(|bin| bin.join("initdb").is_file())
            .max_by_key(version);
        newest.unwrap_or_else(|| {
            let initdb = find("initdb", &[], PACKAGE);
            initdb.parent().expect("a program is in a folder").to_owned()
        })
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the unix socket.
    pub fn socket_dir(&self) -> &Path {
        self.work.path()
    }

    /// The folder of the server's data.
    pub fn data_dir(&self) -> PathBuf {
        self.work.join("data")
    }

    /// The file that the server logs to.
    pub fn log_file(&self) -> PathBuf {
        self.work.join("server.log")
    }

    /// The superuser's name.
    pub fn superuser(&self) -> &'static str {
        SUPERUSER
    }

    /// The password of the superuser or of a role of [`Postgres::create_role`].
    pub fn password(&self, role: &str) -> String {
        let passwords = self.passwords.lock().unwrap_or_else(PoisonError::into_inner);
        passwords.get(role).cloned().unwrap_or_else(|| panic!("no role {role:?} was created"))
    }

    /// `postgres://role:password@127.0.0.1:port/database`.
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}:{}@127.0.0.1:{}/{database}", self.password(role), self.port)
    }

    /// Runs SQL in the database `postgres` as the superuser; what it printed, columns split by `|`.
    pub fn psql(&self, sql: &str) -> String {
        self.psql_as(SUPERUSER, "postgres", sql)
    }

    /// Runs SQL in that database as the superuser.
    pub fn psql_in(&self, database: &str, sql: &str) -> String {
        self.psql_as(SUPERUSER, database, sql)
    }

    /// Runs SQL in that database as that role.
    pub fn psql_as(&self, role: &str, database: &str, sql: &str) -> String {
        let port = self.port.to_string();
        let program = Program::new(Self::bin_dir().join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-p", &port, "-h"])
            .args([self.work.path().as_os_str()])
            .args(["-U", role, "-d", database, "-f", "-"])
            .env("PGPASSWORD", self.password(role))
            .input(sql);
        program.run().trim_end().to_owned()
    }

    /// Creates an empty database of that owner.
    pub fn create_database(&self, name: &str, owner: &str) {
        self.psql(&format!("CREATE DATABASE {} OWNER {}", quoted(name), quoted(owner)));
    }

    /// Creates a role that may log in with that password.
    pub fn create_role(&self, name: &str, password: &str) {
        let secret = password.replace('\'', "''");
        self.psql(&format!("CREATE ROLE {} LOGIN PASSWORD '{secret}'", quoted(name)));
        let mut passwords = self.passwords.lock().unwrap_or_else(PoisonError::into_inner);
        passwords.insert(name.to_owned(), password.to_owned());
    }

    /// Shuts it down; connections are refused until [`Postgres::start_again`].
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.end(Signal::INT);
        }
    }

    /// Kills it with all its backends, as a crash would.
    pub fn kill(&mut self) {
        self.child = None;
    }

    /// Starts it again on the same port with the same data.
    pub fn start_again(&mut self) {
        self.stop();
        self.launch().unwrap_or_else(|e| panic!("the private PostgreSQL does not come back: {e}"));
    }

    /// Stops all its processes in their tracks: it accepts connections and answers nothing.
    pub fn freeze(&self) {
        self.signal_backends(Signal::STOP);
    }

    /// Lets it go on after [`Postgres::freeze`].
    pub fn thaw(&self) {
        self.signal_backends(Signal::CONT);
    }

    fn signal_backends(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the server runs");
        for pid in super::sshd::descendants(child.pid()) {
            super::sshd::signal(pid, signal);
        }
        child.signal(signal);
    }

    /// Whether it takes TCP connections now.
    pub fn listens(&self) -> bool {
        listens(self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The quickest end that still gives back its shared memory; a frozen one must wake first.
            child.signal(Signal::CONT);
            child.end(Signal::QUIT);
        }
    }
}

/// A new authority: its certificate, and what signs in its name.
fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.pem(), Issuer::new(params, key))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn cluster(user: Option<&User>) -> PathBuf {
    let bin = Postgres::bin_dir();
    let version = Program::new(bin.join("postgres")).args(["--version"]).run();
    let version: String =
        version.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let key = format!("cluster-1-{}", version.trim_matches('-'));
    template::archive(&key, user, |data| {
        let secret = WorkDir::new();
        let file = secret.file("password", SUPERUSER_PASSWORD);
        template::give(secret.path(), user);
        template::give(&file, user);
        Program::new(bin.join("initdb"))
            .args(["--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"])
            .args(["--wal-segsize=1", "--username", SUPERUSER, "--pwfile"])
            .args([file.as_os_str(), "-D".as_ref(), data.as_os_str()])
            .user(user)
            .run();
    })
}
