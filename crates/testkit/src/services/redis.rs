//! A private Redis server.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustix::process::Signal;

use super::child::{Child, Program, find, listens};
use super::free_port;
use crate::WorkDir;

const SERVER_PACKAGE: &str = "redis-server";
const TOOLS_PACKAGE: &str = "redis-tools";

/// A server on 127.0.0.1 and a unix socket that saves nothing by itself, ended on drop.
#[derive(Debug)]
pub struct Redis {
    child: Option<Child>,
    port: u16,
    tls_port: Option<u16>,
    password: Option<String>,
    settings: Vec<String>,
    work: WorkDir,
}

impl Redis {
    /// Starts an empty server without a password.
    pub fn start() -> Self {
        Self::with(None, &[])
    }

    /// Starts an empty server that asks for this password.
    pub fn with_password(password: &str) -> Self {
        Self::with(Some(password), &[])
    }

    /// Starts an empty server with further settings, e.g. `["--rdbchecksum", "no"]`.
    pub fn with(password: Option<&str>, settings: &[&str]) -> Self {
        Self::launched(WorkDir::new(), password, settings, false)
    }

    /// Starts a server that takes TLS too, with a certificate of [`Redis::authority`] for 127.0.0.1.
    pub fn with_tls() -> Self {
        Self::launched(WorkDir::new(), None, &[], true)
    }

    /// Starts a server on an RDB, as a restore does.
    pub fn on(rdb: &Path) -> Self {
        let work = WorkDir::new();
        fs::copy(rdb, work.dir("data").join("dump.rdb")).expect("the RDB can be copied");
        Self::launched(work, None, &[], false)
    }

    fn launched(work: WorkDir, password: Option<&str>, settings: &[&str], tls: bool) -> Self {
        work.dir("data");
        let mut server = Self {
            child: None,
            port: 0,
            tls_port: None,
            password: password.map(str::to_owned),
            settings: settings.iter().map(|s| (*s).to_owned()).collect(),
            work,
        };
        if tls {
            server.make_certificate();
        }
        // Another process may take a port between finding and using it.
        let mut said = String::new();
        for _ in 0..5 {
            server.port = free_port();
            server.tls_port = tls.then(free_port);
            match server.launch() {
                Ok(()) => return server,
                Err(e) => said = e,
            }
        }
        panic!("a private Redis does not start: {said}");
    }

    fn launch(&mut self) -> Result<(), String> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut args = vec![
            ("--port", self.port.to_string()),
            ("--bind", "127.0.0.1".to_owned()),
            ("--unixsocket", text(self.socket())),
            ("--dir", text(self.work.join("data"))),
            ("--save", String::new()),
            ("--appendonly", "no".to_owned()),
            ("--daemonize", "no".to_owned()),
            // A sync that waits for others to join it would make every dump take seconds.
            ("--repl-diskless-sync-delay", "0".to_owned()),
            ("--enable-debug-command", "local".to_owned()),
        ];
        if let Some(password) = &self.password {
            args.push(("--requirepass", password.clone()));
        }
        if let Some(port) = self.tls_port {
            args.push(("--tls-port", port.to_string()));
            args.push(("--tls-cert-file", text(self.work.join("cert.pem"))));
            args.push(("--tls-key-file", text(self.work.join("key.pem"))));
            args.push(("--tls-ca-cert-file", text(self.authority())));
            args.push(("--tls-auth-clients", "no".to_owned()));
        }
        let mut child = Program::new(find("redis-server", &[], SERVER_PACKAGE))
            .args(args.iter().flat_map(|(k, v)| [(*k).to_owned(), v.clone()]))
            .args(&self.settings)
            .start(&self.work.join("server.log"));
        let ready = || {
            let answer = self.program(&["PING"]).try_run();
            // A server that is still reading its data answers too, but not so.
            answer.is_ok_and(|said| said.trim() == "PONG")
        };
        child.wait_ready(ready)?;
        self.child = Some(child);
        Ok(())
    }

    fn make_certificate(&self) {
        let made = || -> Result<_, rcgen::Error> {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::new(Vec::new())?;
            // Another name than the certificate's, which would else look self-signed.
            params.distinguished_name.push(DnType::CommonName, "authority");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let authority = params.self_signed(&key)?.pem();
            let issuer = Issuer::new(params, key);
            let key = KeyPair::generate()?;
            let names = vec!["127.0.0.1".to_owned()];
            let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
            Ok((authority, certificate.pem(), key.serialize_pem()))
        };
        let (authority, certificate, key) = made().expect("a certificate can be made");
        self.work.file("ca.pem", authority);
        self.work.file("cert.pem", certificate);
        self.work.file("key.pem", key);
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port that takes TLS.
    pub fn tls_port(&self) -> u16 {
        self.tls_port.expect("the server was started with TLS")
    }

    /// The file with the authority of its certificate.
    pub fn authority(&self) -> PathBuf {
        self.work.join("ca.pem")
    }

    /// The unix socket.
    pub fn socket(&self) -> PathBuf {
        self.work.join("redis.sock")
    }

    /// The folder of the server's data.
    pub fn data_dir(&self) -> PathBuf {
        self.work.join("data")
    }

    fn program(&self, args: &[&str]) -> Program {
        let socket = self.socket();
        let program = Program::new(find("redis-cli", &[], TOOLS_PACKAGE))
            .args(["-s".as_ref(), socket.as_os_str()])
            .args(args);
        match &self.password {
            Some(password) => program.env("REDISCLI_AUTH", password),
            None => program,
        }
    }

    /// Sends one command; the answer, which may be an error of the server's.
    pub fn cli(&self, args: &[&str]) -> String {
        self.program(args).run().trim_end().to_owned()
    }

    /// Fills the first database with so many keys `key:0`, … of so many bytes.
    pub fn populate(&self, keys: u32, bytes: u32) {
        let said = self.cli(&["DEBUG", "POPULATE", &keys.to_string(), "key", &bytes.to_string()]);
        assert_eq!(said, "OK");
    }

    /// A checksum of everything that the server holds.
    pub fn digest(&self) -> String {
        self.cli(&["DEBUG", "DIGEST"])
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.child = None;
    }

    /// Stops it in its tracks: it accepts connections and answers nothing.
    pub fn freeze(&self) {
        self.child.as_ref().expect("the server runs").signal(Signal::STOP);
    }

    /// Whether it takes TCP connections now.
    pub fn listens(&self) -> bool {
        listens(self.port)
    }
}
