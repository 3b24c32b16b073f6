//! A stand-in for `mongodump` and for a server's first words: neither is in Debian.
//!
//! The program is a shell script with the documented interface of version 100.9: it takes the options
//! that are documented and no others, reads the password where it may come from, writes a prepared
//! archive of the real format, and says and exits as the real one does (its words are from
//! mongo-tools' sources and from public reports).

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use super::free_port;
use crate::WorkDir;
use crate::mongo_archive::{Field, MongoArchive, bson};

const PROGRAM: &str = r#"#!/bin/sh
# Stands in for mongodump 100.9.4.
here=@HERE@
mode=$(cat "$here/mode")
say() { printf '2026-03-18T00:00:05.123+0000\t%s\n' "$*" >&2; }
fail() { say "Failed: $*"; exit 1; }
bad() { say "error parsing command line options: $*"; say "try 'mongodump --help' for more information"; exit 1; }
printf '%s\n' "$@" > "$here/args"
tr '\0' '\n' < /proc/$$/environ > "$here/environ"
host=localhost port= uri= db= collection= user= config= archive= excluded=
while [ $# -gt 0 ]; do
    case $1 in
        --version)
            printf 'mongodump version: 100.9.4\ngit version: 5e28b9a\nGo version: go1.21.5\n   os: linux\n   arch: amd64\n   compiler: gc\n'
            exit 0 ;;
        --host=*) host=${1#*=} ;;
        --port=*) port=${1#*=} ;;
        --uri=*) uri=${1#*=} ;;
        --db=*) db=${1#*=} ;;
        --collection=*) collection=${1#*=} ;;
        --username=*) user=${1#*=} ;;
        --config=*) config=${1#*=} ;;
        --excludeCollection=*) excluded=${1#*=} ;;
        --authenticationDatabase) shift ;;
        --authenticationDatabase=*|--readPreference=*|--sslCAFile=*|--numParallelCollections=*) ;;
        --archive) archive=- ;;
        --ssl|--tlsInsecure|--oplog|--dumpDbUsersAndRoles|--verbose|-v) ;;
        -*) bad "unknown option \"${1#--}\"" ;;
        *) say "error parsing positional arguments: provide only one MongoDB connection string. Connection strings must begin with mongodb:// or mongodb+srv:// schemes"; exit 1 ;;
    esac
    shift
done
address=$host:${port:-27017}
if [ -n "$uri" ]; then address=$uri; fi
password=
if [ -n "$config" ]; then
    [ "$(stat -c %a "$config")" = 600 ] || fail "the stand-in found $config readable by others"
    [ "$(wc -l < "$config")" = 1 ] || fail "error parsing config file $config: yaml: line 2"
    password=$(cat "$config")
elif [ -n "$user" ]; then
    say "reading password from standard input"
    printf 'Enter password for mongo user:\n' >&2
    IFS= read -r typed
    password="password: \"$typed\""
fi
if [ "$mode" = refused ]; then
    fail "can't create session: failed to connect to mongodb://$address/: server selection error: server selection timeout, current topology: { Type: Single, Servers: [{ Addr: $address, Type: Unknown, Last error: connection() error occurred during connection handshake: dial tcp 127.0.0.1:${port:-27017}: connect: connection refused }, ] }"
fi
if [ "$user" != "$(cat "$here/user")" ] || [ "$password" != "$(cat "$here/password")" ]; then
    fail "can't create session: failed to connect to mongodb://$address/: connection() error occurred during connection handshake: auth error: unable to authenticate using mechanism \"SCRAM-SHA-256\": (AuthenticationFailed) Authentication failed."
fi
if [ "$mode" = forbidden ]; then
    fail "error creating intents to dump: error getting collections for database \`$db\`: (Unauthorized) not authorized on $db to execute command { listCollections: 1, filter: {}, cursor: {}, lsid: { id: UUID(\"413df0a9-74b3-4916-8619-0299126874bd\") }, \$db: \"$db\" }"
fi
if [ -n "$excluded" ] && [ -z "$db" ]; then fail "bad option: --db is required when --excludeCollection is specified"; fi
if [ -n "$excluded" ] && [ -n "$collection" ]; then fail "bad option: --collection is not allowed when --excludeCollection is specified"; fi
if [ -n "$collection" ]; then
    say "namespace with DB $db and collection $collection does not exist"
    exit 0
fi
[ "$archive" = - ] || fail "the stand-in only writes archives to stdout"
size=$(wc -c < "$here/archive")
case $mode in
    dies)
        head -c $((size / 2)) "$here/archive"
        fail "error writing data for collection \`shop.orders\` to disk: error reading collection: connection($address[-5]) incomplete read of full message: read tcp 10.8.1.89:42846->10.12.10.157:27017: read: connection reset by peer" ;;
    killed)
        head -c $((size / 2)) "$here/archive"
        kill -KILL $$ ;;
    lies)
        head -c "$(cat "$here/bytes")" "$here/archive"
        exit 0 ;;
    silent) exit 0 ;;
    hangs)
        head -c $((size / 2)) "$here/archive"
        : > "$here/hanging"
        exec sleep 600 ;;
esac
cat "$here/archive"
while IFS= read -r line; do say "$line"; done < "$here/said"
"#;

