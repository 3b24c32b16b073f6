//! Turns a failed restic call into a code with facts and a remedy.
//!
//! A pure function over what the call left behind. Up to 0.16 nearly everything ends with status 1,
//! so the text decides; from 0.17 on three statuses (10, 11, 12) say it themselves.

#[cfg(test)]
mod tests;

use backupctl_domain::{ErrorCode, Failure};

use crate::Version;
use crate::parse::text::spoken_lines;

/// Lines of restic's own words that a failure keeps.
const DETAIL_LINES: usize = 6;
/// Characters of a line that a message quotes.
const QUOTE_LIMIT: usize = 300;

/// What restic was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Backup,
    Ls,
    Forget,
    Prune,
    Snapshots,
    Restore,
    Dump,
    CatConfig,
    Init,
    ListLocks,
    Unlock,
}

impl Op {
    /// restic's name for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Ls => "ls",
            Self::Forget => "forget",
            Self::Prune => "prune",
            Self::Snapshots => "snapshots",
            Self::Restore => "restore",
            Self::Dump => "dump",
            Self::CatConfig => "cat config",
            Self::Init => "init",
            Self::ListLocks => "list locks",
            Self::Unlock => "unlock",
        }
    }

    /// Whether it must be able to write to an existing repository.
    pub(crate) const fn writes(self) -> bool {
        matches!(self, Self::Backup | Self::Forget | Self::Prune | Self::Unlock)
    }

    /// How long it may take: only where nothing but the location itself can take long.
    pub(crate) const fn time_limit(self) -> Option<std::time::Duration> {
        match self {
            Self::CatConfig | Self::ListLocks | Self::Unlock => {
                Some(std::time::Duration::from_mins(2))
            }
            _ => None,
        }
    }
}

/// What a call left behind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended<'a> {
    pub(crate) op: Op,
    pub(crate) version: Version,
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    /// Without secrets.
    pub(crate) stderr: &'a str,
    /// Without secrets.
    pub(crate) location: &'a str,
    pub(crate) sftp: bool,
}

impl Ended<'_> {
    /// Whether the session over ssh ended before it began: then ssh's own words, which tell why, may
    /// be missing or cut short, since restic does not always wait for them.
    pub(crate) fn ssh_ended_at_once(&self) -> bool {
        self.sftp && self.stderr.contains("unable to start the sftp session")
    }

    fn status(&self) -> String {
        match (self.code, self.signal) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("ended by signal {signal}"),
            (None, None) => "no exit status".to_owned(),
        }
    }
}

/// The failure that this is. Every branch names restic's command, how it ended, and its own line.
pub(crate) fn classify(ended: &Ended<'_>) -> Failure {
    let mut lines = spoken_lines(ended.stderr);
    // restic goes on without its cache.
    lines.retain(|line| !line.contains("unable to open cache"));
    let said = Said { lines, ended: *ended };
    said.ended_by_signal()
        .or_else(|| said.ssh())
        .or_else(|| said.by_status())
        .or_else(|| said.password_or_lock())
        .or_else(|| said.disk())
        .or_else(|| said.repository())
        .or_else(|| said.usage())
        .or_else(|| said.network())
        .unwrap_or_else(|| said.unknown())
}

struct Said<'a> {
    lines: Vec<String>,
    ended: Ended<'a>,
}

