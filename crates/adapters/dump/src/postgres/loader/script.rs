//! Loading a script of one database by `psql`, all or nothing but for roles and tablespaces.

use std::path::Path;

use backupctl_adapter_process::Output;
use backupctl_application::context::StageContext;
use backupctl_application::ports::LoadReport;
use backupctl_domain::manifest::{Contents, listed};
use backupctl_domain::{ErrorCode, Failure};

use super::filter::{Changes, feed};
use super::replace::drops;
use super::{PostgresLoader, judge, notes_of, tables, wrong_target};
use crate::postgres::client::conninfo;
use crate::postgres::script::Found;
use crate::postgres::session::Session;
use crate::stream::Watch;

/// What a server has of what a script may bring.
const GLOBALS: &str = "select 'role ' || rolname from pg_catalog.pg_roles
union all select 'tablespace ' || spcname from pg_catalog.pg_tablespace";

impl PostgresLoader {
    pub(super) async fn load_script(
        &self,
        dump: &Path,
        found: &Found,
        replace: bool,
        mut session: Session,
        ctx: &StageContext,
    ) -> Result<LoadReport, Failure> {
        if found.databases.begun != 1 || !found.connected.is_empty() || !found.created.is_empty() {
            return Err(wrong_target(
                "the dump makes databases of its own, and the target is one database",
                "name `all` as the database, to load it into a whole server",
            ));
        }
        let (existing, mut notes) = existing(found, &mut session, ctx).await?;
        let first = if replace { drops(&found.entries) } else { String::new() };
        let changes = Changes { existing, first: Some(first), schemas_exist: replace };
        let database = &self.client.database.name;
        let output = self.psql(dump, found, database, changes, &session, ctx).await?;
        let tables = tables(&mut session, ctx).await?;
        session.close().await;
        notes.extend(notes_of(&output));
        Ok(LoadReport { tables, notes })
    }

    /// Runs a script, changed on its way.
    pub(super) async fn psql(
        &self,
        dump: &Path,
        found: &Found,
        database: &str,
        changes: Changes,
        session: &Session,
        ctx: &StageContext,
    ) -> Result<Output, Failure> {
        let program = self.programs(found.version.as_deref(), session)?.other("psql")?;
        let (tool, pass_file) = self.connecting(&program, dump)?;
        let tool = tool
            .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null"])
            .arg(format!("--dbname={}", conninfo(database)))
            .arg("--file=-");
        let (path, watch) = (dump.to_owned(), Watch::new(ctx));
        let ran = tool.run_writing(ctx, move |stdin| feed(&path, &changes, &watch, stdin)).await;
        drop(pass_file);
        let (output, fed) = ran.map_err(|e| e.into_failure(ErrorCode::DbTimeout))?;
        judge("psql", &output, fed, dump, &session.place)?;
        Ok(output)
    }
}

/// The roles and tablespaces of the script that the server has, and a note that they stay.
pub(super) async fn existing(
    found: &Found,
    session: &mut Session,
    ctx: &StageContext,
) -> Result<(Contents, Vec<String>), Failure> {
    let there: Contents = session.texts(ctx, GLOBALS).await?.into_iter().collect();
    let existing: Contents = found.globals.intersection(&there).cloned().collect();
    let names: Vec<String> = existing.iter().cloned().collect();
    let note = format!("left as they are on the server: {}", listed(&names, 10));
    let notes = if names.is_empty() { Vec::new() } else { vec![note] };
    Ok((existing, notes))
}
