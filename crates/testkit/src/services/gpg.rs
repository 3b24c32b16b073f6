//! A GnuPG home with keys made on the spot, and an agent that ends with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::child::{Child, Program, find};
use crate::WorkDir;

/// Keys of these are expired or old: made on the one day, expired on the next.
const LONG_AGO: &str = "20200101T120000";

/// An empty GnuPG home of its own, 0700, with a running agent; gone on drop.
///
/// Its path is short: the agent's socket lies in it. Nobody is ever asked for a passphrase.
#[derive(Debug)]
pub struct GpgHome {
    home: PathBuf,
    _agent: Child,
    _work: WorkDir,
}

impl GpgHome {
    /// Makes the home and starts its agent.
    pub fn start() -> Self {
        let work = WorkDir::new();
        let home = work.path().to_owned();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).expect("a mode");
        let socket = Program::new(find("gpgconf", &[], "gnupg"))
            .args(["--homedir", &home.to_string_lossy(), "--list-dirs", "agent-socket"])
            .run();
        let socket = PathBuf::from(socket.trim());
        // An agent ends soon after the program that it was started for; one that gpg starts by
        // itself would outlive a killed test.
        let mut agent = Program::new(find("gpg-agent", &[], "gpg-agent"))
            .args(["--homedir", &home.to_string_lossy()])
            .args(["--allow-loopback-pinentry", "--daemon", "sleep", "infinity"])
            .start(&home.join("agent.log"));
        // A bound socket that nobody listens at yet refuses; gpg then starts an agent of its own,
        // which finds the name taken and fails.
        agent.wait_ready(|| UnixStream::connect(&socket).is_ok()).expect("gpg-agent starts");
        Self { home, _agent: agent, _work: work }
    }

    /// The folder, for `GNUPGHOME` or `--homedir`.
    pub fn path(&self) -> &Path {
        &self.home
    }

    /// Makes a key pair (ed25519 and a cv25519 subkey for encryption) for a user id such as
    /// `Ann <ann@example.org>`, without passphrase or expiry; tells its fingerprint.
    pub fn key(&self, user: &str) -> String {
        self.generate(&[], user, "", &["future-default", "default", "never"])
    }

    /// The same with a passphrase.
    pub fn locked_key(&self, user: &str, passphrase: &str) -> String {
        self.generate(&[], user, passphrase, &["future-default", "default", "never"])
    }

    /// One that can sign alone: there is no subkey for encryption.
    pub fn signing_key(&self, user: &str) -> String {
        self.generate(&[], user, "", &["ed25519", "sign", "never"])
    }

    /// One that expired on 2020-01-02.
    pub fn expired_key(&self, user: &str) -> String {
        let then = ["--faked-system-time", LONG_AGO];
        self.generate(&then, user, "", &["future-default", "default", "1d"])
    }

    /// One whose primary key serves and whose encryption subkey expired on 2020-01-02.
    pub fn key_with_expired_subkey(&self, user: &str) -> String {
        let then = ["--faked-system-time", LONG_AGO];
        let fingerprint = self.generate(&then, user, "", &["ed25519", "sign", "never"]);
        let mut args = vec!["--pinentry-mode", "loopback", "--passphrase", ""];
        args.extend(then);
        args.extend(["--quick-add-key", &fingerprint, "cv25519", "encr", "1d"]);
        self.gpg(&args);
        fingerprint
    }

    /// One that was revoked.
    pub fn revoked_key(&self, user: &str) -> String {
        let fingerprint = self.key(user);
        let certificate = self.home.join(format!("openpgp-revocs.d/{fingerprint}.rev"));
        let text = fs::read_to_string(certificate).expect("gpg makes the certificate");
        // gpg puts a colon before it, lest somebody imports it by mistake.
        let file = self.home.join("revoked.asc");
        fs::write(&file, text.replace(":-----BEGIN", "-----BEGIN")).expect("a file");
        self.gpg(&["--import", &file.to_string_lossy()]);
        fingerprint
    }

    fn generate(&self, before: &[&str], user: &str, passphrase: &str, what: &[&str]) -> String {
        let mut args = before.to_vec();
        args.extend([
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            passphrase,
            "--status-fd",
            "1",
        ]);
        args.extend(["--quick-generate-key", user]);
        args.extend(what);
        let status = self.gpg(&args);
        let created = status.lines().find_map(|line| line.strip_prefix("[GNUPG:] KEY_CREATED "));
        let fingerprint = created.and_then(|rest| rest.split(' ').nth(1));
        fingerprint.expect("gpg tells the fingerprint").to_owned()
    }

    /// The public key, armored.
    pub fn public_key(&self, fingerprint: &str) -> String {
        self.gpg(&["--armor", "--export", fingerprint])
    }

    /// The secret key, armored. Only for keys without a passphrase.
    pub fn secret_key(&self, fingerprint: &str) -> String {
        self.gpg(&["--armor", "--export-secret-keys", fingerprint])
    }

    /// Lets the agent forget every passphrase, also those of keys made just now.
    pub fn forget_passphrases(&self) {
        Program::new(find("gpg-connect-agent", &[], "gpgconf"))
            .args(["--homedir", &self.home.to_string_lossy(), "RELOADAGENT", "/bye"])
            .run();
    }

    /// Runs gpg in this home: its stdout. A failure ends the test.
    pub fn gpg(&self, args: &[&str]) -> String {
        self.try_gpg(args).unwrap_or_else(|e| panic!("gpg {args:?} failed: {e}"))
    }

    /// Runs gpg in this home: its stdout, or its stderr where it fails.
    pub fn try_gpg(&self, args: &[&str]) -> Result<String, String> {
        Program::new(find("gpg", &[], "gnupg"))
            .args(["--homedir", &self.home.to_string_lossy()])
            .args(["--batch", "--yes", "--no-tty", "--quiet", "--trust-model", "always"])
            .args(args)
            .try_run()
    }
}

impl Drop for GpgHome {
    fn drop(&mut self) {
        // At once; what it was started for ends with the field.
        let _ = Program::new(find("gpgconf", &[], "gnupg"))
            .args(["--homedir", &self.home.to_string_lossy(), "--kill", "gpg-agent"])
            .try_run();
    }
}
