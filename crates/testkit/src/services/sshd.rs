//! A private ssh server with sftp.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use super::child::{Child, Program, User, find, listens, wait_until};
use super::free_port;
use crate::WorkDir;

/// A server on 127.0.0.1 that lets the test's own user in by key, ended on drop with its sessions.
#[derive(Debug)]
pub struct Sshd {
    child: Option<Child>,
    port: u16,
    user: String,
    work: WorkDir,
}

impl Sshd {
    /// Starts a server with a new host key and a new client key.
    pub fn start() -> Self {
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").expect("root can make sshd's folder");
        }
        let work = WorkDir::new();
        for key in ["host_key", "client_key", "stranger_key"] {
            Program::new(find("ssh-keygen", &[], "openssh-client"))
                .args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f"])
                .args([work.join(key)])
                .run();
        }
        work.dir("root");
        work.file("empty_known_hosts", "");
        fs::copy(work.join("client_key.pub"), work.join("authorized_keys")).expect("a copy");
        let mut server = Self { child: None, port: 0, user: User::current().name, work };
        // Another process may take the port between finding and using it.
        let mut said = String::new();
        for _ in 0..5 {
            server.port = free_port();
            match server.launch() {
                Ok(()) => return server,
                Err(e) => said = e,
            }
        }
        panic!("a private sshd does not start: {said}");
    }

    fn launch(&mut self) -> Result<(), String> {
        let dir = self.work.path().display();
        let config = format!(
            "Port {}\nListenAddress 127.0.0.1\nHostKey {dir}/host_key\n\
             AuthorizedKeysFile {dir}/authorized_keys\nPidFile none\nUsePAM no\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\nUseDNS no\nMaxStartups 100\nPrintMotd no\n\
             Subsystem sftp internal-sftp\n",
            self.port
        );
        let config = self.work.file("sshd_config", config);
        let write_host = |file: &str, key: &str| {
            let key = fs::read_to_string(self.work.join(key)).expect("a public key");
            let line = format!("[127.0.0.1]:{} {key}", self.port);
            self.work.file(file, line);
        };
        write_host("known_hosts", "host_key.pub");
        write_host("wrong_known_hosts", "stranger_key.pub");
        let sshd = find("sshd", &[Path::new("/usr/sbin")], "openssh-server");
        let mut child =
            Program::new(sshd).args(["-D", "-e", "-f"]).args([config]).start(&self.log_file());
        let port = self.port;
        child.wait_ready(|| listens(port))?;
        self.child = Some(child);
        Ok(())
    }

    /// The address: `127.0.0.1`.
    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The user that it lets in: the one that runs the test.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The private key that it accepts, 0600.
    pub fn key_path(&self) -> PathBuf {
        self.work.join("client_key")
    }

    /// A private key that it refuses, 0600.
    pub fn wrong_key_path(&self) -> PathBuf {
        self.work.join("stranger_key")
    }

    /// A known-hosts file with its host key.
    pub fn known_hosts_path(&self) -> PathBuf {
        self.work.join("known_hosts")
    }

    /// A known-hosts file that knows nobody.
    pub fn empty_known_hosts_path(&self) -> PathBuf {
        self.work.join("empty_known_hosts")
    }

    /// A known-hosts file with another key for its address.
    pub fn wrong_known_hosts_path(&self) -> PathBuf {
        self.work.join("wrong_known_hosts")
    }

    /// An empty folder for repositories; sftp shows the whole file system, so by its whole path.
    pub fn root(&self) -> PathBuf {
        self.work.join("root")
    }

    /// `sftp:user@127.0.0.1:{root}/{name}`; the port is a matter of ssh's options.
    pub fn repository(&self, name: &str) -> String {
        format!("sftp:{}@127.0.0.1:{}", self.user, self.root().join(name).display())
    }

    /// The file that the server logs to.
    pub fn log_file(&self) -> PathBuf {
        self.work.join("sshd.log")
    }

    /// How many sessions are open.
    pub fn sessions(&self) -> usize {
        self.child.as_ref().map_or(0, |child| children(child.pid()).len())
    }

    /// Waits until a session is open; false when that takes too long.
    pub fn wait_session(&self) -> bool {
        wait_until(|| self.sessions() > 0)
    }

    /// Kills every open session; new ones are let in.
    pub fn kill_sessions(&self) {
        if let Some(child) = &self.child {
            for pid in descendants(child.pid()) {
                signal(pid, Signal::KILL);
            }
        }
    }

    /// Ends it with its sessions; connections are refused until [`Sshd::start_again`].
    pub fn stop(&mut self) {
        if let Some(child) = self.child.take() {
            // Sessions are in groups of their own and would outlive the listener; while it is
            // stopped no new one begins.
            child.signal(Signal::STOP);
            for pid in descendants(child.pid()) {
                signal(pid, Signal::KILL);
            }
            drop(child);
        }
    }

    /// Starts it again on the same port with the same keys.
    pub fn start_again(&mut self) {
        self.stop();
        self.launch().unwrap_or_else(|e| panic!("the private sshd does not come back: {e}"));
    }

    /// Stops it and its sessions in their tracks: connections are made and nothing answers.
    pub fn freeze(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Lets it go on after [`Sshd::freeze`].
    pub fn thaw(&self) {
        self.signal_all(Signal::CONT);
    }

    fn signal_all(&self, what: Signal) {
        let child = self.child.as_ref().expect("the server runs");
        child.signal(what);
        for pid in descendants(child.pid()) {
            signal(pid, what);
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The processes that this one has started and that live.
fn children(pid: u32) -> Vec<u32> {
    let file = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().filter_map(|p| p.parse().ok()).collect()
}

/// These, theirs, and so on.
pub(super) fn descendants(pid: u32) -> Vec<u32> {
    let mut all = children(pid);
    let mut next = 0;
    while let Some(pid) = all.get(next).copied() {
        all.extend(children(pid));
        next += 1;
    }
    all
}

/// Sends a signal to one process, which may be gone.
pub(super) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}
