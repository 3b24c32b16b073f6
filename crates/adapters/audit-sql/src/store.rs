//! Opening the database, and what differs between the two kinds.

use std::fmt::Display;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use backupctl_application::ports::{Clock, FailureCount};
use backupctl_domain::{ErrorCode, Failure, Redactor};
use sea_orm::sea_query::SimpleExpr;
use sea_orm::sqlx::ConnectOptions as _;
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::sqlx::pool::PoolOptions;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, EntityTrait, QueryFilter,
    QueryOrder, QuerySelect, RuntimeErr, SqlxPostgresConnector, SqlxSqliteConnector, Statement,
    TransactionTrait,
};
use sea_orm_migration::MigratorTrait;
use tokio::net::TcpStream;

use crate::entity::{Column, Entity, Model};
use crate::migration::{self, Migrator};

/// How long a connection is waited for, and how long another process's write.
const PATIENCE: Duration = Duration::from_secs(5);

/// Names the advisory lock under which one process migrates.
const MIGRATION_LOCK: i64 = 0x6261_636b_7570_6374;

/// Finds the projects by hopping along the index, then two rows of each: the cost grows with the
/// number of projects, not of runs.
const LATEST: &str = "\
    WITH RECURSIVE names(project) AS ( \
        SELECT min(project) FROM backup_runs \
        UNION ALL \
        SELECT (SELECT min(r.project) FROM backup_runs r WHERE r.project > names.project) \
        FROM names WHERE names.project IS NOT NULL \
    ), ids(id) AS ( \
        SELECT (SELECT r.run_id FROM backup_runs r WHERE r.project = names.project \
                ORDER BY r.started_at DESC, r.run_id DESC LIMIT 1) \
        FROM names WHERE names.project IS NOT NULL \
        UNION \
        SELECT (SELECT r.run_id FROM backup_runs r \
                WHERE r.project = names.project AND r.status = 'success' \
                ORDER BY r.started_at DESC, r.run_id DESC LIMIT 1) \
        FROM names WHERE names.project IS NOT NULL \
    ) \
    SELECT r.* FROM ids JOIN backup_runs r ON r.run_id = ids.id \
    ORDER BY r.started_at DESC, r.run_id DESC";

/// Which database, by its URL.
pub(crate) struct Target {
    shown: String,
    redactor: Redactor,
    kind: Kind,
}

enum Kind {
    Sqlite { path: PathBuf, options: Box<SqliteConnectOptions> },
    Postgres(Box<PgConnectOptions>),
}

/// Why a database could not be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    Io(String, io::Error),
    Db(DbErr),
}

impl Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(what, e) => write!(f, "{what}: {e}"),
            Self::Db(e) => e.fmt(f),
        }
    }
}

impl From<DbErr> for OpenError {
    fn from(error: DbErr) -> Self {
        Self::Db(error)
    }
}

/// Brings what was committed to the disk itself, and into the database file. PostgreSQL does so at
/// commit.
pub(crate) async fn checkpoint(db: &DatabaseConnection) -> Result<(), DbErr> {
    if db.get_database_backend() == DbBackend::Sqlite {
        // Passive: it waits for nobody. The log is synced first, so also what a reader keeps from
        // being copied into the database file is on the disk then.
        db.execute_unprepared("PRAGMA wal_checkpoint(PASSIVE)").await?;
    }
    Ok(())
}

