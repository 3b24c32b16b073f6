//! A PostgreSQL server of the test's own, on a free port.
#![expect(clippy::disallowed_methods, reason = "starts the server that the tests talk to")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A running server; ends with the value.
pub(crate) struct PrivatePostgres {
    dir: TempDir,
    port: u16,
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn program(name: &str) -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .unwrap()
        .map(|e| e.unwrap().path().join("bin").join(name))
        .filter(|p| p.exists())
        .collect();
    found.sort();
    found.pop().unwrap()
}

/// The server refuses to run as root.
fn unprivileged(name: &str) -> Command {
    if is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program(name));
        command
    } else {
        Command::new(program(name))
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

impl PrivatePostgres {
    pub(crate) fn start() -> Self {
        let dir = TempDir::new().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let password = dir.path().join("password");
        fs::write(&password, "secretpw").unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
        let made = unprivileged("initdb")
            .args(["-U", "bob", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8"])
            .args(["--no-sync", "--pwfile"])
            .arg(&password)
            .arg(dir.path().join("data"))
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success(), "initdb");
        let server = Self { dir, port: free_port() };
        server.restart();
        server
    }

    pub(crate) fn restart(&self) {
        let options =
            format!("-p {} -h 127.0.0.1 -k {} -c fsync=off", self.port, self.dir.path().display());
        let status = unprivileged("pg_ctl")
            .args(["start", "-w", "-s", "-o", &options, "-l"])
            .arg(self.dir.path().join("data/log"))
            .arg("-D")
            .arg(self.dir.path().join("data"))
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "pg_ctl start");
    }

    pub(crate) fn stop(&mut self) {
        let _ = unprivileged("pg_ctl")
            .args(["stop", "-w", "-s", "-m", "immediate", "-D"])
            .arg(self.dir.path().join("data"))
            .status();
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://bob:secretpw@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        self.stop();
    }
}
