//! What gpg tells programs beside its words for people (GnuPG's doc/DETAILS, "format of the
//! --status-fd output").

/// Before each line that is meant for programs.
const PREFIX: &str = "[GNUPG:] ";

/// Error codes of libgpg-error that mean: a passphrase was needed, and there was nobody to give it.
/// Bad passphrase, no pinentry, cancelled, no passphrase, fully cancelled.
const NO_PASSPHRASE: [u32; 5] = [11, 86, 99, 177, 198];

/// The code's part of an error value; the rest says which component it comes from.
const CODE: u32 = 0xffff;

/// A gpg's stderr, with its status lines in it.
#[derive(Debug, Default)]
pub(crate) struct Status {
    /// Its words for people.
    pub(crate) words: String,
    /// The ids of the keys that the message is encrypted to.
    pub(crate) encrypted_to: Vec<String>,
    /// What it says of the whole, the worst of it.
    authentic: Option<bool>,
    /// The message's own key was found, so that a secret key has served.
    opened: bool,
    /// Why secret keys that are there did not serve.
    errors: Vec<u32>,
    refused: bool,
}

impl Status {
    pub(crate) fn of(stderr: &str) -> Self {
        let mut status = Self::default();
        for line in stderr.lines() {
            if let Some(line) = line.strip_prefix(PREFIX) {
                status.take(line);
            } else {
                status.words.push_str(line);
                status.words.push('\n');
            }
        }
        status
    }

    fn take(&mut self, line: &str) {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("ENC_TO"), Some(id), _) => self.encrypted_to.push(id.to_owned()),
            (Some("DECRYPTION_INFO"), ..) => self.opened = true,
            (Some("DECRYPTION_OKAY"), ..) => {
                self.authentic.get_or_insert(true);
            }
            (Some("DECRYPTION_FAILED" | "BADMDC"), ..) => {
                self.authentic = Some(false);
            }
            (Some("ERROR"), Some("pkdecrypt_failed"), Some(error)) => {
                self.errors.extend(error.parse::<u32>().map(|e| e & CODE));
            }
            (Some("INV_RECP"), ..) => self.refused = true,
            _ => {}
        }
    }

    /// Everything was decrypted and has authenticated.
    pub(crate) fn is_decrypted(&self) -> bool {
        self.authentic == Some(true)
    }

    /// A secret key is there and locked.
    pub(crate) fn needs_passphrase(&self) -> bool {
        !self.opened && self.errors.iter().any(|e| NO_PASSPHRASE.contains(e))
    }

    /// No secret key of the message is there.
    pub(crate) fn lacks_secret_key(&self) -> bool {
        !self.opened && self.errors.is_empty() && !self.encrypted_to.is_empty()
    }

    /// A key cannot be encrypted to.
    pub(crate) fn refuses_recipient(&self) -> bool {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_key_an_absent_one_and_damage_are_told_apart() {
        let locked = Status::of(
            "[GNUPG:] ENC_TO 61E5483237FC52B4 18 0\ngpg: encrypted with 255-bit ECDH key\n\
             [GNUPG:] ERROR pkdecrypt_failed 67108963\n[GNUPG:] BEGIN_DECRYPTION\n\
             [GNUPG:] DECRYPTION_FAILED\ngpg: decryption failed: No secret key\n",
        );
        assert!(locked.needs_passphrase() && !locked.lacks_secret_key() && !locked.is_decrypted());
        assert_eq!(
            locked.words,
            "gpg: encrypted with 255-bit ECDH key\ngpg: decryption failed: No secret key\n"
        );
        let absent = Status::of(
            "[GNUPG:] ENC_TO 4A9202D7402D5376 18 0\n[GNUPG:] ENC_TO 61E5483237FC52B4 18 0\n\
             [GNUPG:] BEGIN_DECRYPTION\n[GNUPG:] DECRYPTION_FAILED\n",
        );
        assert!(absent.lacks_secret_key() && !absent.needs_passphrase());
        assert_eq!(absent.encrypted_to, ["4A9202D7402D5376", "61E5483237FC52B4"]);
        let flipped = Status::of(
            "[GNUPG:] ENC_TO 4A9202D7402D5376 18 0\n[GNUPG:] DECRYPTION_INFO 2 9 0\n\
             [GNUPG:] BADMDC\n[GNUPG:] DECRYPTION_FAILED\n",
        );
        assert!(!flipped.lacks_secret_key() && !flipped.needs_passphrase());
        assert!(!flipped.is_decrypted());
        let good = Status::of("[GNUPG:] DECRYPTION_OKAY\n[GNUPG:] GOODMDC\n");
        assert!(good.is_decrypted());
    }
}
