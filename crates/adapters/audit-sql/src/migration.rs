//! The schema, step by step. A step that was released is never changed; new ones only add, so that
//! an older program still reads and writes what a newer one has brought up to date.

use sea_orm_migration::prelude::*;

use crate::entity::{Column, Entity};

/// Where the steps that were taken are noted. The name is ours: the database may be shared.
pub(crate) const TABLE: &str = "backupctl_migrations";

/// All steps in order.
pub(crate) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Runs), Box::new(Failures)]
    }

    fn migration_table_name() -> DynIden {
        Alias::new(TABLE).into_iden()
    }
}

/// How many steps this program knows.
pub(crate) fn known() -> i64 {
    <i64 as TryFrom<usize>>::try_from(Migrator::migrations().len()).unwrap_or(i64::MAX)
}

/// The table of runs and what makes its questions cheap.
struct Runs;

impl MigrationName for Runs {
    fn name(&self) -> &'static str {
        "m0001_runs"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Runs {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table(Entity)
            .col(ColumnDef::new(Column::RunId).text().not_null().primary_key())
            .col(ColumnDef::new(Column::Project).text().not_null())
            .col(ColumnDef::new(Column::Trigger).text().not_null())
            .col(ColumnDef::new(Column::Status).text().not_null())
            .col(ColumnDef::new(Column::Stage).text())
            .col(ColumnDef::new(Column::StartedAt).big_integer().not_null())
            .col(ColumnDef::new(Column::FinishedAt).big_integer())
            .col(ColumnDef::new(Column::ErrorCode).text())
            .col(ColumnDef::new(Column::Version).text().not_null())
            .col(ColumnDef::new(Column::Record).text().not_null())
            .to_owned();
        manager.create_table(table).await?;
        for (name, by) in [
            ("backup_runs_newest", vec![]),
            ("backup_runs_by_status", vec![Column::Status]),
            ("backup_runs_by_project", vec![Column::Project]),
            ("backup_runs_by_project_and_status", vec![Column::Project, Column::Status]),
        ] {
            let mut index = Index::create();
            index.name(name).table(Entity);
            for column in by {
                index.col(column);
            }
            index.col((Column::StartedAt, IndexOrder::Desc));
            index.col((Column::RunId, IndexOrder::Desc));
            manager.create_index(index).await?;
        }
        Ok(())
    }
}

/// What makes it cheap to count failures: metrics ask at every scrape, and most runs succeed.
struct Failures;

impl MigrationName for Failures {
    fn name(&self) -> &'static str {
        "m0002_failures"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Failures {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // A partial index is written alike for both databases, and the builder has none.
        let index = "CREATE INDEX backup_runs_failures ON backup_runs (project, error_code) \
                     WHERE error_code IS NOT NULL";
        manager.get_connection().execute_unprepared(index).await.map(drop)
    }
}