impl Said<'_> {
    /// The first line with any of these texts in it, in any case; a fatal one before the tries that
    /// led to it.
    fn find(&self, texts: &[&str]) -> Option<&str> {
        let says = |line: &&str| {
            let line = line.to_lowercase();
            texts.iter().any(|text| line.contains(&text.to_lowercase()))
        };
        let lines = || self.lines.iter().map(String::as_str).filter(says);
        lines().find(|line| line.contains("Fatal: ")).or_else(|| lines().next())
    }

    /// Whether a line tells more than what restic says beside every failure of its kind.
    fn is_telling(&self, line: &str) -> bool {
        const ASIDE: [&str; 4] = [
            "is there a repository at",
            "the `unlock` command",
            "storage id",
            "lock was created at",
        ];
        let lower = line.to_lowercase();
        line != self.ended.location && !ASIDE.iter().any(|aside| lower.starts_with(aside))
    }

    /// The line that says most where nothing better is known: the last fatal one, or the last.
    fn main_line(&self) -> &str {
        let telling =
            |line: &&String| self.is_telling(line) && !line.to_lowercase().starts_with("warning:");
        let mut lines = self.lines.iter().filter(telling);
        let fatal = self.lines.iter().rev().find(|line| line.contains("Fatal: "));
        fatal.or_else(|| lines.next_back()).map_or("it said nothing", String::as_str)
    }

    fn fail(&self, code: ErrorCode, fact: &str, line: &str, remedy: impl Into<String>) -> Failure {
        // What the message quotes, and what restic says at every try of its own, is said once.
        let quoted = clean(line);
        let mut kept: Vec<&str> = Vec::new();
        for other in self.lines.iter().rev().map(String::as_str) {
            let other_words = clean(other);
            let known = kept.iter().any(|k| clean(k) == other_words);
            let telling = self.is_telling(other);
            if telling && other_words != quoted && !known && kept.len() < DETAIL_LINES {
                kept.push(other);
            }
        }
        kept.reverse();
        let what = format!("restic {}, {}", self.ended.op.name(), self.ended.status());
        Failure::new(code, format!("{fact} ({what}: {quoted})"))
            .with_remedy(remedy)
            .with_detail(kept.join("\n"))
    }

    fn ended_by_signal(&self) -> Option<Failure> {
        let Ended { code, signal, op, .. } = self.ended;
        let asked_to_end = matches!(signal, Some(2 | 15))
            || matches!(code, Some(130 | 143))
            || (code == Some(1)
                && self.find(&["signal interrupt received", "context canceled"]).is_some());
        if asked_to_end {
            return Some(self.fail(
                ErrorCode::Interrupted,
                "restic was told to stop by somebody else",
                self.main_line(),
                "run it again; look for what ends restic (a service manager, a person)",
            ));
        }
        if signal.is_some() || code.is_some_and(|code| code >= 128) {
            return Some(self.fail(
                no_better_code(op),
                "restic was killed, often for want of memory",
                self.main_line(),
                "look for the out-of-memory killer in `dmesg`, give restic more memory, and run \
                 `backupctl recover`",
            ));
        }
        None
    }

    fn ssh(&self) -> Option<Failure> {
        if !self.ended.sftp && self.find(&["subprocess ssh:"]).is_none() {
            return None;
        }
        let location = self.ended.location;
        let make = |code, texts: &[&str], fact: &str, remedy: &str| {
            let line = self.find(texts)?;
            Some(self.fail(code, &format!("{fact} {location}"), line, remedy))
        };
        make(
            ErrorCode::SshHostKeyUnknown,
            &["remote host identification has changed"],
            "the host key HAS CHANGED of",
            "ask whoever runs the server whether its key was changed: if not, somebody is in between. \
             If it was, remove the old one with `ssh-keygen -R '[HOST]:PORT' -f KNOWN_HOSTS` (the \
             file of ssh.known_hosts_path) and add the new one, compared",
        )
        .or_else(|| make(
            ErrorCode::SshHostKeyUnknown,
            &["host key verification failed", "host key is known"],
            "ssh does not know the host key of",
            "compare the server's key, then add it: `ssh-keyscan -p PORT HOST >> KNOWN_HOSTS` (the \
             file of ssh.known_hosts_path), or set ssh.host_key_check: accept-new",
        ))
        .or_else(|| {
            make(
                ErrorCode::SshKeyPermissions,
                &["unprotected private key file", "bad permissions"],
                "ssh refuses its key file for",
                "run `chmod 600` on the file of ssh.key_path",
            )
        })
        .or_else(|| {
            make(
                ErrorCode::SshPermissionDenied,
                &[
                    "permission denied (",
                    "too many authentication failures",
                    "no supported authentication",
                ],
                "ssh was refused by",
                "put the public key of ssh.key_path into the server's authorized_keys, and check \
                 ssh.user and ssh.port",
            )
        })
        .or_else(|| {
            make(
                ErrorCode::SshConnectionRefused,
                &[
                    "connection refused",
                    "could not resolve hostname",
                    "no route to host",
                    "network is unreachable",
                ],
                "ssh does not reach",
                "check ssh.host and ssh.port, and that the ssh server runs",
            )
        })
        .or_else(|| {
            make(
                ErrorCode::SshTimeout,
                &[
                    "connection timed out",
                    "operation timed out",
                    "not responding",
                    "timed out during",
                ],
                "ssh got no answer from",
                "check the network, a firewall on the way, and ssh.host and ssh.port",
            )
        })
        .or_else(|| {
            make(
                ErrorCode::RepoUnreachable,
                &["subsystem request failed"],
                "the server gives no sftp for",
                "enable the sftp subsystem for this user on the server",
            )
            .map(Failure::permanent)
        })
        .or_else(|| {
            make(
                ErrorCode::SshDisconnected,
                &[
                    "closed by remote host",
                    "connection reset",
                    "connection closed",
                    "connection lost",
                    "connection to ",
                    "broken pipe",
                    "ssh command exited",
                    "kex_exchange_identification",
                ],
                "the ssh connection was lost to",
                "run it again; if it happens again, look into the server's log and its limits",
            )
        })
    }

    fn by_status(&self) -> Option<Failure> {
        match (self.ended.code?, self.ended.op) {
            (10, _) => Some(self.not_initialized(self.main_line())),
            (11, _) => Some(
                self.locked(self.find(&["already locked"]).unwrap_or_else(|| self.main_line())),
            ),
            (12, _) => Some(self.wrong_password(self.main_line())),
            (3, Op::Forget) => Some(not_deleted(self.ended.location, self.main_line())),
            _ => None,
        }
    }

    fn password_or_lock(&self) -> Option<Failure> {
        if let Some(line) = self.find(&["wrong password or no key found"]) {
            return Some(self.wrong_password(line));
        }
        if let Some(line) = self.find(&["already locked"]) {
            return Some(self.locked(line));
        }
        let line =
            self.find(&["empty password", "resolving password failed", "unable to read password"])?;
        Some(self.fail(
            ErrorCode::InvalidConfig,
            "restic has no password",
            line,
            "set restic.password, restic.password_file or restic.password_command",
        ))
    }

    fn disk(&self) -> Option<Failure> {
        let location = self.ended.location;
        if let Some(line) =
            self.find(&["no space left on device", "disk quota exceeded", "quota exceeded"])
        {
            let (place, remedy) = if self.ended.op == Op::Restore {
                (
                    "the restore target".to_owned(),
                    "free space there, or restore elsewhere".to_owned(),
                )
            } else {
                (
                    format!("repository {location}"),
                    format!(
                        "free space at {location}, or keep less (retention.keep_*), which the next run applies"
                    ),
                )
            };
            return Some(self.fail(
                ErrorCode::DiskFull,
                &format!("the disk is full at {place}"),
                line,
                remedy,
            ));
        }
        // An sftp server has no word for a full disk.
        if let Some(line) = self.find(&["ssh_fx_failure", "sftp: \"failure\""]) {
            return Some(self.fail(
                ErrorCode::DiskFull,
                &format!(
                    "the server refuses to write at {location}, most often for a full disk or quota"
                ),
                line,
                format!("look at the free space and quota behind {location}"),
            ));
        }
        None
    }

    fn repository(&self) -> Option<Failure> {
        let location = self.ended.location;
        let denied =
            self.find(&["permission denied", "read-only file system", "operation not permitted"]);
        if let Some(line) = denied {
            let (fact, remedy) = if self.ended.op == Op::Restore {
                (
                    "a file of the restore target cannot be written".to_owned(),
                    "restore as a user who may write there, or to another folder".to_owned(),
                )
            } else {
                (
                    format!("repository {location} cannot be read or written"),
                    format!(
                        "let this user read and write {location} and all in it, or mount it read-write"
                    ),
                )
            };
            return Some(self.fail(ErrorCode::PathNotWritable, &fact, line, remedy));
        }
        let damaged = self.find(&[
            "ciphertext verification failed",
            "pack id does not match",
            "missing in repo",
            "pack size does not match",
            "pack size mismatch",
            "index is not complete",
            "contained in several indexes",
            "rebuild-index",
            "repair index",
            "id does not match",
            "hash does not match",
            "invalid data returned",
            "not found in repository",
            "not found in index",
            "repository contains errors",
            "unable to load index",
            "unable to load blob",
            "load(<data/",
            "load(<index/",
            "load(<snapshot/",
            "config or key",
            "is corrupted",
            "is damaged",
        ]);
        // A pack that is fetched again for a bad connection looks alike, so the network goes first.
        if let Some(line) = damaged.filter(|_| self.network().is_none()) {
            return Some(self.fail(
                ErrorCode::RepoCorrupt,
                &format!("repository {location} is damaged"),
                line,
                "keep a copy of the repository, run `restic check --read-data` on it (docs/restore.md \
                 has the environment that restic needs), and follow restic's manual, \
                 \"Troubleshooting\"; restore what you can before you repair",
            ));
        }
        if let Some(line) = self.find(&["unable to open config file", "repository does not exist"])
        {
            return Some(self.network().unwrap_or_else(|| self.not_initialized(line)));
        }
        if let Some(line) = self.find(&[
            "no matching id",
            "no snapshot found",
            "invalid id",
            "not found in snapshot",
        ]) {
            return Some(self.fail(
                ErrorCode::SnapshotNotFound,
                &format!("there is no such snapshot in {location}"),
                line,
                "list the snapshots with `backupctl snapshots PROJECT`",
            ));
        }
        let line = self.find(&["directories/files do not exist", "nothing to backup"])?;
        Some(self.fail(
            ErrorCode::NothingToBackUp,
            "every source was gone when restic looked",
            line,
            "check assets.paths, and that nothing removes the dump while the backup runs",
        ))
    }

    fn usage(&self) -> Option<Failure> {
        let line = self.find(&[
            "please specify repository location",
            "is not known",
            "unknown flag",
            "unknown command",
            "unknown shorthand",
            "invalid argument",
            "invalid backend",
            "parsing repository location failed",
            "option sftp.",
        ])?;
        Some(self.fail(
            ErrorCode::InvalidConfig,
            &format!("restic {} does not understand its call", self.ended.version),
            line,
            "correct restic.repository and restic.options",
        ))
    }

    fn network(&self) -> Option<Failure> {
        let location = self.ended.location;
        let refused = self.find(&[
            "access denied",
            "accessdenied",
            "invalidaccesskeyid",
            "signaturedoesnotmatch",
            "nosuchbucket",
            "401 unauthorized",
            "403 forbidden",
            "(401)",
            "(403)",
        ]);
        if let Some(line) = refused {
            let failure = self.fail(
                ErrorCode::RepoUnreachable,
                &format!("repository {location} refuses these credentials"),
                line,
                "correct the credentials in restic.env",
            );
            return Some(failure.permanent());
        }
        let line = self.find(&[
            "dial tcp",
            "no such host",
            "connection refused",
            "connection reset",
            "network is unreachable",
            "no route to host",
            "i/o timeout",
            "deadline exceeded",
            "tls handshake",
            "x509:",
            "server response unexpected",
            "unexpected http response",
            "internal server error",
            "service unavailable",
            "bad gateway",
            "unable to open repository at",
            "unable to start the sftp session",
            "stale file handle",
            "transport endpoint is not connected",
            "input/output error",
            "host is down",
        ])?;
        Some(self.fail(
            ErrorCode::RepoUnreachable,
            &format!("repository {location} does not answer"),
            line,
            format!("check that {location} is right, reachable and mounted"),
        ))
    }

    fn unknown(&self) -> Failure {
        let (fact, remedy) = match self.ended.op {
            Op::Backup => (
                "restic made no snapshot",
                "see restic's own words, and try the same by hand (docs/restore.md has the \
                 environment that restic needs)",
            ),
            _ => (
                "restic failed",
                "see restic's own words, and try the same by hand (docs/restore.md has the \
                 environment that restic needs)",
            ),
        };
        let fact = format!("{fact} in {}", self.ended.location);
        self.fail(no_better_code(self.ended.op), &fact, self.main_line(), remedy)
    }

    fn wrong_password(&self, line: &str) -> Failure {
        self.fail(
            ErrorCode::RepoWrongPassword,
            &format!("the password does not open repository {}", self.ended.location),
            line,
            "correct restic.password (or its _file, its _command, or RESTIC_PASSWORD): it must be \
             the one that the repository was made with",
        )
    }

    fn not_initialized(&self, line: &str) -> Failure {
        self.fail(
            ErrorCode::RepoNotInitialized,
            &format!("there is no repository at {}", self.ended.location),
            line,
            "create it with `backupctl init`, set restic.auto_init: true, or correct \
             restic.repository",
        )
    }

    fn locked(&self, line: &str) -> Failure {
        let by = line.split_once("already ").map_or(line, |(_, by)| by);
        let since =
            self.find(&["lock was created at"]).and_then(|line| line.split_once("created at "));
        let since = since.map(|(_, since)| format!(" since {since}")).unwrap_or_default();
        self.fail(
            ErrorCode::RepoLocked,
            &format!("repository {} is {by}{since}", self.ended.location),
            "repository is already locked",
            "wait for the process that holds the lock; one whose process is gone is removed by \
             `backupctl recover`",
        )
        // The message has all of it.
        .with_detail("")
    }
}

