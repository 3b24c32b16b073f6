//! sftp locations: how restic writes them, and what is to be told to ssh.

use std::path::PathBuf;

use backupctl_domain::destination::{HostKeyCheck, SshTarget};

use crate::layers::Origin;
use crate::reader::Reader;

/// The global `ssh.*` keys.
#[derive(Debug, Clone)]
pub(crate) struct SshSettings {
    pub host: Option<String>,
    pub user: Option<String>,
    pub port: u16,
    pub key_path: Option<PathBuf>,
    pub known_hosts_path: Option<PathBuf>,
    pub host_key_check: HostKeyCheck,
}

impl SshSettings {
    pub(crate) fn read(r: &mut Reader<'_, '_>) -> Self {
        Self {
            host: r.text("ssh.host"),
            user: r.text("ssh.user"),
            port: port(r),
            key_path: r.path("ssh.key_path"),
            known_hosts_path: r.path("ssh.known_hosts_path"),
            host_key_check: match r.text("ssh.host_key_check").as_deref() {
                Some("accept-new") => HostKeyCheck::AcceptNew,
                _ => HostKeyCheck::Strict,
            },
        }
    }

    /// The repository at a path on the global host, and how to reach it; `None` without a host.
    pub(crate) fn repository_at(&self, path: &str) -> Option<(String, SshTarget)> {
        let host = self.host.clone()?;
        let user = self.user.as_ref().map_or(String::new(), |u| format!("{u}@"));
        // An IPv6 address has colons, which only the URL form can tell from the one before the path.
        let repository = if host.contains(':') {
            format!("sftp://{user}[{host}]/{path}")
        } else {
            format!("sftp:{user}{host}:{path}")
        };
        Some((repository, self.target(host, self.user.clone(), self.port)))
    }

    /// How to reach the server of an sftp location.
    pub(crate) fn target_of(&self, address: SftpAddress) -> SshTarget {
        // User and port belong to the configured host, the key may open others too.
        let same = self.host.as_ref().is_none_or(|host| *host == address.host);
        let port = address.port.unwrap_or(if same { self.port } else { 22 });
        let user = address.user.or_else(|| self.user.clone().filter(|_| same));
        self.target(address.host, user, port)
    }

    fn target(&self, host: String, user: Option<String>, port: u16) -> SshTarget {
        SshTarget {
            host,
            user,
            port,
            key_path: self.key_path.clone(),
            known_hosts_path: self.known_hosts_path.clone(),
            host_key_check: self.host_key_check,
        }
    }
}

/// The port; where none is given, that of the server: storage boxes listen at 23.
fn port(r: &mut Reader<'_, '_>) -> u16 {
    let of_box = r.leaf("ssh.host").is_some_and(
        |leaf| matches!(&leaf.origin, Origin::Variable(name, _) if name == "HETZNER_SSH_HOST"),
    );
    let given = r.port("ssh.port").filter(|_| r.chosen("ssh.port"));
    given.unwrap_or(if of_box { 23 } else { 22 })
}

/// Whom an sftp location speaks of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SftpAddress {
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
}

/// Reads `sftp:user@host:path` and `sftp://user@host:port/path`; `None` for any other location.
pub(crate) fn parse_sftp(repository: &str) -> Option<Result<SftpAddress, String>> {
    let rest = repository.strip_prefix("sftp:")?;
    Some(match rest.strip_prefix("//") {
        Some(url) => parse_url(url),
        None => parse_scp(rest),
    })
}

fn parse_scp(rest: &str) -> Result<SftpAddress, String> {
    let wrong = || format!("`sftp:{rest}` is not of the form `sftp:user@host:path`");
    let (server, path) = rest.split_once(':').ok_or_else(wrong)?;
    let (user, host) = split_user(server);
    if host.is_empty() || path.is_empty() {
        return Err(wrong());
    }
    Ok(SftpAddress { user, host: host.to_owned(), port: None })
}

fn parse_url(url: &str) -> Result<SftpAddress, String> {
    let wrong = || format!("`sftp://{url}` is not of the form `sftp://user@host:port/path`");
    let (server, path) = url.split_once('/').ok_or_else(wrong)?;
    let (user, server) = split_user(server);
    let (host, port) = match server.strip_prefix('[') {
        Some(v6) => {
            let (host, after) = v6.split_once(']').ok_or_else(wrong)?;
            (host, after.strip_prefix(':'))
        }
        None => match server.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        },
    };
    let port = match port {
        Some(port) => Some(
            port.parse()
                .ok()
                .filter(|p| *p > 0)
                .ok_or_else(|| format!("`{port}` is no port (1 to 65535)"))?,
        ),
        None => None,
    };
    if host.is_empty() || path.is_empty() {
        return Err(wrong());
    }
    Ok(SftpAddress { user, host: host.to_owned(), port })
}

fn split_user(server: &str) -> (Option<String>, &str) {
    match server.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split(':').next().unwrap_or_default();
            (Some(user.to_owned()).filter(|u| !u.is_empty()), host)
        }
        None => (None, server),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(user: Option<&str>, host: &str, port: Option<u16>) -> SftpAddress {
        SftpAddress { user: user.map(str::to_owned), host: host.to_owned(), port }
    }

    #[test]
    fn sftp_locations_are_read() {
        for (text, expected) in [
            ("sftp:u@h:p", address(Some("u"), "h", None)),
            ("sftp:h:/abs", address(None, "h", None)),
            ("sftp://u@h:23/p", address(Some("u"), "h", Some(23))),
            ("sftp://h//abs", address(None, "h", None)),
            ("sftp://u:x@[::1]:23/p", address(Some("u"), "::1", Some(23))),
            ("sftp://[fe80::1]/p", address(None, "fe80::1", None)),
        ] {
            assert_eq!(parse_sftp(text), Some(Ok(expected)), "{text}");
        }
        for text in ["sftp:u@h", "sftp:", "sftp://h", "sftp://h:0/p", "sftp://h:x/p", "sftp:@:p"] {
            assert!(parse_sftp(text).unwrap().is_err(), "{text}");
        }
        assert_eq!(parse_sftp("/srv/repo"), None);
        assert_eq!(parse_sftp("s3:host/bucket"), None);
    }
}
