//! Our own connection to the server: what is there before the dump, and what its refusals mean.

use std::io;
use std::time::Duration;

use backupctl_application::context::StageContext;
use backupctl_domain::project::Database;
use backupctl_domain::{ErrorCode, Failure};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::percent::encode;

/// How long a server may take to accept us.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one of our few questions may take; the catalog of a large database is among them.
const QUERY_TIMEOUT: Duration = Duration::from_mins(2);

/// A connection, and what messages call the database.
pub(crate) struct Session {
    connection: PgConnection,
    /// `shop at db:5432`.
    pub(crate) place: String,
    /// The server's version as it tells it, e.g. `15.18`.
    pub(crate) server_version: String,
}

/// What messages call the database: `shop at db:5432`.
pub(crate) fn place(database: &Database) -> String {
    let host = if database.host.is_empty() { "localhost" } else { &database.host };
    format!("{} at {host}:{}", database.name, database.port)
}

/// The connection's settings; also what the tools are given, so that both mean the same.
pub(crate) fn options(database: &Database) -> Result<PgConnectOptions, Failure> {
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
    let bad = |what: &str| {
        Failure::new(ErrorCode::InvalidConfig, format!("`database` cannot be used: {what}"))
    };
    let mut options: PgConnectOptions =
        url.parse().map_err(|_| bad("host, port, name or user is malformed"))?;
    let mode = database.options.sslmode.as_deref().unwrap_or("prefer");
    options = options.ssl_mode(mode.parse().map_err(|_| {
        bad(&format!("`database.options.sslmode` is {mode:?}"))
            .with_remedy("use one of disable, allow, prefer, require, verify-ca, verify-full")
    })?);
    if let Some(cert) = &database.options.sslrootcert {
        options = options.ssl_root_cert(cert);
    }
    Ok(options.disable_statement_logging())
}

impl Session {
    /// Connects, and asks the server for its version.
    pub(crate) async fn open(database: &Database, ctx: &StageContext) -> Result<Self, Failure> {
        let place = place(database);
        let options = options(database)?;
        let connect = async {
            match PgConnection::connect_with(&options).await {
                // What `prefer` means: a server whose TLS we cannot speak is asked without it.
                Err(sqlx::Error::Tls(_))
                    if matches!(options.get_ssl_mode(), PgSslMode::Prefer | PgSslMode::Allow) =>
                {
                    PgConnection::connect_with(&options.clone().ssl_mode(PgSslMode::Disable)).await
                }
                other => other,
            }
        };
        let connection = limited(ctx, CONNECT_TIMEOUT, &place, connect).await?;
        let mut session = Self { connection, place, server_version: String::new() };
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
            _ => new(ErrorCode::DbConnectionRefused, &e.to_string()).with_remedy(listens),
        },
        sqlx::Error::Tls(e) => new(ErrorCode::DbConnectionRefused, &format!("TLS failed: {e}"))
            .permanent()
            .with_remedy("set `database.options.sslmode` and `database.options.sslrootcert` to what the server offers"),
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

/// What the server's own error means, by its SQLSTATE (PostgreSQL manual, appendix A).
fn from_sqlstate(state: &str, message: &str, place: &str) -> Failure {
    let (code, remedy) = match state {
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
