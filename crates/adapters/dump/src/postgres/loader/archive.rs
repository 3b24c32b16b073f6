//! Loading an archive by `pg_restore`, all or nothing.

use std::path::Path;

use backupctl_application::context::StageContext;
use backupctl_application::ports::LoadReport;
use backupctl_domain::manifest::listed;
use backupctl_domain::{ErrorCode, Failure};

use super::{PostgresLoader, STATE_TIMEOUT, feed_all, judge, notes_of, tables};
use crate::postgres::client::conninfo;
use crate::postgres::program::major_of;
use crate::postgres::roles::Roles;
use crate::postgres::session::{Session, limited};
use crate::stream::Watch;

/// Roles of a list that the server does not have.
const MISSING: &str = "select r from unnest($1::text[]) r where not exists (
  select 1 from pg_catalog.pg_roles where rolname = r) order by r";
/// Roles of a list that this user may not act as.
const FOREIGN: &str = "select rolname::text from pg_catalog.pg_roles
where rolname = any($1::text[]) and not pg_catalog.pg_has_role(rolname, 'MEMBER') order by 1";
/// The same from PostgreSQL 16 on, where being a member is not enough.
const FOREIGN_16: &str = "select rolname::text from pg_catalog.pg_roles
where rolname = any($1::text[]) and not pg_catalog.pg_has_role(rolname, 'SET') order by 1";

impl PostgresLoader {
    pub(super) async fn load_archive(
        &self,
        dump: &Path,
        roles: Option<&Roles>,
        version: Option<&str>,
        replace: bool,
        mut session: Session,
        ctx: &StageContext,
    ) -> Result<LoadReport, Failure> {
        let left_out = left_out(roles, &mut session, ctx).await?;
        let programs = self.programs(version, &session)?;
        let (tool, pass_file) = self.connecting(&programs.restore, dump)?;
        let mut tool = tool
            .arg(format!("--dbname={}", conninfo(&self.client.database.name)))
            .args(["--exit-on-error", "--single-transaction"]);
        if replace {
            tool = tool.args(["--clean", "--if-exists"]);
        }
        if left_out.is_some() {
            tool = tool.args(["--no-owner", "--no-acl"]);
        }
        let (path, watch) = (dump.to_owned(), Watch::new(ctx));
        let ran = tool.run_writing(ctx, move |stdin| feed_all(&path, &watch, stdin)).await;
        drop(pass_file);
        let (output, fed) = ran.map_err(|e| e.into_failure(ErrorCode::DbTimeout))?;
        judge("pg_restore", &output, fed, dump, &session.place)?;
        let tables = tables(&mut session, ctx).await?;
        session.close().await;
        let notes = left_out.into_iter().chain(notes_of(&output)).collect();
        Ok(LoadReport { tables, notes })
    }
}

/// Why owners and privileges cannot come along, if they cannot: an archive from a server with other
/// roles shall still be loadable, and be told.
async fn left_out(
    roles: Option<&Roles>,
    session: &mut Session,
    ctx: &StageContext,
) -> Result<Option<String>, Failure> {
    const WITHOUT: &str = "the dump was loaded without its owners and privileges";
    let Some(roles) = roles else {
        return Ok(Some(format!("{WITHOUT}: its format is newer than what backupctl knows")));
    };
    let of = |names: Vec<&String>| names.into_iter().cloned().collect::<Vec<_>>();
    let needed = ask(session, MISSING, of(roles.needed.iter().collect()), ctx).await?;
    if !needed.is_empty() {
        let names = listed(&needed, 10);
        return Err(Failure::new(
            ErrorCode::DbPermissionDenied,
            format!(
                "the server of {} has no role {names}, and policies of the dump name it",
                session.place
            ),
        )
        .with_remedy(format!("create it first: `CREATE ROLE {}`", needed.join("; CREATE ROLE "))));
    }
    let named = of(roles.owners.union(&roles.granted).collect());
    let missing = ask(session, MISSING, named, ctx).await?;
    if !missing.is_empty() {
        let names = listed(&missing, 10);
        return Ok(Some(format!("{WITHOUT}: the server has no role {names}")));
    }
    let newer = major_of(&session.server_version) >= Some(16);
    let sql = if newer { FOREIGN_16 } else { FOREIGN };
    let foreign = ask(session, sql, of(roles.owners.iter().collect()), ctx).await?;
    if foreign.is_empty() {
        return Ok(None);
    }
    let names = listed(&foreign, 10);
    Ok(Some(format!("{WITHOUT}: the user that loads is no member of role {names}")))
}

async fn ask(
    session: &mut Session,
    sql: &'static str,
    names: Vec<String>,
    ctx: &StageContext,
) -> Result<Vec<String>, Failure> {
    let place = session.place.clone();
    let asked = sqlx::query_scalar(sql).bind(names).fetch_all(session.connection());
    limited(ctx, STATE_TIMEOUT, &place, asked).await
}
