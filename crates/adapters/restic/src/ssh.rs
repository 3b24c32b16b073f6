//! The ssh command that restic is to use for an sftp repository.
//!
//! `-o sftp.command` is the only way to hand restic 0.14 a key, and it takes the whole command as
//! one text that restic splits by rules of its own. Every command has `BatchMode`, whoever wrote the
//! address: a question that nobody answers would hang a backup.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backupctl_adapter_process::Tool;
use backupctl_application::context::{Cancel, StageContext};
use backupctl_domain::destination::{HostKeyCheck, ResticTarget};
use backupctl_domain::{ErrorCode, Failure, Redactor, Stage};

use crate::location::Location;

/// An ssh command line that ends in `-s sftp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SshCommand {
    words: Vec<String>,
    text: String,
}

impl SshCommand {
    /// The command in words, the program first.
    pub(crate) fn words(&self) -> &[String] {
        &self.words
    }

    /// The version of the program, e.g. `OpenSSH_9.2p1`. Talks to nobody.
    pub(crate) async fn check_program(&self) -> Result<String, Failure> {
        let program = self.words.first().map_or("ssh", String::as_str);
        let ctx = StageContext::new(Stage::Sync, Cancel::new(), Arc::new(Redactor::default()));
        let tool = Tool::new(program).arg("-V").timeout(Some(Duration::from_secs(30)));
        let output = tool.run(&ctx).await.map_err(|e| e.into_failure(ErrorCode::ToolMissing))?;
        // It says so on stderr: `OpenSSH_9.2p1 Debian-2+deb12u5, OpenSSL 3.0.15 …`.
        let version = output.stderr.split([' ', ',']).next().unwrap_or_default();
        Ok(if version.is_empty() { program.to_owned() } else { version.to_owned() })
    }

    /// A remedy with `HOST`, `PORT` and `KNOWN_HOSTS` as they are here.
    pub(crate) fn fill(&self, remedy: &str, target: &ResticTarget) -> String {
        let after = |flag: &str| {
            let at = self.words.iter().position(|word| word == flag)?;
            self.words.get(at + 1)
        };
        let place = self.words.iter().rev().nth(2).map_or("", String::as_str);
        let host = place.rsplit_once('@').map_or(place, |(_, host)| host);
        let known = target.ssh.as_ref().and_then(|ssh| ssh.known_hosts_path.as_deref());
        let known = known.map_or_else(|| "~/.ssh/known_hosts".into(), Path::to_string_lossy);
        let filled = match after("-p") {
            Some(port) => remedy.replace("PORT", port),
            None => remedy.replace("[HOST]:PORT", "HOST").replace("-p PORT ", ""),
        };
        filled.replace("KNOWN_HOSTS", &known).replace("HOST", host)
    }

