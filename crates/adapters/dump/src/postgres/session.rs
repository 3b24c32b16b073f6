//! Our own connection to the server: what is there before the dump, and what its refusals mean.

use std::fs::File;
use std::io;
use std::time::Duration;

use backupctl_application::context::StageContext;
use backupctl_domain::project::Database;
use backupctl_domain::{ErrorCode, Failure};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::client::Client;
use super::tunnel::Tunnel;
use crate::percent::encode;

/// How long a server may take to accept us.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one of our few questions may take; the catalog of a large database is among them.
const QUERY_TIMEOUT: Duration = Duration::from_mins(2);
/// How long a change of whole databases may take.
const RUN_TIMEOUT: Duration = Duration::from_mins(10);

/// A connection, and what messages call the database.
pub(crate) struct Session {
    connection: PgConnection,
    tunnel: Option<Tunnel>,
    /// `shop at db:5432`.
    pub(crate) place: String,
    /// The database's name.
    pub(crate) database: String,
    /// The server's version as it tells it, e.g. `15.18`.
    pub(crate) server_version: String,
}

/// What messages call the database: `shop at db:5432`.
pub(crate) fn place(database: &Database) -> String {
    let host = if database.host.is_empty() { "localhost" } else { &database.host };
    format!("{} at {host}:{}", database.name, database.port)
}

/// The connection's settings but for the authority; also what the tools are given, so that both mean
/// the same.
fn settings(database: &Database) -> Result<PgConnectOptions, Failure> {
    let mut url = String::from("postgres://?application_name=backupctl");
    let host = if database.host.is_empty() { "localhost" } else { &database.host };
    let port = database.port.to_string();
    let mut add = |key: &str, value: &str| {
        url.extend(["&", key, "=", &encode(value.as_bytes(), b"")]);
    };
    add("host", host);
    add("port", &port);
    add("dbname", &database.name);
    if let Some(user) = &database.user {
        add("user", user);
    }
    // Parsing this way is what makes sqlx look into ~/.pgpass as the tools do, and only then.
    if let Some(password) = &database.password {
        add("password", password.expose()?);
    }
    let mut options: PgConnectOptions =
        url.parse().map_err(|_| unusable("host, port, name or user is malformed"))?;
    let mode = database.options.sslmode.as_deref().unwrap_or("prefer");
    let mode: PgSslMode = mode.parse().map_err(|_| {
        unusable(&format!("`database.options.sslmode` is {mode:?}"))
            .with_remedy("use one of disable, allow, prefer, require, verify-ca, verify-full")
    })?;
    let authorities = database.options.sslrootcert.is_some();
    options = options.ssl_mode(as_libpq(mode, host, authorities));
    Ok(options.disable_statement_logging())
}

/// All of the connection's settings.
async fn options(client: &Client, ctx: &StageContext) -> Result<PgConnectOptions, Failure> {
    const KEY: &str = "database.options.sslrootcert";
    let database = &client.database;
    let options = settings(database)?;
    match &database.options.sslrootcert {
        None => Ok(options),
        Some(cert) if database.container.is_some() => {
            Ok(options.ssl_root_cert_from_pem(client.read_inside(cert, KEY, ctx).await?))
        }
        Some(cert) => {
            File::open(cert).map_err(|e| {
                let message = format!("`{KEY}` cannot be read: {}: {e}", cert.display());
                unusable(&message).with_remedy("name the PEM file with the authority's certificate, readable by the user running backupctl")
            })?;
            Ok(options.ssl_root_cert(cert))
        }
    }
}

fn unusable(what: &str) -> Failure {
    Failure::new(ErrorCode::InvalidConfig, format!("`database` cannot be used: {what}"))
}

/// What the mode means to libpq, so that our connection and the programs' prove the same
/// (PostgreSQL manual, 34.19): a socket has no TLS, and with an authority `require` checks it.
fn as_libpq(mode: PgSslMode, host: &str, authority: bool) -> PgSslMode {
    match mode {
        _ if host.starts_with('/') => PgSslMode::Disable,
        PgSslMode::Require if authority => PgSslMode::VerifyCa,
        // It prefers plain text, which our library does not try first; both end up with what works.
        PgSslMode::Allow => PgSslMode::Prefer,
        mode => mode,
    }
}

/// The user that connects: the configured one, or whom libpq would take.
pub(crate) fn user_of(database: &Database) -> Result<String, Failure> {
    Ok(settings(database)?.get_username().to_owned())
}

fn refuses_tls(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(e) => e.kind() == io::ErrorKind::InvalidData,
        sqlx::Error::Database(e) => e.message().contains("pg_hba.conf"),
        _ => false,
    }
}

impl Session {
    /// Connects to the database that a server is managed from.
    pub(crate) async fn open_server(client: &Client, ctx: &StageContext) -> Result<Self, Failure> {
        match Self::open(&client.of("postgres"), ctx).await {
            Err(failure) if failure.code == ErrorCode::DbNotFound => {
                Self::open(&client.of("template1"), ctx).await
            }
            other => other,
        }
    }

