//! Whom to encrypt to: from what a configuration says to the one key that it means.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use backupctl_domain::{ErrorCode, Failure};
use gpgme::{Context, Key, Subkey};
use jiff::{Timestamp, tz::TimeZone};

use crate::engine::{Engine, failure};

/// No recipients file that means well is larger.
const FILE_LIMIT: u64 = 1 << 20;

const SETTING: &str = "set `encryption.recipient` to the e-mail address, key id or fingerprint of \
                       an OpenPGP key";

/// The recipients as configured; nothing is read before it is used.
#[derive(Debug)]
pub(crate) struct Recipients {
    pub(crate) listed: Vec<String>,
    pub(crate) file: Option<PathBuf>,
}

impl Recipients {
    /// The fingerprint of the one usable key of each recipient: at least one.
    pub(crate) fn resolve(
        &self,
        engine: &Engine,
        context: &mut Context,
    ) -> Result<Vec<String>, Failure> {
        let mut fingerprints = Vec::new();
        for name in self.names()? {
            let fingerprint = fingerprint(&resolve(&name, engine, context)?);
            if !fingerprints.contains(&fingerprint) {
                fingerprints.push(fingerprint);
            }
        }
        Ok(fingerprints)
    }

    fn names(&self) -> Result<Vec<String>, Failure> {
        let mut names: Vec<String> = self.listed.iter().map(|n| n.trim().to_owned()).collect();
        if let Some(path) = &self.file {
            let text = read(path)?;
            let lines = text.lines().map(str::trim);
            names.extend(lines.filter(|l| !l.is_empty() && !l.starts_with('#')).map(str::to_owned));
        }
        if names.is_empty() || names.iter().any(String::is_empty) {
            return Err(match &self.file {
                Some(path) if self.listed.is_empty() => missing(
                    format!("recipients file {} names no recipient", path.display()),
                    "add one e-mail address, key id or fingerprint a line to it",
                ),
                _ => missing("no recipient is configured, or an empty one", SETTING),
            });
        }
        Ok(names)
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let shown = path.display();
    let remedy = format!("create {shown}, or correct `encryption.recipients_file`");
    let unreadable = |e| missing(format!("recipients file {shown} cannot be read: {e}"), &remedy);
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > FILE_LIMIT {
        return Err(missing(format!("{shown} is no recipients file"), &remedy));
    }
    fs::read_to_string(path).map_err(unreadable)
}

fn missing(message: impl Into<String>, remedy: &str) -> Failure {
    Failure::new(ErrorCode::EncryptionKeyMissing, message).with_remedy(remedy)
}

/// How gpg is asked for it: addresses as a whole, not as a part of another; ids and fingerprints as
/// people copy them from gpg's listings.
fn pattern(name: &str) -> String {
    let compact: String = name.chars().filter(|c| !c.is_whitespace()).collect();
    let hex = compact.strip_prefix("0x").or(compact.strip_prefix("0X")).unwrap_or(&compact);
    if [8, 16, 32, 40, 64].contains(&hex.len()) && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        format!("0x{hex}")
    } else if compact.len() == name.len() && name.contains('@') && !name.contains('<') {
        format!("<{name}>")
    } else {
        name.to_owned()
    }
}

fn resolve(name: &str, engine: &Engine, context: &mut Context) -> Result<Key, Failure> {
    let mut found = list(&pattern(name), context).map_err(|e| {
        let what = format!("gpg cannot look up recipient {name} in {}", engine.keyring());
        failure(e, Some(context), ErrorCode::EncryptionKeyMissing, &what)
    })?;
    found.dedup_by(|a, b| a.fingerprint_raw() == b.fingerprint_raw());
    let (mut usable, mut others): (Vec<Key>, Vec<Key>) =
        found.into_iter().partition(|key| flaw(key).is_none());
    if usable.len() > 1 {
        let keys: Vec<String> = usable.iter().map(shown).collect();
        return Err(Failure::new(
            ErrorCode::InvalidConfig,
            format!(
                "encryption recipient {name} means {} usable keys: {}",
                keys.len(),
                keys.join(", ")
            ),
        )
        .with_remedy("set `encryption.recipient` to the fingerprint of the one that is meant"));
    }
    if let Some(key) = usable.pop() {
        return Ok(key);
    }
    // Of several that do not serve, the newest is the one to speak of.
    others.sort_by_key(|key| key.primary_key().and_then(|k| k.creation_time()));
    Err(match others.last().and_then(|key| Some((key, flaw(key)?))) {
        Some((key, flaw)) => flaw.failure(name, key),
        None => missing(
            format!("the key of encryption recipient {name} is not in {}", engine.keyring()),
            "import it for the user that runs backupctl: `backupctl config import-gpg-key FILE`, \
             or put its file into the folder of `gpg_keys_dir` (GPG_KEYS_DIR)",
        ),
    })
}

fn list(pattern: &str, context: &mut Context) -> Result<Vec<Key>, gpgme::Error> {
    context.find_keys([pattern])?.collect()
}

