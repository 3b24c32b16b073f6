//! A server's first words over its wire protocol: whether it is there, and of which version it is.
//!
//! Neither needs a login. `mongodump` itself waits half a minute for a server that refuses, and tells
//! its version only once it dumps.

use std::io;
use std::time::Duration;

use backupctl_application::context::{StageContext, interrupted};
use backupctl_domain::project::Database;
use backupctl_domain::{ErrorCode, Failure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::args::{several, socket};
use super::bson::{Value, command, fields, get};
use super::place;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// `OP_MSG`, which servers from 3.6 on speak.
const OP_MSG: u32 = 2013;
/// An answer to our questions has some hundred bytes.
const LONGEST_ANSWER: u32 = 1 << 20;

/// The server's version; `None` where it cannot be asked this way: inside a container, behind TLS, or
/// where there are several servers.
pub(crate) async fn version(
    database: &Database,
    ctx: &StageContext,
) -> Result<Option<String>, Failure> {
    let tls = database.options.sslmode.as_deref().is_some_and(|mode| mode != "disable")
        || database.options.sslrootcert.is_some();
    let host = if database.host.is_empty() { "localhost" } else { &database.host };
    let path = socket(database);
    if tls || database.container.is_some() || path.is_none() && several(host).is_some() {
        return Ok(None);
    }
    let asked = async {
        if let Some(path) = path {
            return ask(UnixStream::connect(path).await?).await;
        }
        let host = host.trim_start_matches('[').trim_end_matches(']');
        ask(TcpStream::connect((host, database.port)).await?).await
    };
    let place = place(database);
    tokio::select! {
        answer = tokio::time::timeout(PATIENCE, asked) => match answer {
            Ok(answer) => answer.map(Some).map_err(|e| failure(&e, &place)),
            Err(_) => Err(Failure::new(
                ErrorCode::DbTimeout,
                format!("database {place}: no answer within {} s", PATIENCE.as_secs()),
            )
            .with_remedy(
                "check `database.host` and `database.port`, the firewalls between here and the server, and its load",
            )),
        },
        why = ctx.cancel.cancelled() => Err(interrupted(why)),
    }
}

/// Asks who is there, and for the version. What the server does not tell to strangers is named by its
/// wire version, as its release notes do.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<String> {
    let hello = call(&mut stream, 1, "hello").await?;
    let hello = fields(&hello).ok_or_else(no_mongodb)?;
    let wire = get(&hello, "maxWireVersion").and_then(Value::int);
    let info = call(&mut stream, 2, "buildInfo").await?;
    let version = fields(&info).and_then(|info| get(&info, "version")?.text().map(str::to_owned));
    match (version, wire) {
        (Some(version), _) => Ok(version),
        (None, Some(wire)) => Ok(format!("unknown (wire version {wire})")),
        (None, None) => Err(no_mongodb()),
    }
}

/// Sends one command and reads the document of its answer.
async fn call<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    id: u32,
    name: &str,
) -> io::Result<Vec<u8>> {
    let document = command(name);
    let length = u32::try_from(document.len()).unwrap_or(u32::MAX).saturating_add(21);
    let mut message = Vec::new();
    // Length, our number, the number answered, the kind; then no flags and a section of one document.
    for number in [length, id, 0, OP_MSG, 0] {
        message.extend(number.to_le_bytes());
    }
    message.push(0);
    message.extend(document);
    stream.write_all(&message).await?;
    let length = stream.read_u32_le().await?;
    let _number = stream.read_u32_le().await?;
    let (answered, kind) = (stream.read_u32_le().await?, stream.read_u32_le().await?);
    if answered != id || kind != OP_MSG || !(26..=LONGEST_ANSWER).contains(&length) {
        return Err(no_mongodb());
    }
    let mut body = vec![0; length as usize - 16];
    stream.read_exact(&mut body).await?;
    // Flags and the kind of the one section.
    Ok(body.split_off(5))
}

fn no_mongodb() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what listens there does not answer as MongoDB")
}

fn failure(error: &io::Error, place: &str) -> Failure {
    let new = |what: &str| {
        Failure::new(ErrorCode::DbConnectionRefused, format!("database {place}: {what}"))
    };
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            new("the server ended the connection at the first word").with_remedy(
                "where the server wants TLS, set `database.options.sslmode`; else look into its log",
            )
        }
        io::ErrorKind::InvalidData => new(&error.to_string())
            .permanent()
            .with_remedy("check `database.host`, `database.port` and `database.options.sslmode`"),
        io::ErrorKind::PermissionDenied => {
            new(&format!("its socket may not be opened: {error}"))
                .permanent()
                .with_remedy("let the user running backupctl open the socket, or set `database.host` to a host name")
        }
        _ => new(&error.to_string()).with_remedy(
            "check `database.host` and `database.port`, and that MongoDB runs and listens there",
        ),
    }
}