    /// The command as restic's `sftp.command` takes it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// Builds the command for this location; `None` where it is not sftp, or where the user's own
/// options say how ssh is called.
pub(crate) fn command(
    location: &Location,
    target: &ResticTarget,
) -> Result<Option<SshCommand>, Failure> {
    let Some(address) = location.sftp() else { return Ok(None) };
    if ["sftp.command", "sftp.args"].iter().any(|key| target.options.contains_key(*key)) {
        return Ok(None);
    }
    let ssh = target.ssh.as_ref();
    let host = match (address.host.as_str(), ssh) {
        ("", Some(ssh)) if !ssh.host.is_empty() => ssh.host.clone(),
        ("", _) => {
            return Err(Failure::new(
                ErrorCode::SshNotConfigured,
                format!("repository {} is reached by ssh and no host is given", location.shown()),
            )
            .with_remedy(
                "set ssh.host (or SSH_HOST), or write restic.repository as sftp:user@host:path",
            ));
        }
        (host, _) => host.to_owned(),
    };
    if host.starts_with('-') {
        return Err(unusable(&host));
    }
    let user = address.user.clone().or_else(|| ssh.and_then(|s| s.user.clone()));
    let mut words = vec!["ssh".to_owned()];
    let option = |words: &mut Vec<String>, text: String| words.extend(["-o".to_owned(), text]);
    // Port 22 goes unsaid where the location does not name it: the host may be an alias in the
    // user's ssh config, with a port of its own.
    let port = address.port.or_else(|| ssh.map(|s| s.port).filter(|port| *port != 22));
    if let Some(port) = port {
        words.extend(["-p".to_owned(), port.to_string()]);
    }
    if let Some(ssh) = ssh {
        if let Some(key) = &ssh.key_path {
            words.extend(["-i".to_owned(), utf8(key)?.to_owned()]);
            option(&mut words, "IdentitiesOnly=yes".to_owned());
        }
        if let Some(file) = &ssh.known_hosts_path {
            option(&mut words, format!("UserKnownHostsFile={}", config_value(utf8(file)?)?));
        }
        let check = match ssh.host_key_check {
            HostKeyCheck::Strict => "yes",
            HostKeyCheck::AcceptNew => "accept-new",
        };
        option(&mut words, format!("StrictHostKeyChecking={check}"));
    }
    for text in
        ["BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=15", "ServerAliveCountMax=4"]
    {
        option(&mut words, text.to_owned());
    }
    words.push(user.map_or_else(|| host.clone(), |user| format!("{user}@{host}")));
    words.extend(["-s".to_owned(), "sftp".to_owned()]);
    let quoted: Result<Vec<String>, Failure> = words.iter().map(|word| quote(word)).collect();
    Ok(Some(SshCommand { text: quoted?.join(" "), words }))
}

/// Refuses a key file that ssh would refuse, before anything is started.
pub(crate) fn check_key(target: &ResticTarget) -> Result<(), Failure> {
    let Some(key) = target.ssh.as_ref().and_then(|ssh| ssh.key_path.as_deref()) else {
        return Ok(());
    };
    let shown = key.display();
    let failure = |text: String| Failure::new(ErrorCode::SshKeyPermissions, text);
    let meta = std::fs::metadata(key).map_err(|error| {
        failure(format!("ssh key {shown} cannot be read: {error}"))
            .with_remedy(format!("put the private key at {shown}, or correct ssh.key_path"))
    })?;
    if !meta.is_file() {
        return Err(failure(format!("ssh key {shown} is not a file"))
            .with_remedy("let ssh.key_path name the private key file"));
    }
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(failure(format!("ssh key {shown} has mode {mode:04o}: others may read it"))
            .with_remedy(format!("run `chmod 600 {shown}`")));
    }
    Ok(())
}

fn utf8(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| unusable(&path.to_string_lossy()))
}

/// A value inside ssh's own `-o key=value`, where a space separates and `%` begins a token.
fn config_value(text: &str) -> Result<String, Failure> {
    if text.contains('"') {
        return Err(unusable(text));
    }
    let text = text.replace('%', "%%");
    Ok(if text.contains(char::is_whitespace) { format!("\"{text}\"") } else { text })
}

/// One word as restic's splitter reads it: a quote anywhere ends the word before it, and nothing can
/// be escaped inside quotes.
fn quote(word: &str) -> Result<String, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=,+%[]".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        Ok(word.to_owned())
    } else if word.is_empty() || word.contains('\\') {
        Err(unusable(word))
    } else if !word.contains('\'') {
        Ok(format!("'{word}'"))
    } else if !word.contains('"') {
        Ok(format!("\"{word}\""))
    } else {
        Err(unusable(word))
    }
}

