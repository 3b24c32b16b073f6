//! Taking connections: so many at once, none that dawdles, and an end that nobody can hold up.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use backupctl_application::World;
use backupctl_application::context::Cancel;
use backupctl_application::ports::{ConfigLoader, DaemonControl};
use backupctl_domain::{Failure, Secret};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::api::{self, Parts};
use crate::auth::Token;

/// How many connections are open at once; further ones wait to be taken.
const MAX_CONNECTIONS: usize = 64;

/// How long a connection may take to send the head of a request, the first or a further one.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// How long the head of a request may be, in bytes.
const HEAD_BYTES: usize = 16 * 1024;

/// How long requests that are being answered may take when the end has come.
const END_LIMIT: Duration = Duration::from_secs(3);

/// How long to wait when no connection can be taken, which is so when no file descriptor is left.
const ACCEPT_REST: Duration = Duration::from_secs(1);

/// Serves the HTTP interface until it is told to stop. Then event streams end at once, requests that
/// are being answered have a few seconds left, and connections that are still open are cut off.
///
/// Everything but `/health/live` asks for `token`; without one nothing else answers. A token that is a
/// file or a command is resolved here.
///
/// # Errors
///
/// `INVALID_CONFIG` where the token cannot be had. Nothing that a client does is an error.
pub async fn serve(
    listener: TcpListener,
    token: Option<Secret>,
    control: Arc<dyn DaemonControl>,
    world: Arc<World>,
    config: Arc<dyn ConfigLoader>,
    cancel: Cancel,
) -> Result<(), Failure> {
    let token = match token {
        Some(secret) => Some(config.resolve_secret("http.token", secret).await?),
        None => None,
    };
    let token = Token::new(token.as_ref())?;
    let parts = Parts::new(control, Arc::clone(&world), config, cancel.clone());
    let router = api::router(parts, token);
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "the HTTP interface listens");
    }

    let mut connections = JoinSet::new();
    take_all(&listener, &router, &world, &cancel, &mut connections).await;
    // From now on whoever connects is refused by the system instead of waiting for an answer.
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(END_LIMIT, ended).await.is_err() {
        tracing::warn!(open = connections.len(), "connections are cut off");
        connections.shutdown().await;
    }
    Ok(())
}

/// Takes connections until the end.
async fn take_all(
    listener: &TcpListener,
    router: &Router,
    world: &World,
    cancel: &Cancel,
    connections: &mut JoinSet<()>,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut stop = std::pin::pin!(cancel.cancelled());
    loop {
        let place = tokio::select! {
            biased;
            _ = &mut stop => return,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        // The results of those that have ended are nothing, and still take room until they are taken.
        while connections.try_join_next().is_some() {}
        let taken = tokio::select! {
            biased;
            _ = &mut stop => return,
            taken = listener.accept() => taken,
        };
        match taken {
            Ok((stream, _)) => {
                let (router, cancel) = (router.clone(), cancel.clone());
                connections.spawn(async move {
                    let _place = place;
                    answer(stream, router, &cancel).await;
                });
            }
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be taken");
                tokio::select! {
                    biased;
                    _ = &mut stop => return,
                    () = world.clock.sleep(ACCEPT_REST) => {}
                }
            }
        }
    }
}

/// Whether the client has gone again before it was taken.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Answers the requests of one connection.
async fn answer(stream: TcpStream, router: Router, cancel: &Cancel) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(HEAD_BYTES);
    let service = TowerToHyperService::new(router);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        _ = cancel.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
