//! The table of runs.

use sea_orm::entity::prelude::*;

/// One run. Moments are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "backup_runs")]
pub(crate) struct Model {
    /// The run's UUID, with dashes.
    #[sea_orm(primary_key, auto_increment = false)]
    pub run_id: String,
    /// The project's name.
    pub project: String,
    /// What made it start.
    pub trigger: String,
    /// How it stands.
    pub status: String,
    /// The stage that it is in: more recent than the one in `record` while the run goes on.
    pub stage: Option<String>,
    /// When it started.
    pub started_at: i64,
    /// When it ended.
    pub finished_at: Option<i64>,
    /// Why it failed.
    pub error_code: Option<String>,
    /// The version of backupctl that made it.
    pub version: String,
    /// The whole record as JSON.
    #[sea_orm(column_type = "Text")]
    pub record: String,
}

/// Runs refer to nothing.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
