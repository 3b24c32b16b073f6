//! Keys for encrypting dumps, and identities for opening them again.

use super::Explanation;

pub(super) const KEY_MISSING: Explanation = Explanation {
    meaning: "The key that a dump is encrypted to, or the identity that opens it, was not found. \
              Nothing was stored unencrypted in its place.",
    causes: &[
        "`encryption.recipient` is not set, or is neither an age nor an ssh public key",
        "`encryption.recipients_file` or `encryption.identity_file` names a path that does not \
         exist here; key folders drift between machines",
        "gpg: the public key was never imported for the user that backupctl runs as",
    ],
    remedy: "set `encryption.recipient` to the public key or `encryption.recipients_file` to its \
             file (for restore `encryption.identity_file`); gpg keys go into `gpg_keys_dir`",
};

pub(super) const KEY_EXPIRED: Explanation = Explanation {
    meaning: "The encryption key has expired, was revoked or is disabled, and gpg refuses to \
              encrypt to it.",
    causes: &[
        "the key's expiry date has passed",
        "the key was extended elsewhere, and this machine still has the old copy",
        "the key was revoked and replaced by another one",
    ],
    remedy: "extend the key (`gpg --quick-set-expire FINGERPRINT 2y`) and import the new copy \
             through `gpg_keys_dir`, or set `encryption.recipient` to its successor",
};

pub(super) const KEY_PERMISSIONS: Explanation = Explanation {
    meaning: "The identity file can be read by others, or not by this process.",
    causes: &[
        "the file was copied without its mode; it must be 0600",
        "the file belongs to root while backupctl runs as another user",
        "the folder of the file cannot be entered by this user",
    ],
    remedy: "run `chmod 600` on the file of `encryption.identity_file` and make it belong to the \
             user that runs backupctl",
};

pub(super) const DECRYPTION_FAILED: Explanation = Explanation {
    meaning: "The file could not be decrypted as a whole. Nothing of it was written, because what \
              precedes the damage is not proven either.",
    causes: &[
        "`encryption.identity_file` holds another identity than the one it was encrypted to",
        "the key was replaced after this snapshot was made; the old identity is needed",
        "the file is cut or damaged",
        "the identity has a passphrase, and there is nobody to ask for it",
    ],
    remedy: "give the identity of the time of the backup in `encryption.identity_file`, or restore \
             another snapshot from `backupctl snapshots PROJECT`",
};
