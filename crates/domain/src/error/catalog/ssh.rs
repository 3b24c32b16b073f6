//! The way to a repository over ssh.

use super::Explanation;

pub(super) const NOT_CONFIGURED: Explanation = Explanation {
    meaning: "The project's repository is a path on the ssh host, and no ssh host is configured.",
    causes: &[
        "`restic.repository_path` is set, but neither `ssh.host` nor `SSH_HOST` is",
        "the `.env` that holds `SSH_HOST` is not beside the configuration file that was read",
        "the repository is meant to be a local folder: that key is `restic.repository`",
    ],
    remedy: "set `ssh.host` and `ssh.user` (or SSH_HOST and SSH_USER in `.env`), or give the whole \
             location in `restic.repository`",
};

pub(super) const PERMISSION_DENIED: Explanation = Explanation {
    meaning: "The ssh server was reached and refused every key that was offered.",
    causes: &[
        "the public key is not in the server's `authorized_keys`",
        "`ssh.key_path` names another key, or none is set and the service's user has no default key",
        "`ssh.user` is not the account that the key belongs to (storage boxes use u123456)",
        "on the server, the home folder or `.ssh` is writable by others, so sshd ignores the key",
    ],
    remedy: "install the public key with `ssh-copy-id -i KEY.pub -p PORT USER@HOST` and set \
             `ssh.key_path` and `ssh.user` to match",
};

pub(super) const HOST_KEY_UNKNOWN: Explanation = Explanation {
    meaning: "The ssh server's host key is not in the known-hosts file, or differs from the one \
              there. Nothing was sent to it.",
    causes: &[
        "this machine, or the user that the service runs as, never connected to that host before",
        "the key is known under another name or port than `ssh.host` and `ssh.port` say",
        "the server was reinstalled and has a new key",
        "somebody else answers in the server's place",
    ],
    remedy: "compare `ssh-keyscan -p PORT HOST | ssh-keygen -lf -` with the fingerprint that the \
             provider publishes, then add that line to `ssh.known_hosts_path`",
};

pub(super) const KEY_PERMISSIONS: Explanation = Explanation {
    meaning: "The private ssh key is missing, unreadable for this process, or readable for others, \
              in which case ssh refuses to use it.",
    causes: &[
        "the key file's mode is wider than 0600, often after copying it or mounting it from a \
         container host",
        "`ssh.key_path` names a file that does not exist on this machine",
        "the file belongs to another user than the one that backupctl runs as",
    ],
    remedy: "run `chmod 600` on the file of `ssh.key_path` and make it belong to the user that \
             runs backupctl",
};

pub(super) const CONNECTION_REFUSED: Explanation = Explanation {
    meaning: "Nothing accepts ssh connections at that host and port, or the host's name does not \
              resolve.",
    causes: &[
        "the server is down, or its sshd is not running",
        "`ssh.port` is wrong: storage boxes often listen at 23, not 22",
        "`ssh.host` is misspelt, or this machine's name resolution is down",
        "a firewall rejects the connection from this machine's address",
    ],
    remedy: "try `ssh -p PORT USER@HOST` from this machine, then correct `ssh.host` and `ssh.port` \
             or start the server",
};

pub(super) const TIMEOUT: Explanation = Explanation {
    meaning: "The ssh server did not answer in time; its host may be off, or packets are dropped \
              on the way.",
    causes: &[
        "the server or this machine is offline",
        "a firewall drops packets instead of rejecting them",
        "the network path is overloaded at the time of the backup",
    ],
    remedy: "check that `ssh.host` answers at `ssh.port` from this machine (`nc -vz HOST PORT`) \
             and that firewalls let it through",
};

pub(super) const DISCONNECTED: Explanation = Explanation {
    meaning: "The ssh connection was made and then lost before the work was done.",
    causes: &[
        "the network between the machines broke, or a router forgot the idle connection",
        "the server was restarted, or its sshd reached its limit of sessions",
        "the provider ends connections that are too many or too long",
    ],
    remedy: "run the backup again with `backupctl run PROJECT`; if it recurs, look at the \
             server's sshd log and lower `restic.limit_upload_kib`",
};
