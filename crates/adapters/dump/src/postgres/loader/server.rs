//! Loading a script of a whole server by `psql`.
//!
//! No transaction reaches over several databases, so what is there is set aside by another name first,
//! and comes back where the load fails.

use std::path::Path;

use backupctl_application::context::StageContext;
use backupctl_application::ports::LoadReport;
use backupctl_domain::Failure;

use super::filter::Changes;
use super::script::existing;
use super::{PostgresLoader, filled, notes_of, tables, wrong_target};
use crate::postgres::script::{Found, quoted};
use crate::postgres::script_dump::OF_EVERY_SERVER;
use crate::postgres::session::Session;

/// Databases that somebody has made.
pub(super) const DATABASES: &str = "select datname::text from pg_catalog.pg_database
where datname not in ('postgres', 'template0', 'template1') order by 1";

/// What the name of a database that is set aside ends with.
const ASIDE: &str = "_before_restore";

impl PostgresLoader {
    pub(super) async fn load_server(
        &self,
        dump: &Path,
        found: &Found,
        replace: bool,
        mut session: Session,
        ctx: &StageContext,
    ) -> Result<LoadReport, Failure> {
        if found.cluster.begun == 0 || found.connected.is_empty() {
            return Err(wrong_target(
                "the dump is of one database, and the target is a whole server",
                "name one database to load into",
            ));
        }
        let there = session.texts(ctx, DATABASES).await?;
        let clashing: Vec<&String> = found.created.iter().filter(|n| there.contains(n)).collect();
        if !replace && !clashing.is_empty() {
            let names: Vec<String> = clashing.iter().map(|n| format!("database {n}")).collect();
            return Err(filled(&session.place, &names));
        }
        let (existing, mut notes) = existing(found, &mut session, ctx).await?;
        let mut aside = Vec::new();
        for name in clashing {
            let done = session.run(ctx, renamed(name, &set_aside(name))).await;
            if let Err(failure) = done {
                bring_back(&aside, &mut session, ctx).await;
                return Err(failure);
            }
            aside.push(name.clone());
        }
        let changes = Changes { existing, first: None, schemas_exist: replace };
        let maintenance = session.database.clone();
        let loaded = self.psql(dump, found, &maintenance, changes, &session, ctx).await;
        // A new connection, and also where the run was told to stop: what was set aside must come back.
        let undoing = StageContext { cancel: <_>::default(), ..ctx.clone() };
        session.close().await;
        let mut session = self.session(&undoing).await?;
        match loaded {
            Ok(output) => {
                for name in &aside {
                    let dropped = format!("drop database {}", quoted(&set_aside(name)));
                    if let Err(failure) = session.run(&undoing, dropped).await {
                        notes.push(format!("{} is still there: {failure}", set_aside(name)));
                    }
                }
                notes.extend(notes_of(&output));
            }
            Err(mut failure) => {
                for name in found.created.iter().filter(|n| aside.contains(n) || !there.contains(n))
                {
                    let dropped = format!("drop database if exists {}", quoted(name));
                    if let Err(e) = session.run(&undoing, dropped).await {
                        tracing::warn!(error = %e, "a database that was being loaded stays");
                    }
                }
                bring_back(&aside, &mut session, &undoing).await;
                failure.message += "; the databases are as they were, but roles may have been made";
                return Err(failure);
            }
        }
        session.close().await;
        let mut report = LoadReport { tables: 0, notes };
        let names = found.connected.iter().filter(|n| n.as_str() != OF_EVERY_SERVER[1]);
        for name in names {
            let mut session = Session::open(&self.client.of(name), ctx).await?;
            report.tables += tables(&mut session, ctx).await?;
            session.close().await;
        }
        Ok(report)
    }
}

/// At most the 63 bytes that a name may have.
fn set_aside(name: &str) -> String {
    let end = name.floor_char_boundary(63 - ASIDE.len());
    format!("{}{ASIDE}", &name[..end])
}

fn renamed(from: &str, to: &str) -> String {
    format!("alter database {} rename to {}", quoted(from), quoted(to))
}

async fn bring_back(aside: &[String], session: &mut Session, ctx: &StageContext) {
    for name in aside {
        if let Err(failure) = session.run(ctx, renamed(&set_aside(name), name)).await {
            tracing::error!(database = %name, error = %failure, "still set aside as {}", set_aside(name));
        }
    }
}