/// The failure of a `forget` that could not delete.
pub(crate) fn not_deleted(location: &str, line: &str) -> Failure {
    Failure::new(
        ErrorCode::PathNotWritable,
        format!("restic forget could not delete snapshots in {location}: {}", clean(line)),
    )
    .with_remedy(format!(
        "allow deletion at {location} (permissions, append-only mode, object lock), or prune from \
         where it is allowed"
    ))
}

/// The code of a failure that nothing tells more of: a backup without a snapshot is unproven.
const fn no_better_code(op: Op) -> ErrorCode {
    match op {
        Op::Backup | Op::Ls => ErrorCode::SnapshotUnproven,
        Op::Restore | Op::Dump => ErrorCode::RepoCorrupt,
        _ => ErrorCode::RepoUnreachable,
    }
}

/// A line without what only says where it comes from, and not too long.
fn clean(line: &str) -> String {
    // Two lines may have run together.
    let mut line = line.rsplit_once("Fatal: ").map_or(line, |(_, fatal)| fatal).trim();
    while let Some(rest) = [
        "subprocess ssh: ",
        "ssh: ",
        "unable to create lock in backend: ",
        "Resolving password failed: ",
    ]
    .iter()
    .find_map(|prefix| line.strip_prefix(prefix))
    {
        line = rest;
    }
    match line.char_indices().nth(QUOTE_LIMIT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
