//! What the database shows, held against what its dump holds.

use backupctl_application::context::StageContext;
use backupctl_domain::manifest::{Completeness, Contents, completeness, listed};
use backupctl_domain::project::DatabaseOptions;
use backupctl_domain::{ErrorCode, Failure};

use super::args::ExtraArgs;
use super::catalog::{Catalog, unmatched};
use super::client::Client;
use super::session::Session;

/// A database as it was when its dump began.
pub(crate) struct Shown {
    pub(crate) session: Session,
    /// For `pg_dump`, which then sees the very same moment.
    pub(crate) snapshot: Option<String>,
    catalog: Option<Catalog>,
    /// Patterns that leave out nothing here.
    pub(crate) unmatched: Vec<String>,
}

impl Shown {
    /// Connects and reads the catalog, unless the arguments choose what is dumped.
    pub(crate) async fn open(
        client: &Client,
        extra: &ExtraArgs,
        ctx: &StageContext,
    ) -> Result<Self, Failure> {
        let options = &client.database.options;
        Self::read(Session::open(client, ctx).await?, options, extra, ctx).await
    }

    /// The same over a connection that there is.
    pub(crate) async fn read(
        mut session: Session,
        options: &DatabaseOptions,
        extra: &ExtraArgs,
        ctx: &StageContext,
    ) -> Result<Self, Failure> {
        let snapshot =
            if extra.own_transaction { None } else { session.export_snapshot(ctx).await? };
        let catalog = match &extra.selects {
            Some(_) => None,
            None => Some(Catalog::read(&mut session, options, ctx).await?),
        };
        let unmatched = unmatched(&mut session, options, ctx).await?;
        Ok(Self { session, snapshot, catalog, unmatched })
    }

    /// Compares. Where both were not read in one snapshot, what has gone meanwhile is not missing.
    /// `one_line` for names as a script's comments have them.
    pub(crate) async fn compare(
        &mut self,
        contents: &Contents,
        one_line: bool,
        options: &DatabaseOptions,
        ctx: &StageContext,
    ) -> Result<Completeness, Failure> {
        let Some(catalog) = &self.catalog else { return Ok(Completeness::Complete) };
        let in_dump: Contents;
        let contents = if one_line {
            // A comment has no room for a line feed in a name; the blank in its place may be one too.
            let has = |name: &&String| contents.contains(&name.replace(['\n', '\r'], " "));
            in_dump = catalog.contents.iter().filter(has).chain(contents).cloned().collect();
            &in_dump
        } else {
            contents
        };
        let mut found =
            completeness(&catalog.contents, contents, |name| catalog.excluded.contains(name));
        if let (Completeness::Missing(names), None) = (&mut found, &self.snapshot) {
            let now = Catalog::read(&mut self.session, options, ctx).await?;
            names.retain(|name| now.contents.contains(name) && !now.excluded.contains(name));
            if names.is_empty() {
                return Ok(Completeness::Complete);
            }
        }
        judged(found, &self.session.place)
    }
}

/// The warnings of a dump whose arguments or patterns may not do what was meant.
pub(crate) fn remarks(extra: &ExtraArgs, unmatched: &[String]) -> Vec<String> {
    let not_compared = extra.selects.iter().map(|arg| {
        format!(
            "the dump was not compared with the database's catalog: {arg} in `database.options.extra_args` chooses what is dumped"
        )
    });
    let nothing = unmatched
        .iter()
        .map(|pattern| format!("nothing is left out by {pattern}: it matches no table"));
    not_compared.chain(nothing).collect()
}

/// What the comparison has found, or the failure that it is.
fn judged(found: Completeness, place: &str) -> Result<Completeness, Failure> {
    let Completeness::Missing(names) = found else { return Ok(found) };
    let names = listed(&names, 10);
    Err(Failure::new(
        ErrorCode::DumpIncomplete,
        format!("the dump of {place} lacks what the database shows: {names}"),
    )
    .with_remedy(
        "grant the backup role access to them, or leave them out by `database.options.exclude_tables`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_archive_lacks_is_named() {
        let of = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Contents>();
        let catalog =
            of(&["table public.a", "data of table public.a", "view public.v", "table x.log"]);
        let archive = of(&["table public.a"]);
        let found = completeness(&catalog, &archive, |name| name == "table x.log");
        let failure = judged(found, "shop at db:5432").unwrap_err();
        assert_eq!(failure.code, ErrorCode::DumpIncomplete);
        assert!(failure.message.ends_with("shows: data of table public.a, view public.v"));
        assert!(judged(Completeness::NothingInDatabase, "shop").is_ok());
    }
}
