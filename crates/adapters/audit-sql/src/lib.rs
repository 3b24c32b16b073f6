//! Keeps run records in SQLite or PostgreSQL.
//!
//! A record is kept whole, as the JSON that `--json` shows, beside the few columns that questions
//! are asked by. So a reader of another version finds all of it, and a schema change is rare.

mod entity;
mod migration;
mod record;
mod store;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backupctl_application::ports::{AuditLog, AuditState, Clock, FailureCount, RunQuery};
use backupctl_domain::{BackupRun, Failure, RunId, RunStatus, Stage};
use jiff::Timestamp;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ColumnTrait, DatabaseConnection, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder,
    QuerySelect, TransactionTrait,
};
use tokio::sync::Mutex;

use crate::entity::{Column, Entity};
use crate::store::Target;

/// How long one call may take, whatever hangs.
const CALL_LIMIT: Duration = Duration::from_secs(6);

/// How long a store that has just failed is not asked again, so that a run does not wait at every
/// step for a database that is down.
const REST: Duration = Duration::from_secs(10);

/// Run records in a database.
///
/// Made without touching the database; the first call opens it and brings its schema up to date.
/// Until something is written, an embedded database that is not there counts as empty and is not
/// made. After a failure every call fails at once for ten seconds, then the database is tried again.
pub struct SqlAudit {
    target: Target,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

enum State {
    Untried,
    Ready(DatabaseConnection),
    Down { since: Timestamp, failure: Failure },
}

impl SqlAudit {
    /// Makes one for `sqlite:///path/to/audit.db` or `postgres://user:password@host:port/name`.
    ///
    /// # Errors
    ///
    /// `INVALID_CONFIG` for any other URL. Whether the database answers is not looked at.
    pub fn connect(url: &str, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        let target = Target::parse(url)?;
        Ok(Self { target, clock, state: Mutex::new(State::Untried) })
    }

    /// Creates the database where it is embedded and not there yet, and brings its schema up to
    /// date: what the first write would do.
    ///
    /// # Errors
    ///
    /// `AUDIT_UNAVAILABLE`.
    pub async fn prepare(&self) -> Result<(), Failure> {
        self.call(true, (), async |_| Ok(())).await
    }

    /// The database's address, without its password.
    pub fn location(&self) -> &str {
        self.target.shown()
    }

    /// Does `work` on the open database, within the limit of a call. `absent` is the answer where
    /// there is no database yet and `create` is not set.
    async fn call<T, F>(
        &self,
        create: bool,
        absent: T,
        work: impl FnOnce(DatabaseConnection) -> F + Send,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, DbErr>> + Send,
    {
        let whole = async {
            match self.database(create).await? {
                Some(db) => match work(db).await {
                    Ok(value) => Ok(value),
                    Err(e) => Err(self.down(self.target.unavailable(&e))),
                },
                None => Ok(absent),
            }
        };
        tokio::time::timeout(CALL_LIMIT, whole).await.unwrap_or_else(|_| {
            let reason = format!("no answer within {} s", CALL_LIMIT.as_secs());
            Err(self.down(self.target.unavailable(&reason)))
        })
    }

    async fn database(&self, create: bool) -> Result<Option<DatabaseConnection>, Failure> {
        let mut state = self.state.lock().await;
        match &*state {
            State::Ready(db) => return Ok(Some(db.clone())),
            State::Down { since, failure } => {
                let age = self.clock.now().duration_since(*since);
                // A clock that was set back must not keep a database down.
                if !age.is_negative() && age.unsigned_abs() < REST {
                    return Err(failure.clone());
                }
            }
            State::Untried => {}
        }
        match self.target.open(create, &*self.clock).await {
            Ok(Some(db)) => {
                *state = State::Ready(db.clone());
                Ok(Some(db))
            }
            Ok(None) => Ok(None),
            Err(e) => {
                let failure = self.target.unavailable(&e);
                *state = State::Down { since: self.clock.now(), failure: failure.clone() };
                Err(failure)
            }
        }
    }

    async fn end_rest(&self) {
        let mut state = self.state.lock().await;
        if matches!(*state, State::Down { .. }) {
            *state = State::Untried;
        }
    }

    /// Remembers the failure. Somebody who is opening the database right now knows better.
    fn down(&self, failure: Failure) -> Failure {
        if let Ok(mut state) = self.state.try_lock() {
            *state = State::Down { since: self.clock.now(), failure: failure.clone() };
        }
        failure
    }
}

#[async_trait]
impl AuditLog for SqlAudit {
    async fn start_run(&self, run: &BackupRun) -> Result<(), Failure> {
        let row = record::to_row(run)?.into_active_model();
        // A replayed start must not turn back a run that has ended since.
        let unless_ended = overwrite()
            .action_and_where(Expr::col((Entity, Column::Status)).eq(RunStatus::Started.as_str()))
            .to_owned();
        self.call(true, (), async move |db| {
            let insert = Entity::insert(row).on_conflict(unless_ended);
            insert.exec_without_returning(&db).await?;
            store::checkpoint(&db).await
        })
        .await
    }

