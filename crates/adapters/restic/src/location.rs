//! Where a repository is: what kind of location, and how it is shown without secrets.

use std::path::{Path, PathBuf};

use backupctl_domain::Redactor;

/// The kinds that restic names by a prefix, but for `local` and `sftp`.
const OTHERS: [&str; 8] = ["s3", "gs", "azure", "swift", "rest", "b2", "rclone", "opendal"];

/// A repository's location, taken apart as far as this crate needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    text: String,
    shown: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Local(PathBuf),
    Sftp(SftpAddress),
    Other,
}

/// The address part of an sftp location. Empty parts are left to the ssh settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SftpAddress {
    pub(crate) user: Option<String>,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

impl Location {
    /// Reads a location as restic does: a known prefix decides, anything else is a path.
    pub(crate) fn parse(text: &str) -> Self {
        let kind = if let Some(rest) = text.strip_prefix("sftp:") {
            Kind::Sftp(sftp_address(rest))
        } else if let Some(path) = text.strip_prefix("local:") {
            Kind::Local(PathBuf::from(path))
        } else if OTHERS
            .iter()
            .any(|kind| text.strip_prefix(kind).is_some_and(|rest| rest.starts_with(':')))
        {
            Kind::Other
        } else {
            Kind::Local(PathBuf::from(text))
        };
        let shown = Redactor::default().redact(text);
        Self { text: text.to_owned(), shown, kind }
    }

    /// The location as restic takes it; may hold a password.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The location without passwords.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// The folder of a repository on this machine.
    pub(crate) fn local(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Local(path) => Some(path),
            _ => None,
        }
    }

    /// Whether restic starts another program to reach it: ssh or rclone.
    pub(crate) fn starts_programs(&self) -> bool {
        matches!(self.kind, Kind::Sftp(_)) || self.text.starts_with("rclone:")
    }

    /// The address of one that is reached by sftp.
    pub(crate) fn sftp(&self) -> Option<&SftpAddress> {
        match &self.kind {
            Kind::Sftp(address) => Some(address),
            _ => None,
        }
    }
}

fn sftp_address(rest: &str) -> SftpAddress {
    if let Some(url) = rest.strip_prefix("//") {
        let authority = url.split('/').next().unwrap_or_default();
        let (user, host) = split_user(authority);
        // `[::1]:22` and `host:22`; a colon inside brackets belongs to the address.
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
            _ => (host, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        SftpAddress { user, host, port }
    } else {
        let authority = match rest.find('[') {
            Some(_) => rest.split_inclusive(']').next().unwrap_or_default(),
            None => rest.split(':').next().unwrap_or_default(),
        };
        let (user, host) = split_user(authority);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        SftpAddress { user, host, port: None }
    }
}

fn split_user(authority: &str) -> (Option<String>, &str) {
    match authority.rsplit_once('@') {
        Some((user, host)) => {
            let name = user.split(':').next().unwrap_or_default();
            (Some(name.to_owned()).filter(|u| !u.is_empty()), host)
        }
        None => (None, authority),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(user: Option<&str>, host: &str, port: Option<u16>) -> SftpAddress {
        SftpAddress { user: user.map(str::to_owned), host: host.to_owned(), port }
    }

    #[test]
    fn kinds_are_told_apart_as_restic_does() {
        assert_eq!(Location::parse("/srv/repo").local(), Some(Path::new("/srv/repo")));
        assert_eq!(Location::parse("local:rel/repo").local(), Some(Path::new("rel/repo")));
        assert_eq!(Location::parse("a:b").local(), Some(Path::new("a:b")));
        assert_eq!(Location::parse("s3:https://h/b").local(), None);
        let rest = Location::parse("rest:https://bob:pw@h/x");
        assert_eq!((rest.local(), rest.shown()), (None, "rest:https://bob:***@h/x"));
        assert!(rest.text().contains("pw"));
    }

    #[test]
    fn sftp_addresses_are_read_in_both_forms() {
        let of = |text: &str| Location::parse(text).sftp().cloned().unwrap();
        assert_eq!(of("sftp:bob@h:repo"), address(Some("bob"), "h", None));
        assert_eq!(of("sftp:alias:/srv/repo"), address(None, "alias", None));
        assert_eq!(of("sftp:bob@[::1]:/srv"), address(Some("bob"), "::1", None));
        assert_eq!(of("sftp://bob@h:2222//srv/repo"), address(Some("bob"), "h", Some(2222)));
        assert_eq!(of("sftp://[::1]/srv/repo"), address(None, "::1", None));
        assert_eq!(of("sftp::repo"), address(None, "", None));
    }
}