fn unusable(text: &str) -> Failure {
    Failure::new(
        ErrorCode::InvalidConfig,
        format!("{text:?} cannot be handed to ssh through restic's sftp.command"),
    )
    .with_remedy(
        "use ssh.host, ssh.key_path and ssh.known_hosts_path without quotes or backslashes",
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use backupctl_domain::Secret;
    use backupctl_domain::destination::{SnapshotMode, SshTarget};

    use super::*;

    fn target(ssh: Option<SshTarget>) -> ResticTarget {
        ResticTarget {
            repository: String::new(),
            ssh,
            password: Secret::value("x"),
            snapshot_mode: SnapshotMode::Combined,
            auto_init: false,
            allow_incomplete: false,
            cache_dir: None,
            options: BTreeMap::new(),
            env: BTreeMap::new(),
            limit_upload_kib: None,
            binary: None,
        }
    }

    fn storage_box() -> SshTarget {
        SshTarget {
            host: "box.example".to_owned(),
            user: Some("u1".to_owned()),
            port: 23,
            key_path: Some(PathBuf::from("/keys/my key")),
            known_hosts_path: Some(PathBuf::from("/etc/known hosts")),
            host_key_check: HostKeyCheck::Strict,
        }
    }

    /// restic's own splitter (`backend.SplitShellStrings`), to prove that it sees the words.
    fn restic_split(text: &str) -> Vec<String> {
        let (mut words, mut quote, mut last, mut word) = (Vec::new(), None, ' ', String::new());
        for c in text.chars() {
            let splits = if last != '\\' && quote == Some(c) {
                quote = None;
                true
            } else if last != '\\' && quote.is_none() && (c == '"' || c == '\'') {
                quote = Some(c);
                true
            } else {
                last = c;
                quote.is_none() && (c == '\\' || c.is_whitespace())
            };
            if !splits {
                word.push(c);
            } else if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
        }
        words.extend(Some(word).filter(|w| !w.is_empty()));
        words
    }

    #[test]
    fn the_command_names_key_port_and_known_hosts_and_survives_restics_splitter() {
        let location = Location::parse("sftp:u1@box.example:repo");
        let ssh = command(&location, &target(Some(storage_box()))).unwrap().unwrap();
        assert_eq!(restic_split(ssh.text()), ssh.words());
        assert_eq!(
            ssh.text(),
            "ssh -p 23 -i '/keys/my key' -o IdentitiesOnly=yes \
             -o 'UserKnownHostsFile=\"/etc/known hosts\"' -o StrictHostKeyChecking=yes \
             -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 \
             -o ServerAliveCountMax=4 u1@box.example -s sftp"
        );
    }

    #[test]
    fn the_address_in_the_location_wins_over_the_global_one() {
        let location = Location::parse("sftp://bob@other:2200//srv/repo");
        let ssh = command(&location, &target(Some(storage_box()))).unwrap().unwrap();
        assert!(ssh.text().starts_with("ssh -p 2200 "), "{}", ssh.text());
        assert!(ssh.text().ends_with(" bob@other -s sftp"), "{}", ssh.text());
    }

    #[test]
    fn without_ssh_settings_the_users_ssh_config_decides_and_nothing_asks() {
        let ssh = command(&Location::parse("sftp:alias:repo"), &target(None)).unwrap().unwrap();
        assert_eq!(
            ssh.text(),
            "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 \
             -o ServerAliveCountMax=4 alias -s sftp"
        );
        let failure = command(&Location::parse("sftp::repo"), &target(None)).unwrap_err();
        assert_eq!(failure.code, ErrorCode::SshNotConfigured);
    }

    #[test]
    fn the_users_own_sftp_options_win() {
        for key in ["sftp.command", "sftp.args"] {
            let mut target = target(Some(storage_box()));
            target.options.insert(key.to_owned(), "ssh x".to_owned());
            assert_eq!(command(&Location::parse("sftp:h:repo"), &target).unwrap(), None);
        }
        assert_eq!(command(&Location::parse("/srv"), &target(None)).unwrap(), None);
    }

    #[test]
    fn a_word_that_restic_cannot_read_is_refused() {
        let mut ssh = storage_box();
        ssh.key_path = Some(PathBuf::from("/k'e\"y"));
        let failure = command(&Location::parse("sftp:h:r"), &target(Some(ssh))).unwrap_err();
        assert_eq!(failure.code, ErrorCode::InvalidConfig);
        let failure = command(&Location::parse("sftp:-oProxyCommand=x:r"), &target(None));
        assert_eq!(failure.unwrap_err().code, ErrorCode::InvalidConfig);
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_missing_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        let mut ssh = storage_box();
        ssh.key_path = Some(key.clone());
        let target = target(Some(ssh));
        assert_eq!(check_key(&target).unwrap_err().code, ErrorCode::SshKeyPermissions);
        std::fs::write(&key, "k").unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let failure = check_key(&target).unwrap_err();
        assert_eq!(failure.code, ErrorCode::SshKeyPermissions);
        assert!(failure.remedy.contains("chmod 600"));
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        check_key(&target).unwrap();
    }
}