    async fn track_progress(&self, id: RunId, stage: Stage) -> Result<(), Failure> {
        self.call(false, (), async move |db| {
            Entity::update_many()
                .col_expr(Column::Stage, Expr::value(stage.name()))
                .filter(Column::RunId.eq(id.to_string()))
                .filter(Column::Status.eq(RunStatus::Started.as_str()))
                .exec(&db)
                .await
                .map(drop)
        })
        .await
    }

    async fn finish_run(&self, run: &BackupRun) -> Result<(), Failure> {
        // How a run ended is worth a try also right after a failure: the next chance may be a day away.
        self.end_rest().await;
        let row = record::to_row(run)?.into_active_model();
        self.call(true, (), async move |db| {
            let insert = Entity::insert(row).on_conflict(overwrite());
            insert.exec_without_returning(&db).await?;
            store::checkpoint(&db).await
        })
        .await
    }

    async fn find_runs(&self, query: &RunQuery) -> Result<Vec<BackupRun>, Failure> {
        let mut select = Entity::find()
            .order_by_desc(Column::StartedAt)
            .order_by_desc(Column::RunId)
            .limit(query.limit.map(u64::from));
        if let Some(project) = &query.project {
            select = select.filter(Column::Project.eq(project.as_str()));
        }
        if let Some(status) = query.status {
            select = select.filter(Column::Status.eq(status.as_str()));
        }
        if let Some(prefix) = &query.id_prefix {
            let Some(prefix) = record::id_prefix(prefix) else { return Ok(Vec::new()) };
            select = select.filter(self.target.begins_with(Column::RunId, &prefix));
        }
        let rows = self.call(false, Vec::new(), async move |db| select.all(&db).await).await?;
        Ok(record::from_rows(&rows))
    }

    async fn latest_runs(&self) -> Result<Vec<BackupRun>, Failure> {
        let rows = self.call(false, Vec::new(), async move |db| store::latest(&db).await).await?;
        Ok(record::from_rows(&rows))
    }

    async fn count_failures(&self) -> Result<Vec<FailureCount>, Failure> {
        self.call(false, Vec::new(), async move |db| store::count_failures(&db).await).await
    }

    async fn check(&self) -> Result<AuditState, Failure> {
        let exists = self
            .call(false, false, async |db| {
                // A row of its own, taken back: nothing but writing shows that writing works.
                let probe = record::probe().into_active_model();
                let transaction = db.begin().await?;
                Entity::insert(probe).exec_without_returning(&transaction).await?;
                transaction.rollback().await?;
                Ok(true)
            })
            .await?;
        Ok(AuditState { location: self.location().to_owned(), exists })
    }

    async fn delete_run(&self, id: RunId) -> Result<bool, Failure> {
        self.call(false, false, async move |db| {
            let done = Entity::delete_by_id(id.to_string()).exec(&db).await?;
            Ok(done.rows_affected > 0)
        })
        .await
    }
}

fn overwrite() -> OnConflict {
    OnConflict::column(Column::RunId)
        .update_columns([
            Column::Project,
            Column::Trigger,
            Column::Status,
            Column::Stage,
            Column::StartedAt,
            Column::FinishedAt,
            Column::ErrorCode,
            Column::Version,
            Column::Record,
        ])
        .to_owned()
}
