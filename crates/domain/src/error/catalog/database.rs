//! Reaching a database and being let in.

use super::Explanation;

pub(super) const VERSION_MISMATCH: Explanation = Explanation {
    meaning: "The dump tool is older than the database server, and refuses to dump what it may not \
              understand.",
    causes: &[
        "the server was upgraded and the client packages of this machine were not",
        "several client versions are installed and the oldest comes first in PATH",
        "the server runs in a container whose image is newer than this machine's packages",
    ],
    remedy: "install client tools of the server's major version or newer (e.g. \
             `apt install postgresql-client-17`) and put them first in PATH",
};

pub(super) const CONNECTION_REFUSED: Explanation = Explanation {
    meaning: "Nothing accepts connections at the database's host and port, or its host name does \
              not resolve.",
    causes: &[
        "the database server is not running, or is still starting",
        "`database.host` or `database.port` is wrong; the name of a container resolves only inside \
         its own network",
        "the server listens on a unix socket or on 127.0.0.1 alone",
        "a firewall rejects the connection",
    ],
    remedy: "start the database, or correct `database.host` and `database.port` (a published port \
             instead of a container's name), then check with `backupctl run PROJECT --dry-run`",
};

pub(super) const TIMEOUT: Explanation = Explanation {
    meaning: "The database did not answer in time: no connection came about, or a lock that the \
              dump needs was not granted.",
    causes: &[
        "a firewall between the machines drops packets",
        "a long transaction or a schema change holds a lock on a table that is to be dumped",
        "the server is overloaded or out of free connections",
    ],
    remedy: "check that `database.host` answers at `database.port` from this machine, and end or \
             wait for transactions that hold locks at the time of the backup",
};

pub(super) const DISCONNECTED: Explanation = Explanation {
    meaning: "The connection to the database broke while the dump was being made. What had been \
              written is incomplete and was removed.",
    causes: &[
        "the server was restarted, crashed, or was ended for lack of memory",
        "an administrator or a timeout of the server ended the session",
        "the network, or a proxy between the machines, cut a long-lived connection",
    ],
    remedy: "look at the database server's log for the time of the run, then start the backup \
             again with `backupctl run PROJECT`",
};

pub(super) const AUTH_FAILED: Explanation = Explanation {
    meaning: "The database was reached and did not accept this user with this password.",
    causes: &[
        "`database.password` is wrong, or was changed on the server",
        "`${VAR}` resolves to another value here than where it was tried; `.env` loses to the real \
         environment",
        "the user does not exist, or may not log in from this host (`pg_hba.conf`, \
         `'user'@'host'`)",
    ],
    remedy: "correct `database.user` and `database.password` (or `password_file`), and allow this \
             host on the server",
};

pub(super) const NOT_FOUND: Explanation = Explanation {
    meaning: "The server was reached and has no database of that name; for SQLite, the file does \
              not exist.",
    causes: &[
        "`database.name` is misspelt or has another case than on the server",
        "`database.host` or `database.port` leads to another server than meant",
        "`database.path` of a SQLite project names a file that was moved or is on a disk that is \
         not mounted",
        "the database was dropped or renamed",
    ],
    remedy: "set `database.name` (for SQLite `database.path`) to the database that exists there",
};

pub(super) const PERMISSION_DENIED: Explanation = Explanation {
    meaning: "The user may log in, but not read everything that is to be dumped.",
    causes: &[
        "tables were added later by another owner, and the grants do not cover them",
        "row-level security hides rows from this user",
        "MySQL or MariaDB: EVENT, TRIGGER, SHOW VIEW or LOCK TABLES is not granted",
        "`database.options.globals` reads roles, for which a superuser is needed",
    ],
    remedy: "grant the dump user read access to the object in the message (PostgreSQL: \
             `GRANT pg_read_all_data TO user`), or leave it out with \
             `database.options.exclude_tables`",
};
