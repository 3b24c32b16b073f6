//! What the database itself shows: every relation that a dump of it must hold.

use std::time::Duration;

use backupctl_application::context::StageContext;
use backupctl_domain::Failure;
use backupctl_domain::manifest::Contents;
use backupctl_domain::project::DatabaseOptions;
use sqlx::Row;

use super::pattern::{NamePattern, translate};
use super::session::{Session, limited};
use super::toc::contents_name;

const CATALOG_TIMEOUT: Duration = Duration::from_mins(5);

/// What is in the database, and what the dump may lack.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    /// Everything that belongs to the user, by [`contents_name`].
    pub(crate) contents: Contents,
    /// Those of it that the configuration leaves out.
    pub(crate) excluded: Contents,
}

/// Tables, views and sequences of the user: not the system's, not temporary, not an extension's. The
/// patterns are matched by the server as `pg_dump` lets it match them. A sequence that belongs to a
/// column goes with its table; an unlogged table has no data on a standby.
const SQL: &str = r"
with relation as (
  select c.oid, c.relkind, c.relpersistence, n.nspname, c.relname,
    exists (
      select 1 from unnest($1::text[], $2::text[]) p(s, n)
      where (c.relname::text collate pg_catalog.default) OPERATOR(pg_catalog.~) p.n
        and case when p.s is null then pg_catalog.pg_table_is_visible(c.oid)
                 else (n.nspname::text collate pg_catalog.default) OPERATOR(pg_catalog.~) p.s end
    ) as excluded,
    exists (
      select 1 from unnest($3::text[], $4::text[]) p(s, n)
      where (c.relname::text collate pg_catalog.default) OPERATOR(pg_catalog.~) p.n
        and case when p.s is null then pg_catalog.pg_table_is_visible(c.oid)
                 else (n.nspname::text collate pg_catalog.default) OPERATOR(pg_catalog.~) p.s end
    ) as data_excluded,
    exists (
      select 1 from pg_catalog.pg_depend d
      where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
        and d.objid = c.oid and d.objsubid = 0 and d.deptype = 'e'
    ) as extension
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    and n.nspname::text !~ '^pg_' and n.nspname <> 'information_schema'
)
select r.relkind::text, r.nspname::text, r.relname::text,
  r.excluded or coalesce(bool_or(t.excluded or t.extension), false),
  r.data_excluded or (r.relpersistence = 'u' and pg_catalog.pg_is_in_recovery())
from relation r
  left join pg_catalog.pg_depend o on r.relkind = 'S' and o.objid = r.oid and o.objsubid = 0
    and o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
    and o.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    and o.refobjsubid <> 0 and o.deptype in ('a', 'i')
  left join relation t on t.oid = o.refobjid
where not r.extension
group by r.oid, r.relkind, r.relpersistence, r.nspname, r.relname, r.excluded, r.data_excluded";

/// Which patterns, counted from 1, match nothing.
const UNMATCHED_SQL: &str = r"
select p.i from unnest($1::text[], $2::text[]) with ordinality p(s, n, i)
where not exists (
  select 1 from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    and (c.relname::text collate pg_catalog.default) OPERATOR(pg_catalog.~) p.n
    and case when p.s is null then pg_catalog.pg_table_is_visible(c.oid)
             else (n.nspname::text collate pg_catalog.default) OPERATOR(pg_catalog.~) p.s end
)";

/// The patterns of `exclude_tables` and `exclude_table_data` that match nothing here, each with its
/// key in front: `pg_dump` ends with 0 on them.
pub(crate) async fn unmatched(
    session: &mut Session,
    options: &DatabaseOptions,
    ctx: &StageContext,
) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for (key, patterns) in [
        ("exclude_tables", &options.exclude_tables),
        ("exclude_table_data", &options.exclude_table_data),
    ] {
        if patterns.is_empty() {
            continue;
        }
        let (schemas, names) = translated(patterns);
        let place = session.place.clone();
        let asked = sqlx::query_scalar(UNMATCHED_SQL)
            .bind(schemas)
            .bind(names)
            .fetch_all(session.connection());
        let numbers: Vec<i64> = limited(ctx, CATALOG_TIMEOUT, &place, asked).await?;
        let pattern = |n: i64| patterns.get(usize::try_from(n - 1).ok()?);
        let shown = |p: &String| format!("{p:?} of `database.options.{key}`");
        found.extend(numbers.into_iter().filter_map(pattern).map(shown));
    }
    Ok(found)
}

impl Catalog {
    /// Asks the server.
    pub(crate) async fn read(
        session: &mut Session,
        options: &DatabaseOptions,
        ctx: &StageContext,
    ) -> Result<Self, Failure> {
        let (schemas, names) = translated(&options.exclude_tables);
        let (data_schemas, data_names) = translated(&options.exclude_table_data);
        let place = session.place.clone();
        let rows = sqlx::query(SQL)
            .bind(schemas)
            .bind(names)
            .bind(data_schemas)
            .bind(data_names)
            .fetch_all(session.connection());
        let rows = limited(ctx, CATALOG_TIMEOUT, &place, rows).await?;
        let mut catalog = Self::default();
        for row in rows {
            let text = |i| row.try_get::<String, usize>(i).unwrap_or_default();
            let flag = |i| row.try_get::<Option<bool>, usize>(i).ok().flatten().unwrap_or_default();
            catalog.add(&text(0), &text(1), &text(2), flag(3), flag(4));
        }
        Ok(catalog)
    }

    fn add(&mut self, relkind: &str, schema: &str, name: &str, excluded: bool, no_data: bool) {
        let kind = match relkind {
            "r" | "p" => "TABLE",
            "v" => "VIEW",
            "m" => "MATERIALIZED VIEW",
            "f" => "FOREIGN TABLE",
            _ => "SEQUENCE",
        };
        let mut note = |kind, excluded| {
            if let Some(name) = contents_name(kind, schema, name) {
                if excluded {
                    self.excluded.insert(name.clone());
                }
                self.contents.insert(name);
            }
        };
        note(kind, excluded);
        if relkind == "r" {
            note("TABLE DATA", excluded || no_data);
        }
    }
}

fn translated(patterns: &[String]) -> (Vec<Option<String>>, Vec<String>) {
    patterns
        .iter()
        .map(|pattern| {
            let NamePattern { schema, name } = translate(pattern);
            (schema, name)
        })
        .unzip()
}
