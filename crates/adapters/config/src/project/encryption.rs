//! `encryption`: whether, with what, and for whom.

use backupctl_domain::project::{Encryption, EncryptionType};

use crate::layers::Origin;
use crate::reader::Reader;

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
    Some(Encryption { kind, recipients, recipients_file, identity_file })
}

/// Whose recipients these are: age takes its own keys and ssh keys, GnuPG all that names a key.
fn kind_of(recipients: &[String]) -> EncryptionType {
    let of_age = |text: &String| text.starts_with("age1") || text.starts_with("ssh-");
    if recipients.iter().all(of_age) { EncryptionType::Age } else { EncryptionType::Gpg }
}