/// What the stand-in does when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MongoMode {
    /// Dumps.
    Dumps,
    /// Finds no server.
    Refused,
    /// Is let in and may not list collections.
    Forbidden,
    /// Loses the server in the middle of a collection.
    Dies,
    /// Is killed in the middle.
    Killed,
    /// Writes so many bytes of the archive and ends with status 0.
    Lies(usize),
    /// Writes nothing and ends with status 0.
    Silent,
    /// Writes one half, makes the file [`Mongodump::hanging`] and hangs.
    Hangs,
}

/// A `mongodump` that dumps a prepared archive, and a port at which a server seems to be.
#[derive(Debug)]
pub struct Mongodump {
    work: WorkDir,
    port: u16,
}

impl Mongodump {
    /// The user that is let in.
    pub const USER: &str = "shop";
    /// The user's password.
    pub const PASSWORD: &str = "database-password";

    /// Installs it in a folder of its own. It lets in [`Mongodump::USER`] with
    /// [`Mongodump::PASSWORD`].
    pub fn install(archive: &MongoArchive) -> Self {
        let work = WorkDir::new();
        let here = work.path().to_string_lossy().into_owned();
        let program = work.file("bin/mongodump", PROGRAM.replace("@HERE@", &here));
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("our own file");
        work.file("user", Self::USER);
        work.file("password", format!("password: \"{}\"", Self::PASSWORD));
        let stand_in = Self { work, port: serve_first_words() };
        stand_in.mode(MongoMode::Dumps);
        stand_in.archive(archive);
        stand_in
    }

    /// Another archive, and the counts that are told of it.
    pub fn archive(&self, archive: &MongoArchive) {
        self.bytes(archive.bytes());
        self.said(&archive.said());
    }

    /// Whatever bytes for an archive.
    pub fn bytes(&self, bytes: impl AsRef<[u8]>) {
        self.work.file("archive", bytes);
    }

    /// What it says at its end.
    pub fn said(&self, lines: &[String]) {
        let ended: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
        self.work.file("said", ended.concat());
    }

    /// Lets nobody in but somebody without name and password.
    pub fn without_login(&self) {
        self.work.file("user", "");
        self.work.file("password", "");
    }

    /// What it does from now on.
    pub fn mode(&self, mode: MongoMode) {
        let word = match mode {
            MongoMode::Dumps => "dumps",
            MongoMode::Refused => "refused",
            MongoMode::Forbidden => "forbidden",
            MongoMode::Dies => "dies",
            MongoMode::Killed => "killed",
            MongoMode::Lies(bytes) => {
                self.work.file("bytes", bytes.to_string());
                "lies"
            }
            MongoMode::Silent => "silent",
            MongoMode::Hangs => "hangs",
        };
        self.work.file("mode", word);
    }

    /// The `PATH` in which it is found before anything else.
    pub fn path(&self) -> String {
        format!("{}:/usr/local/bin:/usr/bin:/bin", self.bin().display())
    }

    /// The folder that it is in.
    pub fn bin(&self) -> PathBuf {
        self.work.join("bin")
    }

    /// The port of 127.0.0.1 at which a server of version 7.0.5 tells who it is, and nothing else.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The arguments of the last call.
    pub fn args(&self) -> Vec<String> {
        let text = fs::read_to_string(self.work.join("args")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The environment of the last call, one variable a line.
    pub fn environment(&self) -> String {
        fs::read_to_string(self.work.join("environ")).unwrap_or_default()
    }

    /// The file that is there once a call hangs.
    pub fn hanging(&self) -> PathBuf {
        self.work.join("hanging")
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        self.work.path()
    }
}

/// Answers `hello` and `buildInfo` until the process ends.
fn serve_first_words() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", free_port()))
        .or_else(|_| TcpListener::bind(("127.0.0.1", 0)))
        .expect("a free port");
    let port = listener.local_addr().expect("the listener's address").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || while answer(&stream).is_some() {});
        }
    });
    port
}

/// Answers one question; `None` once there is none.
fn answer(mut stream: &TcpStream) -> Option<()> {
    let mut head = [0; 16];
    stream.read_exact(&mut head).ok()?;
    let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let mut body = vec![0; word(0) as usize - 16];
    stream.read_exact(&mut body).ok()?;
    // Behind four bytes of flags, the section's kind, the document's length and its first value's kind.
    let name: Vec<u8> = body[10..].iter().copied().take_while(|b| *b != 0).collect();
    let document = match name.as_slice() {
        b"hello" => bson(&[
            ("isWritablePrimary", Field::Bool(true)),
            ("maxWireVersion", Field::Int32(21)),
            ("ok", Field::Double(1.0)),
        ]),
        b"buildInfo" => {
            bson(&[("version", Field::Text(MongoArchive::SERVER)), ("ok", Field::Double(1.0))])
        }
        _ => bson(&[("ok", Field::Double(0.0)), ("code", Field::Int32(59))]),
    };
    let length = u32::try_from(document.len() + 21).expect("a short answer");
    let mut message = Vec::new();
    for number in [length, 1, word(4), 2013, 0] {
        message.extend(number.to_le_bytes());
    }
    message.push(0);
    message.extend(document);
    stream.write_all(&message).ok()
}
