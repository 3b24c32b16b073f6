//! The keys: whom to encrypt to, and what decrypts.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use age::ssh::ParseRecipientKeyError;
use age::{Identity, IdentityFile, Recipient};
use backupctl_domain::{ErrorCode, Failure};

/// No key file that means well is larger.
const KEY_FILE_LIMIT: u64 = 1 << 20;

const RECIPIENT_REMEDY: &str = "set `encryption.recipients` to age public keys (age1…, made by \
                                `age-keygen`) or ssh public keys (ssh-ed25519, ssh-rsa)";

const IDENTITY_REMEDY: &str = "set `encryption.identity_file` to a file made by `age-keygen -o`, \
                               or to an ssh private key without a passphrase";

pub(crate) type BoxedRecipient = Box<dyn Recipient + Send>;
pub(crate) type BoxedIdentity = Box<dyn Identity>;

/// The keys as configured; nothing is read before it is used.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) recipients: Vec<String>,
    pub(crate) recipients_file: Option<PathBuf>,
    pub(crate) identity_file: Option<PathBuf>,
}

impl Keys {
    /// Everybody to encrypt to: at least one.
    pub(crate) fn recipients(&self) -> Result<Vec<BoxedRecipient>, Failure> {
        let mut all = Vec::new();
        for (index, text) in self.recipients.iter().enumerate() {
            let place = format!("recipient {} of `encryption.recipients`", index + 1);
            all.push(parse_recipient(text.trim(), &place)?);
        }
        if let Some(path) = &self.recipients_file {
            let what = "recipients file";
            let text = String::from_utf8(read_key_file(path, what, "encryption.recipients_file")?)
                .map_err(|_| {
                    missing(format!("{what} {} is not text", path.display()), RECIPIENT_REMEDY)
                })?;
            for (index, line) in text.lines().enumerate() {
                let line = line.trim();
                if !line.is_empty() && !line.starts_with('#') {
                    let place = format!("{what} {}, line {}:", path.display(), index + 1);
                    all.push(parse_recipient(line, &place)?);
                }
            }
        }
        if all.is_empty() {
            return Err(match &self.recipients_file {
                Some(path) => missing(
                    format!("recipients file {} names no recipient", path.display()),
                    "add one public key a line to it",
                ),
                None => missing("no recipient is configured".to_owned(), RECIPIENT_REMEDY),
            });
        }
        Ok(all)
    }

    /// Whether everything that is configured can be used.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.recipients()?;
        if self.identity_file.is_some() {
            self.identities()?;
        }
        Ok(())
    }

    /// What decrypts: the identities of the identity file.
    pub(crate) fn identities(&self) -> Result<Vec<BoxedIdentity>, Failure> {
        let Some(path) = &self.identity_file else {
            return Err(missing(
                "no identity to decrypt with is configured".to_owned(),
                IDENTITY_REMEDY,
            ));
        };
        let content = read_key_file(path, "identity file", "encryption.identity_file")?;
        refuse_open_permissions(path)?;
        parse_identities(&content, path)
    }
}

fn missing(message: String, remedy: &str) -> Failure {
    Failure::new(ErrorCode::EncryptionKeyMissing, message).with_remedy(remedy)
}

fn read_key_file(path: &Path, what: &str, key: &str) -> Result<Vec<u8>, Failure> {
    let fail = |error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                format!("give this user the right to read {}", path.display())
            }
            _ => format!("create {}, or correct `{key}`", path.display()),
        };
        missing(format!("{what} {} cannot be read: {error}", path.display()), &remedy)
    };
    let metadata = fs::metadata(path).map_err(fail)?;
    if !metadata.is_file() || metadata.len() > KEY_FILE_LIMIT {
        let message = format!("{what} {} is no key file", path.display());
        return Err(missing(message, &format!("correct `{key}`")));
    }
    fs::read(path).map_err(fail)
}

fn refuse_open_permissions(path: &Path) -> Result<(), Failure> {
    let mode = fs::metadata(path).map_or(0, |m| m.permissions().mode() & 0o777);
    let others = mode & 0o077;
    if others == 0 {
        return Ok(());
    }
    let path = path.display();
    Err(Failure::new(
        ErrorCode::EncryptionKeyPermissions,
        format!("identity file {path} is open to others (mode {mode:04o})"),
    )
    .with_remedy(format!("run `chmod 600 {path}`")))
}

fn parse_recipient(text: &str, place: &str) -> Result<BoxedRecipient, Failure> {
    // Whoever mistook the one for the other must not find the secret in a log.
    if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
        return Err(missing(
            format!("{place} is a secret key, not a recipient"),
            "use its public key (the line `# public key:` of the key file)",
        ));
    }
    let head: String = text.chars().take(20).collect();
    let wrong = |why: &str| missing(format!("{place} {head:?} {why}"), RECIPIENT_REMEDY);
    if text.starts_with("age1") {
        return match text.parse::<age::x25519::Recipient>() {
            Ok(recipient) => Ok(Box::new(recipient)),
            Err(_) => Err(wrong("is not a valid age public key")),
        };
    }
    match text.parse::<age::ssh::Recipient>() {
        Ok(recipient) => Ok(Box::new(recipient)),
        Err(ParseRecipientKeyError::RsaModulusTooSmall) => {
            Err(wrong("is an ssh-rsa key of less than 2048 bits"))
        }
        Err(ParseRecipientKeyError::RsaModulusTooLarge) => {
            Err(wrong("is an ssh-rsa key of more than 4096 bits"))
        }
        Err(ParseRecipientKeyError::Unsupported(_)) => {
            Err(wrong("is an ssh key of a type that age cannot encrypt to"))
        }
        Err(_) => Err(wrong("is neither an age nor an ssh public key")),
    }
}

fn parse_identities(content: &[u8], path: &Path) -> Result<Vec<BoxedIdentity>, Failure> {
    let path = path.display();
    let wrong = |why: &str| missing(format!("identity file {path} {why}"), IDENTITY_REMEDY);
    let locked = "is protected by a passphrase, which nobody could type during a restore";
    if content.starts_with(b"age-encryption.org/")
        || content.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----")
    {
        return Err(wrong(locked));
    }
    if content.starts_with(b"-----BEGIN ") {
        return match age::ssh::Identity::from_buffer(content, None) {
            Ok(key @ age::ssh::Identity::Unencrypted(_)) => Ok(vec![Box::new(key)]),
            Ok(age::ssh::Identity::Encrypted(_)) => Err(wrong(locked)),
            Ok(age::ssh::Identity::Unsupported(_)) => {
                Err(wrong("holds an ssh key of a type that age cannot use"))
            }
            Err(_) => Err(wrong("holds no ssh private key that can be read")),
        };
    }
    let identities = IdentityFile::from_buffer(content)
        .map_err(|_| wrong("holds something that is not an age identity"))?
        .into_identities()
        .map_err(|_| wrong("holds an identity that cannot be used"))?;
    if identities.is_empty() {
        return Err(wrong("holds no identity"));
    }
    Ok(identities.into_iter().map(|i| i as BoxedIdentity).collect())
}
