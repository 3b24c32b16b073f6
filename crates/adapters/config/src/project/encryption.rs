//! `encryption`: whether, with what, and for whom.

use backupctl_domain::project::{Encryption, EncryptionType};

use crate::layers::Origin;
use crate::reader::{Purpose, Reader};

const RECIPIENTS: [&str; 3] =
    ["encryption.recipient", "encryption.recipients", "encryption.recipients_file"];

/// The encryption, if it is on.
pub(super) fn read(r: &mut Reader<'_, '_>) -> Option<Encryption> {
    let enabled = r.flag("encryption.enabled").unwrap_or(false);
    let variable = |name: &str| r.ctx.variables.value(name).map(str::to_owned);
    let (for_gpg, for_age) = (variable("GPG_RECIPIENT"), variable("AGE_RECIPIENT"));
    let mut recipients: Vec<String> = r.text(RECIPIENTS[0]).into_iter().collect();
    recipients.extend(r.list(RECIPIENTS[1]));
    let mut recipients_file = r.path(RECIPIENTS[2]);
    let identity_file = r.path("encryption.identity_file");
    let written = r.text("encryption.type");
    let from = |origin: &Origin| {
        RECIPIENTS.iter().any(|path| r.leaf(path).is_some_and(|leaf| leaf.origin == *origin))
    };
    let own = from(&Origin::Own);
    let kind = match written.as_deref() {
        Some("gpg") => EncryptionType::Gpg,
        Some("age") => EncryptionType::Age,
        // Whom a variable names that is not set here is not known; a file decrypts age alone.
        _ if identity_file.is_some() && unset(r, &recipients) => EncryptionType::Age,
        // The project's own recipients say it; the file's do where no variable takes their place.
        _ if !recipients.is_empty() && (own || (for_gpg.is_none() && for_age.is_none())) => {
            kind_of(&recipients)
        }
        _ if for_gpg.is_some() => EncryptionType::Gpg,
        _ => EncryptionType::Age,
    };
    // The environment wins over the file's global keys, and a key for the other tool is none.
    let variable = match kind {
        EncryptionType::Gpg => for_gpg,
        EncryptionType::Age => for_age,
    };
    if let (Some(recipient), false) = (variable, own) {
        recipients = vec![recipient];
        recipients_file = None;
    }
    if !enabled {
        // What was encrypted once is still to be read, whatever holds now and here.
        if r.ctx.purpose == Purpose::Read && identity_file.is_some() {
            return Some(Encryption { kind, recipients, recipients_file, identity_file });
        }
        if (own || from(&Origin::File)) && !r.chosen("encryption.enabled") {
            r.warn(
                "encryption",
                "recipients are given and `encryption.enabled` is not: dumps are NOT encrypted; add \
                 `enabled: true`",
            );
        }
        return None;
    }
    let misread = r.issues.iter().any(|issue| RECIPIENTS.contains(&issue.key.as_str()));
    if recipients.is_empty() && recipients_file.is_none() && !misread {
        let name = match kind {
            EncryptionType::Gpg => "GPG_RECIPIENT",
            EncryptionType::Age => "AGE_RECIPIENT",
        };
        r.missing(
            "encryption.recipient",
            format!(
                "encryption is enabled for nobody: set `encryption.recipient`, `recipients`, \
                 `recipients_file` or {name}"
            ),
        );
    }
    if kind == EncryptionType::Age {
        // The place of a recipient is that of its key, or where a variable took its place none.
        let key = if r.given(RECIPIENTS[1]) { RECIPIENTS[1] } else { RECIPIENTS[0] };
        for message in recipients.iter().filter_map(|text| no_age_recipient(text)) {
            match r.leaf(key) {
                Some(leaf) => r.wrong(key, leaf, message),
                None => r.missing(key, message),
            }
        }
    }
    Some(Encryption { kind, recipients, recipients_file, identity_file })
}

/// Refuses archives that everybody could read unless that is written out, and those that nothing here can
/// encrypt.
pub(super) fn check_for_archives(r: &mut Reader<'_, '_>, encryption: Option<&Encryption>) {
    const ENABLED: &str = "encryption.enabled";
    const TYPE: &str = "encryption.type";
    match encryption {
        Some(Encryption { kind: EncryptionType::Gpg, .. }) => {
            let message = "an `archive` cannot be encrypted with `gpg`: an archive is encrypted with \
                           age alone; set `encryption.type: age` and a recipient of age";
            match r.leaf(TYPE) {
                Some(leaf) => r.wrong(TYPE, leaf, message),
                None => r.missing(TYPE, message),
            }
        }
        Some(_) => {}
        None => {
            let off = r.told(ENABLED) || (r.chosen(ENABLED) && r.flag(ENABLED) == Some(false));
            if !off {
                r.missing(
                    "encryption",
                    "the archive on a disk that can be carried away would be readable by everybody; \
                     set `encryption.enabled: true` with `type: age` and a recipient, or write out \
                     `encryption.enabled: false`",
                );
            }
        }
    }
}

/// Why a text cannot be a recipient of age, by its form alone: what is well formed and still no key is
/// found when it is used.
fn no_age_recipient(text: &str) -> Option<String> {
    /// `age1` and 58 characters of bech32.
    const LENGTH: usize = 62;
    const BECH32: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let text = text.trim();
    if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
        return Some("this is a secret key, not a recipient; use its public key".to_owned());
    }
    let head: String = text.chars().take(20).collect();
    if let Some(data) = text.strip_prefix("age1") {
        let good = text.len() == LENGTH && data.chars().all(|c| BECH32.contains(c));
        return (!good).then(|| {
            format!("{head:?} is no age public key: that is `age1` and 58 letters and digits")
        });
    }
    let ssh = text.starts_with("ssh-ed25519 ") || text.starts_with("ssh-rsa ");
    (!ssh).then(|| {
        format!(
            "{head:?} is no recipient of age: that is a public key `age1…`, `ssh-ed25519 …` or \
             `ssh-rsa …`"
        )
    })
}

/// Whether reading has left a recipient as it is written, for want of its variable.
fn unset(r: &Reader<'_, '_>, recipients: &[String]) -> bool {
    r.ctx.purpose.is_reading() && recipients.iter().any(|text| text.contains("${"))
}

/// Whose recipients these are: age takes its own keys and ssh keys, GnuPG all that names a key.
fn kind_of(recipients: &[String]) -> EncryptionType {
    let of_age = |text: &String| text.starts_with("age1") || text.starts_with("ssh-");
    if recipients.iter().all(of_age) { EncryptionType::Age } else { EncryptionType::Gpg }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_recipient_is_told_without_its_secrets() {
        let good = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
        for text in [good, "ssh-ed25519 AAAAC3Nza", "ssh-rsa AAAAB3 me@host"] {
            assert_eq!(no_age_recipient(text), None, "{text}");
        }
        for text in ["age1xyz", &good[..61], &good.replace('q', "b"), "a@example.com", "ssh-dss A"]
        {
            assert!(no_age_recipient(text).is_some(), "{text}");
        }
        let secret = no_age_recipient("AGE-SECRET-KEY-1QQQ").unwrap();
        assert!(secret.contains("public key") && !secret.contains("QQQ"), "{secret}");
    }
}