    /// Connects to the database, or to the server where all of it is meant.
    pub(crate) async fn open_home(client: &Client, ctx: &StageContext) -> Result<Self, Failure> {
        if client.database.is_whole_server() {
            Self::open_server(client, ctx).await
        } else {
            Self::open(client, ctx).await
        }
    }

    /// Connects, and asks the server for its version.
    pub(crate) async fn open(client: &Client, ctx: &StageContext) -> Result<Self, Failure> {
        let place = place(&client.database);
        let mut options = options(client, ctx).await?;
        let mut tunnel = match client.database.container {
            Some(_) => Some(Tunnel::open(client, ctx)?),
            None => None,
        };
        if let Some(dir) = tunnel.as_ref().and_then(Tunnel::dir) {
            options = options.socket(dir);
        }
        let connect = async {
            match PgConnection::connect_with(&options).await {
                // What `prefer` means: a server that does not want us by TLS is asked without it.
                Err(e)
                    if matches!(options.get_ssl_mode(), PgSslMode::Prefer) && refuses_tls(&e) =>
                {
                    PgConnection::connect_with(&options.clone().ssl_mode(PgSslMode::Disable)).await
                }
                other => other,
            }
        };
        let connected = limited(ctx, CONNECT_TIMEOUT, &place, connect).await;
        let connection = match (connected, tunnel.take()) {
            (Ok(connection), Some(mut used)) => {
                used.shut();
                tunnel = Some(used);
                connection
            }
            // What became of the way there says more than that nobody answered.
            (Err(failure), Some(used)) if failure.code != ErrorCode::Interrupted => {
                return Err(used.close().await.unwrap_or(failure));
            }
            (connected, _) => connected?,
        };
        let (database, server_version) = (client.database.name.clone(), String::new());
        let mut session = Self { connection, tunnel, place, database, server_version };
        let version: String =
            session.ask(ctx, "select pg_catalog.current_setting('server_version')").await?;
        version.split(' ').next().unwrap_or_default().clone_into(&mut session.server_version);
        Ok(session)
    }

    /// Asks for one value.
    pub(crate) async fn ask<T>(
        &mut self,
        ctx: &StageContext,
        sql: &'static str,
    ) -> Result<T, Failure>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        let Self { connection, place, .. } = self;
        limited(ctx, QUERY_TIMEOUT, place, sqlx::query_scalar(sql).fetch_one(connection)).await
    }

    /// Asks for the first column of every row.
    pub(crate) async fn texts(
        &mut self,
        ctx: &StageContext,
        sql: &'static str,
    ) -> Result<Vec<String>, Failure> {
        let Self { connection, place, .. } = self;
        limited(ctx, QUERY_TIMEOUT, place, sqlx::query_scalar(sql).fetch_all(connection)).await
    }

    /// Runs a statement that is made here; names in it are quoted.
    pub(crate) async fn run(&mut self, ctx: &StageContext, sql: String) -> Result<(), Failure> {
        let Self { connection, place, .. } = self;
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection);
        // Creating, renaming or dropping a database may copy or flush much.
        limited(ctx, RUN_TIMEOUT, place, done).await.map(drop)
    }

    /// Begins a read-only transaction that sees one moment, and exports it for `pg_dump`; `None` where the
    /// server exports none.
    pub(crate) async fn export_snapshot(
        &mut self,
        ctx: &StageContext,
    ) -> Result<Option<String>, Failure> {
        for sql in [
            // A dump may take hours, in which this session has nothing to say.
            "set idle_in_transaction_session_timeout = 0",
            "set statement_timeout = 0",
            "begin isolation level repeatable read read only",
        ] {
            let Self { connection, place, .. } = self;
            let done =
                limited(ctx, QUERY_TIMEOUT, place, sqlx::raw_sql(sql).execute(connection)).await;
            if let Err(failure) = done {
                // 9.5 and older know no such timeout.
                if sql.starts_with("begin") || failure.code == ErrorCode::DbDisconnected {
                    return Err(failure);
                }
            }
        }
        match self.ask::<String>(ctx, "select pg_catalog.pg_export_snapshot()").await {
            Ok(id) => Ok(Some(id)),
            Err(failure) if failure.code == ErrorCode::Interrupted => Err(failure),
            Err(failure) => {
                tracing::debug!(error = %failure, "the server exports no snapshot");
                let rollback = sqlx::raw_sql("rollback").execute(&mut self.connection);
                limited(ctx, QUERY_TIMEOUT, &self.place, rollback).await?;
                Ok(None)
            }
        }
    }

    /// The connection, to ask for more than one value.
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Ends the session. What the server says to that is of no interest.
    pub(crate) async fn close(self) {
        let _ = tokio::time::timeout(CONNECT_TIMEOUT, self.connection.close()).await;
        if let Some(tunnel) = self.tunnel {
            tunnel.close().await;
        }
    }
}