impl Target {
    /// Reads the URL. Its text is in no error: it may hold a password.
    pub(crate) fn parse(url: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::new(ErrorCode::InvalidConfig, format!("`audit.url` {why}")).with_remedy(
                "set `audit.url` to sqlite:///path/to/audit.db or \
                 postgres://user:password@host:5432/name",
            )
        };
        if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url)
                .map_err(|_| wrong("is not a valid sqlite URL"))?;
            let path = options.get_filename().to_owned();
            let in_memory = url.contains(":memory:") || url.contains("mode=memory");
            if in_memory || path.file_name().is_none() {
                return Err(wrong("names no file"));
            }
            // In WAL mode NORMAL does not flush at commit: a power cut may lose the last commits,
            // never the database. That is enough for a run's progress, a dozen commits; what must
            // outlive a power cut, its beginning and end, is flushed by `checkpoint`.
            let options = options
                .create_if_missing(false)
                .busy_timeout(PATIENCE)
                .synchronous(SqliteSynchronous::Normal)
                .disable_statement_logging();
            let shown = format!("sqlite://{}", path.display());
            let kind = Kind::Sqlite { path, options: Box::new(options) };
            Ok(Self { shown, redactor: Redactor::default(), kind })
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options = PgConnectOptions::from_str(url)
                .map_err(|_| wrong("is not a valid postgres URL"))?
                .application_name("backupctl")
                .disable_statement_logging();
            let shown = format!(
                "postgres://{}@{}:{}/{}",
                options.get_username(),
                options.get_host(),
                options.get_port(),
                options.get_database().unwrap_or_default()
            );
            let redactor = Redactor::new(password(url));
            Ok(Self { shown, redactor, kind: Kind::Postgres(Box::new(options)) })
        } else {
            Err(wrong("is neither a sqlite nor a postgres URL"))
        }
    }

    /// The address without its password.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// The failure of a call.
    pub(crate) fn unavailable(&self, reason: &impl Display) -> Failure {
        let reason = self.redactor.redact(&reason.to_string());
        let message = format!("the audit database {} failed: {}", self.shown, reason.trim());
        let remedy = match &self.kind {
            Kind::Sqlite { path, .. } if is_damaged(&reason) => format!(
                "the file is damaged: move {0}, {0}-wal and {0}-shm aside, make a new one with \
                 `backupctl init`, and bring into it what waits with `backupctl recover`; snapshots \
                 are not touched",
                path.display()
            ),
            Kind::Sqlite { path, .. } => format!(
                "check that {} can be written by this user and its disk is not full",
                path.parent().unwrap_or(path).display()
            ),
            Kind::Postgres(options) => format!(
                "check that PostgreSQL runs at {}:{} and accepts this user, or correct `audit.url`",
                options.get_host(),
                options.get_port()
            ),
        };
        Failure::new(ErrorCode::AuditUnavailable, message.replace('\n', " ")).with_remedy(remedy)
    }

    /// That a column begins with `prefix` (hexadecimal digits and dashes), by an index if possible.
    pub(crate) fn begins_with(&self, column: Column, prefix: &str) -> SimpleExpr {
        match self.kind {
            // SQLite compares bytes; `g` comes after every digit and the dash.
            Kind::Sqlite { .. } => column.between(prefix.to_owned(), format!("{prefix}g")),
            Kind::Postgres(_) => column.starts_with(prefix),
        }
    }

    /// Opens the database with its schema up to date. `None` where it is an embedded one that is
    /// not there and not to be made.
    pub(crate) async fn open(
        &self,
        create: bool,
        clock: &dyn Clock,
    ) -> Result<Option<DatabaseConnection>, OpenError> {
        match &self.kind {
            Kind::Sqlite { path, options } => open_sqlite(path, options, create, clock).await,
            Kind::Postgres(options) => open_postgres(options).await.map(Some),
        }
    }
}

/// The password as the URL holds it.
fn password(url: &str) -> Option<String> {
    let (user, _) = url.split_once("://")?.1.rsplit_once('@')?;
    Some(user.split_once(':')?.1.to_owned())
}

/// The newest run of each project and its newest success.
pub(crate) async fn latest(db: &DatabaseConnection) -> Result<Vec<Model>, DbErr> {
    let statement = Statement::from_string(db.get_database_backend(), LATEST);
    Entity::find().from_raw_sql(statement).all(db).await
}

/// How many runs have failed, by project and code. The index of failures alone is read.
pub(crate) async fn count_failures(db: &DatabaseConnection) -> Result<Vec<FailureCount>, DbErr> {
    let rows: Vec<(String, String, i64)> = Entity::find()
        .select_only()
        .columns([Column::Project, Column::ErrorCode])
        .column_as(Column::ErrorCode.count(), "failures")
        .filter(Column::ErrorCode.is_not_null())
        .group_by(Column::Project)
        .group_by(Column::ErrorCode)
        .order_by_asc(Column::Project)
        .order_by_asc(Column::ErrorCode)
        .into_tuple()
        .all(db)
        .await?;
    let count = |(project, code, count): (_, _, i64)| FailureCount {
        project,
        code,
        count: count.unsigned_abs(),
    };
    Ok(rows.into_iter().map(count).collect())
}

