//! A way into a container for our own connection: a socket on this side, the server on that one.
//!
//! So our questions come from where the programs run, and no port need be published. The bytes go
//! through `docker exec` and bash, which the images of PostgreSQL have, alpine's too.

use std::fs::Permissions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use backupctl_adapter_process::{Output, ProcessError, last_lines};
use backupctl_application::context::{Cancel, Interrupt, StageContext};
use backupctl_domain::{ErrorCode, Failure};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::client::Client;
use super::session::place;

/// How long the other side may take to notice that ours is closed.
const GRACE: Duration = Duration::from_secs(5);

/// Connects to the host `$1` and port `$2`, and carries bytes both ways until either side ends.
const BRIDGE: &str = r#"exec 3<>"/dev/tcp/$1/$2" || exit 1
exec 4<&0
cat <&3 & from=$!
cat <&4 >&3 & to=$!
wait -n
kill "$from" "$to" 2> /dev/null
exit 0"#;

/// A socket that leads into the container, for one connection at a time. What it has started in
/// there ends with the connection.
#[derive(Debug)]
pub(crate) struct Tunnel {
    dir: Option<TempDir>,
    stop: oneshot::Sender<()>,
    cancel: Cancel,
    bridge: JoinHandle<Option<Failure>>,
}

impl Tunnel {
    /// Makes it. Whether it leads anywhere shows when somebody connects.
    pub(crate) fn open(client: &Client, ctx: &StageContext) -> Result<Self, Failure> {
        let (database, place) = (&client.database, place(&client.database));
        let host = if database.host.is_empty() { "localhost" } else { &database.host };
        if host.starts_with('/') {
            return Err(Failure::new(
                ErrorCode::InvalidConfig,
                "`database.host` is the folder of a socket, and `database.via` names a container: backupctl's own connection takes TCP in there",
            )
            .with_remedy("set `database.host: localhost`, as seen from inside the container"));
        }
        let port = database.port;
        let (dir, listener) = listen(port).map_err(|e| {
            Failure::internal(format!("no socket for the way into a container: {e}"))
        })?;
        let tool = client.tool("bash".as_ref()).args(["-c", BRIDGE, "bash", host]);
        let tool = tool.arg(port.to_string());
        let (stop, mut stopped) = oneshot::channel();
        let cancel = Cancel::new();
        // The run's own request to stop closes our side, and that ends it all.
        let ctx = StageContext::new(ctx.stage, cancel.clone(), ctx.redactor.clone());
        let bridge = tokio::spawn(async move {
            loop {
                let stream = tokio::select! {
                    biased;
                    _ = &mut stopped => return None,
                    accepted = listener.accept() => accepted.and_then(|(stream, _)| blocking(stream)),
                };
                let ended = match stream {
                    Ok(stream) => tool.clone().run_on(&ctx, stream).await,
                    Err(source) => Err(ProcessError::Start { program: "bash".to_owned(), source }),
                };
                if let Some(failure) = failure(ended, &place) {
                    return Some(failure);
                }
            }
        });
        Ok(Self { dir: Some(dir), stop, cancel, bridge })
    }

    /// The folder of the socket, called as the server's own would be.
    pub(crate) fn dir(&self) -> Option<&Path> {
        self.dir.as_ref().map(TempDir::path)
    }

    /// Lets nobody else in.
    pub(crate) fn shut(&mut self) {
        self.dir = None;
    }

    /// Waits until it has ended in the container, once the connection is closed; why it led nowhere,
    /// if it did not.
    pub(crate) async fn close(self) -> Option<Failure> {
        let Self { dir, stop, cancel, mut bridge } = self;
        drop((dir, stop));
        let by_itself = tokio::time::timeout(GRACE, &mut bridge).await;
        let ended = if let Ok(ended) = by_itself {
            ended
        } else {
            cancel.cancel(Interrupt::Term);
            bridge.await
        };
        ended.ok().flatten()
    }
}

/// A socket in a folder that is ours alone: whoever can connect is in the container.
fn listen(port: u16) -> io::Result<(TempDir, UnixListener)> {
    let private = Permissions::from_mode(0o700);
    let dir = tempfile::Builder::new().prefix("backupctl-").permissions(private).tempdir()?;
    let listener = UnixListener::bind(dir.path().join(format!(".s.PGSQL.{port}")))?;
    Ok((dir, listener))
}

fn blocking(stream: tokio::net::UnixStream) -> io::Result<OwnedFd> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    Ok(stream.into())
}

/// Why nobody was reached, if nobody was.
fn failure(ended: Result<Output, ProcessError>, place: &str) -> Option<Failure> {
    let output = match ended {
        Ok(output) if output.success() => return None,
        Ok(output) => output,
        // By ourselves, when it is of no use any more.
        Err(ProcessError::Interrupted(_)) => return None,
        Err(error) => return Some(error.into_failure(ErrorCode::DbTimeout)),
    };
    let said = last_lines(&output.stderr, 1);
    let said = said.split_once("/dev/tcp/").map_or(said.as_str(), |(_, rest)| rest);
    let timed_out = said.contains("timed out");
    let code = if timed_out { ErrorCode::DbTimeout } else { ErrorCode::DbConnectionRefused };
    let message = format!("database {place}, from inside the container: {said}");
    Some(Failure::new(code, message).with_detail(output.last_lines(10)).with_remedy(
        "check `database.host` and `database.port`, which are as seen from inside the container (`localhost` for its own server), and that PostgreSQL runs and listens there",
    ))
}