/// Awaits an answer of the server for so long, or until the run is told to stop.
pub(crate) async fn limited<T>(
    ctx: &StageContext,
    limit: Duration,
    place: &str,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Failure> {
    tokio::select! {
        answer = tokio::time::timeout(limit, answer) => match answer {
            Ok(answer) => answer.map_err(|e| connection_failure(e, place)),
            Err(_) => Err(timed_out(place, &format!("no answer within {} s", limit.as_secs()))),
        },
        why = ctx.cancel.cancelled() => Err(backupctl_application::context::interrupted(why)),
    }
}

fn timed_out(place: &str, what: &str) -> Failure {
    Failure::new(ErrorCode::DbTimeout, format!("database {place}: {what}")).with_remedy(
        "check `database.host` and `database.port`, the firewalls between here and the server, and its load",
    )
}

/// What an error of our connection means.
#[expect(clippy::needless_pass_by_value, reason = "fits `map_err`, which hands over the error")]
pub(crate) fn connection_failure(error: sqlx::Error, place: &str) -> Failure {
    let new = |code, what: &str| Failure::new(code, format!("database {place}: {what}"));
    let listens =
        "check `database.host` and `database.port`, and that PostgreSQL runs and listens there";
    match &error {
        sqlx::Error::Io(e) => match e.kind() {
            io::ErrorKind::TimedOut => timed_out(place, &e.to_string()),
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => {
                new(ErrorCode::DbDisconnected, &format!("the connection was lost ({e})"))
                    .with_remedy("look into the server's log for why it ended the connection")
            }
            io::ErrorKind::PermissionDenied => {
                new(ErrorCode::DbConnectionRefused, &format!("its socket may not be opened: {e}"))
                    .permanent()
                    .with_remedy("let the user running backupctl open the socket's folder, or set `database.host` to a host name")
            }
            io::ErrorKind::InvalidData => tls_failure(&e.to_string(), place),
            _ => new(ErrorCode::DbConnectionRefused, &e.to_string()).with_remedy(listens),
        },
        sqlx::Error::Tls(e) => tls_failure(&e.to_string(), place),
        sqlx::Error::Database(e) => {
            let code = e.code().unwrap_or_default();
            from_sqlstate(&code, e.message(), place)
        }
        sqlx::Error::PoolTimedOut => timed_out(place, "no answer"),
        sqlx::Error::Protocol(e) => new(ErrorCode::DbDisconnected, &format!("not understood: {e}")),
        sqlx::Error::Configuration(e) => new(ErrorCode::InvalidConfig, &e.to_string()),
        other => new(ErrorCode::DbDisconnected, &other.to_string()),
    }
}

/// What a failed handshake means.
fn tls_failure(said: &str, place: &str) -> Failure {
    let remedy = if said.contains("UnknownIssuer") || said.contains("BadSignature") {
        "set `database.options.sslrootcert` to the certificate of the authority that has signed the server's"
    } else if said.contains("not valid for name") || said.contains("NotValidForName") {
        "set `database.host` to a name in the server's certificate, or `database.options.sslmode: verify-ca`"
    } else if said.contains("does not support TLS") {
        "set `database.options.sslmode: prefer`, or turn `ssl` on in the server's postgresql.conf"
    } else {
        "set `database.options.sslmode` and `database.options.sslrootcert` to what the server offers"
    };
    Failure::new(ErrorCode::DbConnectionRefused, format!("database {place}: TLS failed: {said}"))
        .permanent()
        .with_remedy(remedy)
}

/// What the server's own error means, by its SQLSTATE (PostgreSQL manual, appendix A).
fn from_sqlstate(state: &str, message: &str, place: &str) -> Failure {
    let (code, remedy) = match state {
        "28000" if message.contains("no encryption") || message.contains("SSL off") => (
            ErrorCode::DbAuthFailed,
            "the server may want TLS: set `database.options.sslmode: require`, or allow this host without in its pg_hba.conf",
        ),
        "42P04" | "55006" => (
            ErrorCode::PathNotWritable,
            "end the connections to that database, or take another name",
        ),
        "28P01" | "28000" => (
            ErrorCode::DbAuthFailed,
            "check `database.user` and `database.password`, and the server's pg_hba.conf for this host",
        ),
        "3D000" => (
            ErrorCode::DbNotFound,
            "check `database.name`; `psql -l` lists the databases of the server",
        ),
        "42501" => (
            ErrorCode::DbPermissionDenied,
            "grant the backup role what it lacks, e.g. `GRANT pg_read_all_data TO …` (PostgreSQL 14 and newer)",
        ),
        "57014" | "55P03" | "40P01" => (
            ErrorCode::DbTimeout,
            "find what holds the server up in pg_stat_activity; a statement_timeout of the role ends long questions",
        ),
        "57P03" | "53300" => (
            ErrorCode::DbConnectionRefused,
            "wait until the server takes connections again, or raise its max_connections",
        ),
        "2201B" => {
            (ErrorCode::InvalidConfig, "correct the patterns in `database.options.exclude_tables`")
        }
        _ => (ErrorCode::DbDisconnected, "look into the server's log"),
    };
    let failure = Failure::new(code, format!("database {place}: {message} (SQLSTATE {state})"))
        .with_remedy(remedy);
    // Neither a lost connection nor a known refusal: the same question gets the same answer.
    let known = state.starts_with("57") || state.starts_with("08") || state.starts_with("53");
    if code == ErrorCode::DbDisconnected && !known { failure.permanent() } else { failure }
}