async fn open_sqlite(
    path: &Path,
    options: &SqliteConnectOptions,
    create: bool,
    clock: &dyn Clock,
) -> Result<Option<DatabaseConnection>, OpenError> {
    let there = path.try_exists().map_err(|e| OpenError::Io("cannot look at it".to_owned(), e))?;
    if there {
        let db = sqlite_pool(options.clone());
        if sqlite_version(&db).await? >= migration::known() {
            return Ok(Some(db));
        }
    } else if !create {
        return Ok(None);
    }
    let dir = path.parent().unwrap_or(path);
    make_private(dir, path).map_err(|e| OpenError::Io("cannot create it".to_owned(), e))?;
    // Two processes that switch the journal at once could meet "database is locked" in spite of the
    // busy timeout, so the first use is one process's at a time.
    let _lock = lock_dir(dir, clock).await.map_err(|e| {
        OpenError::Io(format!("cannot lock {} for the first use", dir.display()), e)
    })?;
    let db = sqlite_pool(options.clone().journal_mode(SqliteJournalMode::Wal));
    if sqlite_version(&db).await? < migration::known() {
        let step = db.begin().await?;
        Migrator::up(&step, None).await?;
        step.execute_unprepared(&format!("PRAGMA user_version = {}", migration::known())).await?;
        step.commit().await?;
    }
    Ok(Some(db))
}

fn sqlite_pool(options: SqliteConnectOptions) -> DatabaseConnection {
    let pool = PoolOptions::new()
        .max_connections(2)
        .acquire_timeout(PATIENCE)
        // An embedded database does not go away between two statements.
        .test_before_acquire(false)
        .connect_lazy_with(options);
    SqlxSqliteConnector::from_sqlx_sqlite_pool(pool)
}

async fn sqlite_version(db: &DatabaseConnection) -> Result<i64, DbErr> {
    let ask = Statement::from_string(DbBackend::Sqlite, "PRAGMA user_version");
    let row = db.query_one_raw(ask).await?;
    row.map_or(Ok(0), |row| row.try_get_by_index::<i32>(0).map(i64::from))
}

/// Makes the file, readable by its owner alone: SQLite gives the same rights to the files that it
/// puts beside it.
fn make_private(dir: &Path, path: &Path) -> io::Result<()> {
    if !dir.as_os_str().is_empty() && !dir.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// Locks the folder itself, which needs no file of its own. Waits as long as the caller does.
async fn lock_dir(dir: &Path, clock: &dyn Clock) -> io::Result<File> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let file = File::open(fs::canonicalize(dir)?)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => clock.sleep(Duration::from_millis(20)).await,
            Err(TryLockError::Error(e)) => return Err(e),
        }
    }
}

async fn open_postgres(options: &PgConnectOptions) -> Result<DatabaseConnection, OpenError> {
    // The pool takes a refused connection for a server that is starting and asks until its time is
    // up; asked like this, it is known at once.
    if options.get_socket().is_none() && !options.get_host().starts_with('/') {
        let address = (options.get_host(), options.get_port());
        let connect = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await;
        connect
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|e| OpenError::Io("cannot connect".to_owned(), e))?;
    }
    let pool = PoolOptions::new()
        .max_connections(4)
        .acquire_timeout(PATIENCE)
        .connect_lazy_with(options.clone());
    let db = SqlxPostgresConnector::from_sqlx_postgres_pool(pool);
    if postgres_version(&db).await? < migration::known() {
        let step = db.begin().await?;
        step.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")).await?;
        Migrator::up(&step, None).await?;
        step.commit().await?;
    }
    Ok(db)
}

async fn postgres_version(db: &DatabaseConnection) -> Result<i64, DbErr> {
    let ask = format!("SELECT count(*) FROM {}", migration::TABLE);
    match db.query_one_raw(Statement::from_string(DbBackend::Postgres, ask)).await {
        Ok(row) => row.map_or(Ok(0), |row| row.try_get_by_index::<i64>(0)),
        Err(e) if is_undefined_table(&e) => Ok(0),
        Err(e) => Err(e),
    }
}

fn is_undefined_table(error: &DbErr) -> bool {
    let (DbErr::Query(RuntimeErr::SqlxError(e)) | DbErr::Exec(RuntimeErr::SqlxError(e))) = error
    else {
        return false;
    };
    e.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == "42P01")
}

/// Whether SQLite says that the file itself is broken: `SQLITE_CORRUPT`, `SQLITE_NOTADB`.
fn is_damaged(reason: &str) -> bool {
    ["file is not a database", "malformed"].iter().any(|words| reason.contains(words))
}