/// A key as messages show it: its fingerprint and its first user id.
fn shown(key: &Key) -> String {
    let user = key.user_ids().next().and_then(|u| u.id().ok().map(str::to_owned));
    match user {
        Some(user) => format!("{} ({user})", fingerprint(key)),
        None => fingerprint(key),
    }
}

fn fingerprint(key: &Key) -> String {
    key.fingerprint().unwrap_or("?").to_owned()
}

/// Why a key cannot be encrypted to.
#[derive(Debug, PartialEq, Eq)]
enum Flaw {
    Revoked,
    Expired(Option<SystemTime>),
    Disabled,
    Invalid,
    NotForEncryption,
    /// When, and its fingerprint.
    SubkeyExpired(Option<SystemTime>, String),
    SubkeyRevoked,
}

fn flaw(key: &Key) -> Option<Flaw> {
    if key.is_revoked() {
        return Some(Flaw::Revoked);
    }
    if key.is_expired() {
        return Some(Flaw::Expired(key.primary_key().and_then(|k| k.expiration_time())));
    }
    if key.is_disabled() {
        return Some(Flaw::Disabled);
    }
    if key.is_invalid() {
        return Some(Flaw::Invalid);
    }
    let subkeys: Vec<Subkey<'_>> = key.subkeys().filter(Subkey::can_encrypt).collect();
    if subkeys.is_empty() {
        return Some(Flaw::NotForEncryption);
    }
    if subkeys.iter().any(|k| !k.is_bad()) {
        return None;
    }
    let expired = subkeys.iter().filter(|k| k.is_expired() && !k.is_revoked());
    Some(match expired.max_by_key(|k| k.expiration_time()) {
        Some(latest) => Flaw::SubkeyExpired(
            latest.expiration_time(),
            latest.fingerprint().unwrap_or("'*'").to_owned(),
        ),
        None if subkeys.iter().any(Subkey::is_revoked) => Flaw::SubkeyRevoked,
        None => Flaw::Invalid,
    })
}

impl Flaw {
    fn failure(self, name: &str, key: &Key) -> Failure {
        let (code, shown, of) =
            (ErrorCode::EncryptionKeyExpired, shown(key), "of encryption recipient");
        let fingerprint = fingerprint(key);
        let replace = "set `encryption.recipient` to the key that replaces it, and import that: \
                       `backupctl config import-gpg-key FILE`";
        let extend = |subkey: &str| {
            format!(
                "extend it where its secret key is (`gpg --quick-set-expire {fingerprint} \
                 2y{subkey}`) and import the new copy (`backupctl config import-gpg-key FILE`), \
                 or set `encryption.recipient` to its successor"
            )
        };
        match self {
            Self::Revoked => {
                Failure::new(code, format!("the key {of} {name} was revoked: {shown}"))
                    .with_remedy(replace)
            }
            Self::Expired(when) => {
                Failure::new(code, format!("the key {of} {name} expired{}: {shown}", on(when)))
                    .with_remedy(extend(""))
            }
            Self::SubkeyExpired(when, subkey) => Failure::new(
                code,
                format!("the encryption subkey {of} {name} expired{}: {shown}", on(when)),
            )
            .with_remedy(extend(&format!(" {subkey}"))),
            Self::SubkeyRevoked => Failure::new(
                code,
                format!("the encryption subkey {of} {name} was revoked: {shown}"),
            )
            .with_remedy(
                "import a copy of the key with a new encryption subkey: `backupctl config \
                         import-gpg-key FILE`",
            ),
            Self::Disabled => {
                Failure::new(code, format!("the key {of} {name} is disabled here: {shown}"))
                    .with_remedy(format!("enable it: `gpg --edit-key {fingerprint} enable save`"))
            }
            Self::Invalid => missing(format!("the key {of} {name} is not valid: {shown}"), replace),
            Self::NotForEncryption => missing(
                format!("the key {of} {name} has no subkey for encryption: {shown}"),
                &format!(
                    "add one where its secret key is (`gpg --quick-add-key {fingerprint} cv25519 \
                     encr`) and import the new copy, or name another recipient"
                ),
            ),
        }
    }
}

fn on(when: Option<SystemTime>) -> String {
    let date = when.and_then(|t| Timestamp::try_from(t).ok());
    date.map_or_else(String::new, |t| format!(" on {}", t.to_zoned(TimeZone::UTC).date()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_asked_for_as_a_whole_and_fingerprints_as_listed() {
        let fingerprint = "FC3408A6B152B278F917410324CD39F1D1A008F9";
        for (name, asked) in [
            ("ann@example.org", "<ann@example.org>"),
            ("<ann@example.org>", "<ann@example.org>"),
            ("Ann <ann@example.org>", "Ann <ann@example.org>"),
            ("Ann", "Ann"),
            ("0x24CD39F1D1A008F9", "0x24CD39F1D1A008F9"),
            ("24cd39f1d1a008f9", "0x24cd39f1d1a008f9"),
            (
                "FC34 08A6 B152 B278 F917  4103 24CD 39F1 D1A0 08F9",
                "0xFC3408A6B152B278F917410324CD39F1D1A008F9",
            ),
        ] {
            assert_eq!(pattern(name), asked);
        }
        assert_eq!(pattern(fingerprint), format!("0x{fingerprint}"));
    }
}
